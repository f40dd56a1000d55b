"""How sensitive a transformer's answer is to its attention, layer by layer."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Edit, Query, Where, together
from pellucid.core.explanation import Kind
from pellucid.core.method import method
from pellucid.core.site import Site
from pellucid.ops.attention import HEADS, QUERIES, blocks, chained, placed, seen


@method(
    kind=Kind.CAM,
    title="LeGrad",
    cite="bousselham2024legrad",
    needs=(Can.GRADIENT, Can.SITES, Can.EDIT),
    family="transformer",
)
class LeGrad:
    """L = mean_l mean_hi relu(∂s_l / ∂A_l)_hij,  s_l = head(Z_l)    [Bousselham et al. 2024, §3]

    A_l is the attention of block l, with heads h, queries i and keys j; Z_l are the tokens that leave the block, read
    by the model's own last norm and head as if the later blocks were not there. One pass for each block; the last one
    is the model itself. Padding is neither query nor key.
    """

    async def explain(self, q: Query) -> Attribution:
        layers = chained(q)
        streams = blocks(q, layers)
        wheres = [Where(edit=early_exit(stream, streams[-1])) for stream in streams[:-1]] + [Where()]
        found = await together(*(q.site(a.site, where=where) for a, where in zip(layers, wheres, strict=True)))
        here = seen(found[-1][0]).to(q.x)
        maps = [(slope.relu().mean(HEADS) * here[..., None]).sum(QUERIES) for _, slope in found]
        return placed(torch.stack(maps).mean(0) * here / here.sum(-1, keepdim=True), layers[-1])


def early_exit(stream: Site, last: Site) -> Edit:
    """What left an earlier block in the place of what leaves the last one."""
    return Edit(last, "early exit", _as_it_is, source=stream)


def _as_it_is(tokens: Tensor, k: Tensor, b: Tensor) -> Tensor:
    return tokens
