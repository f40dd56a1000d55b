"""A diagnosis as it is printed."""

from __future__ import annotations

from pellucid.core.diagnosis import Diagnosis, Finding, ordered

NOTE = Finding(name="layers", severity="note", says="It has layers.")
WARNING = Finding(name="softmax", severity="warning", says="It ends in a softmax.", evidence={"sum": 1.00004})
ERROR = Finding(
    name="train_mode",
    severity="error",
    says="It is in train mode.",
    evidence={"modules": ["a", "b"], "off by": {"x": 0.123456, "y": 2}},
    fix="model.eval()",
)


def test_everything_is_told() -> None:
    found = Diagnosis(
        model="net", findings=ordered([NOTE, WARNING, ERROR, NOTE]), looked=("a",), skipped={"labels": "no names"}
    )
    assert str(found).splitlines() == [
        "net: 1 error, 1 warning, 2 notes; 1 examination",
        "error: It is in train mode.  [train_mode]",
        "  evidence: modules a, b; off by {x: 0.123, y: 2}",
        "  fix: model.eval()",
        "warning: It ends in a softmax.  [softmax]",
        "  evidence: sum 1",
        "note: It has layers.  [layers]",
        "note: It has layers.  [layers]",
        "not examined: labels (no names)",
    ]
    assert found.errors == (ERROR,) and found.warnings == (WARNING,) and len(found) == len(list(found)) == 4
    assert found.find("softmax") is WARNING and found.find("nothing") is None


def test_nothing_found() -> None:
    assert str(Diagnosis(model="net", findings=(), looked=("a", "b"))) == (
        "net: 0 errors, 0 warnings, 0 notes; 2 examinations"
    )
