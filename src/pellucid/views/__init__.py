"""Pictures of explanations: pure functions from numbers to colours and words."""

from pellucid.views.drawing import draw, shared_scale
from pellucid.views.figure import Figure
from pellucid.views.look import LOOKS, Look, look_for
from pellucid.views.palette import PALETTES, Palette, palette
from pellucid.views.panel import panel
from pellucid.views.picture import Picture
from pellucid.views.words import describe

__all__ = [
    "LOOKS",
    "PALETTES",
    "Figure",
    "Look",
    "Palette",
    "Picture",
    "describe",
    "draw",
    "look_for",
    "palette",
    "panel",
    "shared_scale",
]
