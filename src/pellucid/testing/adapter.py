"""Whether a handle on a model is honest: what every method takes for granted when it asks for scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.adapters import Handle
from pellucid.api.models import as_model
from pellucid.api.waves import waves_of
from pellucid.core.ask import PLAIN, Lane, Rows
from pellucid.testing.checks import Result
from pellucid.testing.ensure import NotApplicable, ensure, ensure_close
from pellucid.testing.state import Snapshot


def check_adapter(model: Any, inputs: Any, *, tolerance: float = 1e-5, raises: bool = True) -> tuple[Result, ...]:
    """Run all checks of one handle; needs no test framework.

    model      a handle from `pellucid.wrap`, or whatever `pellucid.explain` takes for one
    inputs     at least two of what it explains, as they would be given to `explain`
    tolerance  of scores, relative to the largest
    raises     stop at the first failure with NotConforming; otherwise failures are listed among the results
    Returns one Result per check; a check is skipped, with the reason, where it does not apply.
    """
    handle = as_model(model)
    x = torch.cat([wave.x for wave in waves_of(handle, inputs, [])])
    results: list[Result] = []
    for check in CHECKS:
        name = check.__name__
        try:
            check(handle, x, tolerance)
        except NotApplicable as why:
            results.append(Result(name=name, status="skipped", why=str(why)))
        except Exception as error:
            if raises:
                raise
            results.append(Result(name=name, status="failed", why=f"{type(error).__name__}: {error}"))
        else:
            results.append(Result(name=name, status="passed"))
    return tuple(results)


def scores(handle: Handle, x: Tensor) -> Tensor:
    """The raw outputs for rows, [rows, outputs], from one run of the session."""
    at = torch.arange(len(x))
    rows = Rows(
        count=len(x),
        build=lambda: x,
        clean=lambda: x,
        k=lambda: torch.zeros_like(at),
        b=at,
        objective=lambda out, sites: out[:, :1].mT,
        graded=0,
    )
    with handle.ready(x) as session:
        return session.run(rows, Lane(PLAIN, gradient=False)).outputs.detach().cpu().double()


def scores_are_numbers(handle: Handle, x: Tensor, tolerance: float) -> None:
    """One row of finite numbers for every row."""
    found = scores(handle, x)
    ensure(found.ndim == 2 and len(found) == len(x), f"scores of shape {tuple(found.shape)}", f"[{len(x)}, outputs]")
    ensure(bool(found.isfinite().all()), "scores that are NaN or infinite")


def same_scores_twice(handle: Handle, x: Tensor, tolerance: float) -> None:
    """The same rows have the same scores: nothing is drawn, and nothing is learnt from being asked."""
    ensure_close(scores(handle, x), scores(handle, x), "scores asked for again", tolerance)


def rows_do_not_see_each_other(handle: Handle, x: Tensor, tolerance: float) -> None:
    """A row's scores do not depend on what else is in the batch, on its place, or on the number of rows."""
    _several(x)
    whole = scores(handle, x)
    backwards = scores(handle, x.flip(0)).flip(0)
    ensure_close(backwards, whole, "scores of rows in the opposite order", tolerance)
    ensure_close(torch.cat([scores(handle, row[None]) for row in x]), whole, "scores of rows one at a time", tolerance)
    beside_itself = scores(handle, x[:1].expand(len(x), *x.shape[1:]))
    ensure_close(beside_itself, whole[:1].expand_as(beside_itself), "scores of one row many times", tolerance)


def rows_can_be_told_apart(handle: Handle, x: Tensor, tolerance: float) -> None:
    """Inputs that differ become rows that differ; else nothing of them is explained."""
    _several(x)
    alike = all(torch.equal(torch.nan_to_num(x[0]), torch.nan_to_num(row)) for row in x[1:])
    ensure(not alike, "rows that are all the same", "inputs that differ, and a front that says so")


def rows_come_back(handle: Handle, x: Tensor, tolerance: float) -> None:
    """What a row is made into for the model becomes the same row again: decoded and encoded it is what it was."""
    front: Any = handle.preprocess
    if not (hasattr(front, "decoded") and hasattr(front, "rows_of")):
        raise NotApplicable("the front does not make rows into what the model takes")
    again = front.rows_of(front.decoded(x))[0].to(x)
    ensure(again.shape == x.shape, f"rows of shape {tuple(again.shape)} come back", f"{tuple(x.shape)}")
    same = torch.isclose(again, x, rtol=1e-12, atol=0.0, equal_nan=True)
    ensure(bool(same.all()), f"{int((~same).sum())} numbers come back as others", "decoded and encoded, the same rows")


def labels_fit(handle: Handle, x: Tensor, tolerance: float) -> None:
    """As many class names as outputs, no two the same."""
    names = handle.labels.names
    if names is None:
        raise NotApplicable("the model's outputs have no names")
    outputs = scores(handle, x).shape[1]
    ensure(len(names) == outputs, f"{len(names)} class names for {outputs} outputs", "one name per output")
    ensure(len(set(names)) == len(names), f"names that come twice: {names}", "a name of its own for every output")


def outputs_are_what_they_are_said_to_be(handle: Handle, x: Tensor, tolerance: float) -> None:
    """What is taken for probabilities is never negative and sums to one, or is a single number in 0 … 1."""
    with handle.ready(x) as session:
        emits = session.emits
    if emits != "probabilities":
        raise NotApplicable(f"the outputs are {emits.replace('_', ' ')}")
    found = scores(handle, x)
    total = found.sum(1) if found.shape[1] > 1 else torch.ones(len(found), dtype=found.dtype)
    inside = bool((found >= -tolerance).all()) and bool((found <= 1 + tolerance).all())
    ensure(inside and bool(((total - 1).abs() <= 1e-3).all()), "probabilities that do not sum to one", "say emits=")


def nothing_is_left_behind(handle: Handle, x: Tensor, tolerance: float) -> None:
    """Rows stay as they are, and so does what belongs to everybody: random states, and the rest that is watched."""
    module: Any = getattr(handle, "module", None)
    before = Snapshot.of(module if isinstance(module, nn.Module) else nn.Identity(), x)
    scores(handle, x)
    changes = before.changes()
    ensure(not changes, f"asking for scores changes {', '.join(changes[:5])}", "nothing")


def _several(x: Tensor) -> None:
    if len(x) < 2:
        raise NotApplicable("a single input was given")


CHECKS: tuple[Callable[[Handle, Tensor, float], None], ...] = (
    scores_are_numbers,
    same_scores_twice,
    rows_do_not_see_each_other,
    rows_can_be_told_apart,
    rows_come_back,
    labels_fit,
    outputs_are_what_they_are_said_to_be,
    nothing_is_left_behind,
)
"""What is checked, in this order."""
