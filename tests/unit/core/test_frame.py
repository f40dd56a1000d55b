"""The table: R's columns, and every number where it belongs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.unit.games import CELLS, WHITE, additive, weights
from tests.unit.models import Convnet, net, pictures
from tests.unit.views.planted import CLASSES, planted

from pellucid.api import explain, wrap
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation, Explanations, Inputs
from pellucid.core.frame import OF_R, OURS, lines_of
from pellucid.core.players import joined, players_of
from pellucid.methods.gradient import Gradient
from pellucid.methods.kernel_shap import KernelSHAP
from pellucid.methods.lime import LIME

pd = pytest.importorskip("pandas")
RECORDED = Path(__file__).parents[2] / "data" / "r_lime" / "iris_lda_frame.json"
COUNTS = {"regions": CELLS, "fill": "black"}


def lime(**more: object) -> Explanation:
    return explain(additive(weights()), WHITE, LIME(**COUNTS, **more), target=1, output="logit")[0]  # type: ignore[arg-type]


def test_the_columns_are_those_of_r_then_ours() -> None:
    recorded = json.loads(RECORDED.read_text())["columns"]
    columns = lime().to_frame().columns.tolist()
    assert columns == [*recorded, *OURS]
    assert tuple(recorded) == OF_R


def test_every_superpixel_has_a_line_with_its_weight_and_its_place() -> None:
    e = lime()
    table = e.to_frame()
    assert table["feature"].tolist() == ["0", "1", "2", "3", "4", "5"]
    assert table["feature_weight"].tolist() == e.extras["players"][0].tolist()
    assert table["std_error"].tolist() == e.extras["players_std_error"][0].tolist()
    regions = e.extras["regions"][0]
    for line in table.itertuples():
        assert torch.equal(
            torch.from_numpy(line.feature_value), (regions.flatten() == int(line.feature)).nonzero()[:, 0]
        )
    assert table["feature_desc"].tolist()[:2] == ["[0-2], [0-3]", "[3-5], [0-3]"]  # columns, then rows
    assert (table["model_r2"] == e.check("r2").value[0]).all()  # type: ignore[union-attr]
    assert (table["model_intercept"] == float(e.extras["intercept"][0])).all()
    total = table["model_intercept"][0] + table["feature_weight"].sum()
    assert total == pytest.approx(table["model_prediction"][0], rel=1e-6)
    assert set(table["method"]) == {"lime"} and set(table["seed"]) == {0}
    assert set(table["n_evaluations"]) == {e.record.passes.forward}
    assert table["data"][0].shape == (8, 9, 3)


def test_only_the_chosen_features_have_a_line() -> None:
    assert len(lime(features=2).to_frame()) == 2
    assert len(lime().to_frame()) == 6


def test_probabilities_are_those_of_the_label() -> None:
    e = explain(net(Convnet()), pictures(2), LIME(samples=30, regions="cells(2, 2)"), top_k=2)
    table = e.to_frame()
    assert len(table) == 2 * 2 * 4
    for entry in e:
        for row in entry:
            mine = table[(table["case"] == row.inputs.name[0]) & (table["label"] == row.target.name[0])]
            assert set(mine["label_prob"]) == {row.target.score[0]}
            assert mine["prediction"].iloc[0][row.target.name[0]] == pytest.approx(row.target.score[0])
    logits = explain(net(Convnet()), pictures(1), KernelSHAP(samples=12, regions="cells(2, 2)"), output="logit")[0]
    line = lines_of(logits)[0]
    assert line["label_prob"] == logits.prediction.probability[0][0]  # of the class, not its logit
    assert line["model_r2"] is None and line["model_intercept"] is None
    assert logits.to_frame()["model_r2"].isna().all() and logits.to_frame()["model_r2"].dtype == "float64"


def test_a_regression_has_no_label_and_a_number_as_prediction() -> None:
    one = lime()
    of_values = replace(one, prediction=replace(one.prediction, is_probability=False))
    table = of_values.to_frame()
    assert table.columns.tolist() == [name for name in (*OF_R, *OURS) if name not in ("label", "label_prob")]
    assert set(table["model_type"]) == {"regression"}
    assert table["prediction"].tolist() == [one.target.score[0]] * 6
    another = replace(of_values, target=replace(one.target, name=("second",)))
    several = Explanations((of_values, another)).to_frame()
    assert several["label"].tolist() == [one.target.name[0]] * 6 + ["second"] * 6
    assert several["label_prob"].isna().all()


def words(tokens: tuple[str, ...], regions: list[int], values: list[float]) -> Explanation:
    """A text of which some words were hidden."""
    e = planted(torch.zeros(1, 4, 4), pictures=False)
    labels = torch.tensor([regions])
    players = torch.tensor([values])
    worth = torch.cat([players, torch.zeros(1, 1)], 1).gather(1, labels % (len(values) + 1))
    return replace(
        e,
        values=worth,
        dims=("batch", "token"),
        inputs=Inputs(name=("a film that lasts",), picture=None, shape=(len(tokens),), tokens=(tokens,)),
        extras={"players": players, "regions": labels},
    )


def test_the_features_of_a_text_are_its_words() -> None:
    e = words(("[CLS]", "film", "##s", "Ġlast", "[SEP]"), [-1, 0, 0, 1, -1], [0.5, -0.25])
    table = e.to_frame()
    assert table["feature"].tolist() == table["feature_desc"].tolist() == ["films", "last"]
    assert table["feature_value"].tolist() == [0, 1]
    assert table["feature_weight"].tolist() == [0.5, -0.25]
    assert table["data"][0] == "a film that lasts"
    plain = replace(e, extras={})
    assert [player.name for player in players_of(plain)] == ["[CLS]", "film", "s", "last", "[SEP]"]
    vectors = replace(plain, values=torch.ones(1, 5, 3), dims=("batch", "token", "channel"))
    assert [player.weight for player in players_of(vectors)] == [3.0] * 5
    assert (joined(["▁new", "▁york"]), joined(["Ġ"]), joined([""])) == ("new york", "Ġ", "␣")


def test_a_table_s_features_are_its_columns() -> None:
    e = planted(torch.zeros(1, 4, 4), pictures=False)
    inputs = Inputs(name=("row 1",), picture=None, shape=(3,))
    plain = replace(e, values=torch.tensor([[1.0, 2.0, -3.0]]), dims=("batch", "feature"), inputs=inputs)
    assert [player.name for player in players_of(plain)] == ["column 0", "column 1", "column 2"]
    named = replace(plain, inputs=replace(inputs, features=("age", "sex", "fare"), cells=((53, "f", 7.25),)))
    table = named.to_frame()
    assert table["feature"].tolist() == ["age", "sex", "fare"]
    assert table["feature_value"].tolist() == [53, "f", 7.25]
    assert table["feature_desc"].tolist() == ["age = 53", "sex = f", "fare = 7.25"]
    assert table["data"][0] == {"age": 53, "sex": "f", "fare": 7.25}
    grouped = replace(named, extras={"players": torch.tensor([[0.5, 1.5]]), "regions": torch.tensor([[0, 1, 0]])})
    assert [player.says for player in players_of(grouped)] == ["age = 53, fare = 7.25", "sex = f"]


def test_numbers_of_a_table_are_numbers_with_all_their_digits() -> None:
    frame = pd.DataFrame({"size": [123456.789012, 0.1], "age": [3, 4], "kind": ["01", "02"]})
    e = explain(wrap(lambda t: t["size"].to_numpy(), frame), frame, LIME(samples=16))[0]
    table = e.to_frame()
    assert table["feature_value"].tolist() == [123456.789012, 3, "01", 0.1, 4, "02"]
    assert table["data"][0] == {"size": 123456.789012, "age": 3, "kind": "01"}
    assert table["feature_desc"].tolist()[0] == "size = 123457"
    alone = explain(wrap(lambda t: t["size"].to_numpy(), frame[["size"]]), frame[["size"]], LIME(samples=16))
    assert alone.to_frame()["feature_value"].dtype == float


def test_what_has_no_features_is_refused() -> None:
    with pytest.raises(InputError, match="no players"):
        explain(net(Convnet()), pictures(1), Gradient())[0].to_frame()
    with pytest.raises(InputError, match="at least one"):
        Explanations(()).to_frame()
    with pytest.raises(ParameterError, match="excel"):
        lime().to_frame("excel")
    with pytest.raises(InputError, match="2 rows"):
        players_of(explain(net(Convnet()), pictures(2), LIME(samples=8, regions="cells(2, 2)"))[0])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"pip install pandas, or pip install 'pellucid\[frames\]'"):
        lime().to_frame()


def test_it_goes_to_polars_too() -> None:
    pytest.importorskip("polars")
    table = lime().to_frame("polars")
    assert table.columns == lime().to_frame().columns.tolist()
    assert len(table) == 6


def test_planted_classes_are_the_predictions() -> None:
    assert lines_of(words(("a",), [0], [1.0]))[0]["prediction"] == dict(zip(CLASSES, (0.41, 0.25, 0.06), strict=True))
