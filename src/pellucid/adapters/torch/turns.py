"""Variants of a model that take turns at the same rows: one pass is recorded, and the others begin inside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.adapters.torch.replay import Course, Names, Recording, Start, Weights
from pellucid.core.ask import DOUBLE, Lane, Rows, Where
from pellucid.propagation import Intercept
from pellucid.propagation.gates import UNNAMED


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One pass: its rows, the points that it is explained at, what entered, and where others may begin."""

    rows: Tensor
    numbers: Tensor
    leaf: Tensor
    entering: Tensor
    listening: Intercept | None
    starts: Mapping[Lane, Start]

    def of(self, rows: Rows) -> bool:
        """Whether these are its rows."""
        return torch.equal(self.numbers, rows.b) and torch.equal(self.rows, rows.build())


class Turns:
    """Lanes that differ in their variant alone. The first is recorded; all others begin in its pass, where they may.

    cuts  the weight before the first reading of which a lane begins; lanes that run whole are missing
    """

    def __init__(self, lanes: Sequence[Lane], cuts: Mapping[Lane, str]) -> None:
        self.lanes, self.cuts = lanes, cuts
        self.record: Record | None = None
        self.full = False
        """Whether there was no memory for a record: then all run whole."""

    def begins(self, lane: Lane) -> bool:
        """Whether a lane is to begin inside another's pass."""
        return lane in self.cuts and not self.full

    def start(self, lane: Lane, rows: Rows) -> tuple[Record, Start] | None:
        """The pass in which a lane begins, and where."""
        record = self.record if self.begins(lane) else None
        start = None if record is None else record.starts.get(lane)
        return None if record is None or start is None or not record.of(rows) else (record, start)

    def recording(self, lane: Lane, net: nn.Module, entering: Tensor, listening: Intercept | None) -> Recording | None:
        """To be run under, by the first lane."""
        self.record = None
        if self.full or lane != self.lanes[0]:
            return None
        may = (lambda: True) if listening is None else (lambda: listening.settled)
        return Recording(Weights(net), [entering], self.cuts.values(), may)

    def keep(
        self,
        made: Recording,
        rows: Rows,
        points: tuple[Tensor, Tensor],
        listening: Intercept | None,
        net: Callable[[Lane], nn.Module],
    ) -> None:
        """Keep a pass for those who may begin in it: no weight that they have changed is read before they begin."""
        starts: dict[Lane, Start] = {}
        for lane, name in self.cuts.items():
            changed = made.weights.changed(Weights(net(lane)))
            if name in made.starts and made.course.fits(made.starts[name][0], changed):
                starts[lane] = made.starts[name][1]
        leaf, entering = points
        self.record = Record(rows.build().clone(), rows.b, leaf, entering, listening, starts) if starts else None

    def done(self, lane: Lane) -> None:
        """The last lane has had these rows."""
        if lane == self.lanes[-1]:
            self.record = None


def may_begin_inside(lane: Lane) -> bool:
    """Whether no edit has a say in a pass of this lane, and no rule that looks at more than the operator it serves."""
    where, variant = lane.where, lane.where.variant
    known = variant is not None and variant != DOUBLE and not variant.shift and variant.modules is not None
    rule: Any = where.rule
    plain = rule is None or (rule.manner == UNNAMED and not getattr(rule, "counts", False))
    return known and plain and where == Where(variant=variant, rule=rule)


def cuts(course: Course, lanes: Sequence[Lane], twin: nn.Module) -> dict[Lane, str]:
    """For every lane but the first, the weight before the first reading of which it begins; only where that pays."""
    changed = {lane: _named(lane, twin) for lane in lanes}
    found: dict[Lane, str] = {}
    for lane in lanes[1:]:
        at = course.cut(changed[lanes[0]] | changed[lane])
        if at is not None:
            found[lane] = min(course.reads[at])
    return found


def _named(lane: Lane, twin: nn.Module) -> Names:
    """The weights that a lane's variant may have changed."""
    modules = lane.where.variant.modules if lane.where.variant is not None else None
    every = [*twin.named_parameters(remove_duplicate=False), *twin.named_buffers(remove_duplicate=False)]
    return frozenset(
        name for name, t in every if t.is_floating_point() and (modules is None or name.rpartition(".")[0] in modules)
    )
