"""Hide a window, look at the score, move on."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Can, Query, attribution, together
from pellucid.core.errors import InputError
from pellucid.core.explanation import HEIGHT, WIDTH, Kind
from pellucid.core.fold import Stack
from pellucid.core.method import method, param
from pellucid.core.points import Masked
from pellucid.ops.windows import pair, windows


@method(
    kind=Kind.CONTRIBUTION,
    cite="zeiler2014visualizing",
    needs=(Can.SCORE,),
    keeps={"dummy", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class Occlusion:
    """a_p = mean over windows W that contain p of s(x) − s(x with W hidden)    [Zeiler & Fergus 2014, §4.2]

    window  height and width of what is hidden; None is a seventh of the shorter side
    stride  steps between windows; None is half a window
    fill    what a hidden window shows, in pixel units
    """

    window: Any = param(default=None)
    stride: Any = param(default=None)
    fill: Any = param(default="gray")

    async def explain(self, q: Query) -> Attribution:
        if q.x.ndim != 4:
            raise InputError(f"rows of shape {tuple(q.x.shape[1:])}", "pictures [channel, height, width]")
        size = (q.x.shape[-2], q.x.shape[-1])
        window = pair(max(1, round(min(size) / 7)) if self.window is None else self.window, "window")
        stride = (max(1, window[0] // 2), max(1, window[1] // 2)) if self.stride is None else self.stride
        hidden, parts = windows(size, window, stride)
        clean, left = await together(q.score(), q.score(Masked(q.x, hidden, parts, q.baseline(self.fill)), Stack()))
        drop = clean[:, None] - left  # [target, windows, batch]
        cover = hidden.to(drop)
        mean = (drop.movedim(1, 2) @ cover) / cover.sum(0)
        return attribution(mean[..., parts.to(drop.device)], dims=(HEIGHT, WIDTH))
