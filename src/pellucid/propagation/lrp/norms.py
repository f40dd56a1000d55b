"""Rules for normalisation with the statistics of the row itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from pellucid.core.errors import RuleError
from pellucid.propagation.lrp.arguments import bound, slot
from pellucid.propagation.lrp.layers import STABILIZER, OutputRule
from pellucid.propagation.lrp.shares import Signals, check, over
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Call

_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "instance_norm": ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"),
    "rms_norm": ("input", "normalized_shape", "weight", "eps"),
}


@dataclass(frozen=True, slots=True)
class LayerNorm(OutputRule):
    """R_i = x_i Σ_j (δ_ij − 1/n) γ_j/σ · R_j / y_j,  y = γ (x − mean x)/σ + β    [ali2022xai]

    The deviation σ is taken as a constant; the mean shares as a sum does, and β absorbs as a bias. The same for group
    and instance norms; root-mean-square norms have no mean.

    stabilizer  ε
    """

    made_for: ClassVar[tuple[Kind, ...]] = (Kind.NORM,)
    stabilizer: float = STABILIZER

    def __post_init__(self) -> None:
        check("stabilizer", self.stabilizer)

    @property
    def name(self) -> str:
        """The words in the audit."""
        return "layer norm"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """x · C(γ/σ · R / y), with the centring C."""
        *inputs, y = kept
        name = call.operator.name
        names = _ARGUMENTS[name]
        given = bound(call, names, tuple(inputs))
        x: Tensor = given["input"]
        gain, shift = (_like(given.get(word), x, name) for word in ("weight", "bias"))
        s = over(upstream[0], y, self.stabilizer)
        t = s if gain is None else gain * s
        r = x * (_centred(_rows(t, given, name), name) / _deviation(x, given, call)).view_as(x)
        out: list[Tensor | None] = [None] * len(inputs)
        out[slot(call, names, "input") or 0] = r
        beta = slot(call, names, "bias")
        if call.full and beta is not None and shift is not None:
            out[beta] = shift * s
        return tuple(out)


def _rows(t: Tensor, given: Mapping[str, Any], name: str) -> Tensor:
    """What is normalised together, along the last axis."""
    if name == "group_norm":
        return t.reshape(len(t), given["num_groups"], -1)
    if name == "instance_norm":
        return t.flatten(2)
    shape = given["normalized_shape"]
    return t.flatten(-(1 if isinstance(shape, int) else len(shape)))


def _centred(t: Tensor, name: str) -> Tensor:
    return t if name == "rms_norm" else t - t.mean(-1, keepdim=True)


def _deviation(x: Tensor, given: Mapping[str, Any], call: Call) -> Tensor:
    name = call.operator.name
    if name == "instance_norm" and not given.get("use_input_stats", True):
        raise RuleError(
            f"The instance norm in layer {call.place.layer!r} uses running statistics",
            "statistics of the row",
            "write it as a batch norm, which is the same function then",
        )
    eps = given.get("eps")
    if eps is None:
        eps = torch.finfo(x.dtype).eps if name == "rms_norm" else 1e-5
    return (_centred(_rows(x, given, name), name).square().mean(-1, keepdim=True) + eps).sqrt()


def _like(parameter: Tensor | None, x: Tensor, name: str) -> Tensor | None:
    """Gain or shift in a form that can be multiplied with x."""
    if parameter is None or name in ("layer_norm", "rms_norm"):
        return parameter
    return parameter.view(-1, *(1,) * (x.ndim - 2))
