"""What each torch function is: a table from every spelling of an operator to its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C import _nn  # pyright: ignore[reportAttributeAccessIssue]

from pellucid.propagation.rectifiers import ALWAYS, SOMETIMES, Rectified, Slope


class Kind(Enum):
    """What an operator does; the value is the word used in tables and messages."""

    RECTIFIER = "rectifier"
    ACTIVATION = "smooth activation"
    SOFTMAX = "softmax"
    LINEAR = "linear"
    CONVOLUTION = "convolution"
    MATMUL = "matrix product"
    ADD = "sum"
    MULTIPLY = "product"
    DIVIDE = "quotient"
    REDUCE = "reduction"
    RESAMPLE = "resampling"
    ELEMENTWISE = "elementwise function"
    JOIN = "joining"
    NORM = "normalisation"
    ATTENTION = "attention"
    MAX_POOL = "max pooling"
    MEAN_POOL = "mean pooling"
    SHAPE = "shape"
    DROPOUT = "dropout"
    EMBEDDING = "embedding"
    RECURRENT = "recurrent layer"
    COMPARE = "comparison"
    CAST = "cast"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of the table.

    name       the usual spelling, "relu" for `F.relu`, `Tensor.relu_`, `nn.ReLU` alike
    kind       what it does, unless `rectified` says that this call is a rectifier
    inplace    True for spellings that always overwrite their first argument
    slope      d out / d x of a rectifier, elementwise; bool where it is a gate
    rectified  for operators that are rectifiers only with some arguments: finds the rectified tensor
    """

    name: str
    kind: Kind
    inplace: bool = False
    slope: Slope | None = None
    rectified: Rectified | None = None


_PLAIN: Final[Mapping[Kind, str]] = {
    Kind.ACTIVATION: "gelu silu mish hardswish sigmoid tanh hardsigmoid glu logsigmoid log_sigmoid softsign "
    "hardshrink softshrink tanhshrink erf sin cos exp expit",
    Kind.SOFTMAX: "softmax log_softmax softmin gumbel_softmax",
    Kind.LINEAR: "linear bilinear",
    Kind.CONVOLUTION: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    Kind.MATMUL: "matmul mm bmm mv dot einsum addmm baddbmm __rmatmul__",
    Kind.ADD: "add sub subtract rsub __radd__ __rsub__",
    Kind.MULTIPLY: "div divide true_divide __rdiv__ __rtruediv__",
    Kind.NORM: "batch_norm layer_norm group_norm instance_norm local_response_norm rms_norm normalize",
    Kind.ATTENTION: "scaled_dot_product_attention multi_head_attention_forward",
    Kind.MAX_POOL: "max_pool1d max_pool2d max_pool3d _max_pool1d _max_pool2d _max_pool3d max_pool2d_with_indices "
    "adaptive_max_pool1d adaptive_max_pool2d _adaptive_max_pool1d _adaptive_max_pool2d amax",
    Kind.MEAN_POOL: "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean",
    Kind.SHAPE: "view reshape flatten unflatten permute transpose t swapaxes movedim squeeze unsqueeze expand "
    "contiguous cat concat stack split chunk unbind narrow select roll pad unfold __getitem__ clone view_as "
    "reshape_as pixel_shuffle pixel_unshuffle channel_shuffle",
    Kind.DROPOUT: "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout",
    Kind.EMBEDDING: "embedding embedding_bag",
    Kind.RECURRENT: "lstm gru rnn_relu rnn_tanh lstm_cell gru_cell rnn_relu_cell rnn_tanh_cell",
    Kind.COMPARE: "gt ge lt le greater greater_equal less less_equal __gt__ __ge__ __lt__ __le__",
    Kind.CAST: "float double half bfloat16 to type type_as",
}

_ALIASES: Final[Mapping[str, str]] = {
    "clip": "clamp",
    "max": "maximum",
    "__mul__": "mul",
    "multiply": "mul",
    "__rmul__": "mul",
    "__setitem__": "setitem",
    "log_sigmoid": "logsigmoid",
    "concat": "cat",
    "subtract": "sub",
    "divide": "div",
    "true_divide": "div",
}

_KIND_OTHERWISE: Final[Mapping[str, Kind]] = {"mul": Kind.MULTIPLY}


def table() -> dict[Callable[..., Any], Operator]:
    """Every spelling of every operator known here, as the mode meets it."""
    rows: dict[Callable[..., Any], Operator] = {}
    for kind, words in _PLAIN.items():
        for word in words.split():
            _add(rows, word, Operator(_plain_name(word), kind))
    for word, slope in ALWAYS.items():
        _add(rows, word, Operator(word, Kind.RECTIFIER, slope=slope), aten=True)
    _add(rows, "_threshold", Operator("threshold", Kind.RECTIFIER, slope=ALWAYS["threshold"]))
    for word, (slope, rectified) in SOMETIMES.items():
        name = _plain_name(word)
        row = Operator(name, _KIND_OTHERWISE.get(name, Kind.OTHER), name == "setitem", slope, rectified)
        _add(rows, word, row, aten=name == "clamp" or word == "clamp_min")
    return rows


def _plain_name(word: str) -> str:
    return _ALIASES.get(word, word.strip("_"))


def _add(rows: dict[Callable[..., Any], Operator], word: str, row: Operator, *, aten: bool = False) -> None:
    for function in _spellings(word, aten):
        rows[function] = row
    if not word.endswith("_"):
        for function in _spellings(word + "_", aten):
            rows[function] = replace(row, inplace=True)
        for function in _spellings(f"__i{word}__", aten=False):
            rows[function] = replace(row, inplace=True)


def _spellings(word: str, aten: bool) -> Iterator[Callable[..., Any]]:
    for home in (torch, Tensor, F, _nn, torch.special):
        function = getattr(home, word, None)
        if callable(function):
            yield function
    if aten and hasattr(torch.ops.aten, word):
        packet = getattr(torch.ops.aten, word)
        yield packet
        yield from (getattr(packet, overload) for overload in packet.overloads())


TABLE: Final[Mapping[Callable[..., Any], Operator]] = table()
