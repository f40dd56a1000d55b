"""What variants of a model have in common is run once: the calls of one pass, given again up to the first that differs.

A pass is a row of calls of torch. Two variants share every weight that they have not changed, as the same tensor; so
until the first call that reads a changed one, the calls and what they give are the same. A pass that is recorded notes
them; a later one is given what they gave, and runs from there on. Where there is a graph it leads through the calls of
the first pass, down to the same points.
"""

# What a tensor's weak reference needs is private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.adapters.torch.watch import tensors

Names = frozenset[str]
"""Of parameters and buffers, by path."""
INPUT = -1
"""Stands for the call that made what was there before the first one."""
WORDS = (torch.dtype, torch.device, torch.layout, torch.memory_format)
PLAIN = (bool, int, float, complex, str, type(None), torch.Size, *WORDS)
"""What a call may give beside tensors: nothing that can change, or be used up."""


class Diverged(Exception):
    """A pass whose calls are not those of the one recorded."""


# -- what is known of a net, and of what a call takes and gives ----------------------------------------------------


class Weights:
    """The tensors of a net by identity: parameters and buffers by name, and others that its modules hold."""

    def __init__(self, net: nn.Module) -> None:
        self.names: dict[int, set[str]] = {}
        trained = [*net.named_parameters(remove_duplicate=False)]
        self.trained = {id(tensor) for _, tensor in trained}
        self.kept = [*trained, *net.named_buffers(remove_duplicate=False)]
        for name, tensor in self.kept:
            self.names.setdefault(id(tensor), set()).add(name)
        self.others = [t for module in net.modules() for t in tensors(list(module.__dict__.values()))]
        self.known = {id(t) for t in self.others} | set(self.names)
        self.memory = {t.untyped_storage()._cdata for t in (*(t for _, t in self.kept), *self.others) if _strided(t)}

    def changed(self, other: Weights) -> Names:
        """Names that stand for another tensor in another net."""
        mine, theirs = dict(self.kept), dict(other.kept)
        return frozenset(name for name in mine.keys() | theirs.keys() if mine.get(name) is not theirs.get(name))


def _strided(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and tensor.device.type != "meta"


def _plain(out: Any) -> bool:
    """Whether it can be given again."""
    if isinstance(out, (tuple, list)) and not isinstance(out, torch.Size):
        return all(map(_plain, out))
    return isinstance(out, (Tensor, *PLAIN))


def _each(out: Any, change: Callable[[Any], Any]) -> Any:
    """The same, with every tensor, or what stands for one, changed."""
    if isinstance(out, torch.Size) or not isinstance(out, (tuple, list)):
        return change(out)
    parts = [_each(one, change) for one in out]
    if isinstance(out, tuple) and hasattr(out, "_fields"):
        return type(out)(*parts)
    return type(out)(parts)


# -- what a pass showed --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Course:
    """The calls of one pass, as far as it matters where it may be cut.

    reads   names of the weights of every call that reads some for the first time, by the number of the call
    first   the first call that reads a parameter
    writes  calls that overwrite what an earlier call made: (number, that of the maker)
    strange the last call that reads something of which nobody knows who made it
    stops   the first call that gives something which cannot be given again
    own     whether it overwrites weights, or other tensors of its modules
    count   of calls
    """

    reads: dict[int, Names] = field(default_factory=dict)
    first: int | None = None
    writes: list[tuple[int, int]] = field(default_factory=list)
    strange: int = INPUT
    stops: int | None = None
    own: bool = False
    count: int = 0

    def cut(self, changed: Names) -> int | None:
        """The call from which a variant with these weights runs, or one before that where it is safe to begin.

        None where nothing that reads parameters would be left out.
        """
        seen = frozenset[str]().union(*self.reads.values())
        if self.own or self.first is None or not changed or not changed <= seen:
            return None
        places = [i for i in self.reads if i <= (self.count if self.stops is None else self.stops)]
        first = min(i for i, names in self.reads.items() if names & changed)
        found = max((i for i in places if i <= first), default=None)
        while found is not None and found > self.first:
            before = min((made for at, made in self.writes if made < found <= at), default=None)
            if before is None:
                return found if found > self.strange else None
            found = max((i for i in places if i <= before), default=None)
        return None

    def fits(self, at: int, changed: Names) -> bool:
        """Whether a variant may begin at a call."""
        apart = not self.own and at > self.strange and (self.stops is None or at <= self.stops)
        before = all(i >= at for i, names in self.reads.items() if names & changed)
        return apart and before and not any(made < at <= i for i, made in self.writes)


class Reading(TorchFunctionMode):
    """Notes the calls of one pass.

    weights  of the net that runs
    entering what is put into it, which no call makes
    """

    def __init__(self, weights: Weights, entering: Iterable[Tensor]) -> None:
        super().__init__()
        self.weights, self.course = weights, Course()
        self._read: set[str] = set()
        self._made: dict[int, ref[Tensor]] = {}
        self._maker: dict[int, int] = {}
        for tensor in entering:
            self._note(tensor, INPUT)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [*tensors(args), *tensors(kwargs)]
        at = self.course.count
        self._reads(at, given)
        before = [t._version for t in given]
        out = func(*args, **kwargs)
        sets = getattr(func, "__name__", "") in ("__set__", "set_")
        for i, (t, version) in enumerate(zip(given, before, strict=True)):
            if t._version != version or (sets and i == 0):
                self._overwritten(at, t)
        self._gives(at, given, out)
        self.course.count += 1
        self.called(func, bool(given), out)
        return out

    def called(self, func: Any, given: bool, out: Any) -> None:
        """What a recording adds."""

    def reached(self, new: set[str]) -> None:
        """Told before the call that reads weights for the first time."""

    def _reads(self, at: int, given: list[Tensor]) -> None:
        new: set[str] = set()
        for t in given:
            if self.course.first is None and id(t) in self.weights.trained:
                self.course.first = at
            names = self.weights.names.get(id(t))
            if names is not None:
                new |= names - self._read
            elif id(t) not in self.weights.known and not self._known(t):
                self.course.strange = at
        if new:
            self._read |= new
            self.course.reads[at] = frozenset(new)
            self.reached(new)

    def _known(self, t: Tensor) -> bool:
        found = self._made.get(id(t))
        return found is not None and found() is t

    def _gives(self, at: int, given: list[Tensor], out: Any) -> None:
        if self.course.stops is None and not _plain(out):
            self.course.stops = at
        shared = {t.untyped_storage()._cdata for t in given if _strided(t)}
        for t in tensors(out):
            if id(t) in self.weights.known:
                continue
            if not self._known(t):
                self._note(t, at if not _strided(t) or t.untyped_storage()._cdata not in shared else None)

    def _note(self, t: Tensor, maker: int | None) -> None:
        """Note a tensor; the maker of what lies in memory made before is that of the memory."""
        self._made[id(t)] = ref(t)
        if maker is not None and _strided(t):
            self._maker[t.untyped_storage()._cdata] = maker

    def _overwritten(self, at: int, t: Tensor) -> None:
        memory = t.untyped_storage()._cdata if _strided(t) else None
        if id(t) in self.weights.known or memory in self.weights.memory or memory is None:
            self.course.own = True
        else:
            self.course.writes.append((at, self._maker.get(memory, INPUT)))


# -- records -------------------------------------------------------------------------------------------------------


class _Gone:
    """Stands for a tensor that nobody held any more when the cut was reached: nobody behind it can read it."""


GONE = _Gone()


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Where a pass may begin: the calls before it, and what they gave, as far as it is still held by somebody."""

    functions: list[Any]
    given: list[Any]
    """Of calls that only do something, as those that set a mode, `DOES`."""


DOES = object()


class Recording(Reading):
    """Notes a pass, and keeps what its calls gave for those that will begin later.

    cuts  names of weights, before the first reading of which somebody will begin
    may   whether somebody may begin here, as far as those know who listen too
    """

    def __init__(
        self,
        weights: Weights,
        entering: Iterable[Tensor],
        cuts: Iterable[str],
        may: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(weights, entering)
        self.cuts, self.may = set(cuts), may
        self.starts: dict[str, tuple[int, Start]] = {}
        self._functions: list[Any] = []
        self._given: list[Any] = []

    def reached(self, new: set[str]) -> None:
        """Keep what is held by somebody."""
        here = sorted(new & self.cuts)
        if here and self.may():
            start = Start(list(self._functions), [_each(one, _firm) for one in self._given])
            self.starts |= dict.fromkeys(here, (self.course.count, start))

    def called(self, func: Any, given: bool, out: Any) -> None:
        """Remember a call, and loosely what it gave."""
        self._functions.append(func)
        self._given.append(DOES if out is None and not given else _each(out, _loose))


def _loose(out: Any) -> Any:
    return ref(out) if isinstance(out, Tensor) else out


def _firm(kept: Any) -> Any:
    if not isinstance(kept, ref):
        return kept
    found = kept()
    if found is None:
        return GONE
    found._fix_weakref()  # torch may have kept it alive alone
    return found


class Replay(TorchFunctionMode):
    """Gives the calls of a pass what they gave in another, up to where they differ. Raises Diverged."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.start, self.at, self.count = start, 0, len(start.functions)
        self._nothing: Tensor = torch.empty(0)
        self.astray = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.at < self.count:
            function, given = self.start.functions[self.at], self.start.given[self.at]
            if self.astray or function != func:
                self._stray()
            self.at += 1
            if given is DOES:
                return func(*args, **(kwargs or {}))
            return _each(given, self._given)
        if self.astray or any(t is self._nothing for t in tensors((args, kwargs))):
            self._stray()
        return func(*args, **(kwargs or {}))

    def _stray(self) -> None:
        self.astray = True
        raise Diverged

    def _given(self, one: Any) -> Any:
        return self._nothing if one is GONE else one

    @property
    def early(self) -> bool:
        """Whether it has not come to where others run, or will not: what fails there fails for want of a tensor."""
        return self.astray or self.at < self.count

    def verify(self) -> None:
        """Raise Diverged unless the pass went the whole way."""
        if self.early:
            raise Diverged
