"""How many samples and steps fit into the time there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from pellucid import registry
from pellucid.core.errors import ParameterError
from pellucid.core.method import Method

LEAST = {"samples": 16, "steps": 4, "calls": 16}
"""Fewer say nothing."""
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
TRIES = 6


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
    the fewest samples and steps take longer than the budget, or where what fits into it is too few for a method.
    """
    share, chosen, needed = 1.0, tuple(methods), cost(methods)
    tried: list[tuple[float, float]] = [(share, needed)]
    while needed > budget and len(tried) < TRIES:
        share = _next(budget, tried)
        chosen, needed = _lowered(methods, share, budget, cost)
        tried.append((share, needed))
    if needed > budget:
        fewest, needed = _lowered(methods, 0.0, budget, cost)
        if needed > budget:
            raise ParameterError(
                f"a budget of {budget:.3g} s",
                f"at least {needed:.2g} s, for the fewest samples and steps",
                "fewer methods",
            )
        chosen = fewest
    return chosen, tuple(_said(before, after, budget) for before, after in zip(methods, chosen, strict=True))


def _lowered(
    methods: Sequence[Method], share: float, budget: float, cost: Callable[[Sequence[Method]], float]
) -> tuple[tuple[Method, ...], float]:
    """The methods with this share of their samples and steps, and the time that they take."""
    chosen = tuple(_scaled(one, share) for one in methods)
    try:
        return chosen, cost(chosen)
    except ParameterError as error:
        raise ParameterError(
            f"a budget of {budget:.3g} s, in which there is time for {error.got}",
            error.wanted,
            "a larger budget, or fewer methods",
        ) from error


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
    return f"to stay within {budget:.3g} s: {listed}" if listed else ""
