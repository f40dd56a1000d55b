"""What happens at sites during one pass: activations recorded, replaced, or fed in; signals changed on the way back."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.adapters.torch.attend import Attending, Tap
from pellucid.adapters.torch.layout import Plan
from pellucid.adapters.torch.sites import Sites
from pellucid.adapters.torch.watch import first_tensor, replaced
from pellucid.core.ask import Edit, Lane, Rows
from pellucid.core.errors import SiteError
from pellucid.core.site import Site


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """Many edits of one row: the numbers of their points and clean rows, [edits] each."""

    k: Tensor
    b: Tensor


class Tape:
    """What happens at sites during one pass.

    leaf  the points where they enter at a site and need gradients
    tail  the row that runs is widened at the edited site to one row for each edit
    """

    def __init__(self, sites: Sites, lane: Lane, rows: Rows, leaf: Tensor | None, tail: Tail | None = None) -> None:
        self.sites, self.lane, self.rows, self.leaf, self.tail = sites, lane, rows, leaf, tail
        self.seen: dict[Site, Tensor] = {}
        self.raw: dict[Site, Tensor] = {}
        self.wide = 0
        self._source: Tensor | None = None
        self._handed: list[Tensor] = []

    @contextmanager
    def on(self, net: nn.Module) -> Generator[None]:
        """Hooks on the private twin while one pass runs."""
        wanted: dict[str, list[Site]] = {}
        taps: dict[int, Tap] = {}
        for site in touched(self.lane):
            if site.layout == "attention":
                taps[self.sites.number(site)] = self._tap(site)
            else:
                wanted.setdefault(site.name, []).append(site)
        handles = [net.get_submodule(name).register_forward_hook(self._hook(at)) for name, at in wanted.items()]
        try:
            with Attending(taps) if taps else nullcontext(), nullcontext() if self.tail is None else _Widened(self):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, sites: list[Site]) -> Callable[..., Any]:
        calls = -1

        def after(module: nn.Module, args: Any, out: Any) -> Any:
            nonlocal calls
            calls += 1
            tensor = first_tensor(out)
            here = [site for site in dict.fromkeys(sites) if (site.call or 0) == calls]
            if tensor is None or not here:
                return None
            for site in here:
                tensor = self._visit(site, tensor)
            return replaced(out, tensor)

        return after

    def _tap(self, site: Site) -> Tap:
        return lambda weights: self._visit(site, weights)

    def _visit(self, site: Site, tensor: Tensor) -> Tensor:
        where, plan = self.lane.where, self.sites.plan(site)
        if where.into == site:
            entering = self.leaf if self.leaf is not None else self.rows.build()
            tensor = plan.put(tensor.detach(), entering.clone())  # the model may go on in place
        if where.edit is not None and where.edit.site == site:
            tensor = self._edited(where.edit, tensor if self._source is None else self._source, plan)
        if site in self.lane.slopes and not tensor.requires_grad:
            tensor = tensor.detach().requires_grad_(True)  # nothing below needs a graph: backward stops here
        if where.signal is not None and where.signal.site == site and tensor.requires_grad:
            tensor = tensor.clone() if tensor.is_leaf else tensor
            tensor.register_hook(self._changed(where.signal, plan))
        if site in self.lane.sites:
            if any(tensor is handed for handed in self._handed):
                tensor = tensor.clone()  # an outer layer that hands on an inner one's output is a site of its own
            self.raw[site] = tensor
            with torch._C.DisableTorchFunction():  # nothing of the model reads it here
                self._one_each(site, tensor)
                self.seen[site] = plan.take(tensor)
            tensor = tensor.clone()  # what is recorded must not be overwritten by an operator in place
            self._handed.append(tensor)
        if where.edit is not None and where.edit.source == site:
            self._source, tensor = tensor, tensor.clone()
        return tensor

    def _one_each(self, site: Site, tensor: Tensor) -> None:
        many = len(self.rows.b)
        if self.tail is None and many > 1 == len(tensor) and site.layout != "attention":
            raise SiteError(f"layer {site} answers one for all {many} rows", "a layer that answers row by row")

    def _edited(self, edit: Edit, tensor: Tensor, plan: Plan) -> Tensor:
        if self.tail is None:
            return plan.put(tensor, edit.change(plan.take(tensor), self.rows.k(), self.rows.b)).clone()
        self.wide = len(self.tail.k)
        tensor = tensor.expand(self.wide, *tensor.shape[1:])
        edited = plan.put(tensor, edit.change(plan.take(tensor), self.tail.k, self.tail.b))
        own = edited.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()
        return edited if own else edited.clone()

    def _changed(self, signal: Edit, plan: Plan) -> Callable[[Tensor], Tensor]:
        k, b = self.rows.k(), self.rows.b
        return lambda raw: plan.over(raw, lambda part: signal.change(part, k, b))


def touched(lane: Lane) -> tuple[Site, ...]:
    """Every site at which something happens in a lane."""
    where = lane.where
    edits = [s for e in (where.edit, where.signal) if e is not None for s in (e.source, e.site) if s is not None]
    return (*lane.sites, *([] if where.into is None else [where.into]), *edits)


class _Widened(TorchFunctionMode):
    """Behind the edited site, what was made before it is repeated where it is joined with the many rows.

    Models that noted the size of their batch before the site (`x.view(batch, -1)`) are given the many there.
    """

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        many = self.tape.wide
        if many > 1 and args and func in _JOINS:
            args = ([t.expand(many, *t.shape[1:]) if t.ndim and len(t) == 1 else t for t in args[0]], *args[1:])
        if many > 1 and len(args) > 1 and func in _SHAPES and self._rows(args[0]):
            sizes = tuple(args[1]) if isinstance(args[1], (tuple, list)) else args[1:]
            fits = -1 not in sizes and prod(sizes) == args[0].numel()  # then it is no count of rows that is written
            args = (args[0], (many, *sizes[1:]) if sizes[0] == 1 and not fits else sizes)
        return func(*args, **(kwargs or {}))

    def _rows(self, tensor: Tensor) -> bool:
        """Whether a tensor holds the many rows; weights, which may be as many, were not made in this pass."""
        return tensor.is_inference() and tensor.ndim > 0 and len(tensor) == self.tape.wide


_JOINS = (torch.cat, torch.concat, torch.stack)
_SHAPES = (torch.Tensor.view, torch.Tensor.reshape, torch.reshape)
