"""The digits example: its parts, quickly; and once with all that it carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.adapters.keras_nets import keras  # isort: skip  # noqa: F401 - skips where Keras is not there

from examples.digits.__main__ import main
from examples.digits.data import HELD_OUT, read
from examples.digits.explain import STROKES, chosen, explained, methods, surrogate
from examples.digits.model import LAST, Classifier

import pellucid

pytest.importorskip("skimage", reason="quickshift needs scikit-image")
pytest.importorskip("sklearn", reason="trees need scikit-learn")


@pytest.fixture(scope="module")
def some() -> Classifier:
    return Classifier.trained(read()[0].first(600), epochs=2)


def test_the_digits_that_are_carried() -> None:
    training, held_out = read()
    assert len(training.labels) == 4000 and len(held_out.labels) == HELD_OUT == 2000
    assert training.pictures.shape[1:] == (28, 28, 3) and training.pictures.dtype == np.float32
    assert training.pictures.min() == 0 and training.pictures.max() == 1
    assert set(np.unique(training.labels)) == set(np.unique(held_out.labels)) == set(range(10))
    seen = {one.tobytes() for one in training.pictures}
    assert not any(one.tobytes() in seen for one in held_out.pictures)


def test_predict_proba_returns_logits_and_is_taken_for_what_it_returns(some: Classifier) -> None:
    """Rows of logits do not sum to one: the object is asked for probabilities all the same, by a softmax."""
    pictures = read()[1].pictures[:3]
    logits = torch.from_numpy(some.predict_proba(pictures))
    assert not torch.allclose(logits.sum(1), torch.ones(3))

    def scores(rows: Any) -> Any:
        return some.predict_proba(rows.movedim(1, -1).numpy())

    lime = pellucid.LIME(regions=STROKES, samples=40, fill="black")
    (ours,) = pellucid.explain(pellucid.wrap(scores), torch.from_numpy(pictures).movedim(-1, 1), [lime], target=3)
    (inside,) = pellucid.explain(pellucid.wrap(some.net), pictures, [lime], target=3)
    torch.testing.assert_close(
        torch.tensor(ours.target.score), logits.softmax(1)[:, 3].to(torch.float32), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(ours.values.float(), inside.values.float(), atol=1e-4, rtol=1e-3)


def test_every_method_explains_the_digits(some: Classifier) -> None:
    training, held_out = read()
    places = chosen(some, held_out, [0, 7])
    assert len(places) == 3 and [int(held_out.labels[place]) for place in places[:2]] == [0, 7]
    found = explained(some, held_out, places, methods(training, samples=30, backgrounds=4))
    assert [one.record.method for one in found] == [
        "lrp", "integrated_gradients", "deep_lift_shap", "lime", "kernel_shap", "grad_cam",
    ]  # fmt: skip
    assert found[-1].record.at == LAST and all(bool(one.values.any()) for one in found)
    for one in found:
        assert all(all(check.passed) for check in one.checks if check.name in ("completeness", "efficiency"))
    assert found[0].inputs.name[0].startswith("a 0, ") and found[0].inputs.picture is not None


def test_the_tree_beside_it_says_how_far_it_agrees(some: Classifier) -> None:
    tree = surrogate(some, read()[0].first(800), depth=3)
    assert tree.fidelity.agreement is not None and tree.fidelity.frequent is not None
    assert tree.fidelity.agreement > tree.fidelity.frequent
    assert "ink" in str(tree)


def test_one_command_writes_one_report_and_one_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--out", str(tmp_path / "new"), "--epochs", "1", "--samples", "20", "--training", "400"])
    page = (tmp_path / "new" / "report.html").read_text("utf-8")
    assert "Global surrogate" in page and page.count('<figure class="beside">') == 1
    assert (tmp_path / "new" / "digits.png").stat().st_size > 50_000
    said = capsys.readouterr().out
    assert "held-out digits right" in said and "global surrogate" in said


@pytest.mark.slow
def test_it_reads_more_than_96_of_100_held_out_digits() -> None:
    training, held_out = read()
    assert Classifier.trained(training, epochs=12).right(held_out) > 0.96
