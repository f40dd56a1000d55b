"""DeepLIFT: multipliers between a reference and the input, operator by operator."""

from __future__ import annotations

from pellucid.propagation.deeplift.multipliers import Multipliers
from pellucid.propagation.deeplift.secant import Unlike

__all__ = ["Multipliers", "Unlike"]
