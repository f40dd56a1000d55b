"""What is asked: targets and tasks, from what users write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pellucid.adapters import Handle
from pellucid.core.ask import Can
from pellucid.core.errors import ParameterError, TargetError, UnsupportedModel
from pellucid.core.method import Method, is_method
from pellucid.core.target import OUTPUTS, Asked, Contrast, Each, Output, Target, Top, as_targets, part
from pellucid.engine import Task


def targets_of(target: Asked, versus: Asked, top_k: int | None) -> tuple[Target, ...]:
    """The targets of a call, from what users write. Raises ParameterError for arguments that exclude each other."""
    if top_k is not None:
        if target is not None:
            raise ParameterError(f"target={target!r} and top_k={top_k}", "one of the two")
        target = Top(top_k)
    targets = as_targets(target)
    if versus is None:
        return targets
    if top_k is not None and top_k > 1:
        raise ParameterError(f"top_k={top_k} with versus={versus!r}", "one class against another", "give target=")
    return tuple(Contrast(one, versus) for one in targets)


def tasks_of(
    handle: Handle, chosen: Sequence[Method], targets: tuple[Target, ...], output: Output | None
) -> list[Task]:
    """One task per method. Raises UnsupportedModel when the model cannot answer what a method asks."""
    if output is not None and output not in OUTPUTS:
        raise ParameterError(f"output={output!r}", f"one of {', '.join(OUTPUTS)}")
    for one in chosen:
        missing = _needs(one) - handle.can
        if missing:
            raise UnsupportedModel(
                f"{one.about.title} needs {', '.join(sorted(c.value for c in missing))} of {handle.name}, "
                f"which can only be asked for {', '.join(sorted(c.value for c in handle.can))}",
                "a model that is plain torch code",
                "use Occlusion, which only needs scores" if Can.GRADIENT not in handle.can else "use a gradient method",
            )
    return [Task(one, targets, output or one.about.output) for one in chosen]


def _needs(method: Method) -> frozenset[Can]:
    """What a method asks of a model, and the one that it wraps."""
    inner = getattr(method, "method", None)
    return method.about.needs | (_needs(inner) if is_method(inner) else frozenset())


def sliced(task: Task, start: int, stop: int, last: bool) -> Task:
    """A task for one wave of the inputs; targets given one per image are cut."""
    sides = (side for t in task.targets for side in ((t.this, t.that) if isinstance(t, Contrast) else (t,)))
    for target in sides:
        if last and isinstance(target, Each) and len(target.which) != stop:
            raise TargetError(f"Each of {len(target.which)} classes for {stop} images", "one class per image")
    return replace(task, targets=tuple(part(t, start, stop) for t in task.targets))
