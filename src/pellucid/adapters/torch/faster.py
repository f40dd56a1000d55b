"""A faster twin for questions about scores alone: the model in ONNX Runtime, where that is installed."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.adapters.torch.outputs import Selector, scores
from pellucid.adapters.torch.prepare import TOLERANCE, disagreement
from pellucid.adapters.torch.watch import Headless

LEAST = 400
"""Rows from which the time of the export comes back."""
AT_ONCE = 16
"""Rows at once: it keeps its own memory, so that more do not cost page faults, and threads are fed better."""
OPSET = 17


@dataclass(frozen=True, slots=True, eq=False)
class Faster:
    """The scores of a model, [rows, outputs], computed elsewhere."""

    session: Any
    says: str
    """What it is, and how far it agrees."""

    def __call__(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.session.run(None, {"x": x.contiguous().numpy()})[0])


def installed() -> bool:
    """Whether what it takes is there."""
    return find_spec("onnxruntime") is not None and find_spec("onnx") is not None


def faster(
    net: nn.Module, select: Selector, head: int | None, x: Tensor, expected: Tensor
) -> tuple[Faster | None, str]:
    """The model exported, and why not where it cannot be, or does not agree with `expected` at the rows x.

    net     a private twin on the CPU; it is traced, not changed
    head    the call of the softmax that is left out
    """
    import onnxruntime

    told: Any = io.BytesIO()
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                Whole(net, select, head).eval(),
                (x.clone(),),
                told,
                dynamo=False,
                input_names=["x"],
                output_names=["scores"],
                dynamic_axes={"x": {0: "rows"}, "scores": {0: "rows"}},
                opset_version=OPSET,
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(told.getvalue(), options, providers=["CPUExecutionProvider"])
        made = Faster(session, "")
        got = made(x)
    except Exception as error:  # noqa: BLE001 - exporters raise what they like; the record says it
        return None, f"no faster twin: {type(error).__name__}: {str(error).partition(chr(10))[0][:120]}"
    if got.shape != expected.shape or not (gap := disagreement(got, expected)) <= TOLERANCE[torch.float32] / 10:
        return None, f"no faster twin: ONNX Runtime differs by {disagreement(got, expected):.2g}"
    return Faster(session, f"scores by ONNX Runtime {onnxruntime.__version__}, which agrees to {gap:.1g}"), ""


@contextmanager
def _quiet() -> Generator[None]:
    """Without the exporter's warnings on what is constant for rows of one shape, which is what is wanted.

    Filters are global: where other threads run, they are left alone, and the warnings are seen.
    """
    if threading.active_count() > 1:
        yield
        return
    with warnings.catch_warnings():  # noqa: TID251 - no other thread is there
        warnings.simplefilter("ignore")  # noqa: TID251
        yield


class Whole(nn.Module):
    """A model whose answer is its matrix of scores."""

    def __init__(self, net: nn.Module, select: Selector, head: int | None) -> None:
        super().__init__()
        self.net, self.select, self.head = net, select, head

    def forward(self, x: Tensor) -> Tensor:
        if self.head is None:
            return scores(self.net(x), self.select)
        with Headless(self.head):
            return scores(self.net(x), self.select)
