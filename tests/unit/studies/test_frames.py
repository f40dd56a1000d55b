"""Studies of frames: names, categories and whole numbers come from the table; words of texts are players of anchors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import pellucid

pd = pytest.importorskip("pandas")
DRAW = torch.Generator().manual_seed(0)
FRAME = pd.DataFrame(
    {
        "age": torch.randint(18, 80, (200,), generator=DRAW).numpy(),
        "income": (40 + 12 * torch.randn(200, generator=DRAW)).numpy().round(1),
        "job": [["none", "clerk", "boss"][i] for i in torch.randint(3, (200,), generator=DRAW).tolist()],
    }
)


def grants(frame: Any) -> Any:
    """Income above 38.5, and a boss or older than 40."""
    yes = (frame["income"] > 38.5) & ((frame["job"] == "boss") | (frame["age"] > 40))
    return torch.stack([torch.tensor(~yes.to_numpy()), torch.tensor(yes.to_numpy())], 1).double().numpy()


BANK = pellucid.wrap(grants, FRAME, labels=["no", "yes"], name="bank", emits="probabilities")
POOR = FRAME[(FRAME.income < 36) & (FRAME.job == "clerk") & (FRAME.age < 38)].iloc[[0]]
RICH = FRAME[(FRAME.income > 45) & (FRAME.job == "boss") & (FRAME.age < 38)].iloc[[0]]


def test_a_tree_names_columns_and_categories() -> None:
    text = str(pellucid.surrogate(BANK, FRAME, depth=3, leaf=2))
    for part in ("income ≤ 38.", "age ≤ ", "job is not boss", "yes (100 %)"):
        assert part in text


def test_a_counterfactual_in_words() -> None:
    got = pellucid.counterfactual(BANK, POOR, "yes", data=FRAME)
    named = [{c.feature: c.becomes for c in one.changes} for one in got]
    assert all(float(one["income"]) > 38.5 for one in named)
    assert {"boss"} == {one["job"] for one in named if "job" in one}
    assert {"41"} >= {one["age"] for one in named if "age" in one}
    assert "job: clerk → boss" in str(got)


def test_an_anchor_of_columns() -> None:
    e = pellucid.explain(BANK, RICH, pellucid.Anchors(seed=1), target="yes")[0]
    held = [n for n, v in zip(e.inputs.features, e.values[0].tolist(), strict=True) if v]
    assert held == ["income", "job"]
    assert e.extras["precision"].item() == 1


def test_columns_that_matter() -> None:
    y = ["yes" if one[1] else "no" for one in grants(FRAME)]
    got = pellucid.feature_permutation(BANK, FRAME, y)
    assert got.loss == 0
    assert got.features == ("age", "income", "job")
    assert int(got.values.argmax()) == 1


def test_rows_that_show_what_matters() -> None:
    got = pellucid.submodular_pick(pellucid.explain(BANK, FRAME.iloc[:8], pellucid.LIME(samples=60)), 2, features=1)
    assert got.features == ("age", "income", "job")
    assert len(got.rows) == 2
