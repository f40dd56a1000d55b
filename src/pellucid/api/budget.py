"""How many samples and steps fit into the time there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from math import ceil, floor, log10
from typing import Any

from pellucid import registry
from pellucid.core.errors import ParameterError
from pellucid.core.method import Method

LEAST = {"samples": 16, "steps": 4, "calls": 16}
"""Fewer say nothing."""
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
TRIES, HALVINGS = 6, 6
KEPT = "to stay within"
"""How a record's note about a budget begins."""


def seconds_of(text: str | float) -> float:
    """A time as people write it: `90`, `90s`, `2m`, `1.5h`. Raises ParameterError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)(?:in|ec)?\s*", str(text).lower())
    value = float(found[1]) * UNITS[found[2]] if found else 0.0
    if isinstance(text, bool) or not value > 0:
        raise ParameterError(f"budget {text!r}", "a time above zero: 90, '90s', '2m', '1h'")
    return value


def tolerating(methods: Sequence[Method], tolerance: float | None) -> tuple[Method, ...]:
    """The methods with this tolerance, those that have one. Raises ParameterError where none has."""
    if tolerance is None:
        return tuple(methods)
    able = [any(f.name == "tolerance" for f in fields(one)) for one in methods]  # pyright: ignore[reportArgumentType]
    if not any(able):
        names = ", ".join(one.about.name for one in methods)
        raise ParameterError(
            f"tolerance={tolerance} with {names}",
            "a method that has one, such as lime, kernel_shap or integrated_gradients",
            "leave the tolerance out; what samples by a fixed number takes samples or steps as parameters",
        )
    return tuple(
        registry.make(one, {"tolerance": tolerance}) if has else one for one, has in zip(methods, able, strict=True)
    )


def within(
    budget: float, methods: Sequence[Method], cost: Callable[[Sequence[Method]], float]
) -> tuple[tuple[Method, ...], tuple[str, ...]]:
    """The methods with as many samples and steps as the budget allows, and what was decided for each; "" for nothing.

    budget  seconds
    cost    the time that methods take, in seconds
    Methods that take more until a tolerance is met are limited in how many they may take. Raises ParameterError where
    the fewest samples and steps that the methods take need longer than the budget.
    """
    share, chosen, needed = 1.0, tuple(methods), cost(methods)
    tried: list[tuple[float, float]] = [(share, needed)]
    why: ParameterError | None = None
    while needed > budget and why is None and len(tried) < TRIES:
        share = _next(budget, tried)
        try:
            chosen, needed = _lowered(methods, share, cost)
            tried.append((share, needed))
        except ParameterError as error:
            why = error
    if needed > budget:
        chosen, needed, why = _fewest(methods, tried[-1], cost)
        if needed > budget:
            raise _too_short(budget, methods, chosen, needed, why) from why
    return chosen, tuple(_said(before, after, budget) for before, after in zip(methods, chosen, strict=True))


Priced = tuple[tuple[Method, ...], float]
"""Methods, and the time that they take."""


def _lowered(methods: Sequence[Method], share: float, cost: Callable[[Sequence[Method]], float]) -> Priced:
    """The methods with this share of their samples and steps. Raises ParameterError where that is too few for one."""
    chosen = tuple(_scaled(one, share) for one in methods)
    return chosen, cost(chosen)


def _fewest(
    methods: Sequence[Method], known: tuple[float, float], cost: Callable[[Sequence[Method]], float]
) -> tuple[tuple[Method, ...], float, ParameterError | None]:
    """The methods with as few samples and steps as they take, the time, and why they do not take fewer.

    known  a share that they take, and its time
    """
    (high, needed), low = known, 0.0
    chosen, why = tuple(_scaled(one, high) for one in methods), None
    try:
        return *_lowered(methods, low, cost), None
    except ParameterError as error:
        why = error
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        try:
            (chosen, needed), high = _lowered(methods, middle, cost), middle
        except ParameterError as error:
            low, why = middle, error
    return chosen, needed, why


def _too_short(
    budget: float, methods: Sequence[Method], fewest: Sequence[Method], needed: float, why: ParameterError | None
) -> ParameterError:
    """The error that names the least time, rounded up, so that it will do."""
    unit = 10.0 ** (floor(log10(needed)) - 1)
    least = f"at least {float(f'{ceil(needed / unit) * unit:.2g}'):g} s"
    cut = any(_said(before, after, budget) for before, after in zip(methods, fewest, strict=True))
    return ParameterError(
        f"a budget of {budget:.3g} s" + (f", in which there is time for {why.got}" if why else ""),
        f"{least}, for the fewest samples and steps" if cut else f"{least}: no samples or steps can be lowered",
        "a larger budget" + (", or fewer methods" if len(methods) > 1 else ""),
    )


def _next(budget: float, tried: Sequence[tuple[float, float]]) -> float:
    """The share that the line through the last two trials puts a little below the budget."""
    share, needed = tried[-1]
    if len(tried) == 1:
        return share * 0.95 * budget / needed
    before, more = tried[-2]
    slope = (more - needed) / max(before - share, 1e-9)
    return max(0.0, min(0.9 * share, share - (needed - 0.95 * budget) / slope)) if slope > 0 else 0.5 * share


def _scaled(one: Method, share: float) -> Method:
    every = {f.name: getattr(one, f.name) for f in fields(one)}  # pyright: ignore[reportArgumentType]
    adaptive = any(every.get(name) is not None for name in ("tolerance", "until_top"))
    changed: dict[str, Any] = {}
    for name, least in LEAST.items():
        value, limit = every.get(name), every.get(f"max_{name}")
        if not isinstance(value, int):
            continue
        if adaptive and isinstance(limit, int):
            changed[f"max_{name}"] = max(min(limit, least), round(limit * share))
            changed[name] = min(value, changed[f"max_{name}"])
        else:
            changed[name] = max(min(value, least), round(value * share))
    return registry.make(type(one), {**every, **changed}) if changed else one


def _said(before: Method, after: Method, budget: float) -> str:
    names = [f.name for f in fields(before)]  # pyright: ignore[reportArgumentType]
    moved = [(n, getattr(before, n), getattr(after, n)) for n in names if getattr(before, n) is not getattr(after, n)]
    listed = ", ".join(f"{name} {b} → {a}" for name, b, a in moved if a != b)
    return f"{KEPT} {budget:.3g} s: {listed}" if listed else ""
