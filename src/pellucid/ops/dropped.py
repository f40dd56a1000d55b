"""Games of a vision transformer's tokens: who is hidden is taken out, and nothing stands in its place."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from pellucid.core.ask import Ask, Edit, Query, Where, together
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.fold import Stack
from pellucid.core.points import Same
from pellucid.core.site import Stream
from pellucid.ops.designs import distinct


def patches(stream: Stream, height: int, width: int) -> Tensor:
    """The number of every pixel's patch, int64 [height, width]."""
    down, across = stream.grid
    y, x = torch.arange(height) * down // height, torch.arange(width) * across // width
    return y[:, None] * across + x


def players_of(labels: Tensor, stream: Stream) -> Tensor:
    """The player of every token, int64 [tokens], from those of pixels [batch, height, width].

    Raises ParameterError for regions that are not made of whole patches, or differ from row to row.
    """
    patch = patches(stream, *labels.shape[1:]).to(labels.device).flatten()
    flat, many = labels.flatten(1), stream.grid[0] * stream.grid[1]
    first = flat.new_zeros(many).scatter(0, patch.flip(0), flat[0].flip(0))
    if not bool((flat == first[patch]).all()):
        raise ParameterError(
            "regions that cut through patches, or differ between photos, with fill='drop'",
            "regions of whole patches",
            f"regions='cells({stream.grid[0]}, {stream.grid[1]})', a player for every patch",
        )
    return first.cpu()


async def scores_without(q: Query, stream: Stream, player: Tensor, shown: Sequence[Tensor]) -> list[Tensor]:
    """The scores of coalitions of tokens, float64 [target, coalitions] of every picture on the CPU.

    Coalitions that leave equally many tokens run together. player: of every token; shown: as `Game.scores` has it.
    Raises InputError where the model has no score, as of no tokens at all.
    """
    if any(one.dtype != torch.bool for one in shown):
        raise ParameterError("fill='drop' with players that are there in part", "a fill that can be mixed with a photo")
    alike = all(one is shown[0] for one in shown)
    every, number = distinct(torch.cat([shown[0]] if alike else list(shown)))
    kept = every[:, player]  # [coalitions, tokens]
    sizes = kept.sum(1)
    groups = [(sizes == n).nonzero()[:, 0] for n in sizes.unique().tolist()]
    answers = await together(*(_ask(q, stream, kept[some]) for some in groups))
    scores = torch.cat([one.detach().double().cpu() for one in answers], 1)[:, torch.cat(groups).argsort()]
    if not bool(scores.isfinite().all()):
        raise InputError(
            "a model that has no score where tokens are missing, such as the mean of none",
            "one that reads its class token",
            "another fill, as fill='region_mean'",
        )
    parts = [number] * len(shown) if alike else list(number.split([len(one) for one in shown]))
    return [scores[:, part, b] for b, part in enumerate(parts)]


def _ask(q: Query, stream: Stream, kept: Tensor) -> Ask[Tensor]:
    """What is said where these tokens are kept, bool [coalitions, tokens], equally many of every coalition."""
    index = kept.nonzero()[:, 1].view(len(kept), -1)
    name = ("drop", blake2b(kept.numpy().tobytes(), digest_size=16).digest(), tuple(kept.shape))

    def change(act: Tensor, k: Tensor, b: Tensor) -> Tensor:
        flat = act.flatten(2)  # [rows, channel, tokens]
        mine = index.to(act.device)[k][:, None].expand(-1, flat.shape[1], -1)
        return flat.gather(2, mine)[..., None]

    return q.score(Same(q.x, len(kept)), Stack(), Where(edit=Edit(stream.site, name, change)))
