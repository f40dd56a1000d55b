"""Relevance through chosen channels of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Edit, Query, Where, attribution
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.fold import Stack
from pellucid.core.method import at_least, method, one_of, param
from pellucid.core.points import Same
from pellucid.core.site import Site, as_site
from pellucid.propagation import Composite
from pellucid.propagation.lrp.presets import composite

NEEDS = (Can.GRADIENT, Can.RULES, Can.SITES, Can.EDIT)


@method(
    kind=Kind.CONTRIBUTION,
    title="CRP",
    cite=("achtibat2023attribution", "bach2015pixel"),
    needs=NEEDS,
    family="propagation",
)
class CRP:
    """The relevance that flows through one channel of a layer at a time    [concept relevance: Achtibat et al. 2023]

    LRP runs down to the layer, all channels but one are set to zero there, and what is left goes on to the input. The
    values are the sum over the channels chosen; extras["concepts"] has the map of each, extras["channels"] their
    numbers, and extras["channel_relevance"] what flows through them, [target, batch, channels, ...] all.

    at         the layer whose channels are the concepts, or whose units are, for one without places; `auto` is the last
               one with height and width
    concepts   their numbers; () chooses the `top` most relevant of every row and target
    top        how many, when `concepts` says nothing
    composite, epsilon, gamma, unknown  as in LRP
    """

    composite: Any = param(default="epsilon_plus_flat")
    at: Any = param(default="auto")
    concepts: Any = param(default=())
    top: int = at_least(1, default=5)
    epsilon: float | None = at_least(0.0, default=None)
    gamma: float | None = at_least(0.0, default=None)
    unknown: str = one_of("error", "gradient", default="error")

    def rules(self, q: Query) -> Composite:
        """As in LRP."""
        return composite(self.composite, q.baseline, self.unknown, epsilon=self.epsilon, gamma=self.gamma)

    async def explain(self, q: Query) -> Attribution:
        site, rules = self._site(q), self.rules(q)
        _, relevance = await q.site(site, where=Where(rule=rules))
        flowing = relevance.flatten(3).sum(3) if relevance.ndim > 3 else relevance  # [target, batch, channel]
        chosen = self._chosen(flowing)
        asked = _union(chosen)
        only = Edit(site, ("channel", asked), lambda signal, k, b: _kept(signal, asked, k, b))
        maps = await q.grad(Same(q.x, len(asked)), Stack(), Where(rule=rules, signal=only))
        concepts = _picked(maps, asked, chosen)
        extras = {"concepts": concepts, "channels": chosen, "channel_relevance": flowing.gather(2, chosen)}
        return attribution(concepts.sum(2), extras=extras)

    def _site(self, q: Query) -> Site:
        """The layer; where rows are tokens its channels are the last axis, and not the tokens."""
        site = as_site(self.at)
        texts = q.clean is not q.x and site.name != "auto" and site.layout == "auto"
        return replace(site, layout="channels_last") if texts else site

    def _chosen(self, flowing: Tensor) -> Tensor:
        """Numbers of channels, int64 [target, batch, n]."""
        many = flowing.shape[2]
        given = self.concepts if isinstance(self.concepts, (tuple, list)) else (self.concepts,)
        if not given:
            return flowing.argsort(dim=2, descending=True, stable=True)[..., : self.top].contiguous()
        whole = all(isinstance(c, int) and not isinstance(c, bool) and 0 <= c < many for c in given)
        if not whole or len(set(given)) < len(given):
            wanted = f"whole numbers from 0 to {many - 1}, each once"
            raise ParameterError(f"concepts={self.concepts} at layer {self.at}", wanted)
        return torch.tensor(given, device=flowing.device).expand(*flowing.shape[:2], -1).contiguous()


Table = tuple[tuple[int, ...], ...]
"""Numbers of channels: one line per point, one column per clean row."""


def _union(chosen: Tensor) -> Table:
    """Every channel that some target wants of a row; short columns are filled with their first one."""
    columns: list[Sequence[int]] = [chosen[:, b].unique().tolist() for b in range(chosen.shape[1])]
    many = max(len(column) for column in columns)
    return tuple(tuple(c[k] if k < len(c) else c[0] for c in columns) for k in range(many))


def _kept(signal: Tensor, asked: Table, k: Tensor, b: Tensor) -> Tensor:
    """The signal [rows, channel, ...] in one channel per row, zero in the others."""
    channel = torch.tensor(asked, device=signal.device)[k.to(signal.device), b.to(signal.device)]
    mask = torch.nn.functional.one_hot(channel, signal.shape[1]).to(signal.dtype)
    return signal * mask.view(*mask.shape, *(1,) * (signal.ndim - 2))


def _picked(maps: Tensor, asked: Table, chosen: Tensor) -> Tensor:
    """[target, points, batch, ...] to [target, batch, n, ...], in the order chosen."""
    table = torch.tensor(asked, device=chosen.device)  # [points, batch]
    point = (table[:, None, :, None] == chosen[None]).to(torch.int8).argmax(0)  # [target, batch, n]
    at = point.movedim(2, 1)  # [target, n, batch]
    index = at.view(*at.shape, *(1,) * (maps.ndim - 3)).expand(*at.shape, *maps.shape[3:])
    return maps.gather(1, index).movedim(1, 2)
