"""The way from a photo to a model's input row, and the affine link between row units and pixel units."""

from __future__ import annotations

from pellucid.preprocess.geometry import INTERPOLATIONS
from pellucid.preprocess.preprocess import Preprocess

__all__ = ["INTERPOLATIONS", "Preprocess"]
