"""Backward rules on operators: a mode sees every torch function, and an autograd function carries the rule.

Nothing of the model is rewritten. While `with Intercept(twin, rules) as seen:` is open in a thread, the calls that a
rule serves go through `Ruled`, whose backward is the rule; all others are left to torch and only noted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode, resolve_name

from pellucid.core.errors import RuleError
from pellucid.propagation import refusals
from pellucid.propagation.audit import NO_RULE, PLAIN, THROUGH, Audit, Entry, Met
from pellucid.propagation.graph import Stranger, strangers
from pellucid.propagation.layers import Layers, refuse_opaque
from pellucid.propagation.operators import TABLE, Kind, Operator
from pellucid.propagation.rectifiers import Signs
from pellucid.propagation.rules import Beside, Call, Place, Rule, RuleSet, taken_apart
from pellucid.propagation.tensors import carries, checkpointing, entering, sequence_number, tensors_in

_OTHER = Operator("", Kind.OTHER)


class Ruled(torch.autograd.Function):
    """One call whose backward is a rule."""

    @staticmethod
    def forward(ctx: Any, call: Call, rule: Rule, met: Met, *inputs: Tensor) -> Any:
        """Run the operator as it is, and keep what the rule needs."""
        kept = rule.keep(call, inputs)
        if call.inplace:
            kept = tuple(tensor.clone() if tensor is inputs[0] else tensor for tensor in kept)
        output = call.run(inputs)
        if call.inplace:
            output = inputs[0]
            ctx.mark_dirty(output)
        if rule.keeps_output(call):
            kept = (*kept, output)
        ctx.call, ctx.rule, ctx.met = call, rule, met
        ctx.save_for_backward(*kept)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Ask the rule, where no mode and no autocast can change what it computes."""
        ctx.met.runs += 1
        device = upstream[0].device.type
        cast = torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
        with torch._C.DisableTorchFunction(), cast:
            signals = ctx.rule.back(ctx.call, ctx.saved_tensors, *upstream)
        return None, None, None, *signals, *(None,) * (len(ctx.needs_input_grad) - 3 - len(signals))


class Intercept(TorchFunctionMode):
    """Gives the operators that run in `root` other backward rules, in this thread, while the block is open.

    root   a private twin of the model: it carries naming hooks while the block is open
    rules  which rule serves which operator, for example `Guided()`
    names  whether layers are named; without, a pass costs less, and messages and the audit know no layers. Only for
           twins that have been through a pass with names, and for rules that do not ask for the layer
    beside notes the inputs of the calls that have a rule, or finds those of an earlier pass (`call.reference`)

    The backward pass may follow inside or outside the block, several times. Then `verify` says whether the result
    can be trusted, and `audit` what happened. Raises RuleError at the start for scripted and compiled submodules, and
    during the forward pass for recurrent layers and activation checkpointing.
    """

    def __init__(self, root: nn.Module, rules: RuleSet, *, names: bool = True, beside: Beside | None = None) -> None:
        super().__init__()
        self.root, self.rules, self.names, self.beside = root, rules, names, beside
        self._layers: Layers | None = None
        self._served: dict[tuple[Callable[..., Any], Kind, str], Rule | None] = {}
        self._refusal: RuleError | None = None
        self._met: dict[tuple[Callable[..., Any], Kind, str, int], Met] = {}
        self._count: dict[tuple[Callable[..., Any], Kind, str], int] = {}
        self._native: list[tuple[int, int]] = []
        self._strangers: list[Stranger] = []
        self._signs = Signs()
        self._start = 0

    def __enter__(self) -> Self:
        """Scan the twin, name its layers, and begin to listen."""
        if self._layers is not None:
            raise RuleError("This Intercept has been entered before", "one block for each", "make a new Intercept")
        if self.names:
            refuse_opaque(self.root)
        self._layers = Layers(self.root, self._begin, self._end, inside=self.names)
        try:
            super().__enter__()
        except BaseException:
            self._layers.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and leave nothing behind."""
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._signs.clear()
            if self._layers is not None:
                self._layers.close()
        if isinstance(error, TypeError) and self._refusal is not None and not isinstance(error, RuleError):
            raise self._refusal from error  # `x + y` turns every TypeError into one of its own

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every torch function of the block comes by here."""
        kwargs = {} if kwargs is None else kwargs
        if not torch.is_grad_enabled():
            return func(*args, **kwargs)
        try:
            return self._called(func, args, kwargs)
        except RuleError as refusal:
            self._refusal = refusal
            raise

    def _called(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        operator = TABLE.get(func)
        if operator is None:
            return self._noted(func, _OTHER, args, kwargs)
        if operator.kind is Kind.COMPARE:
            mask = func(*args, **kwargs)
            self._signs.compare(operator.name, args, mask)
            return mask
        if not args and kwargs:
            args, kwargs = _positional(kwargs)
        if not carries(args) and not carries(kwargs.values()):
            output = func(*args, **kwargs)
            if operator.kind is Kind.CAST and self._signs:
                self._signs.cast(args[0], output)
            return output
        kind, subject = operator.kind, None
        if operator.rectified is not None:
            subject = operator.rectified(args, kwargs, self._signs)
            kind = kind if subject is None else Kind.RECTIFIER
        rule = self._rule(func, operator.name, kind)
        if rule is None:
            return self._noted(func, operator, args, kwargs)
        return self._ruled(func, operator, kind, rule, subject, args, kwargs)

    def verify(self) -> None:
        """Raise RuleError unless the rules served at least one operator of a backward pass and nothing escaped them.

        To be called after the backward pass. A rule counts only when it *ran* there: an operator seen on the way
        forward may lie on another branch, or in a custom function whose backward is its author's.
        """
        for stranger in self._strangers:
            if stranger.runs:
                raise stranger.error(self.rules.name)
        if any(met.runs for met in self._met.values() if met.served):
            return
        raise refusals.nothing_ran(self._met.values(), self.rules.name)

    @property
    def audit(self) -> Audit:
        """What was met so far."""
        return Audit(
            self.rules.name,
            tuple(
                Entry(met.operator, met.kind, met.layer, met.call, met.rule, met.served, met.runs)
                for met in self._met.values()
            ),
        )

    def _rule(self, func: Callable[..., Any], name: str, kind: Kind) -> Rule | None:
        layer = self._layer
        key = (func, kind, layer)
        try:
            return self._served[key]
        except KeyError:
            rule = self._served[key] = self.rules.rule_for(Place(kind, name or _spoken(func), layer))
            return rule

    @property
    def _layer(self) -> str:
        return "" if self._layers is None else self._layers.current

    def _ruled(
        self,
        func: Callable[..., Any],
        operator: Operator,
        kind: Kind,
        rule: Rule,
        subject: Tensor | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        inputs: list[Tensor] = []
        slots = tuple(taken_apart(value, inputs) for value in args)
        words = {key: taken_apart(value, inputs) for key, value in kwargs.items()}
        self._refuse_checkpoint()
        inplace = operator.inplace or bool(kwargs.get("inplace", False))
        index = 0 if subject is None else next(i for i, tensor in enumerate(inputs) if tensor is subject)
        place = Place(kind, operator.name, self._layer)
        tracked = tuple(tensor.requires_grad for tensor in inputs)
        reference = None if self.beside is None else self.beside(place, tuple(inputs))
        call = Call(operator, func, slots, words, inplace, index, place, tracked, reference=reference)
        if not rule.serves(call):
            return self._noted(func, operator, args, kwargs)
        met = self._meet(func, operator, kind, rule.name, served=True)
        return Ruled.apply(call, rule, met, *inputs)

    def _noted(
        self, func: Callable[..., Any], operator: Operator, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        before = sequence_number()
        output = func(*args, **kwargs)
        first = output[0] if type(output) in (tuple, list) and output else output
        if not isinstance(first, Tensor) or first.grad_fn is None:
            return output
        if operator.kind is Kind.RECURRENT:
            raise refusals.opaque_call(operator.name, self._layer, self.rules.name)
        if operator is _OTHER and self._rule(func, "", Kind.OTHER) is not None:
            raise refusals.unknown(_spoken(func), self._layer, self.rules.name)
        self._refuse_checkpoint()
        self._native.append((before, sequence_number()))
        first.grad_fn.register_hook(self._meet(func, operator, operator.kind, "", served=False, kwargs=kwargs))
        return output

    def _meet(
        self,
        func: Callable[..., Any],
        operator: Operator,
        kind: Kind,
        rule: str,
        *,
        served: bool,
        kwargs: Mapping[str, Any] | None = None,
    ) -> Met:
        place = (func, kind, self._layer)
        number = self._count[place] = self._count.get(place, 0) + 1
        met = self._met.get((*place, number))
        if met is None:
            name = operator.name or _spoken(func)
            label = rule or _label(kind, kwargs or {})
            met = self._met[(*place, number)] = Met(name, kind, self._layer, number, label, served)
        return met

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self._count.clear()
        self._signs.clear()
        self._native.clear()
        with torch._C.DisableTorchFunction():
            args, kwargs = tuple(entering(a) for a in args), {k: entering(v) for k, v in kwargs.items()}
        self._start = sequence_number()
        return args, kwargs

    def _end(self, output: Any) -> None:
        self._signs.clear()
        layers = self._layers
        if layers is None:
            return
        with torch._C.DisableTorchFunction():
            for stranger in strangers(tensors_in(output), self._start, self._native, layers.at, Ruled):
                if stranger.checkpoint:
                    raise refusals.checkpointed(stranger.layer)
                self._strangers.append(stranger)

    def _refuse_checkpoint(self) -> None:
        if checkpointing():
            raise refusals.checkpointed(self._layer)


def _positional(kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """torch.relu(input=x) as torch.relu(x)."""
    for word in ("input", "self"):
        if word in kwargs:
            return (kwargs[word],), {key: value for key, value in kwargs.items() if key != word}
    return (), dict(kwargs)


def _label(kind: Kind, kwargs: Mapping[str, Any]) -> str:
    if kind in (Kind.ACTIVATION, Kind.SOFTMAX, Kind.RECTIFIER):
        return NO_RULE
    if kind is Kind.DROPOUT:
        return f"random: {PLAIN}" if kwargs.get("training", False) else THROUGH
    return THROUGH if kind in (Kind.SHAPE, Kind.CAST) else PLAIN


def _spoken(func: Callable[..., Any]) -> str:
    name = resolve_name(func) or getattr(func, "__name__", repr(func))
    return name.removesuffix(".__get__").rsplit(".", 1)[-1].strip("_")
