"""Backward rules on operators: a mode sees every torch function, and an autograd function carries the rule.

Nothing of the model is rewritten. While `with Intercept(twin, rules) as seen:` is open in a thread, the calls that a
rule serves go through `Ruled`, whose backward is the rule; all others are left to torch and only noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.core.errors import RuleError
from pellucid.propagation import apart, merge, refusals
from pellucid.propagation.audit import Audit, Entry, Met, label, total
from pellucid.propagation.booked import Booked
from pellucid.propagation.following import Gates
from pellucid.propagation.graph import Stranger, strangers
from pellucid.propagation.held import Keeper
from pellucid.propagation.layers import Layers, refuse_opaque
from pellucid.propagation.operators import READS, Kind, Operator, operator_of, overwrites, overwriting
from pellucid.propagation.rectifiers import Signs
from pellucid.propagation.reference import Reference, Taking
from pellucid.propagation.ruled import Ruled
from pellucid.propagation.rules import Call, Place, Refused, Rule, RuleSet, Unruled, taken_apart
from pellucid.propagation.tensors import (
    Flow,
    as_named,
    checkpointing,
    constant,
    entering,
    flow,
    flowing,
    nodes_of,
    sequence_number,
    tensors_among,
    tensors_in,
)

_COPIES = frozenset(("clone", "contiguous", "dropout", "to"))
"""Operators whose output is their input: who reads it reads the input."""


class Intercept(TorchFunctionMode):
    """Gives the operators that run in `root` other backward rules, in this thread, while the block is open.

    root     a private twin of the model: it carries naming hooks while the block is open
    rules    which rule serves which operator, for example `Guided()`
    names    whether layers are named; without, a pass costs less, and messages and the audit know no layers. Only for
             twins that have been through a pass with names, and for rules that do not ask for the layer
    against  what a pass of the reference input met, for rules that compare; None in that pass itself, in which the
             calls that the rules would serve are only recorded: afterwards `reference` has them
    canvas   where rules leave something beside the signal: one input more of every call that is served

    The backward pass may follow inside or outside the block, several times. Then `verify` says whether the result
    can be trusted, and `audit` what happened. Raises RuleError at the start for scripted and compiled submodules, and
    during the forward pass for recurrent layers and activation checkpointing.
    """

    def __init__(
        self,
        root: nn.Module,
        rules: RuleSet,
        *,
        names: bool = True,
        against: Reference | None = None,
        canvas: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.root, self.rules, self.names = root, rules, names
        self.manner = rules.manner
        self._against = against
        self.canvas = canvas
        self._taking = Taking() if self.manner.pairs and against is None else None
        self._layers: Layers | None = None
        self._served: dict[tuple[str, Kind], Rule | None] = {}
        self._refusal: RuleError | None = None
        self._met: dict[tuple[str, str, int], Met] = {}
        self._count: dict[tuple[str, str], int] = {}
        self._places: list[Place] = []
        self._native: list[tuple[int, int]] = []
        self._strangers: list[Stranger] = []
        self._signs, self._keeper = Signs(), Keeper()
        self._gates = Gates() if self.manner.named or self.manner.ordered or self.manner.apart else None
        self._merging = merge.Merging() if self.manner.merge else None
        self._start = 0
        self._ends = [0.0, 0.0]
        """Sums of what began at the outputs and of what arrived at the inputs, where books are kept."""

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
            self._forget()
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
        if func in READS or not torch.is_grad_enabled() or self._layers is None or not self._layers.running:
            return func(*args, **kwargs)
        try:
            return self._called(func, args, kwargs)
        except RuleError as refusal:
            self._refusal = refusal
            raise

    def _called(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        operator = operator_of(func)
        if operator.kind is Kind.COMPARE:
            mask = func(*args, **kwargs)
            self._signs.compare(operator.name, args, mask)
            return mask
        if not args and kwargs:
            args, kwargs = _positional(kwargs)
        tracked = flow(args, kwargs)
        if tracked is not Flow.TRACKED:
            return self._constant(func, operator, args, kwargs, frozen=tracked is Flow.WEIGHTS)
        parts = apart.parts(func, operator, self.manner.apart) if self.manner.apart else None
        if parts is not None:
            with _Again(self):
                return parts(*args, **kwargs)
        if operator.of_two is not None and isinstance(_second(args, kwargs), Tensor):
            operator = operator.of_two
        kind, subject = operator.kind, None
        if operator.rectified is not None:
            subject = operator.rectified(args, kwargs, self._signs)
            kind = kind if subject is None else Kind.RECTIFIER
        rule, place = self._rule(func, operator, kind)
        if operator.inplace or overwrites(func, args, kwargs):
            operator = operator if operator.inplace else overwriting(operator)
            self._keeper.overwriting(args[0])
        if self._merging is not None and operator.name in merge.MERGED:
            rule = self._merging.candidate(operator.name, func, args, kwargs, rule)
        if rule is None or isinstance(rule, Refused | Unruled):
            return self._noted(func, operator, place, args, kwargs, rule)
        return self._ruled(func, operator, place, rule, subject, args, kwargs)

    def _constant(
        self,
        func: Callable[..., Any],
        operator: Operator,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        frozen: bool,
    ) -> Any:
        """What does not depend on the model's input."""
        if frozen:
            with torch.no_grad():
                return constant(func(*args, **kwargs))
        output = func(*args, **kwargs)
        if operator.kind is Kind.CAST and self._signs:
            self._signs.cast(args[0], output)
        return output

    def verify(self) -> None:
        """Raise RuleError unless the rules served at least one operator of a backward pass and nothing escaped them.

        To be called after the backward pass. A rule counts only when it *ran* there: an operator seen on the way
        forward may lie on another branch, or in a custom function whose backward is its author's.
        """
        for stranger in self._strangers:
            if stranger.runs:
                raise stranger.error(self.rules.name)
        ran = any(met.runs for met in self._met.values() if met.served)
        if not (ran or self.manner.pairs):  # rules that compare leave linear operators alone; there may be no others
            raise refusals.nothing_ran(self._met.values(), self.rules.name)
        if isinstance(self.rules, Booked):
            self.rules.tell(self.audit)

    @property
    def audit(self) -> Audit:
        """What was met so far."""
        started, arrived = self._ends if self.manner.full else (None, None)
        entries = tuple(map(Entry.of, self._met.values()))
        return Audit(self.rules.name, entries, self.manner.full, started, arrived)

    @property
    def places(self) -> tuple[Place, ...]:
        """The calls of the last pass that a signal can flow through, in execution order."""
        return tuple(self._places)

    @property
    def reference(self) -> Reference:
        """What the pass of the reference input met, for a second pass `against` it."""
        if self._taking is None:
            raise RuleError(
                "this was no pass of a reference input", "rules that compare (Manner.pairs), and no against"
            )
        return self._taking.reference(self._places)

    def _rule(self, func: Callable[..., Any], operator: Operator, kind: Kind) -> tuple[Rule | None, Place]:
        layer, name = self._layer, operator.name
        place = Place(kind, name, layer, self._count.get((name, layer), 0) + 1, len(self._places))
        if self.manner.named or self.manner.ordered:
            return self.rules.rule_for(place), place
        try:
            return self._served[name, kind], place
        except KeyError:
            rule = self._served[name, kind] = self.rules.rule_for(place)
            return rule, place

    def _ruled(
        self,
        func: Callable[..., Any],
        operator: Operator,
        place: Place,
        rule: Rule,
        subject: Tensor | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        inputs: list[Tensor] = []
        slots = tuple([taken_apart(value, inputs) for value in args])
        words = {key: taken_apart(value, inputs) for key, value in kwargs.items()}
        self._refuse_checkpoint()
        index = 0 if subject is None else next(i for i, tensor in enumerate(inputs) if tensor is subject)
        tracked = tuple([flowing(tensor) for tensor in inputs])
        gates = () if self._gates is None else self._gates.among(inputs)
        call = Call(operator, func, slots, words, operator.inplace, index, place, tracked, gates, self.manner.full)
        if not rule.serves(call):
            return self._noted(func, operator, place, args, kwargs)
        if self._taking is not None:
            return self._taken(self._taking, func, operator, place, args, kwargs, inputs)
        if self._against is not None:
            call = replace(call, reference=self._against.at(place))
        met = self._meet(place, rule.name, served=True)
        if self._merging is not None:
            self._merging.read(inputs)
            if isinstance(rule, merge.Merged):
                self._merging.merge(rule, met)
        output = Ruled.apply(
            call, rule, met, self._keeper, (args, kwargs), *inputs, *(() if self.canvas is None else (self.canvas,))
        )
        if nodes_of(output):
            self._count_in(place)
        if type(output) is tuple:
            output = as_named(func, output)
        if self._merging is not None:
            self._merging.made(call, output)
        if self._gates is not None:
            self._gates.made(operator, args, kwargs, output)
        return output

    def _taken(
        self,
        taking: Taking,
        func: Callable[..., Any],
        operator: Operator,
        place: Place,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        inputs: list[Tensor],
    ) -> Any:
        """A call in the pass of the reference input: it runs as it is; what goes in and comes out is kept."""
        take = taking.before(inputs, self._keeper, inplace=operator.inplace)
        output = self._noted(func, operator, place, args, kwargs)
        taking.after(place, take, output, self._keeper)
        return output

    def _noted(
        self,
        func: Callable[..., Any],
        operator: Operator,
        place: Place,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        left: Refused | Unruled | None = None,
    ) -> Any:
        """A call left to torch; with a refusal, a signal that comes back to it raises."""
        before = sequence_number()
        output = func(*args, **kwargs)
        nodes = nodes_of(output)
        if not nodes:
            return output
        if operator.kind is Kind.RECURRENT:
            raise refusals.opaque_call(operator.name, place.layer, self.rules.name)
        self._refuse_checkpoint()
        after = sequence_number()
        self._native.append((before, after))
        met = self._meet(place, label(place.kind, kwargs) if left is None else left.name, served=False)
        self._count_in(place)
        for node in nodes if isinstance(left, Refused) else nodes[:1]:
            node.register_hook(left.raising(place, self.rules.name) if isinstance(left, Refused) else met)
        if self.manner.full and after - before == 1:
            met.moved(nodes[0])
        self._follow_native(operator, args, kwargs, output)
        return output

    def _follow_native(self, operator: Operator, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        if self._merging is not None:
            if args and operator.name in _COPIES and not kwargs.get("training", False):
                self._merging.passed(args[0], output)
            else:
                self._merging.read([*tensors_among(args), *tensors_among(kwargs.values())])
        if self._gates is not None:
            self._gates.made(operator, args, kwargs, output)

    def _meet(self, place: Place, rule: str, *, served: bool) -> Met:
        counted = (place.operator, place.layer, place.call)
        met = self._met.get(counted)
        if met is None:
            met = Met(place.operator, place.kind, place.layer, place.call, rule, served)
            self._met[counted] = met
        return met

    def _count_in(self, place: Place) -> None:
        """A signal can come back through this call."""
        self._count[place.operator, place.layer] = place.call
        self._places.append(place)

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self._forget()
        self._count.clear()
        self._places = []
        self._native.clear()
        if self._taking is not None:
            self._taking.clear()
        with torch._C.DisableTorchFunction():
            args, kwargs = tuple(entering(a) for a in args), {k: entering(v) for k, v in kwargs.items()}
            self._count_ends((*args, *kwargs.values()), 1)
        self._start = sequence_number()
        return args, kwargs

    def _end(self, output: Any) -> None:
        layers = self._layers
        with torch._C.DisableTorchFunction():
            outputs = list(tensors_in(output))
            if self._merging is not None:
                self._merging.read(outputs)
            self._forget()
            self._count_ends(outputs, 0)
            for stranger in strangers(outputs, self._start, self._native, layers.at, Ruled) if layers else ():
                if stranger.checkpoint:
                    raise refusals.checkpointed(stranger.layer)
                self._strangers.append(stranger)

    def _count_ends(self, tensors: Iterable[Any], end: int) -> None:
        def count(signal: Tensor) -> None:
            self._ends[end] += total(signal)

        for tensor in tensors_among(tensors) if self.manner.full else ():
            if tensor.requires_grad:
                tensor.register_hook(count)

    def _forget(self) -> None:
        """Nothing that is known of tensors outlives the pass."""
        self._signs.clear()
        self._keeper.clear()
        for notes in (self._gates, self._merging):
            if notes is not None:
                notes.clear()

    def _refuse_checkpoint(self) -> None:
        if checkpointing():
            raise refusals.checkpointed(self._layer)

    @property
    def _layer(self) -> str:
        return "" if self._layers is None else self._layers.current


class _Again(TorchFunctionMode):
    """The parts of an operator that was taken apart come by the interceptor too."""

    def __init__(self, listening: Intercept) -> None:
        super().__init__()
        self.listening = listening

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return self.listening.__torch_function__(func, types, args, kwargs)


def _positional(kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """torch.relu(input=x) as torch.relu(x)."""
    for word in ("input", "self", "tensors"):
        if word in kwargs:
            return (kwargs[word],), {key: value for key, value in kwargs.items() if key != word}
    return (), dict(kwargs)


def _second(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return args[1] if len(args) > 1 else kwargs.get("other")
