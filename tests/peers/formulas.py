"""Formulas of papers in NumPy, one sum after the other, for methods whose programs cannot be installed beside ours.

RISE, Sobol and HSIC attribution are in Xplique, which needs TensorFlow; the curves are those of RISE's authors.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def rise(masks: Numbers, scores: Numbers, share: float) -> Numbers:
    """Petsiuk et al. 2018, eq. 6:  S(p) = Σ_k s_k m_k(p) / (N p)."""
    total = np.zeros(masks.shape[1:])
    for m, s in zip(masks, scores, strict=True):
        total += s * m
    return total / (len(masks) * share)


def jansen(a: Numbers, b: Numbers, c: Numbers, first: bool) -> Numbers:
    """Jansen 1999; a, b [N], c [N, players], where player i of A comes from B.

    Total order E[(a − c_i)²] / 2V, first order 1 − E[(b − c_i)²] / 2V. V is the variance of both A and B; Xplique takes
    that of A alone, divided by N − 1.
    """
    both = np.concatenate([a, b])
    variance = ((both - both.mean()) ** 2).mean()
    found = []
    for i in range(c.shape[1]):
        part = sum((one - other) ** 2 for one, other in zip(b if first else a, c[:, i], strict=True)) / len(a)
        found.append(1 - part / (2 * variance) if first else part / (2 * variance))
    return np.array(found)


def hsic(z: NDArray[np.bool_], s: Numbers) -> Numbers:
    """Novello et al. 2022, eq. 6:  tr(K_i C L C) / (m − 1)², K_i = [z_i = z_i'], L a Gaussian of the scores.

    Its width is the median of the differences; Xplique takes that of the scores, which their unit's zero moves.
    """
    m = len(s)
    apart = np.abs(s[:, None] - s)
    width = np.sort(apart[apart > 0])[(np.count_nonzero(apart) - 1) // 2]
    alike = np.exp(-(apart**2) / (2 * width**2))
    centre = np.eye(m) - 1 / m
    same = [(z[:, i, None] == z[None, :, i]).astype(float) for i in range(z.shape[1])]
    return np.array([np.trace(k @ centre @ alike @ centre) / (m - 1) ** 2 for k in same])


def area(score: Callable[[Numbers], float], start: Numbers, end: Numbers, worth: Numbers, steps: int) -> float:
    """Petsiuk et al. 2018, algorithm 1: pictures [channel, height, width] from start to end, highest worth first."""
    order = np.argsort(-worth.ravel(), kind="stable")
    now, scores = start.copy(), []
    for k in range(steps + 1):
        some = order[: len(order) * k // steps]
        now.reshape(len(now), -1)[:, some] = end.reshape(len(end), -1)[:, some]
        scores.append(score(now))
    return float(sum((a + b) / 2 for a, b in pairwise(scores)) / steps)


def expected(tree: Any, x: Numbers, known: tuple[bool, ...], node: int = 0) -> float:
    """What a tree of scikit-learn says when only some columns are known: else both ways, by how many rows went there.

    The game of Lundberg et al. 2020, algorithm 1.
    """
    left, right = int(tree.children_left[node]), int(tree.children_right[node])
    if left < 0:
        return float(tree.value[node].ravel()[0])
    if known[tree.feature[node]]:
        way = left if np.float32(x[tree.feature[node]]) <= tree.threshold[node] else right
        return expected(tree, x, known, way)
    share = tree.n_node_samples[left] / tree.n_node_samples[node]
    return share * expected(tree, x, known, left) + (1 - share) * expected(tree, x, known, right)
