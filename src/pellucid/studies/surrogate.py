"""Global surrogates: a model that one can read, fitted to what another one says, and how far it says the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pellucid.core.errors import InputError, ParameterError
from pellucid.core.points import generator
from pellucid.ops.ridge import ridge
from pellucid.ops.select import chosen
from pellucid.studies.terms import Feature, Term, matrix, terms_of
from pellucid.studies.trees import Node, grow

KINDS = ("tree", "linear")
LOW = 0.5
"""A surrogate that explains less than this part of what the model says on rows held out is not one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How far a surrogate says what the model says.

    explained  R² on rows held out; for classes, the part of the errors of always saying the most frequent class that
               the surrogate does not make
    fitted     the same on the rows that it was fitted to
    agreement  share of the rows held out on which it says the model's class; None for numbers
    frequent   share of the class that is most frequent there; None for numbers
    rows       how many rows it was fitted to
    held_out   how many were held out
    """

    explained: float
    fitted: float
    agreement: float | None = None
    frequent: float | None = None
    rows: int
    held_out: int

    @property
    def low(self) -> bool:
        return not self.explained >= LOW

    def __str__(self) -> str:
        if self.agreement is None or self.frequent is None:
            return f"R² {self.explained:.2f} on {self.held_out} rows held out ({self.fitted:.2f} where it was fitted)"
        frequent = f"its most frequent class alone {100 * self.frequent:.0f} %"
        return f"says the model's class on {100 * self.agreement:.0f} % of {self.held_out} rows held out ({frequent})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One term of a linear surrogate."""

    term: Term
    per_unit: float
    per_std: float
    """How much the number changes where the term is one standard deviation higher."""
    std_error: float
    """Of `per_std`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surrogate:
    """A simple model beside a model. `print` shows its rules, `views.tree` draws it, calling it predicts."""

    kind: str
    model: str
    answers: tuple[str, ...]
    """Names of the classes, or of the number that is predicted as the only one."""
    classes: bool
    """Whether classes are predicted."""
    terms: tuple[Term, ...]
    fidelity: Fidelity
    seed: int
    tree: Node | None = None
    weights: tuple[Weight, ...] = ()
    intercept: float = 0.0
    picture: Tensor | None = field(default=None, repr=False)
    """uint8 [height, width, 3], where the features are regions of a picture."""
    regions: Tensor | None = field(default=None, repr=False)
    """The number of every place's region, int64 [height, width]."""

    def __call__(self, rows: Tensor) -> Tensor:
        """What the surrogate says of rows [rows, columns]: class numbers, int64, or numbers, float64."""
        x = matrix(rows, self.terms)
        if self.tree is not None:
            said = self.tree(x, self.terms)
            return said.argmax(1) if self.classes else said[:, 0]
        slope = {one.term: one.per_unit for one in self.weights}
        return self.intercept + x @ torch.tensor([slope.get(t, 0.0) for t in self.terms], dtype=torch.float64)

    @property
    def title(self) -> str:
        """What it is, of what, and beside which model."""
        what = (
            f"decision tree of depth {self.tree.depth}" if self.tree else f"linear model of {len(self.weights)} terms"
        )
        return f"{what} for the {'class' if self.classes else self.answers[0]}, beside {self.model}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line where the surrogate is none."""
        f = self.fidelity
        said = f"fidelity {f.explained:.3g} (limit {LOW}): it does not say what the model says, so do not read it"
        return (said,) if f.low else ()

    def __str__(self) -> str:
        head = [f"{self.title}: {self.fidelity}", *(f"! {line}" for line in self.warnings)]
        return "\n".join([*head, "", *(self._rules(self.tree, 0) if self.tree else self._sum())])

    __repr__ = __str__

    def answer(self, node: Node) -> str:
        """What a node says: its class and that one's share, or its mean and how far its numbers spread."""
        if not self.classes:
            return f"{node.value[0]:.3g} ± {node.spread:.2g}"
        best = max(range(len(node.value)), key=node.value.__getitem__)
        return f"{self.answers[best]} ({100 * node.value[best]:.0f} %)"

    def _rules(self, node: Node, level: int) -> list[str]:
        pad = "    " * level
        if node.term is None or node.low is None or node.high is None:
            return [f"{pad}{self.answer(node)}, {node.count} rows"]
        first, second = (node.term.says(above, node.threshold) for above in (False, True))
        lines = [f"{pad}if {first}:", *self._rules(node.low, level + 1)]
        return [*lines, f"{pad}else, {second}:", *self._rules(node.high, level + 1)]

    def _sum(self) -> list[str]:
        width = max((len(one.term.name) for one in self.weights), default=0)
        lines = [
            f"{one.per_std:+10.4g} ± {one.std_error:<8.2g} per standard deviation of {one.term.name:<{width}}"
            f"  ({one.per_unit:+.4g} per unit)"
            for one in self.weights
        ]
        return [f"{self.answers[0]} = {self.intercept:.4g} + the sum of", *lines]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a surrogate is made.

    kind      `tree`, or `linear`, for numbers only: least squares on the columns that the lasso's path keeps
    depth     of a tree, at most
    leaf      least rows of a leaf
    most      terms of a linear model, at most
    held_out  part of the rows that only fidelity is measured on
    seed      draws them, and decides between questions of a tree that are equally good
    """

    kind: str = "tree"
    depth: int = 3
    leaf: int = 5
    most: int = 5
    held_out: float = 0.25
    seed: int = 0

    def check(self) -> None:
        """Raises ParameterError for what is out of range."""
        if self.kind not in KINDS:
            raise ParameterError(f"kind={self.kind!r}", f"one of {', '.join(KINDS)}")
        for name, number in (("depth", self.depth), ("leaf", self.leaf), ("features", self.most)):
            if isinstance(number, bool) or number < 1:
                raise ParameterError(f"{name}={number!r}", "a whole number, 1 or more")
        if not 0 < self.held_out < 1:
            raise ParameterError(f"held_out={self.held_out!r}", "a part of the rows, more than 0 and less than 1")


def fitted(
    rows: Tensor, said: Tensor, features: Sequence[Feature], recipe: Recipe, answers: Sequence[str], model: str
) -> Surrogate:
    """A surrogate of what a model said of rows.

    rows     [rows, columns]
    said     class numbers, int64 [rows], or numbers, float64 [rows]
    answers  names of the classes, or of the number
    model    the model's name
    Raises InputError for too few rows, ParameterError for a linear surrogate of classes.
    """
    recipe.check()
    kept, fresh = _split(len(rows), recipe.held_out, recipe.seed)
    terms, classes = terms_of(features), not said.is_floating_point()
    x = matrix(rows, terms)
    tree, weights, intercept = None, (), 0.0
    if recipe.kind == "tree":
        count = len(answers) if classes else 0
        tree = grow(x[kept], said[kept], terms, count, recipe.depth, recipe.leaf, recipe.seed)
    elif classes:
        raise ParameterError("a linear surrogate of classes", "a number", "say which class: target=...")
    else:
        weights, intercept = _linear(x[kept], said[kept], terms, recipe.most)
    made = Surrogate(
        kind=recipe.kind,
        model=model,
        answers=tuple(answers),
        classes=classes,
        terms=terms,
        fidelity=Fidelity(explained=0.0, fitted=0.0, rows=0, held_out=0),
        seed=recipe.seed,
        tree=tree,
        weights=weights,
        intercept=intercept,
    )
    fidelity = _fidelity(made(rows[kept]), said[kept], made(rows[fresh]), said[fresh], classes)
    return replace(made, fidelity=fidelity)


def _split(count: int, held_out: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to fit, and rows held out, each in their order."""
    fresh = round(count * held_out)
    if min(fresh, count - fresh) < 2:
        raise InputError(f"{count} rows for a surrogate", "at least two to fit and two to hold out")
    order = torch.randperm(count, generator=generator(seed, "held out", count))
    return order[fresh:].sort().values, order[:fresh].sort().values


def _linear(x: Tensor, y: Tensor, terms: Sequence[Term], most: int) -> tuple[tuple[Weight, ...], float]:
    """Weights, the strongest first, and intercept of least squares on at most so many terms."""
    mean, std = x.mean(0), x.std(0, correction=0)
    varies = (std > 1e-12 * mean.abs().clamp_min(1e-300)).nonzero().flatten()
    z = (x - mean)[:, varies] / std[varies]
    one = torch.ones(len(x), dtype=torch.float64)
    picked = chosen("lasso_path", z, y, one, most) if len(varies) else varies
    if not len(picked):
        return (), float(y.mean())
    fit = ridge(z[:, picked], y[None], one, group=torch.arange(len(x)))
    place = varies[picked]
    order = fit.coef[0].abs().argsort(descending=True, stable=True)
    weights = tuple(
        Weight(
            term=terms[int(place[i])],
            per_unit=float(fit.coef[0, i] / std[place[i]]),
            per_std=float(fit.coef[0, i]),
            std_error=float(fit.std_error[0, i]),
        )
        for i in order.tolist()
    )
    return weights, float(fit.intercept[0] - (fit.coef[0] * mean[place] / std[place]).sum())


def _fidelity(on_kept: Tensor, kept: Tensor, on_fresh: Tensor, fresh: Tensor, classes: bool) -> Fidelity:
    if not classes:
        own, other = _r2(on_kept, kept), _r2(on_fresh, fresh)
        return Fidelity(explained=other, fitted=own, rows=len(kept), held_out=len(fresh))
    agreement, frequent = float((on_fresh == fresh).double().mean()), _frequent(fresh)
    return Fidelity(
        explained=_resolved(agreement, frequent),
        fitted=_resolved(float((on_kept == kept).double().mean()), _frequent(kept)),
        agreement=agreement,
        frequent=frequent,
        rows=len(kept),
        held_out=len(fresh),
    )


def _r2(got: Tensor, wanted: Tensor) -> float:
    """1 − Σ(s − ŝ)² / Σ(s − s̄)²; 1 where there is nothing to explain and nothing wrong."""
    left, varies = (wanted - got).square().sum(), (wanted - wanted.mean()).square().sum()
    scale = 1e-20 * wanted.square().sum()
    return 1.0 if left <= scale else float(1 - left / varies) if varies > scale else 0.0


def _frequent(classes: Tensor) -> float:
    return float(classes.bincount().max()) / len(classes)


def _resolved(agreement: float, frequent: float) -> float:
    return 1.0 if agreement == 1 else (agreement - frequent) / (1 - frequent) if frequent < 1 else 0.0
