"""Which layer is running: names from hooks on a private twin, and a scan for what no mode can see into."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch
from torch import nn

from pellucid.core.errors import RuleError
from pellucid.propagation.tensors import sequence_number

Removable = Any


def refuse_opaque(root: nn.Module) -> None:
    """Raise RuleError for parts whose operators no mode can see: scripted, compiled, or run in other threads."""
    for name, module in root.named_modules():
        if isinstance(module, torch.jit.ScriptModule) or _scripted(module):
            raise _opaque(name, "scripted", "hand over the module as it was before torch.jit.script or torch.jit.trace")
        if "_orig_mod" in module._modules or module._compiled_call_impl is not None:
            raise _opaque(name, "compiled", "hand over the module as it was before torch.compile (its `_orig_mod`)")
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise _opaque(name, "run in several threads", "hand over `model.module`")


def _scripted(module: nn.Module) -> bool:
    torchs_own = type(module).__module__.startswith("torch.nn.modules.")
    return not torchs_own and any(isinstance(value, torch.jit.ScriptFunction) for value in vars(module).values())


def _opaque(name: str, what: str, do: str) -> RuleError:
    where = f"The submodule {name!r}" if name else "The model"
    return RuleError(f"{where} is {what}, so its operators cannot be seen", "modules that run as ordinary Python", do)


class Layers:
    """Knows which module of `root` is running in this thread, now and at any earlier node of the graph.

    root   a private twin: hooks are put on it, and taken away by `close`
    enter  called with the arguments of each call of root; returns the arguments to use
    leave  called with the output of each call of root
    inside whether the modules inside are named; otherwise root alone is watched
    """

    __slots__ = ("_enter", "_handles", "_leave", "_names", "_since", "_stack", "_thread", "current")

    def __init__(
        self,
        root: nn.Module,
        enter: Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]],
        leave: Callable[[Any], None],
        *,
        inside: bool = True,
    ) -> None:
        self.current = ""
        self._enter, self._leave = enter, leave
        self._stack: list[str] = []
        self._since: list[int] = []
        self._names: list[str] = []
        self._handles: list[Removable] = []
        self._thread = get_ident()
        try:
            for name, module in root.named_modules() if inside else [("", root)]:
                self._hook(name, module)
        except BaseException:
            self.close()
            raise

    @property
    def running(self) -> bool:
        """Whether root is running."""
        return bool(self._stack)

    def close(self) -> None:
        """Take every hook away."""
        while self._handles:
            self._handles.pop().remove()

    def at(self, sequence: int) -> str:
        """The layer that was running when the graph node of this sequence number was made."""
        index = bisect_right(self._since, sequence) - 1
        return self._names[index] if index >= 0 else ""

    def _hook(self, name: str, module: nn.Module) -> None:
        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if get_ident() != self._thread:
                return None
            changed = None
            if not self._stack:
                self._since.clear()
                self._names.clear()
                changed = self._enter(args, kwargs)
            self._stack.append(name)
            self._turn(name)
            return changed

        def after(_: nn.Module, __: Any, output: Any) -> None:
            if get_ident() != self._thread or not self._stack or self._stack[-1] != name:
                return
            self._stack.pop()
            self._turn(self._stack[-1] if self._stack else "")
            if not self._stack:
                self._leave(output)

        self._handles.append(module.register_forward_pre_hook(before, prepend=True, with_kwargs=True))
        self._handles.append(module.register_forward_hook(after, always_call=True))

    def _turn(self, name: str) -> None:
        self.current = name
        self._since.append(sequence_number())
        self._names.append(name)
