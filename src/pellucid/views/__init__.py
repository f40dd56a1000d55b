"""Pictures of explanations: pure functions from numbers to colours and words.

Importing this package lets explanations show themselves in notebooks.
"""

from pellucid.core.explanation import show_with
from pellucid.views.drawing import draw, shared_scale
from pellucid.views.figure import Figure
from pellucid.views.files import save_maps
from pellucid.views.look import LOOKS, Look, look_for
from pellucid.views.notebook import mime_bundle
from pellucid.views.palette import PALETTES, Palette, palette
from pellucid.views.panel import panel
from pellucid.views.picture import Picture
from pellucid.views.surrogate import surrogate
from pellucid.views.tokens import tokens
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
    "mime_bundle",
    "palette",
    "panel",
    "save_maps",
    "shared_scale",
    "surrogate",
    "tokens",
]

show_with(mime_bundle)
