"""What is known of tensors while a model runs, by weak identity: nothing is kept alive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, TypeVar
from weakref import ref

from torch import Tensor

from pellucid.propagation.operators import Kind, Operator

T = TypeVar("T")

_MOVING: Final = frozenset((Kind.SHAPE, Kind.CAST, Kind.DROPOUT))
_GATES: Final = frozenset(("softmax", "sigmoid", "hardsigmoid"))


class Notes(Generic[T]):
    """Something known of each of some tensors."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: dict[int, tuple[ref[Tensor], T]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def clear(self) -> None:
        """Forget everything."""
        self._by_id.clear()

    def set(self, tensor: Tensor, what: T | None) -> None:
        """Note something, or with None forget it."""
        if what is None:
            self._by_id.pop(id(tensor), None)
        else:
            self._by_id[id(tensor)] = (ref(tensor), what)

    def of(self, tensor: Any) -> T | None:
        """What is known."""
        found = self._by_id.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None


class Gates:
    """Knows which tensors are gates: numbers from 0 to 1 that say how much of something is let through.

    They are made by softmax, sigmoid and hardsigmoid (also where that is spelt `relu6(x + 3) / 6`), and stay gates when
    they are moved, cast or dropped out.
    """

    __slots__ = ("_tops",)

    def __init__(self) -> None:
        self._tops: Notes[float] = Notes()

    def clear(self) -> None:
        """Forget everything."""
        self._tops.clear()

    def among(self, tensors: Iterable[Tensor]) -> tuple[bool, ...]:
        """Which of them are gates."""
        if not self._tops:
            return ()
        return tuple([(self._tops.of(tensor) or 2.0) <= 1 + 1e-6 for tensor in tensors])

    def made(self, operator: Operator, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        """To be told of every call with its output."""
        name = operator.name
        if name in _GATES:
            self._note(output, 1.0)
        elif name in ("relu6", "hardtanh", "clamp"):
            self._note(output, _top(name, args, kwargs))
        elif self._tops:
            before = self._tops.of(args[0]) if args else None
            if before is not None and operator.kind in _MOVING:
                self._note(output, before)
            elif before is not None and name in ("div", "mul") and len(args) > 1 and type(args[1]) in (int, float):
                factor = args[1] if name == "mul" else 1 / args[1] if args[1] else 0
                self._note(output, before * factor if factor > 0 else None)
            elif before is not None and name == "rsub" and args[1:] == (1,):  # what the gate keeps back
                self._note(output, before)
            elif operator.inplace:
                self._note(output, None)

    def _note(self, output: Any, top: float | None) -> None:
        for tensor in output if isinstance(output, tuple | list) else (output,):
            if isinstance(tensor, Tensor):
                self._tops.set(tensor, top)


def _top(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float | None:
    """The upper end of a clip that starts at 0."""
    if name == "relu6":
        return 6.0
    low, high = (("min_val", -1.0), ("max_val", 1.0)) if name == "hardtanh" else (("min", None), ("max", None))
    given = dict(zip((low[0], high[0]), args[1:3], strict=False)) | dict(kwargs)
    bottom, top = given.get(*low), given.get(*high)
    return float(top) if isinstance(top, int | float) and isinstance(bottom, int | float) and bottom == 0 else None
