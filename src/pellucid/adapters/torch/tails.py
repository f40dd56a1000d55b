"""Many edits inside one row: the row runs once up to the edited site, and goes on from there as many edited rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pellucid.adapters.torch.prepare import TOLERANCE, disagreement
from pellucid.adapters.torch.sites import Sites
from pellucid.adapters.torch.tape import Tail, Tape
from pellucid.core.ask import Edit, Lane, Rows, Where
from pellucid.core.site import Site
from pellucid.engine.run import out_of_memory

Forward = Callable[[Lane, Tensor, Tape], Tensor]
"""Scores of rows in a lane, while a tape is on."""


def may_tail(lane: Lane) -> bool:
    """Whether the lane only scores an edit, so that an edited site could be reached once for all edits of a row."""
    edit = lane.where.edit
    if edit is None or edit.source is not None or edit.site.layout == "attention" or lane.backward or lane.sites:
        return False
    return lane.where == Where(variant=lane.where.variant, edit=edit)


def scored(rows: Rows, lane: Lane, sites: Sites, forward: Forward, outputs: int) -> Tensor:
    """Raw outputs of all rows [count, outputs], every clean row having run once up to the site."""
    points, numbers = (rows.build(), rows.b) if rows.narrow is None else rows.narrow()
    out = points.new_zeros(rows.count, outputs)
    k = rows.k()
    for x, b in zip(points, numbers, strict=True):
        here = (rows.b == b).nonzero()[:, 0]
        if len(here):
            out[here] = forward(lane, x[None].clone(), Tape(sites, lane, rows, None, Tail(k[here], rows.b[here])))
    return out


def parted(site: Site, x: Tensor, sites: Sites, forward: Forward) -> tuple[str, int]:
    """What is wrong with two edits behind one row x, and how many rows were run to find out.

    Nothing is wrong when they give what each gives alone. An error that does not come again is none of the edits'.
    """
    lane = Lane(Where(edit=Edit(site, "tried", _dimmed)), gradient=False)
    k = torch.arange(2, device=x.device)
    rows = Rows(2, lambda: x, lambda: x, lambda: k, torch.zeros_like(k), lambda out, _: out, 0)

    def behind(few: Tensor) -> Tensor:
        return forward(lane, x.clone(), Tape(sites, lane, rows, None, Tail(few, torch.zeros_like(few))))

    try:
        two = behind(k)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        try:
            behind(k)
        except RuntimeError as again:
            if str(again) != str(error):
                raise
            return str(error).partition("\n")[0][:80], 2
        raise
    if len(two) != 2:
        return f"2 rows became {len(two)}", 1
    gap = disagreement(two, torch.cat([behind(k[:1]), behind(k[1:])]))
    return f"another answer by {gap:.2g}" if gap > TOLERANCE.get(x.dtype, 1e-4) else "", 3


def _dimmed(act: Tensor, k: Tensor, b: Tensor) -> Tensor:
    """The edit that is tried: one row as it is, one at half strength."""
    return act * (1 - 0.5 * k.to(act)).view(-1, *(1,) * (act.ndim - 1))
