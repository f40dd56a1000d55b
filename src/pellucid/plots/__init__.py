"""Plots under the names that the field knows: those of R's lime, and those of shap.

They give figures, which notebooks show and `figure.save("a.png")` or `"a.svg"` writes. The numbers are those of the
explanation; nothing global is changed.
"""

from pellucid.plots.features import plot_features
from pellucid.plots.pictures import image_plot, plot_image_explanation, plot_superpixels
from pellucid.plots.steps import force, waterfall
from pellucid.plots.summary import bar, beeswarm
from pellucid.plots.texts import plot_text_explanations
from pellucid.plots.tiles import plot_explanations

__all__ = [
    "bar",
    "beeswarm",
    "force",
    "image_plot",
    "plot_explanations",
    "plot_features",
    "plot_image_explanation",
    "plot_superpixels",
    "plot_text_explanations",
    "waterfall",
]
