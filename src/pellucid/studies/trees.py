"""Decision trees: grown by scikit-learn, kept as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import InputError
from pellucid.studies.terms import Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A question, or an answer.

    count      rows that it was grown on
    value      the share of every class among them, or their mean as the only number
    spread     standard deviation of the numbers among them; 0 for classes
    term       what is asked about; None for a leaf
    threshold  rows whose term is at or below it go `low`, others `high`
    """

    count: int
    value: tuple[float, ...]
    spread: float = 0.0
    term: Term | None = None
    threshold: float = 0.0
    low: Node | None = None
    high: Node | None = None

    @property
    def parts(self) -> tuple[Node, ...]:
        """Low and high; none for a leaf."""
        return () if self.low is None or self.high is None else (self.low, self.high)

    @property
    def depth(self) -> int:
        return 1 + max(part.depth for part in self.parts) if self.parts else 0

    def leaves(self) -> Iterator[Node]:
        """From low to high."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()

    def __call__(self, x: Tensor, terms: Sequence[Term]) -> Tensor:
        """The value of every row's leaf, float64 [rows, values]; x: [rows, terms]."""
        if self.term is None or self.low is None or self.high is None:
            return torch.tensor(self.value, dtype=torch.float64).expand(len(x), -1)
        low = x[:, terms.index(self.term)] <= self.threshold
        return torch.where(low[:, None], self.low(x, terms), self.high(x, terms))


def grow(x: Tensor, y: Tensor, terms: Sequence[Term], classes: int, depth: int, leaf: int, seed: int) -> Node:
    """CART: every question is the one that leaves the least impurity.

    x        [rows, terms], float64
    y        class numbers, int64 [rows], or numbers, float64 [rows]
    classes  how many classes there are; 0 for numbers
    leaf     least rows of a leaf
    seed     decides between questions that are equally good
    Raises InputError without scikit-learn.
    """
    try:
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
    except ImportError as error:
        raise InputError("a tree without scikit-learn", "scikit-learn", "pip install 'pellucid[trees]'") from error
    kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
    fitted = kind(max_depth=depth, min_samples_leaf=leaf, random_state=seed).fit(x.numpy(), y.numpy())
    return _node(fitted.tree_, 0, terms, getattr(fitted, "classes_", ()), classes)


def _node(tree: Any, at: int, terms: Sequence[Term], present: Sequence[int], classes: int) -> Node:
    count, low, high = int(tree.n_node_samples[at]), int(tree.children_left[at]), int(tree.children_right[at])
    own = tree.value[at, 0]
    value, spread = [float(own[0])], max(0.0, float(tree.impurity[at])) ** 0.5
    if classes:
        value, spread = [0.0] * classes, 0.0
        for number, part in zip(present, own, strict=True):
            value[int(number)] = float(part) / float(own.sum())
    if low < 0:
        return Node(count=count, value=tuple(value), spread=spread)
    return Node(
        count=count,
        value=tuple(value),
        spread=spread,
        term=terms[int(tree.feature[at])],
        threshold=float(tree.threshold[at]),
        low=_node(tree, low, terms, present, classes),
        high=_node(tree, high, terms, present, classes),
    )
