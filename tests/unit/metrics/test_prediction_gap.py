"""Prediction gaps on linear tables, where every number has a closed form; agreement with known contributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pellucid import api
from pellucid.core.errors import InputError
from pellucid.metrics import PredictionGapImportant, PredictionGapUnimportant, against_truth
from pellucid.metrics.prediction_gap import _top
from pellucid.preprocess import Table

from .planted import close, random

W = np.array([3.0, 0.0, -1.0, 0.2])


def made(values: torch.Tensor | None = None):
    known = (random(50, 4, seed=1).numpy() - 0.5) * 2
    handle = api.wrap(lambda rows: (np.asarray(rows, dtype=np.float64) @ W)[:, None], Table.of(known), name="linear")
    rows = known[:5]
    e = api.explain(handle, rows, "kernel_shap", target=0)[0]
    return handle, rows, e, known


def test_the_gap_of_a_linear_model_is_that_of_its_columns() -> None:
    handle, rows, e, known = made()
    pgi, pgu = api.measure(
        handle, e, [PredictionGapImportant(samples=4000), PredictionGapUnimportant(samples=4000)], inputs=rows,
        output="logit",
    )  # fmt: skip
    for i in range(len(rows)):
        k = int(e.values[i].abs().argmax())
        moved = np.abs(W[k] * (known[:, k] - rows[i, k])).mean()
        rest = [j for j in range(4) if j != k]
        still = np.abs((known[:, rest] - rows[i, rest]) @ W[rest]).mean()
        assert pgi.values[i] == pytest.approx(moved, abs=5 * pgi.std_error[i] + 1e-9)
        assert pgu.values[i] == pytest.approx(still, abs=5 * pgu.std_error[i] + 1e-9)


def test_the_right_column_has_a_larger_gap_than_a_wrong_one() -> None:
    from dataclasses import replace

    handle, rows, e, _ = made()
    right, wrong = (torch.zeros(5, 4, dtype=torch.float64) for _ in range(2))
    right[:, 0], wrong[:, 1] = 1, 1
    both = [replace(e, values=v, extras={}, std_error=None) for v in (right, wrong)]
    got = api.measure(
        handle, both, ["prediction_gap_important", "prediction_gap_unimportant"], inputs=rows, output="logit"
    )
    assert got[0].mean > 0.5 and got[2].mean == pytest.approx(0, abs=1e-9)
    assert got[1].mean < got[3].mean


@pytest.mark.parametrize(
    ("columns", "part", "k"),
    [(1, 1.0, 1), (2, 0.01, 1), (2, 1.0, 1), (3, 1.0, 2), (8, 0.25, 2), (8, 0.5, 4), (8, 1.0, 7)],
)
def test_some_places_count_as_important_and_never_all(columns: int, part: float, k: int) -> None:
    worth = random(5, columns, seed=2)
    got = _top(worth, part, 0)
    assert got.sum(1).tolist() == [k] * 5
    assert all(float(w[t].min()) > float(w[~t].max()) for w, t in zip(worth, got, strict=True) if columns > 1)


def test_agreement_with_known_contributions_by_hand() -> None:
    _, _, e, _ = made()
    from dataclasses import replace

    values = torch.tensor([[4.0, -3.0, 2.0, 1.0], [1.0, 2.0, 3.0, -4.0]]).double()
    e = replace(e[:2], values=values, std_error=None, extras={})
    got = against_truth(e, torch.tensor([4.0, 3.0, 1.0, 2.0]), top=2)
    close(got["feature"], [1.0, 0.0])
    close(got["rank"], [1.0, 0.0])
    close(got["sign"], [0.5, 0.0])
    close(got["signed_rank"], [0.5, 0.0])
    close(got["pairs"], [5 / 6, 1 / 6])
    ranks = [np.corrcoef(a, [4, 3, 1, 2])[0, 1] for a in ([4, 1, 3, 2], [2, 3, 4, 1])]
    close(got["correlation"], ranks)
    order = torch.tensor([1.0, 2.0, 3.0, 4.0])  # of the three largest of each row two are right
    assert against_truth(e, order)["feature"] == against_truth(e, order, top=3)["feature"] == (2 / 3, 1.0)
    assert against_truth(e, order, top=4)["feature"] == (1.0, 1.0)
    with pytest.raises(InputError, match="columns"):
        against_truth(e, torch.ones(3))
