"""What the mode cannot see, the graph shows: custom functions, and rectifiers that came past the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor
from torch.autograd.function import BackwardCFunction

from pellucid.core.errors import RuleError

Node = Any

_NATIVE: Final = ("Relu", "Hardtanh", "Threshold", "LeakyRelu", "PreluKernel", "Elu", "Celu", "Softplus", "Rrelu")
_FOREIGN: Final = ("torch::autograd::CppNode", "torch::jit::")  # C++ functions, and compiled pieces of scripts


@dataclass(slots=True, eq=False)
class Stranger:
    """A node of the graph whose backward no rule could replace; being called marks one run.

    name    the custom function, or the node's name
    layer   the layer that was running when it was made
    custom  True for a function of somebody's own, False for an operator of torch that came past the mode
    """

    name: str
    layer: str
    custom: bool
    checkpoint: bool
    runs: int = 0

    def __call__(self, *_: Any) -> None:
        self.runs += 1

    def error(self, rules: str) -> RuleError:
        """Why a result with this node on its path cannot be trusted."""
        where = f"in layer {self.layer!r}" if self.layer else "in the model itself"
        if self.custom:
            return RuleError(
                f"{self.name} {where} is an autograd function with a backward of its own, where {rules} has no say",
                "torch operators only between input and target",
                f"write {self.name} with torch operators (memory-saving variants can often be switched off)",
            )
        return RuleError(
            f"{self.name} {where} came past the mode (a scripted function, another thread, or a disabled mode)",
            f"operators that {rules} can see",
            "call it as ordinary Python",
        )


def strangers(
    outputs: Iterable[Tensor],
    since: int,
    noted: Sequence[tuple[int, int]],
    layer_at: Callable[[int], str],
    ours: type,
) -> Iterator[Stranger]:
    """Walk from the outputs back to where the model began, and watch every node that is not under our control.

    since     sequence number at which the model began; older nodes belong to what came before it
    noted     sequence numbers before and after each call that was seen and left to torch
    layer_at  the layer of a sequence number
    ours      the autograd function that carries the rules
    """
    for node in _behind(outputs, since):
        custom = isinstance(node, BackwardCFunction)
        if custom and node._forward_cls is ours:
            continue
        name, number = node.name(), node._sequence_nr()
        custom = custom or name.startswith(_FOREIGN)
        if custom or (name.startswith(_NATIVE) and not any(low <= number < high for low, high in noted)):
            plain = name.removesuffix("Backward").removesuffix("Backward0")
            stranger = Stranger(plain, layer_at(number), custom, name.startswith("CheckpointFunction"))
            node.register_hook(stranger)
            yield stranger


def _behind(outputs: Iterable[Tensor], since: int) -> Iterator[Node]:
    stack: list[Node] = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in seen or node._sequence_nr() < since:
            continue
        seen.add(node)
        parents = node.next_functions
        if parents:
            yield node
            stack.extend([parent for parent, _ in parents if parent is not None])
