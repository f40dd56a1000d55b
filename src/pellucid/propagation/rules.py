"""What a backward rule is, what it sees of a call, and how a set of rules says which operator is served by which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol

from torch import Tensor

from pellucid.core.errors import RuleError
from pellucid.propagation.held import Held
from pellucid.propagation.operators import Kind, Operator


@dataclass(frozen=True, slots=True)
class Slot:
    """Marks the place of input number `index` among the arguments of a call."""

    index: int


class Place(NamedTuple):
    """Where a call stands: what a set of rules decides by.

    kind      what the operator does
    operator  its name
    layer     dotted name of the module that is running, "" for the model itself
    call      1 for the first call of this operator in this layer, 2 for the second …
    order     its number among all calls of the pass that a signal can flow through, from 0, in execution order
    """

    kind: Kind
    operator: str
    layer: str
    call: int = 1
    order: int = 0


NOWHERE: Final = Place(Kind.OTHER, "", "")


class Before(NamedTuple):
    """A batch norm that the layer after it has taken in: the layer reads scale · input + shift, by channels."""

    scale: Tensor
    shift: Tensor
    input: Held


@dataclass(slots=True, eq=False)
class Fate:
    """What became of a call's output: complete when the forward pass has ended, so rules may ask in `back`.

    affine  scale and shift per channel of the batch norm that alone reads the output; then that norm passes its
            signal on unchanged, and the signal that arrives here is that of scale · output + shift
    before  of a layer: the batch norm that it has taken in, whose output it alone reads; the signal it gives back is
            then that of the norm's input
    taken   of a batch norm: whether the layer after it has taken it in, so that it passes its signal on unchanged
    readers how many calls read the output; counted for batch norms that a layer after them may take in
    left    what the rules of its readers leave for this call's rule, in the backward pass
    """

    affine: tuple[Tensor, Tensor] | None = None
    before: Before | None = None
    taken: bool = False
    readers: int = 0
    left: list[Any] = field(default_factory=list)


class Referred(NamedTuple):
    """A call in the pass of the reference input: its inputs and output, and what its rule has noted of them."""

    inputs: tuple[Tensor, ...]
    output: Any
    note: Any


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator, with its tensors taken out: it can be kept without keeping memory.

    operator   the row of the table
    function   the torch function that was called
    args       its positional arguments, a `Slot` where a tensor was
    kwargs     its keyword arguments, likewise
    inplace    whether it overwrites input 0
    subject    for rectifiers: which input is rectified
    place      where it stands in the pass
    tracked    which inputs a signal can flow to: those that depend on the model's input
    gates      which inputs are gates: made by a softmax, sigmoid or hardsigmoid, perhaps moved since
    full       whether signals are wanted for the other inputs too (biases, constants), for the books
    reference  the same call in the pass of the reference input, where there was one
    fate       what became of its output
    """

    operator: Operator
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inplace: bool
    subject: int = 0
    place: Place = NOWHERE
    tracked: tuple[bool, ...] = ()
    gates: tuple[bool, ...] = ()
    full: bool = False
    reference: Referred | None = None
    fate: Fate = field(default_factory=Fate)

    def filled(self, inputs: tuple[Tensor, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with tensors in their places again."""
        return tuple(_fill(a, inputs) for a in self.args), {k: _fill(v, inputs) for k, v in self.kwargs.items()}

    def run(self, inputs: tuple[Tensor, ...]) -> Any:
        """Call the torch function; overwrites `inputs[0]` if `inplace`, and gives it where torch gives nothing."""
        args, kwargs = self.filled(inputs)
        output = self.function(*args, **kwargs)
        return inputs[0] if output is None and self.inplace else output

    def slope(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """A rectifier's derivative at every element of its subject; bool where it is only a gate."""
        args, kwargs = self.filled(inputs)
        if self.operator.slope is None:
            raise TypeError(f"{self.operator.name} is not a rectifier")
        return self.operator.slope(inputs[self.subject], *args[1:], **kwargs)


def _fill(value: Any, inputs: tuple[Tensor, ...]) -> Any:
    if isinstance(value, Slot):
        return inputs[value.index]
    if isinstance(value, list | tuple) and any(isinstance(item, Slot) for item in value):
        return type(value)(_fill(item, inputs) for item in value)
    return value


_SLOTS: Final = tuple(Slot(index) for index in range(64))


def taken_apart(value: Any, inputs: list[Tensor]) -> Any:
    """The inverse of filling: put the tensors of an argument into `inputs`, and slots in their places."""
    if isinstance(value, Tensor):
        inputs.append(value)
        count = len(inputs)
        return _SLOTS[count - 1] if count <= 64 else Slot(count - 1)
    if type(value) in (list, tuple) and any(isinstance(item, Tensor) for item in value):
        return type(value)(taken_apart(item, inputs) for item in value)
    return value


class Rule:
    """What an operator does to the signal that comes back. Rules are frozen dataclasses, and equal by value.

    `keep` runs before the operator and returns the tensors that `back` will need. They may be the inputs themselves:
    what the model overwrites later is copied just before. A mask costs less.
    `back` runs in the backward pass, without gradients, autocast or interception, perhaps several times and perhaps
    under vmap (so: `where`, never masked assignment).
    `made_for` are the kinds of calls that a composite's line means where it names none; () are all.
    """

    __slots__ = ()
    made_for: ClassVar[tuple[Kind, ...]] = ()
    takes_norms: ClassVar[bool] = False
    """Whether it serves a layer together with the batch norm before it: whether it looks at `call.fate.before`."""

    @property
    def name(self) -> str:
        """One or two words, for the audit."""
        raise NotImplementedError

    @property
    def least(self) -> int:
        """How many inputs of a call a signal must flow to for it to serve the call; fewer have the plain gradient."""
        return 1

    def serves(self, call: Call) -> bool:
        """Whether it serves this very call, now that its arguments are known; otherwise the plain gradient does.

        `call.reference` is not there yet.
        """
        return True

    def noted(self, call: Call, inputs: tuple[Tensor, ...]) -> Any:
        """What a rule that compares computes of the reference's inputs, once for all that is compared with it."""
        return None

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What the backward pass needs, out of the inputs; by default nothing."""
        return ()

    def keeps_output(self, call: Call) -> bool:
        """Whether the output is kept too, as the last of what `back` gets. Torch refuses to overwrite it then."""
        return False

    def borrows_output(self, call: Call) -> bool:
        """Whether `back` gets the output as the last of what is kept, although the model may overwrite it.

        `keep` must return all inputs, in order: where the output was overwritten unseen, the call is run again.
        """
        return False

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The signal for every input, or None, from the signals of the outputs."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Unruled(Rule):
    """For operators that a set of rules does not know: their plain gradient, which the audit shows."""

    @property
    def name(self) -> str:
        """The words in the audit."""
        return "no rule: plain gradient"


@dataclass(frozen=True, slots=True)
class Refused(Rule):
    """For operators that a set of rules does not know: the call runs, but a signal that comes back to it raises.

    wanted  what the set of rules does know
    do      the remedy
    """

    wanted: str
    do: str

    @property
    def name(self) -> str:
        """The words in the audit."""
        return "none: refused"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Raises."""
        self.raising(call.place, "the set of rules")()
        return ()

    def raising(self, place: Place, rules: str) -> Callable[..., None]:
        """What to call when a signal comes back."""
        where = f"in layer {place.layer!r}" if place.layer else "in the model itself"
        got = f"{rules} has no rule for {place.operator} ({place.kind.value}) {where}, and the signal comes through it"

        def refuse(*_: Any) -> None:
            raise RuleError(got, self.wanted, self.do)

        return refuse


@dataclass(frozen=True, slots=True)
class Manner:
    """How a set of rules wants a pass to be run.

    start    what begins the backward pass: `slope`, ∂s/∂y at the outputs y; or `score`, y · ∂s/∂y, which is the score
             itself at the class explained: relevance to be distributed
    apart    kinds of operators that are taken apart into simpler ones, which are then served themselves
    merge    whether a batch norm, a bias or both by hand become part of the linear or convolution layer before it
    named    whether `rule_for` looks at layer or call; otherwise only the first pass needs names
    ordered  whether it looks at the order
    pairs    whether rules compare with a reference input, so that `call.reference` is there
    full     whether the signals of biases and constants are wanted, for the books
    canvas   planes of the canvas: what rules give back for one input more than a call has adds up there, as large as
             the picture, and is answered instead of the signal at the model's input
    """

    start: Literal["slope", "score"] = "slope"
    apart: frozenset[Kind] = frozenset()
    merge: bool = False
    named: bool = True
    ordered: bool = False
    pairs: bool = False
    full: bool = False
    canvas: int = 0


class RuleSet(Protocol):
    """Says which rule serves a call; the only question the interceptor asks. Frozen and hashable."""

    @property
    def name(self) -> str:
        """One or two words, for messages."""
        ...

    @property
    def manner(self) -> Manner:
        """How the pass is to be run."""
        ...

    def rule_for(self, place: Place) -> Rule | None:
        """The rule, or None for the plain gradient; raises RuleError where neither has a meaning."""
        ...
