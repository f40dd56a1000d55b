"""Names that were meant, and differences as they are printed."""

from __future__ import annotations

from dataclasses import replace

from pellucid.core.difference import Difference, Differences, Tolerances
from pellucid.core.errors import nearest


def test_nearest_names() -> None:
    names = ["tabby", "Tiger cat", "Egyptian cat", "catamaran", "dog"]
    assert nearest("taby", names) == "'tabby'"
    assert nearest("TIGER CAT", names).startswith("'Tiger cat'")
    assert nearest("TIGER CAT", names, 1) == "'Tiger cat'"
    assert nearest("gypt", ["an old Egyptian cat that sleeps", "dog"]) == "'an old Egyptian cat that sleeps'"
    assert nearest("egypt", names).startswith("'Egyptian cat'")  # a part of a name will do
    assert nearest("cat", ["Egyptian cat", "category of things", "a cat in a box", "cat fish"], 2).count("'") == 4
    assert nearest("", names) == nearest("xyz", names) == nearest("a", []) == ""


ROW = Difference(image="a.png", method="lime", target="cat", correlation=0.98765, overlap=0.875, distance=0.0625)


def test_differences_as_they_are_printed() -> None:
    far = replace(ROW, image="b.png", beyond=("one", "two"))
    both = Differences(rows=(ROW, far), only_a=("x", "y"), only_b=("z",), same_model=False)
    assert str(both).splitlines() == [
        "b.png · lime · cat: correlation 0.9877, overlap 0.875, distance 0.0625",
        "  beyond: one",
        "  beyond: two",
        "a.png · lime · cat: correlation 0.9877, overlap 0.875, distance 0.0625",
        "different models (weights), same parameters",
        "only in the first: x, y",
        "only in the second: z",
        "1 of 2 beyond the tolerances (correlation 0.99, overlap 0.9, distance 0.05, level 0.05)",
    ]
    assert not both.ok and both.beyond == (far,)
    assert Differences(rows=(ROW,), same_parameters=False).facts() == [
        "same model, different parameters",
        "0 of 1 beyond the tolerances (correlation 0.99, overlap 0.9, distance 0.05, level 0.05)",
    ]


def test_runs_are_alike() -> None:
    alike = Differences(rows=(ROW,))
    assert alike.ok and replace(alike, strict=True).ok and not Differences(rows=()).ok
    for other in ({"only_a": ("x",)}, {"only_b": ("x",)}, {"same_model": False}, {"same_parameters": False}):
        assert replace(alike, **other).ok and not replace(alike, strict=True, **other).ok
    assert Tolerances() == Tolerances(correlation=0.99, overlap=0.9, distance=0.05, level=0.05)
