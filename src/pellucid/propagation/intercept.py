"""Backward rules on operators: a mode sees every torch function, and an autograd function carries the rule.

Nothing of the model is rewritten. While `with Intercept(twin, rules) as seen:` is open in a thread, the calls that a
rule serves go through `Ruled`, whose backward is the rule; all others are left to torch and only noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode, resolve_name

from pellucid.core.errors import RuleError
from pellucid.propagation.audit import NO_RULE, PLAIN, THROUGH, Audit, Entry, Met
from pellucid.propagation.graph import Stranger, strangers
from pellucid.propagation.layers import Layers, refuse_opaque, tensors_in
from pellucid.propagation.operators import TABLE, Kind, Operator
from pellucid.propagation.rectifiers import Signs
from pellucid.propagation.rules import Call, Rule, RuleSet, taken_apart

_OTHER = Operator("", Kind.OTHER)
_autograd = torch._C._autograd


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

    The backward pass may follow inside or outside the block, several times. Then `verify` says whether the result
    can be trusted, and `audit` what happened. Raises RuleError at the start for scripted and compiled submodules, and
    during the forward pass for recurrent layers and activation checkpointing.
    """

    def __init__(self, root: nn.Module, rules: RuleSet) -> None:
        super().__init__()
        self.root, self.rules = root, rules
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
        refuse_opaque(self.root)
        self._layers = Layers(self.root, self._begin, self._end)
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
        if not _carries(args) and not _carries(kwargs.values()):
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
        raise self._nothing_ran()

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
            rule = self._served[key] = self.rules.rule_for(kind, name or _spoken(func), layer)
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
        met = self._meet(func, operator, kind, rule.name, served=True)
        return Ruled.apply(Call(operator, func, slots, words, inplace, index), rule, met, *inputs)

    def _noted(
        self, func: Callable[..., Any], operator: Operator, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        before = _autograd._get_sequence_nr()
        output = func(*args, **kwargs)
        first = output[0] if type(output) in (tuple, list) and output else output
        if not isinstance(first, Tensor) or first.grad_fn is None:
            return output
        if operator.kind is Kind.RECURRENT:
            raise self._recurrent(operator)
        if operator is _OTHER and self._rule(func, "", Kind.OTHER) is not None:
            raise self._unknown(func)
        self._refuse_checkpoint()
        self._native.append((before, _autograd._get_sequence_nr()))
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
            args, kwargs = tuple(_entering(a) for a in args), {k: _entering(v) for k, v in kwargs.items()}
        self._start = _autograd._get_sequence_nr()
        return args, kwargs

    def _end(self, output: Any) -> None:
        self._signs.clear()
        layers = self._layers
        if layers is None:
            return
        with torch._C.DisableTorchFunction():
            for stranger in strangers(tensors_in(output), self._start, self._native, layers.at, Ruled):
                if stranger.checkpoint:
                    raise _checkpointed(stranger.layer)
                self._strangers.append(stranger)

    def _refuse_checkpoint(self) -> None:
        hooks = _autograd._top_saved_tensors_default_hooks(True)
        if hooks is not None and getattr(hooks[0], "__module__", "") == "torch.utils.checkpoint":
            raise _checkpointed(self._layer)

    def _unknown(self, func: Callable[..., Any]) -> RuleError:
        return RuleError(
            f"{self.rules.name} has a rule for {_spoken(func)} in layer {self._layer!r}, which is no known operator",
            "a row for it in `pellucid.propagation.operators`",
            "let `rule_for` answer None or raise for this operator",
        )

    def _recurrent(self, operator: Operator) -> RuleError:
        return RuleError(
            f"{operator.name} in layer {self._layer!r} is one call that hides its inside",
            f"operators for which {self.rules.name} has a rule",
            "use a method without backward rules, such as integrated gradients",
        )

    def _nothing_ran(self) -> RuleError:
        served = [met for met in self._met.values() if met.served]
        if served:
            return RuleError(
                f"None of the {len(served)} operators that {self.rules.name} serves ran in the backward pass; the "
                f"first is {served[0].operator} in layer {served[0].layer!r}",
                "a backward pass from an output of this forward pass through at least one of them",
                "verify after the backward pass, and choose a target that depends on them",
            )
        others = sorted({met.operator for met in self._met.values() if met.rule == NO_RULE})
        return RuleError(
            f"{self.rules.name} met no operator that it serves" + (f"; the activations are {others}" if others else ""),
            "at least one rectifier (ReLU, ReLU6, LeakyReLU, ELU …) between input and target, under gradients",
            "use a method that needs no rectifiers, such as gradient or integrated gradients",
        )


def _carries(values: Iterable[Any]) -> bool:
    """Whether a gradient can flow through any of the arguments of a call."""
    for value in values:
        if isinstance(value, Tensor):
            if value.requires_grad:
                return True
        elif type(value) in (list, tuple) and _carries(value):
            return True
    return False


def _checkpointed(layer: str) -> RuleError:
    return RuleError(
        f"Activation checkpointing is on in layer {layer!r}: its second forward pass would run without the rules",
        "a model that runs forward once",
        "switch it off (`model.gradient_checkpointing_disable()`, `model.set_grad_checkpointing(False)`)",
    )


def _entering(value: Any) -> Any:
    """An input as the model may use it: a plain tensor of its own, which may be changed in place."""
    if isinstance(value, Tensor):
        if type(value) is not Tensor and not isinstance(value, nn.Parameter):
            value = _as_plain(value)
        return value.clone() if value.requires_grad and torch.is_grad_enabled() else value
    if type(value) in (list, tuple):
        return type(value)(_entering(item) for item in value)
    return {key: _entering(item) for key, item in value.items()} if type(value) is dict else value


def _as_plain(value: Tensor) -> Tensor:
    if type(value).__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl:
        raise RuleError(
            f"The input is a {type(value).__name__}, which computes in a way of its own",
            "a plain torch.Tensor",
            "hand over the local, dense tensor",
        )
    return value.as_subclass(Tensor)


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
