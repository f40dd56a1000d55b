"""Layer-wise relevance propagation: the signal that comes back is relevance, and every operator shares it out."""

from __future__ import annotations

from pellucid.propagation.lrp.box import ZBox
from pellucid.propagation.lrp.flows import Norm, Pass
from pellucid.propagation.lrp.layers import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZPlus
from pellucid.propagation.lrp.norms import LayerNorm

__all__ = ["AlphaBeta", "Epsilon", "Flat", "Gamma", "LayerNorm", "Norm", "Pass", "WSquare", "ZBox", "ZPlus"]
