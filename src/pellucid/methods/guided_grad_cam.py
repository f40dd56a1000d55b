"""Where, from Grad-CAM; what, from guided backpropagation."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Can, Query, Where, attribution, together
from pellucid.core.explanation import Kind
from pellucid.core.method import method, one_of, param
from pellucid.ops.checks import with_places
from pellucid.ops.resize import resize
from pellucid.propagation import Guided


@method(
    kind=Kind.CONTRIBUTION,
    title="Guided Grad-CAM",
    cite="selvaraju2017grad",
    needs=(Can.GRADIENT, Can.SITES, Can.RULES),
    family="guided",
)
class GuidedGradCAM:
    """a_i = R_i · L(i),  R guided backpropagation, L Grad-CAM at the input's size    [Selvaraju et al. 2017, §3.2]

    at        the layer of Grad-CAM; `auto` is the last one with height and width
    upsample  how the map is enlarged
    """

    at: Any = param(default="auto")
    upsample: str = one_of("bilinear", "nearest", default="bilinear")

    async def explain(self, q: Query) -> Attribution:
        signal, (act, grad) = await together(q.grad(where=Where(rule=Guided())), q.site(self.at))
        act = with_places(act, self.at)
        alpha = grad.mean((-2, -1), keepdim=True)
        cam = (alpha * act).sum(-3, keepdim=True).relu()
        size = (q.x.shape[-2], q.x.shape[-1])
        return attribution(signal * resize(cam, size, self.upsample))  # pyright: ignore[reportArgumentType]
