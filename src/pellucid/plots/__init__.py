"""Plots under the names that the field knows: those of R's lime, and those of shap.

They give figures, which notebooks show and `figure.save("a.png")` or `"a.svg"` writes. The numbers are those of the
explanation; nothing global is changed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pellucid.plots.features import plot_features
from pellucid.plots.pictures import image_plot, plot_image_explanation, plot_superpixels
from pellucid.plots.steps import force, waterfall
from pellucid.plots.summary import bar, beeswarm
from pellucid.plots.texts import plot_text_explanations
from pellucid.plots.tiles import plot_explanations
from pellucid.views.pareto import pareto

if TYPE_CHECKING:
    from pellucid.studio.texts import interactive_text_explanations

__all__ = [
    "bar",
    "beeswarm",
    "force",
    "image_plot",
    "interactive_text_explanations",
    "pareto",
    "plot_explanations",
    "plot_features",
    "plot_image_explanation",
    "plot_superpixels",
    "plot_text_explanations",
    "waterfall",
]


def __getattr__(name: str) -> Any:
    """The page that asks a model stands above the plots, and is looked up when it is wanted."""
    if name == "interactive_text_explanations":
        return import_module("pellucid.studio.texts").interactive_text_explanations
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
