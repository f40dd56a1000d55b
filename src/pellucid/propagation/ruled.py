"""The autograd function that carries a rule: its forward is the operator, its backward is the rule."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pellucid.propagation.audit import Met
from pellucid.propagation.held import Held, Keeper
from pellucid.propagation.log import Heard
from pellucid.propagation.rules import Call, Rule


class Ruled(torch.autograd.Function):
    """One call whose backward is a rule."""

    @staticmethod
    def forward(
        ctx: Any,
        call: Call,
        rule: Rule,
        met: Met,
        keeper: Keeper,
        heard: Heard,
        *inputs: Tensor,
    ) -> Any:
        """Run the operator as it is, and keep what the rule needs; `heard` is the call with tensors in it."""
        kept = rule.keep(call, inputs)
        if call.inplace:
            kept = tuple(tensor.clone() if tensor is inputs[0] else tensor for tensor in kept)
        ctx.kept = tuple([keeper.hold(tensor) for tensor in kept])
        output = heard.run()
        if call.inplace:
            output = inputs[0]
            ctx.mark_dirty(output)
        ctx.borrowed = _borrowed(output, keeper) if rule.borrows_output(call) else ()
        if rule.keeps_output(call):
            ctx.save_for_backward(output)
        ctx.call, ctx.rule, ctx.met = call, rule, met
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Ask the rule, where no mode and no autocast can change what it computes."""
        ctx.met.runs += 1
        call: Call = ctx.call
        device = upstream[0].device.type
        cast = torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
        with torch._C.DisableTorchFunction(), cast:
            name = call.operator.name
            kept = tuple([held.get(name) for held in ctx.kept])
            if ctx.borrowed:
                kept = (*kept, *_outputs(call, kept, ctx.borrowed))
            signals = ctx.rule.back(call, (*kept, *ctx.saved_tensors), *upstream)
            if call.full:
                ctx.met.book(upstream, signals, call.tracked)
        signals = _to_tracked(signals, call.tracked)
        return None, None, None, None, None, *signals, *(None,) * (len(ctx.needs_input_grad) - 5 - len(signals))


def _to_tracked(signals: Sequence[Tensor | None], tracked: Sequence[bool]) -> list[Tensor | None]:
    """What goes on: signals for constants are for the books, and have no shape that autograd would accept."""
    count = len(tracked)
    return [s if i >= count or tracked[i] else None for i, s in enumerate(signals)]


def _borrowed(output: Any, keeper: Keeper) -> tuple[Held, ...]:
    """Detached: a function that kept its own output would keep itself alive."""
    every = output if isinstance(output, tuple | list) else (output,)
    return tuple(keeper.hold(tensor.detach()) for tensor in every if isinstance(tensor, Tensor))


def _outputs(call: Call, inputs: tuple[Tensor, ...], borrowed: tuple[Held, ...]) -> tuple[Tensor, ...]:
    """What was borrowed; computed again where somebody has overwritten it unseen."""
    if all([held.whole for held in borrowed]):  # noqa: C419 - a generator would cost more than it saves
        return tuple([held.tensor for held in borrowed])
    if call.inplace:
        inputs = (inputs[0].clone(), *inputs[1:])
    with torch.no_grad():
        again = call.run(inputs)
    return tuple(again) if isinstance(again, tuple | list) else (again,)
