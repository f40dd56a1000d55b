"""What the doctor found: findings with their evidence and the fix, in a value that prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The model is not what it should be; it may not be; good to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found.

    name      of the finding, the same for every model: `train_mode`
    severity  `error` where the model's answers are wrong or cannot be had, `warning` where they may be, or where other
              tools stumble, `note` for what is good to know
    says      one sentence
    evidence  what was measured or counted
    fix       one line
    """

    name: str
    severity: Severity
    says: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    fix: str = ""

    def __str__(self) -> str:
        measured = "; ".join(f"{key} {_written(value)}" for key, value in self.evidence.items())
        lines = [f"{self.severity}: {self.says}  [{self.name}]"]
        lines += [f"  evidence: {measured}"] if measured else []
        lines += [f"  fix: {self.fix}"] if self.fix else []
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All findings on one model, the gravest first.

    model     its name
    findings  what was found
    looked    names of the examinations that were made
    skipped   those that could not be made, each with the reason
    """

    model: str
    findings: tuple[Finding, ...]
    looked: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == "warning")

    def find(self, name: str) -> Finding | None:
        """The finding of that name, or None."""
        return next((f for f in self.findings if f.name == name), None)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __str__(self) -> str:
        notes = len(self.findings) - len(self.errors) - len(self.warnings)
        counts = (
            _many(len(self.errors), "error"),
            _many(len(self.warnings), "warning"),
            _many(notes, "note"),
        )
        lines = [f"{self.model}: {', '.join(counts)}; {_many(len(self.looked), 'examination')}"]
        lines += [str(found) for found in self.findings]
        lines += [f"not examined: {name} ({why})" for name, why in self.skipped.items()]
        return "\n".join(lines)

    __repr__ = __str__


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The gravest first, otherwise in the order of the examinations."""
    return tuple(sorted(findings, key=lambda f: SEVERITIES.index(f.severity)))


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_written, value))
    return str(value)
