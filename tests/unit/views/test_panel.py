"""The panel holds what it should, where it should, and cuts nothing off."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.unit.views.planted import planted

from pellucid.core.errors import FileExists, InputError, ParameterError
from pellucid.core.explanation import Check, Kind
from pellucid.views import draw, panel
from pellucid.views.figure import Box, Figure, Photo, Text
from pellucid.views.letters import fit, lacks, plain, width, wrap
from pellucid.views.panel import lines_of

LONG = (
    'Страшный кот − 12° × a name that goes on & on, <b>never</b> to "end" \' but with \x00\u202e control characters '
    * 3
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def texts(figure: Figure) -> list[str]:
    return [m.text for m in figure.marks if isinstance(m, Text)]


def maps(figure: Figure) -> list[Photo]:
    return [m for m in figure.marks if isinstance(m, Photo) and m.height > 20]


def extent(mark: Text) -> tuple[float, float]:
    """Left and right end of a text."""
    w = width(mark.text, mark.size, mark.weight)
    left = mark.x - {"l": 0, "m": w / 2, "r": w}[mark.anchor]
    return left, left + w


def assert_tidy(figure: Figure) -> None:
    """Nothing leaves the figure, no text lies on another text or on a map."""
    lines = [m for m in figure.marks if isinstance(m, Text) and m.text]
    for m in figure.marks:
        if not isinstance(m, Text):
            assert m.x >= 0 and m.y >= 0 and m.x + m.width <= figure.width and m.y + m.height <= figure.height
    spans = [(*extent(m), m.y - 0.75 * m.size, m.y + 0.22 * m.size, m.text) for m in lines]
    for left, right, top, low, text in spans:
        assert left >= 0 and right <= figure.width and top >= 0 and low <= figure.height, text
    for i, a in enumerate(spans):
        for b in spans[i + 1 :]:
            assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2], (a[4], b[4])
        for p in maps(figure):
            apart = a[1] <= p.x or p.x + p.width <= a[0] or a[3] <= p.y or p.y + p.height <= a[2]
            assert apart or a[4] == "no picture was kept", a[4]


def several(methods: int, *, rows: int = 2, **more: object) -> list:
    kinds = list(Kind)
    return [
        planted(
            noise(rows, 6, 6, seed=i).abs() if kinds[i % 4] is Kind.SPREAD else noise(rows, 6, 6, seed=i),
            kinds[i % 4],
            method=f"m{i}",
            title=f"Method {i}",
            **more,
        )
        for i in range(methods)
    ]


@pytest.mark.parametrize("methods", [1, 2, 7, 8, 20])
@pytest.mark.parametrize("size", [64, 112, 224])
def test_one_to_twenty_methods(methods, size):
    figure = panel(several(methods), size=size)
    assert_tidy(figure)
    assert len(maps(figure)) == 2 * (methods + 1)
    assert [t for t in texts(figure) if t.startswith("Method") and ":" not in t and "," not in t] == [
        f"Method {i}" for i in range(methods)
    ] * 2


def test_eight_rows_of_twenty():
    figure = panel(several(20, rows=8), size=64)
    assert len(maps(figure)) == 8 * 21
    assert_tidy(figure)


def test_a_very_large_figure_is_drawn_coarser(monkeypatch):
    figure = panel(several(2), size=64)
    pixels = 4 * figure.width * figure.height
    for most, density in ((pixels, 2), (pixels - 8, 1)):
        monkeypatch.setattr(sys.modules["pellucid.views.panel"], "MAX_PIXELS", most)
        coarse = panel(several(2), size=64)
        assert coarse.density == density and coarse.image().size[0] == density * figure.width
    assert_tidy(coarse)


@pytest.mark.parametrize("ends", [1.234e-9, 1.234e-4, 3.0, 123456.0])
@pytest.mark.parametrize("kind", [Kind.CONTRIBUTION, Kind.SPREAD])
def test_numbers_below_a_narrow_bar_do_not_touch(kind, ends):
    x = torch.linspace(-1 if kind is Kind.CONTRIBUTION else 0, 1, 36, dtype=torch.float64).reshape(1, 6, 6) * ends
    tall = planted(x, kind)
    tall = replace(tall, inputs=replace(tall.inputs, picture=torch.zeros(1, 90, 20, 3, dtype=torch.uint8)))
    for e in (planted(x, kind), tall):
        assert_tidy(panel(e, size=64))


@given(count=st.integers(1, 60), most=st.integers(1, 9))
def test_lines_are_full_and_few(count, most):
    cells = list(range(count))
    lines = lines_of(cells, most)
    assert [c for line in lines for c in line] == cells
    assert len(lines) == -(-count // most) and max(map(len, lines)) <= most


def test_predictions_scores_and_the_explained_class():
    figure = panel(planted(noise(1, 6, 6)))
    assert {"tabby", "tiger cat", "lynx", "0.41", "0.25", "0.06", "probability 0.41", "toy"} <= set(texts(figure))
    strong = [m.text for m in figure.marks if isinstance(m, Text) and m.weight == "Medium" and m.size < 12]
    assert strong == ["tabby", "0.41"]


def test_raw_outputs_are_not_drawn_as_probabilities():
    e = planted(noise(1, 6, 6))
    raw = replace(e, prediction=replace(e.prediction, probability=((12.5, -3.0, -7.25),), is_probability=False))
    figure = panel(raw)
    assert {"12.5", "−3", "−7.25", "logit 8.25"} <= set(texts(figure))
    assert not [m for m in figure.marks if isinstance(m, Box) and m.height == 3]


def test_failed_checks_and_flat_maps_carry_a_chip():
    bad = Check(name="completeness", value=(0.21,), passed=(False,), limit=0.05)
    fine = Check(name="std_error", value=(0.0,), passed=(True,), limit=0.05)
    figure = panel([planted(noise(1, 6, 6), checks=(bad, fine)), planted(torch.zeros(1, 6, 6), method="b", title="B")])
    assert "completeness 0.21, limit 0.05" in texts(figure)
    assert "flat: all values 0" in texts(figure)
    assert not [t for t in texts(figure) if "std error" in t]
    assert "1 failed checks" in figure.alt


def test_scales_are_printed():
    e = planted(torch.linspace(-3, 3, 36).reshape(1, 6, 6))
    assert {"−3", "0", "3"} <= set(texts(panel(e)))


@pytest.mark.parametrize(
    ("share", "ends"),
    [("none", [1, 2, 4, 8]), ("row", [2, 2, 8, 8]), ("method", [4, 8, 4, 8]), ("all", [8, 8, 8, 8])],
)
def test_shared_scales(share, ends):
    unit = torch.linspace(-1, 1, 36).reshape(1, 6, 6)
    a = planted(torch.cat([unit, 4 * unit]), method="a", title="A")
    b = planted(torch.cat([2 * unit, 8 * unit]), method="b", title="B")
    figure = panel([a, b], share=share)
    found = [m.text for m in figure.marks if isinstance(m, Text) and m.anchor == "r" and "." not in m.text]
    assert found == [str(end) for end in ends]
    shared_line = [t for t in texts(figure) if "share one scale" in t]
    assert len(shared_line) == (share != "none")


def test_maps_of_different_kinds_never_share_a_scale():
    a = planted(torch.linspace(0, 1, 36).reshape(1, 6, 6), Kind.SPREAD, method="a")
    b = planted(torch.linspace(0, 100, 36).reshape(1, 6, 6), Kind.CAM, method="b")
    assert {"1", "100"} <= set(texts(panel([a, b], share="all")))


def test_models_side_by_side_each_with_its_prediction():
    a, b = planted(noise(1, 6, 6), model="small"), planted(noise(1, 6, 6), model="large", target="lynx")
    b = replace(b, target=replace(b.target, index=(287,)))
    figure = panel([a, b], columns="models")
    assert_tidy(figure)
    assert {"small", "large", "tabby, probability 0.41", "lynx, probability 0.06", "Asked for Top(1)"} <= set(
        texts(figure)
    )
    assert texts(figure).count("tiger cat") == 2
    assert len(maps(figure)) == 3


def test_targets_side_by_side():
    a = planted(noise(1, 6, 6))
    b = planted(noise(1, 6, 6), target="lynx", rank=1)
    b = replace(b, target=replace(b.target, index=(287,)))
    figure = panel([a, b], columns="targets")
    assert_tidy(figure)
    strong = {m.text for m in figure.marks if isinstance(m, Text) and m.weight == "Medium" and m.size < 12}
    assert strong == {"tabby", "0.41", "lynx", "0.06"}


def test_models_in_groups_by_default():
    figure = panel([planted(noise(1, 6, 6), model="small"), planted(noise(1, 6, 6), model="large")])
    headings = [m.text for m in figure.marks if isinstance(m, Text) and m.size == 20]
    assert headings == ["small", "large"]


def test_the_same_method_twice_says_how_they_differ():
    a = planted(noise(1, 6, 6))
    a, b = (replace(a, record=replace(a.record, params={"steps": s, "rule": "left"})) for s in (8, 32))
    assert {"Planted, steps 8", "Planted, steps 32"} <= set(texts(panel([a, b])))
    usual = replace(a, record=replace(a.record, params={"fill": "auto"}))
    other = replace(a, record=replace(a.record, params={"fill": "blur"}))
    assert {"Planted", "Planted, fill blur"} <= set(texts(panel([usual, other])))


def test_equal_methods_stand_below_each_other_also_where_one_is_missing():
    a, b, c = (planted(noise(2, 6, 6), method=m, title=m) for m in ("A", "B", "C"))
    figure = panel([a, b[0], c])
    assert_tidy(figure)
    places = [(m.x, m.text) for m in figure.marks if isinstance(m, Text) and m.text in ("A", "B", "C")]
    assert len(places) == 5 and len({x for x, t in places if t == "C"}) == 1
    assert len(maps(figure)) == 7


def test_images_left_out_are_counted():
    figure = panel(planted(noise(5, 6, 6)), max_images=2)
    assert len(maps(figure)) == 4
    assert "3 more images are not shown." in texts(figure) and "3 more are not shown" in figure.alt


@pytest.mark.parametrize("columns", ["methods", "models", "targets"])
def test_hostile_and_endless_names(columns):
    e = planted(noise(1, 6, 6), title=LONG, method=LONG, model=LONG, target=LONG, names=[LONG])
    e = replace(e, prediction=replace(e.prediction, name=((LONG, "", "\n"),)))
    figure = panel(e, columns=columns, size=112)
    assert_tidy(figure)
    assert any(t.endswith("…") for t in texts(figure))
    assert len(ET.fromstring(figure.svg())) > 5


def test_pictures_that_are_not_square_or_not_there():
    wide = planted(noise(1, 6, 12))
    wide = replace(wide, inputs=replace(wide.inputs, picture=torch.zeros(1, 50, 100, 3, dtype=torch.uint8)))
    figure = panel([wide, planted(noise(1, 6, 6), pictures=False, method="b", names=["none.png"])])
    assert_tidy(figure)
    assert (maps(figure)[0].width, maps(figure)[0].height) == (224, 112)
    assert "no picture was kept" in texts(figure)


def test_letters_that_are_missing_are_reported():
    assert lacks("猫") and not any(map(lacks, "Aé−×°…√Σ²Кλ "))
    assert "猫" in panel(planted(noise(1, 6, 6), target="猫 cat")).note
    assert panel(planted(noise(1, 6, 6))).note == ""


@given(text=st.text(max_size=60), room=st.floats(12, 200))
def test_a_fitted_text_fits_and_is_a_beginning(text, room):
    got = fit(text, room, 12)
    assert got == "…" or width(got, 12) <= room
    assert got == plain(text) or plain(text).startswith(got.removesuffix("…").rstrip())


@given(text=st.text("ab c", max_size=80))
def test_wrapping_loses_no_word(text):
    assert " ".join(wrap(text, 400, 12)) == plain(text)
    assert all(width(line, 12) <= 60 for line in wrap(text, 60, 12))


def test_the_png_shows_the_maps_and_its_own_size():
    e = planted(noise(1, 6, 6))
    figure = panel(e)
    read = Image.open(BytesIO(figure.png()))
    assert read.size == (figure.width * 2, figure.height * 2)
    assert read.info["dpi"][0] == pytest.approx(192, abs=0.1)
    assert read.text["Description"] == figure.alt
    shown = maps(figure)[1]
    left, top = int(shown.x * 2), int(shown.y * 2)
    inside = np.asarray(read)[top : top + 448, left : left + 448]
    assert np.array_equal(inside, draw(e, size=(448, 448))[0].rgb.numpy())


def test_the_svg_is_well_formed_and_holds_its_words_and_pictures():
    figure = panel(planted(noise(1, 6, 6), target='<cat> & "dog"'))
    root = ET.fromstring(figure.svg())
    space = "{http://www.w3.org/2000/svg}"
    assert '<cat> & "dog"' in [t.text for t in root.iter(f"{space}text")]
    pictures = list(root.iter(f"{space}image"))
    assert len(pictures) == sum(isinstance(m, Photo) for m in figure.marks)
    assert all(p.get("href").startswith("data:image/png;base64,") for p in pictures)
    assert not list(root.iter(f"{space}script"))


def test_saving(tmp_path):
    figure = panel(planted(noise(1, 6, 6)))
    assert Image.open(figure.save(tmp_path / "a.PNG")).size[0] == 2 * figure.width
    assert figure.save(tmp_path / "a.svg").read_text(encoding="utf-8") == figure.svg()
    with pytest.raises(FileExists):
        figure.save(tmp_path / "a.svg")
    with pytest.raises(ParameterError, match=r"\.png or \.svg"):
        figure.save(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"share": "some"}, ParameterError),
        ({"columns": "images"}, ParameterError),
        ({"size": 10}, ParameterError),
        ({"max_images": 0}, ParameterError),
        ({"max_columns": 0}, ParameterError),
        ({"look": "nothing"}, ParameterError),
    ],
)
def test_wrong_arguments_are_refused(wrong, error):
    with pytest.raises(error):
        panel(planted(noise(1, 6, 6)), **wrong)


def test_nothing_to_show_is_refused():
    with pytest.raises(InputError, match="no explanation"):
        panel([])
    with pytest.raises(InputError, match="no explanation"):
        panel(planted(noise(1, 6, 6))[0:0])
