"""Backward rules on operators: a mode sees every torch function, and an autograd function carries the rule.

Nothing of the model is rewritten. While `with Intercept(twin, rules) as seen:` is open in a thread, the calls that a
rule serves go through `Ruled`, whose backward is the rule; all others are left to torch and only noted.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.core.errors import RuleError
from pellucid.propagation import apart, merge, refusals
from pellucid.propagation.audit import Audit, label
from pellucid.propagation.booked import Booked
from pellucid.propagation.following import Gates
from pellucid.propagation.graph import Stranger, strangers
from pellucid.propagation.held import Keeper
from pellucid.propagation.layers import Layers, refuse_opaque
from pellucid.propagation.log import Heard, Log, with_tensors
from pellucid.propagation.operators import READS, Kind, of_arguments, operator_of, overwrites, overwriting
from pellucid.propagation.rectifiers import Signs
from pellucid.propagation.reference import Reference, Taking
from pellucid.propagation.ruled import Ruled
from pellucid.propagation.rules import Call, Place, Refused, Rule, RuleSet, Unruled, taken_apart
from pellucid.propagation.tensors import (
    Flow,
    Function,
    Given,
    Named,
    alone,
    as_named,
    checkpointing,
    constant,
    ends_in,
    entering,
    flow,
    flowing,
    nodes_of,
    positional,
    sequence_number,
    tensors_in,
)


class Intercept(TorchFunctionMode):
    """Gives the operators that run in `root` other backward rules, in this thread, while the block is open.

    root     a private twin of the model: it carries naming hooks while the block is open
    rules    which rule serves which operator, for example `Guided()`
    names    whether layers are named; without, a pass costs less, messages know no layers, and the audit has only what
             is served. Only for twins that have been through a pass with names, and for rules that do not ask for the
             layer
    against  what a pass of the reference input met, for rules that compare; None in that pass itself, in which the
             calls that the rules would serve are only recorded: afterwards `reference` has them
    canvas   where rules leave something beside the signal: one input more of every call that is served
    inside   the listener of an earlier pass, when this one is given what its first calls gave: their rules count too

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
        inside: Intercept | None = None,
    ) -> None:
        super().__init__()
        self.root, self.rules, self.names, self.canvas = root, rules, names, canvas
        self.manner = manner = rules.manner
        self._against = against
        self._taking = Taking() if manner.pairs and against is None else None
        self._layers: Layers | None = None
        self._served: dict[tuple[str, Kind], Rule | None] = {}
        self._refusal: RuleError | None = None
        self._log = Log(full=manner.full)
        self._native: list[tuple[int, int]] = []
        self._strangers: list[Stranger] = []
        self._signs, self._keeper = Signs(), Keeper()
        self._gates = None if manner.pairs or not (manner.named or manner.ordered or manner.apart) else Gates()
        self._merging = merge.Merging() if manner.merge else None
        self._start = 0
        self._inside, self._before = inside, 0 if inside is None else inside.runs

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
        func: Function,
        types: Any,
        args: Given = (),
        kwargs: Named | None = None,
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

    def _called(self, func: Function, args: Given, kwargs: Named) -> Any:
        operator = operator_of(func)
        if operator.kind is Kind.COMPARE:
            mask = func(*args, **kwargs)
            self._signs.compare(operator.name, args, mask)
            return mask
        if not args and kwargs:
            args, kwargs = positional(kwargs)
        heard = Heard(func, operator, args, kwargs)
        tracked = flow(args, kwargs)
        if tracked is not Flow.TRACKED:
            return self._constant(heard, tracked)
        parts = apart.parts(func, operator, self.manner.apart) if self.manner.apart else None
        if parts is not None:
            with _Again(self):
                return parts(*args, **kwargs)
        return self._tracked(heard)

    def _constant(self, heard: Heard, depends: Flow) -> Any:
        """What does not depend on the model's input."""
        if depends is Flow.WEIGHTS:
            with torch.no_grad():
                return constant(heard.run())
        output = heard.run()
        if heard.operator.kind is Kind.CAST and self._signs:
            self._signs.cast(heard.args[0], output)
        return output

    def _tracked(self, heard: Heard) -> Any:
        """What a signal can come back through."""
        func, _, args, kwargs = heard
        operator = of_arguments(heard.operator, args, kwargs)
        kind, subject = operator.kind, None
        if operator.rectified is not None:
            subject = operator.rectified(args, kwargs, self._signs)
            kind = kind if subject is None else Kind.RECTIFIER
        place = self._log.place(kind, operator.name, self._layer)
        rule = self._rule(place)
        if operator.inplace or overwrites(func, args, kwargs):
            operator = operator if operator.inplace else overwriting(operator)
            self._keeper.overwriting(args[0])
        if self._merging is not None and operator.name in merge.MERGED:
            rule = self._merging.candidate(operator.name, func, args, kwargs, rule)
        if operator is not heard.operator:
            heard = Heard(func, operator, args, kwargs)
        if rule is None or (rule.least > 1 and ends_in(args, kwargs) < rule.least):
            return self._noted(heard, place)
        if isinstance(rule, Refused | Unruled):
            return self._noted(heard, place, rule)
        if self.manner.full and kind is Kind.ADD:
            heard = with_tensors(heard)
        return self._ruled(heard, place, rule, subject)

    def verify(self, down_to: str = "") -> None:
        """Raise RuleError unless the rules served at least one operator of a backward pass and nothing escaped them.

        down_to: the layer at which the signal was read, where it was not the input.

        To be called after the backward pass. A rule counts only when it *ran* there: an operator seen on the way
        forward may lie on another branch, or in a custom function whose backward is its author's.
        """
        for stranger in self._strangers:
            if stranger.runs:
                raise stranger.error(self.rules.name)
        ran = self.runs or (self._inside is not None and self._inside.runs > self._before)
        if not (ran or self.manner.pairs):  # rules that compare leave linear operators alone; there may be no others
            raise refusals.nothing_ran(self._log.met, self.rules.name, down_to)
        if isinstance(self.rules, Booked):
            self.rules.tell(self.audit)

    @property
    def runs(self) -> int:
        """How often a rule has run."""
        return sum(met.runs for met in self._log.met if met.served)

    @property
    def settled(self) -> bool:
        """Whether a later call can be understood without those before it: nothing is noted of what they made."""
        return self._gates is None and self._merging is None and self._taking is None and not self._signs.alive

    def count_at(self, entering: Tensor) -> None:
        """Count what arrives at a tensor that enters inside the model, as the vectors of token ids do."""
        with torch._C.DisableTorchFunction():
            self._log.count_ends((entering,), inputs=True)

    @property
    def audit(self) -> Audit:
        """What was met so far."""
        return self._log.audit(self.rules.name)

    @property
    def places(self) -> tuple[Place, ...]:
        """The calls of the last pass that a signal can flow through, in execution order."""
        return tuple(self._log.places)

    @property
    def reference(self) -> Reference:
        """What the pass of the reference input met, for a second pass `against` it."""
        if self._taking is None:
            raise RuleError(
                "this was no pass of a reference input", "rules that compare (Manner.pairs), and no against"
            )
        return self._taking.reference(self._log.places)

    def _rule(self, place: Place) -> Rule | None:
        if self.manner.named or self.manner.ordered:
            return self.rules.rule_for(place)
        key = (place.operator, place.kind)
        try:
            return self._served[key]
        except KeyError:
            rule = self._served[key] = self.rules.rule_for(place)
            return rule

    def _call(self, heard: Heard, place: Place, subject: Tensor | None) -> tuple[Call, list[Tensor]]:
        met = None if self._against is None else self._against.at(place)
        inputs: list[Tensor] = []
        slots = tuple([taken_apart(value, inputs) for value in heard.args])
        words = {key: taken_apart(value, inputs) for key, value in heard.kwargs.items()}
        index = 0 if subject is None else next(i for i, tensor in enumerate(inputs) if tensor is subject)
        tracked = tuple([flowing(tensor) for tensor in inputs])
        gates = () if self._gates is None else self._gates.among(inputs)
        inplace, full = heard.operator.inplace, self.manner.full
        operator, function = heard.operator, heard.function
        return Call(operator, function, slots, words, inplace, index, place, tracked, gates, full, met), inputs

    def _ruled(self, heard: Heard, place: Place, rule: Rule, subject: Tensor | None) -> Any:
        """A call with a rule."""
        self._refuse_checkpoint()
        call, inputs = self._call(heard, place, subject)
        if not rule.serves(call):
            return self._noted(heard, place)
        if self._taking is not None:
            return self._taken(self._taking, heard, call, rule, inputs)
        if self._against is not None and call.reference is None:
            raise self._against.without(place)
        met = self._log.meet(place, rule.name, served=True)
        if self._merging is not None:
            self._merging.read(inputs)
            if isinstance(rule, merge.Merged):
                self._merging.merge(rule, met)
            self._merging.take(call, rule, inputs)
        beside = () if self.canvas is None else (self.canvas,)
        output = Ruled.apply(call, rule, met, self._keeper, heard, *inputs, *beside)
        if nodes_of(output):
            self._log.count(place)
        if type(output) is tuple:
            output = as_named(heard.function, output)
        if self._merging is not None:
            self._merging.made(call, rule, output)
            if isinstance(rule, merge.Ahead):
                self._merging.waits(call, rule, met, self._keeper.hold(inputs[0]), output)
        if self._gates is not None:
            self._gates.made(heard.operator, heard.args, heard.kwargs, output)
        return output

    def _taken(self, taking: Taking, heard: Heard, call: Call, rule: Rule, inputs: list[Tensor]) -> Any:
        """A call in the pass of the reference input: it runs as it is; what goes in and comes out is kept."""
        take = taking.before(inputs, self._keeper, inplace=call.inplace)
        with torch.no_grad():
            note = rule.noted(call, tuple(inputs))
        output = self._noted(heard, call.place)
        taking.after(call.place, take, output, note, self._keeper)
        return output

    def _noted(self, heard: Heard, place: Place, left: Refused | Unruled | None = None) -> Any:
        """A call left to torch; with a refusal, a signal that comes back to it raises."""
        before = sequence_number()
        output = heard.run()
        nodes = nodes_of(output)
        if not nodes:
            return output
        if place.kind is Kind.RECURRENT:
            raise refusals.opaque_call(place.operator, place.layer, self.rules.name)
        self._refuse_checkpoint()
        if self._taking is not None:  # nothing comes back to a reference
            self._log.count(place)
            return output
        after = sequence_number()
        self._native.append((before, after))
        self._log.count(place)
        if isinstance(left, Refused):
            for node in nodes:
                node.register_hook(left.raising(place, self.rules.name))
        if self.names or self.manner.full:  # the audit is that of a pass with names
            met = self._log.meet(place, label(place.kind, heard.kwargs) if left is None else left.name, served=False)
            if not isinstance(left, Refused):
                nodes[0].register_hook(met)
            if self.manner.full and alone(nodes, before):
                met.moved(nodes[0])
        self._follow(heard, output)
        return output

    def _follow(self, heard: Heard, output: Any) -> None:
        _, operator, args, kwargs = heard
        if self._merging is not None:
            self._merging.left(operator.name, args, kwargs, output)
        if self._gates is not None:
            self._gates.made(operator, args, kwargs, output)

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self._forget()
        self._log.begin()
        self._native.clear()
        if self._taking is not None:
            self._taking.clear()
        with torch._C.DisableTorchFunction():
            args, kwargs = tuple(entering(a) for a in args), {k: entering(v) for k, v in kwargs.items()}
            self._log.count_ends((*args, *kwargs.values()), inputs=True)
        self._start = sequence_number()
        return args, kwargs

    def _end(self, output: Any) -> None:
        layers = self._layers
        with torch._C.DisableTorchFunction():
            outputs = list(tensors_in(output))
            if self._merging is not None:
                self._merging.read(outputs)
            self._forget()
            self._log.count_ends(outputs, inputs=False)
            for stranger in (
                strangers(outputs, self._start, self._native, layers.at, Ruled)
                if layers and self._taking is None
                else ()
            ):
                if stranger.checkpoint:
                    raise refusals.checkpointed(stranger.layer)
                self._strangers.append(stranger)

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
        func: Function,
        types: Any,
        args: Given = (),
        kwargs: Named | None = None,
    ) -> Any:
        return self.listening.__torch_function__(func, types, args, kwargs)
