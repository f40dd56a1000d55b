"""Pictures of explanations: pure functions from numbers to colours and words."""

from pellucid.views.drawing import draw, shared_scale
from pellucid.views.look import LOOKS, Look, look_for
from pellucid.views.palette import PALETTES, Palette, palette
from pellucid.views.picture import Picture
from pellucid.views.words import describe

__all__ = [
    "LOOKS",
    "PALETTES",
    "Look",
    "Palette",
    "Picture",
    "describe",
    "draw",
    "look_for",
    "palette",
    "shared_scale",
]
