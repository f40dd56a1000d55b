"""Weighted ridge regression of several targets at once, with errors that need no model of the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

AT_ONCE = 1 << 22
"""Numbers held at once while errors are computed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A linear model for every target, float64.

    coef [target, feature], intercept [target], r2 [target] (weighted), std_error [target, feature].
    """

    coef: Tensor
    intercept: Tensor
    r2: Tensor
    std_error: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Predictions [target, rows] at x [rows, feature]."""
        return self.intercept[:, None] + self.coef @ x.double().mT


def fits(each: Sequence[Fit]) -> Fit:
    """The models of several targets as one."""
    names = ("coef", "intercept", "r2", "std_error")
    return Fit(**{name: torch.cat([getattr(fit, name) for fit in each]) for name in names})


def ridge(
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    strength: float = 0.0,
    group: Tensor | None = None,
    intercept: bool = True,
    stratum: Tensor | None = None,
    known: Tensor | None = None,
) -> Fit:
    """min over (c, β) of Σ_i w_i (y_i − c − x_i β)² + strength |β|²;  the intercept c is not penalised.

    One factorisation serves all targets. Where the rows do not determine β, it is the shortest of the best.

    x         [rows, feature]
    y         [target, rows]
    weight    [rows]
    strength  of the penalty, in units of the weights
    group     int [rows]: rows that were drawn together; −1 for rows that were not drawn. The standard errors are those
              of the jackknife that leaves out one group at a time; zero without groups or with a single one
    stratum   int [rows]: where groups were drawn in strata, a number for each; groups vary only within theirs
    known     [rows]: where strata were drawn without replacement, the part that was drawn; it varies no more
    """
    x, y, w = x.double(), y.double(), weight.double()
    xc, yc, x0, y0 = centred(x, y, w, intercept)
    inverse = inverted(xc, w, strength)
    coef = yc @ (w[:, None] * xc) @ inverse
    left = yc - coef @ xc.mT
    sets = _sets(group)
    if sets is None or len(sets) < 2:
        error = torch.zeros_like(coef)
    else:
        vary = _Strata.of(sets, stratum, known)
        if intercept:
            inverse = torch.block_diag(inverse, 1 / w.sum()[None, None])
            xc = torch.cat([xc, torch.ones_like(xc[:, :1])], 1)
        wide = sets.shape[1] > xc.shape[1]
        error = (_downdated if wide else _jackknife)(xc, left, w, inverse, sets, vary)
        if error is None:
            error = _refitted(x, y, w, strength, intercept, sets, vary)
        error = error[:, : x.shape[1]]
    return Fit(coef=coef, intercept=y0 - coef @ x0, r2=explained(y, left, w), std_error=error)


def centred(x: Tensor, y: Tensor, w: Tensor, intercept: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x and y without their weighted means, and the means; without an intercept as they are, and zeros.

    Where y does not vary beyond rounding nothing is left of it, so that nothing is fitted to rounding.
    """
    if not intercept:
        return x, y, torch.zeros_like(x[0]), torch.zeros_like(y[:, 0])
    x0, y0 = w @ x / w.sum(), y @ w / w.sum()
    left = y - y0[:, None]
    return x - x0, left.masked_fill(_same(y, left.square() @ w, w)[:, None], 0.0), x0, y0


def inverted(x: Tensor, w: Tensor, strength: float) -> Tensor:
    """(Xᵀ W X + strength)⁻¹; where the rows do not determine it, the inverse on what they do."""
    gram = x.mT @ (w[:, None] * x)
    return torch.linalg.pinv(gram + strength * torch.eye(len(gram), dtype=gram.dtype), hermitian=True)


def explained(y: Tensor, left: Tensor, w: Tensor) -> Tensor:
    """1 − Σ w e² / Σ w (y − ȳ)², [target]; 1 where nothing varies beyond rounding."""
    mean = y @ w / w.sum()
    varies = (y - mean[:, None]).square() @ w
    part = left.square() @ w / varies.clamp_min(torch.finfo(w.dtype).tiny)
    return torch.where(_same(y, varies, w), 1.0, 1 - part)


def _same(y: Tensor, varies: Tensor, w: Tensor) -> Tensor:
    """Whether Σ w (y − ȳ)² is that of rounding, [target]."""
    return varies <= (1e-12 * y.abs().amax(1)) ** 2 * w.sum()


def _jackknife(x: Tensor, left: Tensor, w: Tensor, inverse: Tensor, sets: Tensor, vary: _Strata) -> Tensor | None:
    """√((G − 1)/G Σ_g (β₋g − mean)²) of least squares, without fitting G times; [target, feature].

    β − β₋g = A⁻¹ X_gᵀ W_g (I − X_g A⁻¹ X_gᵀ W_g)⁻¹ e_g.   left: residuals e [target, rows]; inverse: A⁻¹; sets: rows
    of every group. None where the rows without some group do not determine β as all rows do.
    """
    if sets.shape[1] == 1:
        return _one_left_out(x, left, w, inverse, sets[:, 0], vary)
    root = w.sqrt()[sets] * (sets >= 0)  # [group, size]
    xg = x[sets] * root[..., None]
    rest = torch.eye(sets.shape[1], dtype=x.dtype) - xg @ inverse @ xg.mT
    factor, failed = torch.linalg.cholesky_ex(rest)
    if bool(failed.any()) or not bool((factor.diagonal(dim1=-2, dim2=-1) > 1e-5).all()):
        return None
    pull = inverse @ xg.mT @ torch.cholesky_inverse(factor)  # [group, feature, size]
    parts = left.split(max(1, AT_ONCE // (len(sets) * max(x.shape[1], sets.shape[1]))))
    return torch.cat([vary.spread(torch.einsum("gfs,tgs->gtf", pull, some[:, sets] * root)) for some in parts])


def _one_left_out(x: Tensor, left: Tensor, w: Tensor, inverse: Tensor, rows: Tensor, vary: _Strata) -> Tensor | None:
    """The same where every group is one row: β − β₋i = A⁻¹ x_i w_i e_i / (1 − w_i x_i A⁻¹ x_i)."""
    pull = x[rows] @ inverse
    rest = 1 - w[rows] * (pull * x[rows]).sum(1)
    if not bool((rest > 1e-10).all()):
        return None
    pull *= (w[rows] / rest)[:, None]
    parts = left.split(max(1, AT_ONCE // pull.numel()))
    return torch.cat([vary.spread(pull[:, None] * some[:, rows].mT[..., None]) for some in parts])


def _downdated(x: Tensor, left: Tensor, w: Tensor, inverse: Tensor, sets: Tensor, vary: _Strata) -> Tensor | None:
    """The same where groups have more rows than there are features: systems of features instead of rows.

    β₋g − β = −(A − X_gᵀ W_g X_g)⁻¹ X_gᵀ W_g e_g. Computed in units in which A is one.
    """
    factor, failed = torch.linalg.cholesky_ex(inverse)  # A⁻¹ = L Lᵀ: in the units Lᵀ x it is one
    if bool(failed):
        return None
    root = w.sqrt()[:, None]
    z = x @ factor * root  # [rows, feature]
    most = max(1, AT_ONCE // (sets.shape[1] * max(x.shape[1], len(left))))
    found: list[Tensor] = []
    for some in sets.split(most):
        there = (some >= 0).to(z)[..., None]
        zg, eg = z[some] * there, (left * root[:, 0])[:, some].movedim(0, -1) * there  # [group, size, …]
        rest = torch.eye(z.shape[1], dtype=z.dtype) - zg.mT @ zg
        lower, bad = torch.linalg.cholesky_ex(rest)
        if bool(bad.any()) or not bool((lower.diagonal(dim1=-2, dim2=-1) > 1e-5).all()):
            return None
        found.append((factor @ torch.cholesky_solve(zg.mT @ eg, lower)).mT)  # [group, target, feature]
    return vary.spread(torch.cat(found))


def _refitted(x: Tensor, y: Tensor, w: Tensor, strength: float, intercept: bool, sets: Tensor, vary: _Strata) -> Tensor:
    """The same by fitting G times: where a group is needed to determine β, its loss is felt in full."""
    found: list[Tensor] = []
    for one in sets:
        kept = torch.ones(len(w), dtype=torch.bool)
        kept[one[one >= 0]] = False
        xc, yc, _, _ = centred(x[kept], y[:, kept], w[kept], intercept)
        found.append(yc @ (w[kept, None] * xc) @ inverted(xc, w[kept], strength))
    return vary.spread(torch.stack(found))


@dataclass(frozen=True, slots=True, eq=False)
class _Strata:
    """Which groups could have been drawn in place of one another.

    stratum: int64 [group], 0 … ; free: [group], the part of the stratum that was not drawn.
    """

    stratum: Tensor
    free: Tensor

    @staticmethod
    def of(sets: Tensor, stratum: Tensor | None, known: Tensor | None) -> _Strata:
        first = sets[:, 0]
        one = torch.zeros_like(first) if stratum is None else torch.unique(stratum[first], return_inverse=True)[1]
        free = torch.ones(len(first), dtype=torch.float64)
        return _Strata(one, free if known is None else free - known[first])

    def spread(self, without: Tensor) -> Tensor:
        """From what is found without each group, [group, ...], to the standard error of what is found with all.

        √(((G − 1) / G)² Σ_h m / (m − 1) Σ_{g∈h} free_g (β₋g − mean_h)²), m the number of groups in stratum h; the
        usual (G − 1) / G where there is one stratum.
        """
        size = torch.bincount(self.stratum).double()
        total = without.new_zeros(len(size), *without.shape[1:]).index_add(0, self.stratum, without)
        off = without - (total / size.view(-1, *(1,) * (without.ndim - 1)))[self.stratum]
        count = len(without)
        times = self.free * (size / (size - 1).clamp_min(1))[self.stratum] * ((count - 1) / count) ** 2
        return torch.tensordot(times, off.square(), 1).sqrt()


def _sets(group: Tensor | None) -> Tensor | None:
    """The rows of every group, int64 [groups, largest size], −1 where a group is smaller."""
    if group is None or not bool((group >= 0).any()):
        return None
    rows = (group >= 0).nonzero().flatten()
    names, of, size = torch.unique(group[rows], return_inverse=True, return_counts=True)
    order = of.argsort(stable=True)
    place = torch.arange(len(rows)) - (size.cumsum(0) - size)[of[order]]
    sets = torch.full((len(names), int(size.max())), -1, dtype=torch.int64)
    sets[of[order], place] = rows[order]
    return sets
