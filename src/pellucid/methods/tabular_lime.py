"""A linear model of the score around a row of a table, among rows that are drawn as the table's columns vary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, attribution, together
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.fold import Stack
from pellucid.core.method import at_least, method, one_of, param
from pellucid.core.points import generator
from pellucid.ops.columns import DRAWS, Columns, Drawn
from pellucid.ops.designs import Design, uniform
from pellucid.ops.enough import Until, Worth, reached, taken
from pellucid.ops.games import fidelity, held_out
from pellucid.ops.ridge import Fit
from pellucid.ops.select import WAYS
from pellucid.ops.surrogates import Surrogate, among
from pellucid.preprocess.table import Table

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "euclidean": lambda z, one: (z - one).square().sum(1).sqrt(),
    "manhattan": lambda z, one: (z - one).abs().sum(1),
    "maximum": lambda z, one: (z - one).abs().amax(1),
    "cosine": lambda z, one: 1 - torch.nn.functional.cosine_similarity(z, one[None]),
}
"""How far rows [rows, column] are from one [column], in what the linear model sees of them."""


@method(
    kind=Kind.CONTRIBUTION,
    cite=("ribeiro2016should", "gower1971general"),
    needs=(Can.SCORE,),
    output="probability",
    family="perturbation",
)
class TabularLIME:
    """min over (c, β) of Σ_z π(z) (s(z) − c − z·β)² + ridge |β|²    [Ribeiro et al. 2016, eq. 1-2]

    z says which columns have the row's own category or are in its own bin; of numbers that are not binned it is the
    number itself. π(z) = √exp(−D² / width²), D the distance from the row. extras: intercept, prediction (that of the
    linear model for the row), and bins, where each column's bin begins and ends. checks["r2"] is the weighted R² of the
    linear model. Categories are drawn as often as they are in the training table; dates, and columns that do not vary,
    stay as they are and have no weight; what is missing is a bin of its own.

    That is the `lime` of Python. The one of R is draw="uniform", distance="gower", penalty="glmnet", and where numbers
    are not binned (bins=0), draw="density" and unit="value". Then π(z) = 1 − D^power, with D Gower's distance, and
    λ = 2 ridge / (samples + 1) on features and scores of unit variance; see `pellucid.ops.glmnet`.

    samples   rows that are drawn; the row itself comes on top
    bins      bins of a column of numbers: 4 are quartiles, 10 deciles; 0 compares numbers as they are
    quantiles bins with equally many rows of the table; False makes bins of equal width
    draw      how numbers are drawn: `normal`, with mean and deviation of the bin, or without bins of the column;
              `uniform` within the bin; `density`, without bins, by a kernel density; `around`, without bins, normal
              around the row with the deviation of the column; `auto` is `normal`
    distance  `euclidean`, `manhattan`, `maximum` or `cosine`, of z in deviations; `gower` of the rows as they are
    width     of the exponential kernel; None takes 0.75 √columns, and for `gower` no such kernel but 1 − D^power
    power     of Gower's distance
    ridge     strength of the penalty; 1 is that of Python's and of R's lime
    penalty   what it is a penalty on: `ridge`, the squares of the weights as they are, or `glmnet`, see above
    unit      of numbers that are not binned: weights per standard deviation (`std`), as in Python's lime, or per one
              (`value`), as in R's
    features  how many columns may have a weight, chosen for every target; None for all
    select    how they are chosen: `auto` selects forward up to six, beyond takes the highest weights
    design    `coin` draws at random; `paired` takes every quantile with its mirror image, `sobol` spreads them evenly
    tolerance None, or the largest standard error, relative to the largest value; samples are added until then …
    until_top    None, or k; … or until the k columns that count most, either way, are told from all others …
    max_samples  … or until there are this many
    table     the training table; None takes the one that the model was wrapped with
    """

    samples: int = at_least(4, default=5000)
    bins: int = at_least(0, default=4)
    quantiles: bool = param(default=True)
    draw: str = one_of("auto", *DRAWS, default="auto")
    distance: str = one_of(*DISTANCES, "gower", default="euclidean")
    width: float | None = at_least(0.0, default=None, above=True)
    power: float = at_least(0.0, default=1.0, above=True)
    ridge: float = at_least(0.0, default=1.0)
    penalty: str = one_of("ridge", "glmnet", default="ridge")
    unit: str = one_of("std", "value", default="std")
    features: int | None = at_least(1, default=None)
    select: str = one_of(*WAYS, default="auto")
    design: str = one_of("coin", "paired", "sobol", default="coin")
    tolerance: float | None = at_least(0.0, default=None, above=True)
    until_top: int | None = at_least(1, default=None)
    max_samples: int = at_least(4, default=100_000)
    table: Any = param(default=None)
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        columns = self._columns(q)
        x = q.clean.double().cpu()
        if bool((x.isnan() & ~(columns.coded | columns.binned | columns.kept)).any()):
            raise InputError("rows with missing numbers for tabular_lime without bins", "numbers", "bins=4")
        until = Until.of(self)
        design = self._design(len(columns.mean), self.samples, self.seed)
        points = Drawn.of(columns, q.clean, design.shown)
        at_x, drawn = await together(q.score(), q.score(points, Stack()))
        scores = _cpu(torch.cat([at_x[:, None], drawn], 1))  # [target, rows, batch]
        around = _Around(columns, replace(points, x=x))
        fits = self._fits(around, design.group, scores)
        for seed in range(self.seed + 1, self.seed + 1 + until.rounds):
            more = until.more(len(design.shown), [Worth.of(fit) for fit, *_ in fits])
            if not more:
                break
            again = self._design(len(columns.mean), more, seed)
            points = Drawn.of(columns, q.clean, again.shown)
            drawn = await q.score(points, Stack())
            design, scores = design.joined(again), torch.cat([scores, _cpu(drawn)], 1)
            around = around.joined(points)
            fits = self._fits(around, design.group, scores)
        return self._told(q, around, fits, taken([len(design.shown) * bool(until.rounds)] * len(fits), len(scores)))

    def _columns(self, q: Query) -> Columns:
        """How the columns of the training table vary. Raises InputError where there is none."""
        draw = "normal" if self.draw == "auto" else self.draw
        if self.bins == 1:
            raise ParameterError("tabular_lime.bins = 1", "2 or more, or 0 for none", "all numbers would be in one bin")
        fits = draw in (("normal", "uniform") if self.bins else ("normal", "density", "around"))
        if not fits:
            wanted = "normal or uniform" if self.bins else "normal, density or around"
            raise ParameterError(f"tabular_lime.draw = {draw!r} and bins = {self.bins}", wanted)
        binned = (self.bins or None, self.quantiles, draw)
        if isinstance(q.front, Table) and self.table is None:
            return _varying(q.front.varying(*binned))
        if isinstance(q.front, Table):
            types, table = [column.type for column in q.front.columns], q.front.rows_of(self.table)[0]
        elif self.table is None or q.clean.ndim != 2 or not q.clean.is_floating_point():
            raise InputError(
                f"rows of shape {tuple(q.clean.shape[1:])} without a table",
                "a model that was wrapped with its training table, or tabular_lime with a table of such rows",
                "pellucid.wrap(model, frame)",
            )
        else:
            table = torch.as_tensor(self.table)
            types = ["numeric"] * q.clean.shape[1]
        if table.ndim != 2 or table.shape[1] != len(types) or not len(table):
            raise ParameterError(f"a table of shape {tuple(table.shape)}", f"rows of {len(types)} numbers")
        return _varying(Columns.of(table, types, *binned))

    def _design(self, columns: int, samples: int, seed: int) -> Design:
        """Shares at which every column's quantile is taken, [samples, columns]."""
        if self.design == "sobol":
            return uniform(columns, samples, seed)
        pairs = self.design == "paired"
        draws = (samples + 1) // 2 if pairs else samples
        u = torch.rand(draws, columns, generator=generator(seed, "table", columns, draws), dtype=torch.float64)
        u = torch.stack([u, 1 - u], 1).flatten(0, 1)[:samples] if pairs else u
        group = torch.arange(samples) // (2 if pairs else 1)
        return Design(shown=u, weight=torch.ones(samples, dtype=torch.float64), group=group)

    # -- the linear model --------------------------------------------------------------------------------------------

    def _fits(self, around: _Around, drawn: Tensor, scores: Tensor) -> list[tuple[Fit, Tensor, Tensor]]:
        """The linear model of every row, and its prediction there, [target]; drawn: the group of every draw."""
        group = torch.cat([drawn.new_tensor([-1]), drawn])
        each = range(len(around.points.x))
        return [self._fit(around.columns, around.rows(b), scores[..., b], group) for b in each]

    def _fit(self, columns: Columns, values: Tensor, scores: Tensor, group: Tensor) -> tuple[Fit, Tensor, Tensor]:
        """values: [rows, column], the first being the one explained; scores: [target, rows]; group: as in `ridge`."""
        z = columns.presence(values, values[0])
        near = self._near(columns, values, z)
        if float(near[1:].max()) < 1e-12:
            raise InputError("rows that are all too far to count", "a wider kernel", f"width={2 * sqrt(z.shape[1]):g}")
        if self.unit == "value":
            z = torch.where(columns.coded | columns.binned | columns.kept, z, values)
        ways = Surrogate(strength=self.ridge, penalty=self.penalty, features=self.features, select=self.select)
        varies = (z != z[0]).any(0).nonzero().flatten()
        fit = among(z.shape[1], varies, ways.fit(z[:, varies], scores, near, group))
        return fit, fit(z[:1])[:, 0], ways.held_out(z[:, varies], scores, near)

    def _near(self, columns: Columns, values: Tensor, z: Tensor) -> Tensor:
        """How much every row counts; the first is the one explained."""
        if self.distance == "gower":
            far = columns.gower(values, values[0]) ** self.power
            if self.width is None:
                return 1 - far
        else:
            far = DISTANCES[self.distance](z, z[0])
        width = 0.75 * sqrt(z.shape[1]) if self.width is None else self.width
        return torch.exp(-far.square() / width**2).sqrt()

    def _told(
        self, q: Query, around: _Around, fits: list[tuple[Fit, Tensor, Tensor]], drawn: dict[str, Tensor]
    ) -> Attribution:
        each = [fit for fit, *_ in fits]
        checks = [
            fidelity([fit.r2 for fit in each]),
            held_out([unseen for *_, unseen in fits]),
            *reached([Worth.of(fit) for fit in each], Until.of(self)),
        ]
        bins = torch.stack([around.columns.borders(row) for row in around.points.x]).to(q.x)
        extras = {
            "intercept": torch.stack([fit.intercept for fit in each], 1).to(q.x),
            "prediction": torch.stack([there for _, there, _ in fits], 1).to(q.x),
            **({"bins": bins.expand(len(each[0].coef), *bins.shape)} if self.bins else {}),
            **drawn,
        }
        return attribution(
            torch.stack([fit.coef for fit in each], 1).to(q.x),
            dims=("feature",),
            std_error=torch.stack([fit.std_error for fit in each], 1).to(q.x),
            checks=checks,
            extras=extras,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Around:
    """What is drawn around rows, float64 [batch, column]: what the model is asked about."""

    columns: Columns
    points: Drawn

    def rows(self, b: int) -> Tensor:
        """Row b, and those drawn around it, float64 [1 + draws, column]."""
        return torch.cat([self.points.x[b : b + 1], self.points.rows(0, self.points.count, b, b + 1)])

    def joined(self, more: Drawn) -> _Around:
        """The same, and what was drawn later."""
        return replace(self, points=replace(self.points, drawn=torch.cat([self.points.drawn, more.drawn])))


def _varying(columns: Columns) -> Columns:
    """The columns, if there is anything to draw. Raises InputError where none varies."""
    if bool(columns.kept.all()):
        raise InputError("a table in which no column varies", "the rows that the model was trained on")
    return columns


def _cpu(scores: Tensor) -> Tensor:
    return scores.detach().double().cpu()
