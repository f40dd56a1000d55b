"""Tensors that are kept while a model runs on: what it overwrites later is copied just before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pellucid.core.errors import RuleError


class Held:
    """A tensor as it was when it was kept."""

    __slots__ = ("tensor", "version")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.version = tensor, tensor._version

    def copy(self) -> None:
        """Keep a copy instead: the tensor is about to be overwritten."""
        if self.tensor._version == self.version:
            self.tensor = self.tensor.detach().clone()
            self.version = self.tensor._version

    @property
    def whole(self) -> bool:
        """Whether nobody has overwritten it."""
        return self.tensor._version == self.version

    def get(self, what: str) -> Tensor:
        """The tensor; raises RuleError where it was overwritten by an operator that nobody saw."""
        if not self.whole:
            raise RuleError(
                f"what {what} read was overwritten by an operator that could not be seen",
                "values that are there in the backward pass",
                "compute out of place there",
            )
        return self.tensor


class Keeper:
    """Knows which tensors are held, by the memory they lie in."""

    __slots__ = ("_by_storage",)

    def __init__(self) -> None:
        self._by_storage: dict[int, list[Held]] = {}

    def clear(self) -> None:
        """The pass is over: nothing will be overwritten any more."""
        self._by_storage.clear()

    def hold(self, tensor: Tensor) -> Held:
        """Keep a tensor."""
        held = Held(tensor)
        if type(tensor) is not nn.Parameter:
            self._by_storage.setdefault(_memory(tensor), []).append(held)
        return held

    def overwriting(self, tensor: Tensor) -> None:
        """To be told before an operator writes into a tensor."""
        for held in self._by_storage.pop(_memory(tensor), ()):
            held.copy()


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else id(tensor)
