"""Bars, tiles, waterfalls, forces and swarms: lengths, places and colours against the weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.unit.plots.rows import check_layout, fit, line, picture, said
from tests.unit.views.planted import planted

from pellucid import plots
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Check, Explanation
from pellucid.plots.axis import ZERO, axis_of
from pellucid.plots.bars import PITCH
from pellucid.plots.features import FIREBRICK, STEELBLUE
from pellucid.plots.steps import way_of
from pellucid.plots.summary import DOT, HIGH, LANE, LOW, ORANGE, PURPLE
from pellucid.views.figure import Box, Figure, Mark, Photo, Shape, Text

WEIGHTS = [0.5, -0.4, 0.0, 0.03, -0.02, 0.01, -0.6, 0.02, 0.25]


def of_colour(figure: Figure, colour: str, *, high: float = 18) -> list[Box]:
    return [m for m in figure.marks if isinstance(m, Box) and m.colour == colour and m.height == high]


def many(count: int = 40) -> list[Explanation]:
    draw = np.random.default_rng(0)
    rows = []
    for i in range(count):
        v = draw.normal(size=4)
        weights = (v * [1.0, -0.5, 0.2, 0.05]).tolist()
        rows.append(line(weights, [f"{v[0]:.4f}", f"{v[1]:.4f}", "red", "7"], name=f"row {i}"))
    return rows


# -- plot_features -----------------------------------------------------------------------------------------------


def test_bars_are_as_long_as_the_weights() -> None:
    figure = plots.plot_features(picture(WEIGHTS))
    check_layout(figure)
    up, down = of_colour(figure, STEELBLUE), of_colour(figure, FIREBRICK)
    lengths = np.array(sorted(b.width for b in (*up, *down)))
    np.testing.assert_allclose(lengths / lengths[-1], sorted(abs(w) / 0.6 for w in WEIGHTS if w), atol=5e-3)
    zero = {round(b.x, 6) for b in up} | {round(b.x + b.width, 6) for b in down}
    assert len(zero) == 1  # all begin at the same place
    tops = {round(b.y, 6): b for b in (*up, *down)}
    assert [tops[y] in up for y in sorted(tops)][:3] == [False, True, False]  # −0.6, 0.5, −0.4
    assert "superpixel 6" in said(figure) and "superpixel 2" not in said(figure)  # which weighs nothing


def test_intervals_reach_as_far_as_they_say() -> None:
    e = picture([0.5, 0.25, *[0.0] * 7])
    e = replace(e, extras={**e.extras, "players_std_error": torch.tensor([[0.1, 0.0, *[0.0] * 7]])})
    figure = plots.plot_features(e)
    longest = max(of_colour(figure, STEELBLUE), key=lambda b: b.width)
    whisker = next(m for m in figure.marks if isinstance(m, Box) and m.height == 1.5)
    assert whisker.width / longest.width == pytest.approx(2 * 1.96 * 0.1 / 0.5, rel=1e-6)
    assert whisker.x + whisker.width / 2 == pytest.approx(longest.x + longest.width)


def test_facets_say_what_r_says() -> None:
    rows = [line([0.3, -0.2], label=label, name=name) for name in ("1", "51") for label in ("a", "b")]
    figure = plots.plot_features(rows)
    check_layout(figure)
    assert said(figure)[:4] == ["Case: 1", "Label: a", "Probability: 0.9", "Explanation fit: 0.30 (low)"]
    assert [t for t in said(figure) if t.startswith("Case")] == ["Case: 1", "Case: 1", "Case: 51", "Case: 51"]
    assert said(plots.plot_features(rows, cases=2))[:2] == ["Case: 51", "Label: a"]
    assert said(plots.plot_features(rows, cases=["51", 1]))[:2] == ["Case: 51", "Label: a"]
    assert plots.plot_features(rows, ncol=4).width > figure.width
    assert "Supports" in said(figure) and "Contradicts" in said(figure)
    assert "Contradicts" not in said(plots.plot_features(line([0.3, 0.2])))
    for wrong in (3, "52"):
        with pytest.raises(InputError, match="case"):
            plots.plot_features(rows, cases=wrong)
    with pytest.raises(ParameterError, match="ncol"):
        plots.plot_features(rows, ncol=0)


def test_what_is_left_out_is_said() -> None:
    figure = plots.plot_features(picture(WEIGHTS), n_features=3)
    check_layout(figure)
    assert "5 more, none above 0.25" in said(figure)
    empty = plots.plot_features(picture([0.0] * 9))
    check_layout(empty)
    assert "no feature has a weight" in said(empty)


@pytest.mark.parametrize("ends", [(-0.3, 0.7), (0.0, 1e-9), (-2e4, 3e5), (0.0, 0.0), (5.0, 5.0)])
def test_ticks_are_round_and_inside(ends: tuple[float, float]) -> None:
    for zero in (True, False):
        axis = axis_of(ends, 10.0, 300, zero)
        assert axis.low < axis.high and 2 <= len(axis.ticks) <= 7
        assert all(axis.low - 1e-12 <= t <= axis.high + 1e-9 * abs(axis.high) for t in axis.ticks)
        steps = np.diff(axis.ticks)
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
        assert f"{steps[0]:e}".split("e")[0].rstrip("0").rstrip(".") in ("1", "2", "2.5", "5")
        assert axis(axis.low) == 10 and axis(axis.high) == pytest.approx(310)


# -- plot_explanations -------------------------------------------------------------------------------------------


def tiles(figure: Figure) -> list[Box]:
    return [m for m in figure.marks if isinstance(m, Box) and m.height == 32]


def test_tiles_have_the_colours_of_their_weights() -> None:
    rows = [
        line([0.8, -0.4, 0.0], name="one", label="a"),
        line([0.2, 0.0, 0.0], name="two", label="a"),
        line([-0.8, 0.0, 0.1], name="two", label="b"),
    ]
    figure = plots.plot_explanations(rows)
    check_layout(figure)
    first = sorted((m.x, m.y, m.colour) for m in tiles(figure))
    assert len(first) == 5  # nothing where nothing is known
    assert {colour for _, _, colour in first} >= {"#4682b4", "#b22222"}  # the ends of the scale
    lighter = next(colour for _, _, colour in first if colour not in ("#4682b4", "#b22222"))
    assert int(lighter[1:3], 16) > 0xB2 - 1
    assert [t for t in said(figure) if t.startswith("Label")] == ["Label: a", "Label: b"]
    assert said(figure).count("0.9") == 3 and said(figure).count("0.30") == 3  # probability and fit of every case


def test_methods_do_not_hide_each_other() -> None:
    one = line([0.8, 0.0, 0.0], label="a")
    other = line([-0.4, 0.0, 0.0], label="a")
    other = replace(other, record=replace(other.record, method="other", title="Other"))
    figure = plots.plot_explanations([one, other])
    check_layout(figure)
    assert {m.colour for m in tiles(figure)} == {"#ffffff", "#4682b4", "#d48c8c"}  # grounds, for, half as much against
    assert [t for t in said(figure) if t.startswith("Label")] == ["Label: a (Planted)", "Label: a (Other)"]


def test_weak_lines_are_left_out_and_said() -> None:
    figure = plots.plot_explanations([picture(WEIGHTS, name="a"), picture(WEIGHTS, name="b")], n_features=4)
    check_layout(figure)
    assert "12 weaker features are not shown" in said(figure)  # superpixels of different pictures are different
    assert len(tiles(figure)) == 4
    check_layout(plots.plot_explanations(many(12)))
    with pytest.raises(ParameterError, match="n_features"):
        plots.plot_explanations(many(2), n_features=0)


# -- bar, beeswarm -----------------------------------------------------------------------------------------------


def test_bar_shows_one_case_or_the_mean_of_many() -> None:
    one = plots.bar(picture(WEIGHTS))
    check_layout(one)
    assert (len(of_colour(one, ORANGE)), len(of_colour(one, PURPLE))) == (5, 3)
    rows = many()
    figure = plots.bar(rows, max_display=3)
    check_layout(figure)
    means = np.abs([[float(v) for v in row.values[0]] for row in rows]).mean(0)
    widths = [b.width for b in sorted(of_colour(figure, ORANGE), key=lambda b: b.y)]
    np.testing.assert_allclose(np.array(widths) / widths[0], means[:3] / means[0], rtol=1e-5)
    assert "1 more, none above" in " ".join(said(figure)) and "40 cases" in said(figure)
    with pytest.raises(InputError, match="superpixels"):
        plots.bar([picture(WEIGHTS, name="a"), picture(WEIGHTS, name="b")])
    with pytest.raises(ParameterError, match="max_display"):
        plots.bar(rows, max_display=0)


def of_another_method(row: Explanation) -> Explanation:
    return replace(row, record=replace(row.record, method="other", title="Other"))


def test_methods_are_not_averaged_with_each_other() -> None:
    one, other = line([0.8, 0.4]), of_another_method(line([0.2, -0.6]))
    both = plots.bar([one, other])
    check_layout(both)
    assert "Planted" in said(both) and "Other" in said(both) and "2 cases" not in said(both)
    assert (len(of_colour(both, ORANGE)), len(of_colour(both, PURPLE))) == (3, 1)
    rows = many(5)
    alone, mixed = plots.bar(rows), plots.bar([*rows, *map(of_another_method, rows)])
    check_layout(mixed)
    assert said(mixed).count("5 cases") == 2
    wide = [b.width for b in of_colour(alone, ORANGE)]
    np.testing.assert_allclose([b.width for b in of_colour(mixed, ORANGE)], wide * 2)
    with pytest.raises(InputError, match="one method"):
        plots.beeswarm([*rows, *map(of_another_method, rows)])


def dots(figure: Figure) -> list[Box]:
    return [m for m in figure.marks if isinstance(m, Box) and m.radius == DOT / 2]


def test_a_swarm_has_a_dot_for_every_case_in_every_lane() -> None:
    rows = many()
    figure = plots.beeswarm(rows)
    check_layout(figure)
    every = dots(figure)
    assert len(every) == 4 * 40
    lanes = np.round([(d.y + DOT / 2) for d in every], 6)
    first = [d for d, y in zip(every, lanes, strict=True) if y < min(lanes) + LANE - DOT]
    assert len(first) == 40
    red = [int(d.colour[1:3], 16) for d in sorted(first, key=lambda d: d.x)]
    assert red == sorted(red) and (red[0], red[-1]) == (LOW[0], HIGH[0])  # the weight grows with the value
    xs = np.sort([d.x for d in first])
    weights = np.sort([float(row.values[0, 0]) for row in rows])
    np.testing.assert_allclose(np.corrcoef(xs, weights)[0, 1], 1.0, atol=1e-9)
    assert len({d.colour for d in every} & {"#8a949e"}) == 1  # words and constants have no colour of a scale
    for a in first:
        near = [b for b in first if b is not a and abs(a.x - b.x) < 1 and abs(a.y - b.y) < 1]
        assert not near


def test_a_swarm_needs_many_cases_of_one_label() -> None:
    with pytest.raises(InputError, match="many cases"):
        plots.beeswarm(line([1.0, 2.0]))
    with pytest.raises(InputError, match="one label"):
        plots.beeswarm([line([1.0, 2.0], label="a"), line([1.0, 2.0], label="b")])
    assert len(dots(plots.beeswarm(many(5), max_display=2))) == 10


# -- waterfall, force --------------------------------------------------------------------------------------------


def arrows(figure: Figure) -> list[Shape]:
    return [m for m in figure.marks if isinstance(m, Shape)]


def test_a_waterfall_leads_from_the_intercept_to_the_prediction() -> None:
    e = picture([0.3, -0.1, 0.05, *[0.001] * 6], score=0.7)
    way = way_of(e, 4)
    assert [step.name.text for step in way.steps] == ["6 others", "superpixel 2", "superpixel 1", "superpixel 0"]
    assert way.start + sum(step.weight for step in way.steps) == pytest.approx(way.end) == pytest.approx(0.7)
    figure = plots.waterfall(e, max_display=4)
    check_layout(figure)
    assert "intercept 0.444" in said(figure) and "linear model 0.7" in said(figure)
    drawn = sorted(arrows(figure), key=lambda a: -max(y for _, y in a.points))
    wide = [max(x for x, _ in a.points) - min(x for x, _ in a.points) for a in drawn]
    np.testing.assert_allclose(np.array(wide[1:]) / wide[3], [0.05 / 0.3, 0.1 / 0.3, 1.0], rtol=1e-5)
    assert [a.colour for a in drawn[1:]] == [ORANGE, PURPLE, ORANGE]
    ends = [a.points[2][0] for a in drawn]  # the tip of each arrow is where the next begins
    begins = [a.points[0][0] for a in drawn]
    np.testing.assert_allclose(ends[:-1], begins[1:], atol=1e-6)


def test_the_start_is_what_the_values_leave() -> None:
    row = line([0.2, 0.1])
    assert (way_of(row, 9).start_is, way_of(row, 9).start) == ("without these", pytest.approx(0.6))
    efficient = replace(row, checks=(Check(name="efficiency", value=(0.0,), passed=(True,)), fit(0.9)))
    assert way_of(efficient, 9).start_is == "nothing shown"
    assert way_of(efficient, 9).end_is == "probability"
    with pytest.raises(ParameterError, match="max_display"):
        way_of(row, 1)
    with pytest.raises(InputError, match="choose one"):
        plots.waterfall(many(2))


def test_a_force_plot_gives_everything_its_place() -> None:
    e = picture([0.3, -0.1, 0.05, -0.04, *[0.0] * 5], score=0.7)
    figure = plots.force(e)
    check_layout(figure)
    up, down = ([a for a in arrows(figure) if a.colour == c] for c in (ORANGE, PURPLE))
    assert (len(up), len(down)) == (2, 2)
    level = next(m for m in figure.marks if isinstance(m, Text) and m.text == "linear model 0.7").x
    assert max(x for a in up for x, _ in a.points) == pytest.approx(level, abs=2)
    assert min(x for a in down for x, _ in a.points) == pytest.approx(level, abs=2)
    assert len([m for m in figure.marks if isinstance(m, Photo)]) == 4  # how the superpixels look
    threads = [m for m in figure.marks if isinstance(m, Box) and m.width == 1 and m.height > 5 and m.colour == ZERO]
    assert len(threads) == 4
    words = plots.force(line([0.4, -0.3, 0.02], ["53", "f", "7"]))
    check_layout(words)
    assert {"feature 0 = 53", "+0.4", "feature 1 = f", "−0.3"} <= set(said(words))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
@pytest.mark.parametrize("seed", range(4))
def test_nothing_overlaps_whatever_the_numbers(seed: int, scale: float) -> None:
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, 30))
    names = ["a rather long name of a column that goes on and on " * (i % 2) + f"column {i}" for i in range(count)]
    row = line((draw.standard_t(1, size=count) * scale).tolist(), features=names)
    for plot in (plots.force, plots.waterfall, plots.bar, plots.plot_features, plots.plot_explanations):
        check_layout(plot(row))


def test_equal_levels_are_written_side_by_side() -> None:
    check_layout(plots.force(picture([0.3, -0.3, *[0.0] * 7], score=0.7)))
    check_layout(plots.waterfall(picture([0.3, -0.3, *[0.0] * 7], score=0.7)))
    check_layout(plots.force(picture([0.3, *[0.0] * 8], score=0.7)))


def test_there_must_be_features() -> None:
    for plot in (plots.plot_features, plots.bar, plots.waterfall, plots.plot_explanations):
        with pytest.raises(InputError):
            plot(planted(torch.ones(1, 4, 4)))
    with pytest.raises(InputError, match="at least one"):
        plots.bar([])


def test_a_shape_is_painted_and_written() -> None:
    mark: Mark = Shape(points=((10.0, 10.0), (30.0, 10.0), (30.0, 30.0)), colour="#ff0000")
    figure = Figure(width=40, height=40, marks=(mark,), alt="a triangle")
    red = np.array(figure.image())[..., 1] < 128
    assert red.mean() == pytest.approx(200 / 1600, rel=0.05)
    assert '<polygon points="10,10 30,10 30,30" fill="#ff0000"/>' in figure.svg()
    assert PITCH > 0
