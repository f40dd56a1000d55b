"""How a kind of explanation is drawn: one frozen value with its presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pellucid.core.errors import ParameterError, nearest
from pellucid.core.explanation import Kind
from pellucid.views.heat import Clip, Reduce, Resize
from pellucid.views.palette import palette


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How numbers become a picture. It never changes the numbers.

    reduce    what happens to the channels; a name of `pellucid.views.heat.REDUCTIONS`.
    clip      percentile of the magnitudes at which the strongest colour is reached; 100 is the largest magnitude.
              Below 100 because single pixels of a gradient are often far above all others.
    scale     `centred` (0 in the middle, same length on both sides), `zero` (from 0 to the largest) or
              `extrema` (from the smallest to the largest).
    palette   name of a palette; a diverging one needs `centred`, for its middle means 0.
    overlay   opacity of the strongest colour over the picture, 0..1; 0 draws the map alone.
    underlay  the picture under an overlay: `grey`, `pale` or `colour`; `revealed` colours nothing: the picture is seen
              as it is where the number is largest, and pale where it is 0.
    resize    `bilinear` or `nearest`, when the map is drawn larger than its grid.
    """

    reduce: str = "sum"
    clip: float = 100.0
    scale: Literal["centred", "zero", "extrema"] = "centred"
    palette: str = "PuOr9_r"
    overlay: float = 0.0
    underlay: Literal["grey", "pale", "colour", "revealed"] = "grey"
    resize: Literal["bilinear", "nearest"] = "bilinear"

    def __post_init__(self) -> None:
        _stages = Reduce(self.reduce), Clip(self.clip), Resize((1, 1), self.resize)  # each refuses what it cannot do
        _one_of("scale", self.scale, ("centred", "zero", "extrema"))
        _one_of("underlay", self.underlay, ("grey", "pale", "colour", "revealed"))
        if not 0 <= self.overlay <= 1:
            raise ParameterError(f"an overlay opacity of {self.overlay}", "0 ≤ overlay ≤ 1")
        if self.underlay == "revealed" and self.scale != "zero":
            raise ParameterError(f"underlay='revealed' with scale={self.scale!r}", "scale='zero': of 0 nothing is seen")
        if self.reduce == "rgb" and (self.scale != "zero" or self.overlay):
            raise ParameterError(
                f"reduce='rgb' with scale={self.scale!r} and overlay={self.overlay:g}",
                "scale='zero' and overlay=0: magnitudes as colours of their own",
            )
        if palette(self.palette).diverging and self.scale != "centred":
            raise ParameterError(
                f"the diverging palette {self.palette} on the scale {self.scale!r}, where its middle does not mean 0",
                "scale='centred', or a sequential palette",
            )


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ParameterError(f"{field}={value!r}", f"one of {', '.join(allowed)}")


LOOKS: Mapping[str, Look] = {
    "sensitivity": Look(reduce="norm", clip=99.5, scale="zero", palette="magma"),
    "contribution": Look(reduce="sum", clip=99.5, scale="centred", palette="PuOr9_r"),
    "cam": Look(reduce="sum", scale="zero", palette="magma", overlay=0.8),
    "signed_cam": Look(reduce="sum", scale="centred", palette="PuOr9_r", overlay=0.8),
    "spread": Look(reduce="sum", clip=99.5, scale="zero", palette="cividis"),
    "part": Look(reduce="sum", scale="zero", palette="magma", overlay=0.8, underlay="revealed"),
    "regions": Look(reduce="sum", scale="centred", palette="PuOr9_r", overlay=0.85, underlay="pale"),
    "grayscale": Look(reduce="sum_abs", clip=99.5, scale="zero", palette="gray"),
    "rgb": Look(reduce="rgb", clip=99.5, scale="zero", palette="gray"),
}
"""By name. The first ones are chosen by the kind of an explanation, `regions` for contributions of a picture's regions,
which cannot be told without the picture; `grayscale` and `rgb` only when asked for."""


def look_for(kind: Kind | str, *, signed: bool = False) -> Look:
    """The preset for a kind of explanation, or of that name.

    signed  whether the numbers have both signs; a class activation map without its ReLU, or a difference of variances,
            is then drawn with a diverging palette, so that what counts against is not drawn as nothing.
    Raises ParameterError with the nearest names.
    """
    name = kind.value if isinstance(kind, Kind) else kind
    if name not in LOOKS:
        close = nearest(name, LOOKS)
        raise ParameterError(f"there is no look {name!r}", f"one of {', '.join(LOOKS)}", close and f"perhaps {close}")
    if signed and name == "cam":
        return LOOKS["signed_cam"]
    return replace(LOOKS[name], scale="centred", palette="PuOr9_r") if signed and name == "spread" else LOOKS[name]
