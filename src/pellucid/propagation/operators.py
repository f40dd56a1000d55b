"""What each torch function is: a table from every spelling of an operator to its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from inspect import isfunction
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C import _nn  # pyright: ignore[reportAttributeAccessIssue]
from torch.overrides import resolve_name

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

    __hash__ = object.__hash__  # members are single, and the usual hash costs more than what it is for


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of the table.

    name       the usual spelling, "relu" for `F.relu`, `Tensor.relu_`, `nn.ReLU` alike. Spellings that take their
               arguments the other way round have a name of their own: `rsub`, `rdiv`, `rpow`, `rmatmul`
    kind       what it does, unless `rectified` says that this call is a rectifier
    inplace    True for spellings that always overwrite their first argument
    slope      d out / d x of a rectifier, elementwise; bool where it is a gate
    rectified  for operators that are rectifiers only with some arguments: finds the rectified tensor
    of_two     the row that holds when the second argument is a tensor, as for `max(x, y)`
    """

    name: str
    kind: Kind
    inplace: bool = False
    slope: Slope | None = None
    rectified: Rectified | None = None
    of_two: Operator | None = None


_PLAIN: Final[Mapping[Kind, str]] = {
    Kind.ACTIVATION: "gelu silu mish hardswish sigmoid tanh hardsigmoid glu logsigmoid log_sigmoid softsign "
    "hardshrink softshrink tanhshrink erf expit",
    Kind.ELEMENTWISE: "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square pow __pow__ __rpow__ float_power abs "
    "absolute __abs__ neg negative __neg__ reciprocal sin cos tan sinh cosh asin acos atan asinh acosh atanh arcsin "
    "arccos arctan arcsinh arccosh arctanh sinc erfc erfinv logit lgamma digamma floor ceil round trunc frac sign sgn "
    "nan_to_num clamp_max deg2rad rad2deg i0 i0e ndtr log_ndtr",
    Kind.SOFTMAX: "softmax log_softmax softmin gumbel_softmax",
    Kind.LINEAR: "linear addmm addmv",
    Kind.CONVOLUTION: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution "
    "_convolution conv_tbc",
    Kind.MATMUL: "matmul __matmul__ mm bmm mv dot vdot inner outer ger einsum tensordot bilinear baddbmm addbmm addr "
    "__rmatmul__ multi_dot vecdot chain_matmul",
    Kind.ADD: "add __add__ __radd__ sub __sub__ subtract rsub __rsub__",
    Kind.MULTIPLY: "addcmul lerp",
    Kind.DIVIDE: "div divide true_divide __div__ __truediv__ __rdiv__ __rtruediv__ addcdiv",
    Kind.REDUCE: "sum nansum cumsum trace diff fold col2im",
    Kind.RESAMPLE: "interpolate upsample upsample_nearest upsample_bilinear grid_sample grid_sampler "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d "
    "upsample_bicubic2d upsample_trilinear3d _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "_upsample_nearest_exact3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa",
    Kind.NORM: "batch_norm layer_norm group_norm instance_norm local_response_norm rms_norm normalize var std norm "
    "vector_norm var_mean std_mean",
    Kind.ATTENTION: "scaled_dot_product_attention multi_head_attention_forward",
    Kind.MAX_POOL: "max_pool1d max_pool2d max_pool3d _max_pool1d _max_pool2d _max_pool3d max_pool1d_with_indices "
    "max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
    "_adaptive_max_pool1d _adaptive_max_pool2d _adaptive_max_pool3d adaptive_max_pool1d_with_indices "
    "adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices amax amin minimum fmin",
    Kind.MEAN_POOL: "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean",
    Kind.SHAPE: "view reshape flatten unflatten ravel permute transpose t T mT H mH adjoint swapaxes swapdims movedim "
    "moveaxis squeeze unsqueeze expand expand_as broadcast_to broadcast_tensors repeat repeat_interleave tile "
    "contiguous split split_with_sizes tensor_split hsplit vsplit dsplit chunk unsafe_chunk unsafe_split unbind narrow "
    "select index_select masked_select gather take take_along_dim roll flip fliplr flipud rot90 pad constant_pad_nd "
    "unfold im2col __getitem__ clone view_as reshape_as pixel_shuffle pixel_unshuffle channel_shuffle "
    "native_channel_shuffle diagonal diag diag_embed diagflat tril triu meshgrid atleast_1d atleast_2d atleast_3d "
    "sort topk msort kthvalue median as_strided positive __pos__ identity alias",
    Kind.JOIN: "cat concat concatenate stack hstack vstack dstack column_stack row_stack block_diag scatter index_copy "
    "index_put slice_scatter select_scatter diagonal_scatter masked_scatter copy_ index_fill",
    Kind.DROPOUT: "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout",
    Kind.EMBEDDING: "embedding embedding_bag",
    Kind.RECURRENT: "lstm gru rnn_relu rnn_tanh lstm_cell gru_cell rnn_relu_cell rnn_tanh_cell",
    Kind.COMPARE: "gt ge lt le greater greater_equal less less_equal __gt__ __ge__ __lt__ __le__",
    Kind.CAST: "float double half bfloat16 to type type_as cuda cpu",
}

_ALIASES: Final[Mapping[str, str]] = {
    "absolute": "abs",
    "clip": "clamp",
    "col2im": "fold",
    "concat": "cat",
    "concatenate": "cat",
    "divide": "div",
    "expit": "sigmoid",
    "fmax": "maximum",
    "fmin": "minimum",
    "im2col": "unfold",
    "log_sigmoid": "logsigmoid",
    "multiply": "mul",
    "negative": "neg",
    "radd": "add",
    "rmul": "mul",
    "rtruediv": "rdiv",
    "subtract": "sub",
    "true_divide": "div",
    "truediv": "div",
    "vector_norm": "norm",
}

_OTHERWISE: Final[Mapping[str, Kind]] = {
    "mul": Kind.MULTIPLY,
    "clamp": Kind.ELEMENTWISE,
    "clamp_min": Kind.ELEMENTWISE,
    "max": Kind.MAX_POOL,
    "maximum": Kind.MAX_POOL,
    "where": Kind.SHAPE,
    "masked_fill": Kind.SHAPE,
    "setitem": Kind.JOIN,
}
"""What those are that are rectifiers only sometimes."""

_READS: Final = (
    "shape dtype device requires_grad grad_fn is_leaf ndim is_cuda is_cpu is_meta is_mps is_sparse is_quantized "
    "is_nested is_mkldnn layout names data grad itemsize nbytes output_nr _version size dim numel stride "
    "storage_offset data_ptr is_contiguous is_floating_point is_complex is_nonzero element_size get_device "
    "nelement ndimension __len__ is_same_size untyped_storage is_conj is_neg is_inference"
)


def words() -> Iterator[tuple[str, Operator]]:
    """The table by the names under which torch has its functions."""
    for kind, names in _PLAIN.items():
        for word in names.split():
            yield from _with_inplace(word, Operator(_plain_name(word), kind))
    for word, slope in ALWAYS.items():
        yield from _with_inplace(word, Operator(word, Kind.RECTIFIER, slope=slope))
    yield from _with_inplace("_threshold", Operator("threshold", Kind.RECTIFIER, slope=ALWAYS["threshold"]))
    for word, (slope, rectified) in SOMETIMES.items():
        name = _plain_name(word)
        yield from _with_inplace(word, Operator(name, _OTHERWISE[name], name == "setitem", slope, rectified))
    two = Operator("maximum", Kind.MAX_POOL, False, *SOMETIMES["maximum"])
    yield "max", Operator("max", Kind.MAX_POOL, of_two=two)
    yield "min", Operator("min", Kind.MAX_POOL, of_two=Operator("minimum", Kind.MAX_POOL))


def _with_inplace(word: str, row: Operator) -> Iterator[tuple[str, Operator]]:
    overwriting = replace(row, inplace=True)
    if word.endswith("_") and not word.endswith("__"):
        yield word, overwriting
        return
    yield word, row
    yield f"{word}_", overwriting
    yield f"__i{word.strip('_')}__", overwriting


def _plain_name(word: str) -> str:
    bare = word.strip("_")
    return _ALIASES.get(bare, bare)


def _spellings(word: str) -> Iterator[Callable[..., Any]]:
    for home in (torch, Tensor, F, _nn, torch.special, torch.linalg):
        function = getattr(home, word, None)
        if callable(function):
            yield function
        elif function is not None and hasattr(function, "__get__"):  # an attribute of tensors, such as x.T
            yield function.__get__


_BY_WORD: Final[Mapping[str, Operator]] = dict(words())

TABLE: Final[Mapping[Callable[..., Any], Operator]] = {
    function: row for word, row in _BY_WORD.items() for function in _spellings(word)
}

READS: Final[frozenset[Callable[..., Any]]] = frozenset(
    found if callable(found) else found.__get__ for word in _READS.split() if (found := getattr(Tensor, word, None))
)
"""What tells something about a tensor and computes nothing: no operators."""

_others: dict[Callable[..., Any], Operator] = {}


def operator_of(function: Callable[..., Any]) -> Operator:
    """The row of a torch function; of kind OTHER, and named as it is spelt, for one that is in no table."""
    row = TABLE.get(function) or _others.get(function)
    if row is None:
        row = _native_row(function) if isinstance(function, _NATIVE) else None
        row = row or Operator(spoken(function), Kind.OTHER, inplace=_overwrites(function))
        if len(_others) < 10_000:  # functions made anew at every call must not pile up
            _others[function] = row
    return row


_NATIVE: Final = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)


def _native_row(function: Any) -> Operator | None:
    """`torch.ops.aten.relu_.default` by the name of its schema: it takes its arguments as `torch.relu_`."""
    schema = function._schema.name if isinstance(function, torch._ops.OpOverload) else function._qualified_op_name
    space, _, word = schema.partition("::")
    return _BY_WORD.get(word) if space == "aten" else None


def _overwrites(function: Callable[..., Any]) -> bool:
    name = getattr(function, "__name__", "")
    return name.endswith("_") and not name.endswith("__")


def of_arguments(operator: Operator, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operator:
    """The row for these arguments: `max(x, y)` is another operator than `max(x, 1)`."""
    if operator.of_two is None:
        return operator
    second = args[1] if len(args) > 1 else kwargs.get("other")
    return operator.of_two if isinstance(second, Tensor) else operator


_INPLACE_AT: Final[Mapping[Callable[..., Any], int]] = {
    function: function.__code__.co_varnames.index("inplace")
    for function in TABLE
    if isfunction(function) and "inplace" in function.__code__.co_varnames[: function.__code__.co_argcount]
}


def overwrites(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether this call is told to write into its first argument, as `F.relu(x, True)`."""
    if kwargs.get("inplace", False):
        return True
    at = _INPLACE_AT.get(function) if args and args[-1] is True else None
    return at is not None and len(args) > at and args[at] is True


@cache
def overwriting(operator: Operator) -> Operator:
    """The same operator in place."""
    return replace(operator, inplace=True)


def spoken(function: Callable[..., Any]) -> str:
    """A function's name without its home."""
    if isinstance(function, _NATIVE):
        return str(function).split(".")[1]
    name = resolve_name(function) or getattr(function, "__name__", repr(function))
    return name.removesuffix(".__get__").rsplit(".", 1)[-1].strip("_")
