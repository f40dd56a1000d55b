"""Measurements, verdicts and advice from numbers written by hand: means, errors, tables, who is believed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from pellucid.core import sanity
from pellucid.core.errors import FileExists, FormatError
from pellucid.core.explanation import ModelCard
from pellucid.core.measurements import Judged, Measurement, Measurements
from pellucid.core.sanity import TESTS, Sanity, Verdict, verdict, worst_step
from pellucid.core.scorecard import Cell, Column, Line, Scorecard, advise, many

NAN = math.nan
WEIGHTS = TESTS[0]


def measured(*values: float, metric: str = "deletion", method: str = "gradient", place: int = 0, **more: Any) -> Any:
    usual: dict[str, Any] = {
        "metric": metric,
        "title": metric.title(),
        "better": "lower",
        "range": (0.0, math.inf),
        "params": {"steps": 4},
        "output": "logit",
        "judged": Judged(
            method=method, title=method.title(), params={}, place=place, target=("cat",) * len(values), output="logit"
        ),
        "images": tuple(f"photo {i}" for i in range(len(values))),
        "values": values,
        "reasons": tuple("no" if math.isnan(v) else "" for v in values),
        "model": ModelCard(name="net", fingerprint="f", evaluator="plain"),
    }
    return Measurement(**{**usual, **more})


# -- measurements ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [(1.0, 2.0), (1.0, 2.0, 4.0), (0.5, NAN, 0.25, 3.0)])
def test_means_and_their_errors(values: tuple[float, ...]) -> None:
    m, known = measured(*values), [v for v in values if not math.isnan(v)]
    assert m.known == tuple(known)
    assert m.mean == pytest.approx(fmean(known))
    assert m.error == pytest.approx(stdev(known) / len(known) ** 0.5)


def test_one_value_has_no_error_and_none_no_mean() -> None:
    assert math.isnan(measured(1.0).error) and measured(1.0).mean == 1.0
    assert math.isnan(measured(NAN, NAN).mean) and math.isnan(measured(NAN).error)
    assert "±" not in repr(measured(1.0)) and "2 without a value" in repr(measured(NAN, NAN, 1.0))


def test_tables_by_hand() -> None:
    """Equal parameters are one column, in whatever order they are told; the best is marked where there are two."""
    a = measured(0.25, 0.75, params={"steps": 4, "fill": "mean"})
    b = measured(0.125, 0.125, method="lime", place=1, params={"fill": "mean", "steps": 4}, in_sample=True)
    c = measured(NAN, NAN, metric="road", better="higher")
    assert str(Measurements((a, b, c))).splitlines() == [
        "                Deletion ↓   Road ↑",
        "Gradient (cat)  0.5 ± 0.25   – (no)",
        "Lime (cat)      0.125 ± 0°*",
    ]
    other = replace(b, params={"fill": "mean", "steps": 5})
    assert str(Measurements((a, other))).splitlines()[0].count("Deletion") == 2
    assert "*" not in str(Measurements((a,)))
    higher = (replace(a, better="higher"), replace(b, better="higher"))
    assert [line.count("*") for line in str(Measurements(higher)).splitlines()] == [0, 1, 0]
    assert "*" not in str(Measurements((replace(a, better="neither"), replace(b, better="neither"))))
    assert repr(Measurements((a, b, c))).startswith("Measurements(2 metrics of 2 explanations)\n")
    assert "0.5 ± 0.25 (2 of 3)" in str(Measurements((measured(0.25, NAN, 0.75),)))


def test_explanations_of_one_name_are_told_apart() -> None:
    both = Measurements(tuple(measured(float(i), place=i) for i in range(3)))
    assert [line.split("  ")[0] for line in str(both).splitlines()[1:]] == [
        "Gradient (cat)",
        "Gradient (cat) #2",
        "Gradient (cat) #3",
    ]
    mixed = measured(1.0, 2.0)
    mixed = replace(mixed, judged=replace(mixed.judged, target=("cat", "dog")))
    assert str(Measurements((mixed,))).splitlines()[1].startswith("Gradient  ")


def test_names_of_files(tmp_path: Path) -> None:
    """`.json` where nothing is said, in folders that are made; never over another file unless asked to."""
    numbers = {"gap": (0.5, NAN), "raw": (math.inf, -math.inf)}
    m = Measurements((measured(1.0, NAN, extras=numbers, params={"shares": [0.1, math.inf], "at": None}),))
    to = m.save(tmp_path / "new" / "them")
    assert to == tmp_path / "new" / "them.json" and m.save(tmp_path / "them.txt") == tmp_path / "them.txt"
    back = Measurements.read(to)[0]
    assert back.params == m[0].params and back.extras["raw"] == numbers["raw"] and math.isnan(back.extras["gap"][1])
    assert (back.range, back.images, back.judged) == (m[0].range, m[0].images, m[0].judged)
    with pytest.raises(FileExists):
        m.save(to)
    assert Measurements().save(to, overwrite=True) == to and len(Measurements.read(to)) == 0
    assert Measurements().save(tmp_path / "other.json", overwrite=True).exists()
    document = json.loads(m.save(to, overwrite=True).read_text(encoding="utf-8"))
    for key, value in (("better", "best"), ("reasons", [""]), ("surprise", 1), ("seconds", "long")):
        broken = {**document, "entries": [{**document["entries"][0], key: value}]}
        to.write_text(json.dumps(broken), encoding="utf-8")
        with pytest.raises(FormatError):
            Measurements.read(to)


def test_columns_have_every_number_of_every_image() -> None:
    two = Measurements((measured(1.0, 2.0, extras={"ties": (0.1, 0.2)}), measured(3.0, std_error=(0.5,), place=1)))
    got = two.columns()
    assert got["value"] == [1.0, 2.0, 3.0] and got["image"] == ["photo 0", "photo 1", "photo 0"]
    assert got["place"] == [0, 0, 1] and got["extra.ties"][:2] == [0.1, 0.2] and math.isnan(got["extra.ties"][2])
    assert math.isnan(got["std_error"][0]) and got["std_error"][2] == 0.5


# -- verdicts ----------------------------------------------------------------------------------------------------


def curved(*ys: tuple[float, ...], x: tuple[float, ...] = (0.25, 0.5, 1.0)) -> Measurement:
    values = tuple(fmean(map(abs, y)) for y in ys)
    return measured(*values, metric="parameter_randomisation", curve=tuple((x, y) for y in ys))


def test_the_worst_step_of_a_cascade_by_hand() -> None:
    m = curved((0.9, -0.8, 0.1), (0.7, -1.0, 0.3), (0.8, -0.6, 0.2))
    value, error, says = worst_step(m, 0.5)
    assert value == pytest.approx(0.8) and error == pytest.approx(stdev((0.9, 0.7, 0.8)) / 3**0.5)
    assert (
        says
        == " (0.80 with the last layer alone redrawn, 0.20 with all); it is lost between 50 % and 100 % of the layers"
    )
    middle = worst_step(curved((0.1, -0.8, 0.2), (0.3, -1.0, 0.4)), 0.95)
    assert middle[0] == pytest.approx(0.9) and middle[1] == pytest.approx(0.1)
    assert middle[2] == " (0.20 with the last layer alone redrawn, 0.30 with all)"
    assert "lost" not in worst_step(curved((0.1, 0.2, 0.9)), 0.5)[2]  # never: it is still there in the end
    assert worst_step(curved((0.9,), x=(1.0,)), 0.5)[2] == ""
    assert math.isnan(worst_step(curved((0.9, 0.1, 0.1)), 0.5)[1])


def test_images_without_a_value_do_not_count_in_a_cascade() -> None:
    m = curved((0.9, 0.8, 0.1), (0.1, 0.1, 0.1))
    m = replace(m, values=(m.values[0], NAN))
    assert worst_step(m, 0.5)[0] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ((0.5, 0.5), "passed"),  # at the limit, without doubt
        ((0.1, 0.3), "passed"),
        ((0.4, 0.5), "passed"),  # 0.45 ± 0.05
        ((0.35, 0.55), "unclear"),  # 0.45 ± 0.10
        ((0.45, 0.65), "unclear"),
        ((0.55, 0.65), "failed"),
        ((0.6,), "failed"),
        ((NAN, NAN), "none"),
    ],
)
def test_states(values: tuple[float, ...], state: str) -> None:
    test = sanity.Test(name="t", metric="deletion", limit=0.5, says="it is", fails="it is much")
    got = verdict(test, measured(*values))
    assert got.state == state
    said = {"none": "no", "failed": f"it is {fmean(values):.2f}, limit 0.5: it is much"}
    assert got.says == said.get(state, f"it is {fmean(values):.2f}, limit 0.5")
    told = verdict(replace(test, limit=math.inf), measured(*values))
    assert (told.state, told.says) == (("none", "no") if state == "none" else ("told", f"it is: {fmean(values):.2f}"))


def test_a_cascade_is_judged_by_its_worst_step() -> None:
    m = curved((0.9, 0.1, 0.1), (0.9, 0.1, 0.1))
    assert m.mean < 0.5 and verdict(WEIGHTS, m).state == "failed"
    assert verdict(WEIGHTS, replace(m, curve=None)).state == "passed"
    nothing = replace(m, values=(NAN, NAN), reasons=("", "no weights"))
    assert verdict(WEIGHTS, nothing).says == "no weights"


def test_limits_are_those_that_the_page_tells() -> None:
    page = (Path(__file__).parents[3] / "docs" / "trust.md").read_text(encoding="utf-8")
    rows = {row.split("|")[1].strip(): row.split("|")[3] for row in page.splitlines() if row.count("|") == 4}
    words = {0.1: "at most a tenth", 0.5: "at most a half", math.inf: "without a verdict"}
    for test in TESTS:
        assert f"at most {test.limit:g}" in rows[test.name] or words[test.limit] in rows[test.name], test.name


def test_the_table_of_a_suite() -> None:
    def one(test: str, place: int, state: Any, value: float) -> Verdict:
        title = f"Method {place}"
        return Verdict(
            test=test, method=f"m{place}", title=title, place=place, state=state, value=value, error=NAN, limit=0.5,
            says=f"{value:.2f} of it",
        )  # fmt: skip

    suite = [one("a", 0, "passed", 0.25), one("b", 0, "none", NAN), one("a", 1, "failed", 0.75)]
    got = Sanity(verdicts=tuple(suite), measurements=Measurements(), explanations=())  # pyright: ignore
    assert str(got).splitlines() == [
        "          a       b",
        "Method 0  ✓ 0.25  –",
        "Method 1  ✗ 0.75",
        "",
        "✗ Method 1, a: 0.75 of it",
    ]
    assert got.flagged == ("Method 1",) and got.of("m0") == got.of("Method 0") == tuple(suite[:2])


# -- advice ------------------------------------------------------------------------------------------------------

COLUMNS = [
    Column(metric=n, title=n.upper(), family="faithfulness", better="lower", says="", photos=8, decides=d)
    for n, d in (("d", True), ("e", True), ("s", False))
]


def line(method: str, score: float, p: float = NAN, **more: Any) -> Line:
    ranks: tuple[float, ...] = more.pop("ranks", (score, score, score))
    cells = tuple(Cell(mean=r, low=r, high=r, rank=r, values=(r,)) for r in ranks)
    usual: dict[str, Any] = {"control": False, "failed": (), "rows": 10.0, "seconds": 1.0, "ranks": (score,), **more}
    return Line(method=method, title=method.title(), cells=cells, score=score, p=p, **usual)


def test_the_cheapest_of_those_that_cannot_be_told_apart() -> None:
    best, cheap, worse = line("best", 1.0, rows=100.0), line("cheap", 1.5, 0.05, rows=5.0), line("worse", 2.0, 0.04)
    got = advise([best, cheap, worse], COLUMNS, 8, 0.05)
    assert got.method == "cheap" and got.tied == ("Best", "Cheap")  # p = 0.05 is not below 0.05
    assert got.reasons == (
        "Best ranks best of 3 candidates by D, E: mean rank 1.0.",
        "Cheap (mean rank 1.5) cannot be told apart from it on these photos (p = 0.05) and costs 20 times less.",
    )
    assert got.doubts == ("2 methods cannot be told apart on 8 photos: Best and Cheap.",)
    alone = advise([best, worse], COLUMNS, 8, 0.05)
    assert (alone.method, alone.tied, alone.doubts, len(alone.reasons)) == ("best", ("Best",), (), 1)
    free = advise([best, replace(cheap, rows=0.0)], COLUMNS, 8, 0.05)
    assert "1e+11 times" in free.reasons[1]


def test_a_scorecard_as_it_is_printed() -> None:
    best, other = line("best", 1.0), line("other", 2.0, 0.01, seconds=0.25)
    wide = Cell(mean=0.5, low=0.25, high=0.75, rank=1.0, values=(0.5,))
    lone = Cell(mean=2.0, low=NAN, high=NAN, rank=2.0, values=(2.0,))
    gone = Cell(mean=NAN, low=NAN, high=NAN, rank=NAN, values=(NAN,), reason="no")
    lines = (replace(best, cells=(wide, gone)), replace(other, cells=(lone, lone)), control("random", 3.0, 0.01))
    lines = (*lines[:2], replace(lines[2], cells=(lone, gone)))
    card = Scorecard(
        model=ModelCard(name="net", fingerprint="f", evaluator="plain"),
        photos=("a", "b"),
        columns=(COLUMNS[0], replace(COLUMNS[1], better="higher")),
        lines=lines,
        advice=advise(lines, COLUMNS[:2], 8, 0.05),
        level=0.95,
        seconds=1.0,
        rows=10,
    )
    assert str(card).splitlines()[:4] == [
        "                  rank  D ↓          E ↑  rows  s     sanity",
        "Best              1.0   0.5 ± 0.25*  –    10    1",
        "Other             2.0   2            2*   10    0.25",
        "(Control_Random)  3.0   2            –",
    ]
    assert str(card).splitlines()[5].startswith("2 photos, 95% intervals")


def test_those_that_do_exactly_as_well_are_named() -> None:
    best = line("best", 1.0)
    twins = [line(name, 1.0, 1.0, ranks=(1.0, 1.0, 1.0), rows=20.0) for name in ("one", "two")]
    twins = [replace(one, ranks=best.ranks) for one in twins]
    assert advise([best, twins[0]], COLUMNS, 8, 0.05).reasons[1:] == ("One does exactly as well on every photo.",)
    assert advise([best, *twins], COLUMNS, 8, 0.05).reasons[1:] == ("One and Two do exactly as well on every photo.",)
    other = replace(twins[0], ranks=(2.0,))
    assert len(advise([best, other], COLUMNS, 8, 0.05).reasons) == 1


def test_methods_without_a_score_and_with_failures_are_no_candidates() -> None:
    best, odd = line("best", 2.0), line("odd", NAN, 0.5, rows=1.0)
    failed = line("failed", 1.0, 0.5, rows=1.0, failed=("other class", "shifted input"))
    got = advise([failed, best, odd], COLUMNS, 8, 0.05)
    assert got.method == "best" and got.tied == ("Best",)
    assert got.doubts == ("Failed ranks better (1.0) but fails: other class, shifted input.",)
    assert advise([best, replace(failed, score=3.0)], COLUMNS, 8, 0.05).doubts == ()
    other = line("fine", 1.0, failed=("shifted input", "other seed"))
    assert advise([other], COLUMNS, 8, 0.05).method == "fine"  # only dependence on weights and class excludes
    nobody = advise([failed, replace(best, failed=("randomised weights",))], COLUMNS, 8, 0.05)
    assert nobody.doubts == ("Failed fails other class and shifted input; Best fails randomised weights",)
    assert advise([odd], COLUMNS, 8, 0.05).doubts == ("no method has a value",)


def control(name: str, score: float, p: float) -> Line:
    return line(f"control_{name}", score, p, control=True, rows=0.0)


def test_a_cheap_method_has_to_beat_controls_as_well() -> None:
    best, cheap = line("best", 1.0, rows=100.0), line("cheap", 2.5, 0.2, rows=1.0)
    best, cheap = replace(best, ranks=(1.0, 1.0)), replace(cheap, ranks=(2.0, 3.0))
    edges = replace(control("edges", 2.0, 0.01), ranks=(3.0, 1.0))
    random = replace(control("random", 3.5, 0.01), ranks=(4.0, 3.0))
    assert advise([best, cheap, edges, random], COLUMNS, 8, 0.05).method == "best"  # edges rank before it
    got = advise([best, cheap, replace(edges, score=2.7), random], COLUMNS, 8, 0.05)
    assert got.method == "cheap"
    assert got.doubts[1:] == (
        "Cheap ranks better than control_edges on 1 of 2 photos.",
        "Cheap ranks better than control_random on 1 of 2 photos.",
    )
    sure = [replace(one, ranks=(4.0, 4.0)) for one in (edges, random)]
    assert advise([best, cheap, *(replace(one, score=4.0) for one in sure)], COLUMNS, 8, 0.05).doubts == got.doubts[:1]
    lonely = advise([best], COLUMNS, 1, 0.05)
    assert lonely.doubts == ("1 photo can never give p < 0.05, whatever the maps: take six or more.",)


def test_controls_have_to_be_beaten() -> None:
    best = line("best", 1.0)
    random, edges = control("random", 3.0, 0.01), control("edges", 2.0, 0.01)
    got = advise([best, edges, random], COLUMNS, 8, 0.05)
    assert got.method == "best" and got.doubts == ()
    assert got.reasons[-1] == "Best beats what knows nothing of the model: control_edges, control_random (p < 0.05)."
    doubtful = advise([best, replace(edges, p=0.05), random], COLUMNS, 8, 0.05)
    assert doubtful.method == "best"
    said = "It is not beyond doubt better than what knows nothing of the model: control_edges."
    assert doubtful.doubts == (said,)
    level = advise([best, replace(edges, score=1.0), random], COLUMNS, 8, 0.05)
    assert level.method is None and level.tied == ("Best",) and "Nothing can be recommended." in str(level)
    for wrong in (replace(random, p=0.05), replace(random, p=0.5), replace(random, score=0.5)):
        assert advise([best, edges, wrong], COLUMNS, 8, 0.05).method is None
    assert advise([best, replace(edges, score=NAN, p=NAN), random], COLUMNS, 8, 0.05).method == "best"


@pytest.mark.parametrize(("photos", "few"), [(5, True), (6, False), (1, True)])
def test_two_to_the_number_of_photos_signs_have_to_be_enough(photos: int, few: bool) -> None:
    got = advise([line("best", 1.0)], COLUMNS, photos, 0.05)
    assert (got.doubts == (f"{many(photos)} can never give p < 0.05, whatever the maps: take six or more.",)) is few
    assert advise([line("best", 1.0)], COLUMNS, 2, 0.5).doubts != ()  # 2 / 2² is not below 0.5
    assert str(got).splitlines()[0] == "Take Best."


def test_metrics_that_disagree_are_named_and_only_those_that_decide() -> None:
    a = line("a", 1.0, ranks=(1.0, 2.0, 2.0))
    b = line("b", 1.1, 0.01, ranks=(2.0, 1.0, 1.0))
    assert advise([a, b], COLUMNS, 8, 0.05).doubts == ("The metrics disagree: D prefers A, E prefers B.",)
    c = line("c", 1.1, 0.01, ranks=(2.0, 3.0, 1.0))  # better by the one that does not decide
    assert advise([a, c], COLUMNS, 8, 0.05).doubts == ()
    unknown = line("u", 1.1, 0.01, ranks=(NAN, 3.0, 1.0))
    assert advise([a, unknown], COLUMNS, 8, 0.05).doubts == ()
