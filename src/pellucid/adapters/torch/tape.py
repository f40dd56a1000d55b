"""What happens at sites during one forward pass: activations recorded, replaced, or fed in."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from pellucid.adapters.torch.layout import Plan
from pellucid.adapters.torch.watch import first_tensor, replaced
from pellucid.core.ask import Lane, Rows
from pellucid.core.site import Site


class Tape:
    """What happens at sites during one forward pass: activations recorded, replaced, or fed in."""

    def __init__(self, plan: Callable[[Site], Plan], lane: Lane, rows: Rows, leaf: Tensor | None) -> None:
        self.plan, self.lane, self.rows, self.leaf = plan, lane, rows, leaf
        self.seen: dict[Site, Tensor] = {}
        self.raw: dict[Site, Tensor] = {}

    @contextmanager
    def on(self, net: nn.Module) -> Generator[None]:
        """Hooks on the private twin while one pass runs."""
        where = self.lane.where
        wanted: dict[str, list[Site]] = {}
        for site in (
            *self.lane.sites,
            *([where.into] if where.into else []),
            *([where.edit.site] if where.edit else []),
        ):
            wanted.setdefault(site.name, []).append(site)
        handles = [net.get_submodule(name).register_forward_hook(self._hook(at)) for name, at in wanted.items()]
        try:
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

    def _visit(self, site: Site, tensor: Tensor) -> Tensor:
        lane, plan = self.lane, self.plan(site)
        if lane.where.into == site:
            entering = self.leaf if self.leaf is not None else self.rows.build()
            tensor = plan.put(tensor.detach(), entering.clone())  # the model may go on in place
        edit = lane.where.edit
        if edit is not None and edit.site == site:
            tensor = plan.put(tensor, edit.change(plan.take(tensor), self.rows.k())).clone()
        if site in lane.slopes and not tensor.requires_grad:
            tensor = tensor.detach().requires_grad_(True)  # nothing below needs a graph: backward stops here
        if site in lane.sites:
            self.raw[site] = tensor
            self.seen[site] = plan.take(tensor)
            tensor = tensor.clone()  # what is recorded must not be overwritten by an operator in place
        return tensor
