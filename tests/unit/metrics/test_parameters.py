"""Ranges, defaults and bounds are those that docs/metrics.md publishes: nobody's numbers change without being told."""

from __future__ import annotations

import re
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest

from pellucid import registry
from pellucid.core.errors import ParameterError

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.+ … .+ \| .*) \|$", PAGE, re.MULTILINE))
COMMON = {"reduce": "auto", "seed": 0}
"""Said once above the table."""


def number(value: float) -> str:
    return f"{value:g}".replace("inf", "∞").replace("-", "−")


def told(f: Field[Any]) -> str:
    """`level` = 0.2 (> 0, ≤ 1)"""
    meta, default = f.metadata, f.default
    bounds = [("> " if meta["above"] else "≥ ") + number(meta["low"])] if "low" in meta else []
    bounds += [f"≤ {number(meta['most'])}"] if meta.get("most") is not None else []
    what = ", ".join(map(number, default)) if isinstance(default, tuple) else default
    what = number(default) if isinstance(default, (int, float)) and not isinstance(default, bool) else what
    return f"`{f.name}` = {what}" + (f" ({', '.join(bounds)})" if bounds else "")


def test_the_page_has_every_metric() -> None:
    assert list(ROWS) == sorted(registry.metrics())
    assert "`reduce` is `auto`" in PAGE and "`seed` 0" in PAGE


@pytest.mark.parametrize("name", registry.metrics())
def test_a_metric_is_as_published(name: str) -> None:
    cls = registry.find_metric(name)
    low, high = cls.about.range
    own = [f for f in fields(cls) if f.name not in COMMON]
    assert ROWS[name] == f"{number(low)} … {number(high)} | {'; '.join(map(told, own)) or '–'}"
    assert all(f.default == COMMON[f.name] for f in fields(cls) if f.name in COMMON)


@pytest.mark.parametrize("name", registry.metrics())
def test_bounds_hold(name: str) -> None:
    """At a bound that belongs to the range a parameter is taken, beyond it never."""
    cls = registry.find_metric(name)
    for f in fields(cls):
        for bound, away in ((f.metadata.get("low"), -1), (f.metadata.get("most"), 1)):
            if bound is None:
                continue
            if away < 0 and f.metadata["above"]:
                with pytest.raises(ParameterError):
                    cls(**{f.name: bound})
            else:
                assert getattr(cls(**{f.name: bound}), f.name) == bound
            with pytest.raises(ParameterError):
                cls(**{f.name: bound + away})
