"""How two runs differ: a value that prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """How far two explanations of the same input may be apart.

    correlation  rank correlation of the places, at least
    overlap      share of the k highest places that both have, at least
    distance     relative Euclidean distance of the values, at most
    level        k, as a share of the places
    """

    correlation: float = 0.99
    overlap: float = 0.9
    distance: float = 0.05
    level: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of one input, method and target.

    beyond   what is beyond the tolerances, in words; empty where nothing is
    changed  what else is another than before: parameters, the model, checks that are green now
    Numbers are NaN where maps have different shapes, or vary in only one of the runs.
    """

    image: str
    method: str
    target: str
    correlation: float
    overlap: float
    distance: float
    beyond: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Of all inputs, methods and targets that two runs have in common, and what only one of them has."""

    rows: tuple[Difference, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    same_model: bool = True
    same_parameters: bool = True
    tolerances: Tolerances = Tolerances()
    strict: bool = False
    """Whether another model, other parameters, and what is only in one run are beyond the tolerances too."""

    @property
    def beyond(self) -> tuple[Difference, ...]:
        return tuple(row for row in self.rows if row.beyond)

    @property
    def ok(self) -> bool:
        """Whether nothing is beyond the tolerances. Runs that have nothing in common are not alike."""
        alike = self.same_model and self.same_parameters and not self.only_a and not self.only_b
        return bool(self.rows) and not self.beyond and (alike or not self.strict)

    def __iter__(self) -> Iterator[Difference]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def facts(self) -> list[str]:
        """What can be said of the runs as a whole."""
        model = "same model" if self.same_model else "different models (weights)"
        told = [f"{model}, {'same' if self.same_parameters else 'different'} parameters" if self.rows else model]
        told += [f"only in the first: {', '.join(self.only_a)}"] if self.only_a else []
        told += [f"only in the second: {', '.join(self.only_b)}"] if self.only_b else []
        limits = ", ".join(f"{f.name} {getattr(self.tolerances, f.name):g}" for f in fields(self.tolerances))
        if not self.rows:
            return [*told, "nothing in common: no input was explained by the same method, for the same target, in both"]
        return [*told, f"{len(self.beyond)} of {len(self.rows)} beyond the tolerances ({limits})"]

    def __str__(self) -> str:
        lines = [
            f"{row.image} · {row.method} · {row.target}: correlation {row.correlation:.4g}, overlap {row.overlap:.3g}, "
            f"distance {row.distance:.3g}" + "".join(f"\n  beyond: {why}" for why in row.beyond)
            for row in sorted(self.rows, key=lambda row: -len(row.beyond))
        ]
        return "\n".join([*lines, *self.facts()])

    __repr__ = __str__
