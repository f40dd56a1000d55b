"""Which rule serves which operator: DeepLIFT for whole models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pellucid.propagation.deeplift.choices import Chosen
from pellucid.propagation.deeplift.maxima import Extreme, Larger, Pool
from pellucid.propagation.deeplift.norms import Normalised, Standardised
from pellucid.propagation.deeplift.products import Glu, Midpoint, Quotient, Root
from pellucid.propagation.deeplift.reveal_cancel import Affine, RevealCancel, Signed
from pellucid.propagation.deeplift.secant import Cut, Rescale, cuts
from pellucid.propagation.deeplift.softmax import Softmax
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Manner, Place, Refused, Rule, Unruled


@dataclass(frozen=True, slots=True)
class Multipliers:
    """DeepLIFT    [shrikumar2017learning]: m = ΔS/Δa for every activation a, between a reference and the input.

    rule     `rescale`: one multiplier for each activation function; `reveal_cancel`: one each for what speaks for and
             what against it, where its input comes from a linear operator
    unknown  what becomes of operators whose change cannot be shared out: `error`, or `gradient`, which is not
             complete
    """

    rule: Literal["rescale", "reveal_cancel"] = "rescale"
    unknown: Literal["error", "gradient"] = "error"

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"DeepLIFT ({self.rule.replace('_', '-')})"

    @property
    def manner(self) -> Manner:
        """Beside a reference; attention and recurrent layers in their parts."""
        return Manner(apart=frozenset((Kind.ATTENTION, Kind.RECURRENT)), named=False, pairs=True)

    def rule_for(self, place: Place) -> Rule | None:
        """The rule of an operator; None where it is linear."""
        signs = self.rule == "reveal_cancel"
        if place.kind in (Kind.RECTIFIER, Kind.ACTIVATION) and place.operator != "glu":
            return RevealCancel() if signs else Cut() if cuts(place) else Rescale()
        if place.kind in (Kind.LINEAR, Kind.CONVOLUTION, Kind.MATMUL):
            return Signed() if signs else Midpoint()
        if place.operator == "batch_norm":
            return Affine(traced=signs)
        if place.operator in _BY_NAME:
            return _BY_NAME[place.operator]
        if place.kind in _BY_KIND and place.operator not in _ORDERS:
            return _BY_KIND[place.kind]
        return Unruled() if self.unknown == "gradient" else _REFUSED


_REFUSED: Final = Refused(
    "operators whose change can be shared out exactly",
    "unknown='gradient' takes its plain gradient, and the completeness check shows what is lost",
)

_BY_KIND: Final[dict[Kind, Rule | None]] = {
    **dict.fromkeys((Kind.ADD, Kind.REDUCE, Kind.SHAPE, Kind.JOIN, Kind.MEAN_POOL, Kind.RESAMPLE), None),
    **dict.fromkeys((Kind.DROPOUT, Kind.CAST, Kind.COMPARE, Kind.EMBEDDING), None),
    Kind.ELEMENTWISE: Rescale(),
    Kind.SOFTMAX: Softmax(),
    Kind.MAX_POOL: Pool(),
    Kind.MULTIPLY: Midpoint(),
}
"""None where the plain gradient is the multiplier."""

_BY_NAME: Final[dict[str, Rule | None]] = {
    "neg": None,
    "div": Quotient(),
    "rdiv": Rescale(),
    **dict.fromkeys(("layer_norm", "rms_norm", "group_norm", "instance_norm"), Standardised()),
    "normalize": Normalised(),
    "glu": Glu(),
    "logsumexp": Softmax(),
    "var": Midpoint(always=True),
    "std": Root(),
    "norm": Root(),
    **dict.fromkeys(("amax", "amin", "max", "min"), Extreme()),
    **dict.fromkeys(("maximum", "minimum"), Larger()),
    **dict.fromkeys(("where", "masked_fill", "setitem"), Chosen()),
}
"""Operators with a rule other than their kind's."""

_ORDERS: Final = frozenset(("sort", "topk", "msort", "kthvalue", "median", "masked_select"))
"""They move numbers to places that the numbers decide."""
