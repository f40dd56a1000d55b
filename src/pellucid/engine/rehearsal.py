"""A session that answers without running the model: what a plan is made with.

The engine and the methods run as always, so that what is counted is what would be done. Answers are zeros, with which
adaptive methods stop at once, or noise, with which they go on to their limit: the two give the range.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from pellucid.core.ask import Answer, Lane, Rows, Session
from pellucid.core.points import generator
from pellucid.core.site import Attention, Site, Stream


class Rehearsal:
    """Stands in for a session; also adds up the time that each run would take."""

    def __init__(self, session: Session, x: Tensor, noise: bool) -> None:
        self.session, self.x, self.noise = session, session.enter(x), noise
        self.emits, self.outputs, self.labels, self.card = session.emits, session.outputs, session.labels, session.card
        self.decisions, self.verification = session.decisions, 0
        self.time = 0.0
        self.peak = 0
        self._draw = generator(0, "rehearsal")

    def enter(self, x: Tensor) -> Tensor:
        return self.session.enter(x)

    def site(self, site: Site) -> Site:
        return self.session.site(site)

    def site_shape(self, site: Site) -> tuple[int, ...]:
        return self.session.site_shape(site)

    def rows(self, lane: Lane, graded: int, many: int = 0) -> int:
        return self.session.rows(lane, graded, many)

    def bytes(self, lane: Lane) -> int:
        return self.session.bytes(lane)

    def seconds(self, lane: Lane, graded: int, tail: bool = False) -> float:
        return self.session.seconds(lane, graded, tail)

    def whole(self, rows: Rows, lane: Lane) -> int:
        return self.session.whole(rows, lane)

    def replaying(self, lanes: Sequence[Lane]) -> AbstractContextManager[bool]:
        return self.session.replaying(lanes)

    @property
    def layers(self) -> tuple[Site, ...]:
        return self.session.layers

    @property
    def every_layer(self) -> tuple[Site, ...]:
        return self.session.every_layer

    @property
    def attentions(self) -> tuple[Attention, ...]:
        return self.session.attentions

    @property
    def stream(self) -> Stream:
        return self.session.stream

    @property
    def weighted(self) -> tuple[str, ...]:
        return self.session.weighted

    @property
    def doubles(self) -> bool:
        """Taken for granted: to find out, the model would have to run."""
        return True

    def expect(self, lane: Lane, rows: Rows, many: int) -> None:
        """Nothing is run."""

    def run(self, rows: Rows, lane: Lane) -> Answer:
        """Shapes as the model would give them; the rows are not even built."""
        n, t = rows.count, rows.graded
        whole = self.whole(rows, lane)
        behind = lane.where.edit is not None and whole != n
        tails = n if behind else max(0, n - whole)
        self.time += (whole if behind else max(n, whole)) * self.seconds(lane, t)
        self.time += n * self.seconds(lane, t, True) if behind else 0.0
        self.peak = max(self.peak, n * self.bytes(lane))
        inside = {s: self._fake(n, *self.site_shape(s)) for s in lane.sites}
        outputs = self._fake(n, self.outputs)
        row = self.x.shape[1:] if lane.where.into is None else self.site_shape(lane.where.into)
        return Answer(
            outputs,
            rows.objective(outputs, inside),
            self._fake(t, n, *row, apart=3) if lane.gradient else None,
            inside,
            {s: self._fake(t, n, *self.site_shape(s), apart=3) for s in lane.slopes},
            None if whole == n else whole,
            None if rows.beside is None else rows.beside(self._fake(n, self.outputs), inside),
            tails,
        )

    def _fake(self, *shape: int, apart: int = 2) -> Tensor:
        """Zeros, or noise that differs along the first `apart` axes: rows and, where there are targets, channels."""
        if self.noise:
            head = torch.randn(shape[:apart], generator=self._draw, dtype=self.x.dtype).to(self.x.device)
            return head.view(*shape[:apart], *(1,) * (len(shape) - apart)).expand(shape)
        return self.x.new_zeros(()).expand(shape)
