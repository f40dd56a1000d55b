"""Where the tokens of a vision transformer are a set: behind their positions, before the first attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

import torch
from torch import Tensor

from pellucid.adapters.torch.prepare import disagreement
from pellucid.adapters.torch.sites import Sites
from pellucid.adapters.torch.tails import Forward
from pellucid.adapters.torch.tape import Tape
from pellucid.core.ask import PLAIN, Edit, Lane, Rows, Where
from pellucid.core.errors import SiteError
from pellucid.core.points import generator
from pellucid.core.site import Attention, Site
from pellucid.engine.run import out_of_memory

CLOSE = {torch.float32: 2e-5, torch.float64: 1e-10}
"""How far scores may be apart when only the order of the tokens has changed."""


def stream(sites: Sites, attentions: Sequence[Attention]) -> Site:
    """The last layer before the first attention that gives all tokens. Raises SiteError where there is none."""
    if not attentions:
        raise _refused("the model computes no attention")
    names = [attention.site.name for attention in attentions]
    order = list(sites.facts.order)
    first = next(i for i, (name, _) in enumerate(order) if name == names[0])
    before = set(order[:first])
    inside = _block(names)
    found = [
        site
        for site, _ in sites.candidates()
        if (site.name, site.call or 0) in before
        and not f"{site.name}.".startswith(f"{inside}.")
        and sites.plan(site).kind == "tokens"
    ]
    if not found:
        raise _refused("no layer gives a row of tokens before the first attention")
    return found[-1]


def _block(names: Sequence[str]) -> str:
    """The block of the first attention: what its name does not share with the others', and one step of it."""
    first, others = names[0].split("."), [name.split(".") for name in names[1:] if name != names[0]]
    if not others:
        return ".".join(first[:-1])
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(first, others[0], strict=False))))
    return ".".join(first[: shared + 1])


def trouble(site: Site, row: Tensor, sites: Sites, forward: Forward) -> tuple[str, int]:
    """Why tokens cannot be taken out at a site, "" where they can, and how many rows were run to find out.

    Tokens that carry their positions, and are looked at by attention alone, may come in any order. Windows, pooling,
    and positions that are added later show there. And the model has to run with half of them.
    """
    draw = generator(0, "stream")
    x = torch.randn(row.shape, generator=draw, dtype=torch.float32).to(row)
    zero = torch.zeros(1, dtype=torch.int64, device=row.device)

    def run(change: Callable[[Tensor], Tensor] | None) -> Tensor:
        edit = None if change is None else Edit(site, "tried", lambda act, k, b: change(act))
        lane = Lane(PLAIN if edit is None else Where(edit=edit), False)
        rows = Rows(1, lambda: x, lambda: x, lambda: zero, zero, lambda out, _: out, 0)
        return forward(lane, x.clone(), Tape(sites, lane, rows, None))

    def shuffled(act: Tensor) -> Tensor:
        flat = act.flatten(2)
        return flat[..., torch.randperm(flat.shape[2], generator=draw).to(act.device)].view_as(act)

    def halved(act: Tensor) -> Tensor:
        return act.flatten(2)[..., ::2, None]

    with torch.inference_mode():
        gap = disagreement(run(shuffled), run(None))
        if gap > CLOSE.get(row.dtype, 1e-3):
            return f"their order matters behind {site} (another answer by {gap:.2g})", 2
        try:
            run(halved)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            return f"it does not run with fewer tokens ({str(error).partition(chr(10))[0][:80]})", 3
    return "", 3


def _refused(why: str) -> SiteError:
    return SiteError(
        f"tokens to be taken out: {why}",
        "a vision transformer whose tokens carry their positions and meet in attention alone",
        "another fill, as fill='region_mean'",
    )


def refused(name: str, why: str) -> SiteError:
    """The error for a model of which tokens cannot be taken out."""
    return _refused(f"of {name} they cannot be: {why}")
