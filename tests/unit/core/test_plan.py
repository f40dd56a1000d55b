"""A plan as it is printed."""

from __future__ import annotations

from dataclasses import replace

from pellucid.core.explanation import Passes
from pellucid.core.plan import Plan

PLAN = Plan(
    images=1,
    methods=("Gradient", "LIME"),
    least=Passes(rounds=2, forward=10, backward=3, calls=4),
    most=Passes(rounds=2, forward=10, backward=3, calls=4),
    unshared=Passes(forward=12, backward=6),
    groups=("forward: one", "backward: two"),
    peak_bytes=3 * 2**20,
    seconds=(1.25, 1.25),
    verification=0,
    evaluator="plain",
    decisions=("nothing",),
)


def test_metrics_have_a_line_where_there_are_some() -> None:
    lines = str(replace(PLAN, metrics=("Deletion", "Infidelity"))).splitlines()
    assert lines[1] == "  measured by      Deletion, Infidelity" and len(lines) == len(str(PLAN).splitlines()) + 1


def test_every_number_has_its_line() -> None:
    assert str(PLAN).splitlines() == [
        "plan for 1 image: Gradient, LIME",
        "  rounds           2",
        "  forward rows     10   (unshared 12)",
        "  backward rows    3   (unshared 6)",
        "  model calls      4",
        "  peak memory      about 3 MiB of activations",
        "  time             about 1.2 s",
        "  evaluated        plain",
        "  shared passes",
        "    forward: one",
        "    backward: two",
        "  decided: nothing",
    ]


def test_what_is_not_known_is_a_range() -> None:
    wide = replace(
        PLAN,
        images=3,
        what="text",
        most=Passes(rounds=5, forward=100, backward=30, calls=40),
        seconds=(0.5, 2.0),
    )
    lines = str(wide).splitlines()
    assert lines[0] == "plan for 3 texts: Gradient, LIME"
    assert lines[1:5] == [
        "  rounds           2 to 5",
        "  forward rows     10 to 100   (unshared 12)",
        "  backward rows    3 to 30   (unshared 6)",
        "  model calls      4 to 40",
    ]
    assert lines[6] == "  time             about 0.5 to 2 s"
