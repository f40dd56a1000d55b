"""The report: nothing that anybody typed becomes markup, nothing is fetched, and the layers are the palettes."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.views.planted import planted

import pellucid.registry  # noqa: F401 - the equations stand in the methods' docstrings
from pellucid.core.errors import FileExists, InputError
from pellucid.core.explanation import Check, Kind, ModelCard
from pellucid.views import PALETTES, Figure, draw, palette
from pellucid.views.report import render, write_report
from pellucid.views.report.call import call, made
from pellucid.views.report.cards import pieces, split_equation
from pellucid.views.report.facts import check_chip, facts, std_error
from pellucid.views.report.layers import layer, veil
from pellucid.views.report.markup import clean, label, script_json

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "--><!-- &lt;b&gt; &#60;i&#62;",
    "javascript:alert(1)",
    "a\x00b\x1b[31m\u202egnp.exe\u2028\u2029\ud800",
    "]]><svg/onload=alert(1)>",
    "${alert(1)}`\\'; import os",
    "n" * 1_000_000,
)


def wave(seed: int = 0, channels: int = 3, rows: int = 1, side: int = 24) -> torch.Tensor:
    return torch.randn(rows, channels, side, side, generator=torch.Generator().manual_seed(seed))


class Shape(HTMLParser):
    """Tags with the names of their attributes, in order, and all attribute values."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text.append(data)


def everywhere(text: str):
    """An explanation whose every text is `text`."""
    e = planted(wave(), target=text, model=text, names=[text], title=text, method=text)
    return replace(
        e,
        target=replace(e.target, asked=text, output=text),
        prediction=replace(e.prediction, name=((text,) * 3,)),
        inputs=replace(e.inputs, notes=((text,),)),
        record=replace(
            e.record,
            params={text: text, "list": [text, {text: text}]},
            cite=(text,),
            at=text,
            model=ModelCard(name=text, fingerprint=text, evaluator=text, framework=text),
            versions={text: text},
            decisions=(text,),
        ),
        checks=(Check(name=text, value=(0.5,), passed=(False,), limit=0.1, says=text),),
    )


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_becomes_markup(text):
    page = render(everywhere(text), text, date=text)
    assert Shape(page).tags == Shape(render(everywhere("plain"), "plain", date="plain")).tags
    assert "49" not in re.findall(r"<h1><bdi>(.*?)</bdi>", page)[0]
    page.encode("utf-8")
    assert len(page) < 3_000_000


def test_addresses_are_pictures_in_the_file_or_places_in_it():
    for name, value in Shape(render(everywhere("javascript:alert(1)"))).values:
        if name in ("href", "src"):
            assert value.startswith(("#", "data:image/"))
        assert name not in ("style", "srcset", "action", "formaction") and not name.startswith("on")


def test_only_our_own_style_and_script_are_allowed():
    page = render(planted(wave()))
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)[0]
    policy = policy.replace("&#39;", "'")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    for tag in ("style", "script"):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[0]
        assert f"{tag}-src 'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'" in policy
    assert not re.search(
        r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", re.sub(r"xmlns='[^']*'|@\w+\{.*?\n\}", "", page, flags=re.S)
    )


def test_json_in_a_script_cannot_end_it():
    value = {"</script>": ["<!--", "\u2028\u2029", float("nan"), float("inf"), {"&": None}]}
    text = str(script_json(value))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"</script>": ["<!--", "  ", "nan", "inf", {"&": None}]}


def test_the_data_are_the_numbers_of_the_maps():
    e = planted(wave(rows=2), names=["a", "b"])
    page = render([e, planted(wave(3).abs(), Kind.SPREAD, method="other", title="Other")])
    data = json.loads(re.findall(r'id="pellucid-data">(.*?)</script>', page, re.DOTALL)[0])
    assert len(data["maps"]) == 3
    drawn = {row.inputs.name[0]: draw(row)[0] for row in e}
    for one in data["maps"].values():
        if one["photo"] in drawn:
            assert tuple(one["scale"]) == drawn[one["photo"]].scale and one["alt"] == drawn[one["photo"]].alt


@pytest.mark.parametrize("name", [*PALETTES, *(f"{n}_r" for n in PALETTES)])
def test_over_its_ground_a_layer_is_its_palette(name):
    v, table = veil(name), palette(name).table.double()
    a = v.alpha.double()[:, None] / 255
    seen = (1 - a) * torch.tensor(v.ground).double() + a * v.rgb.double()
    far = (seen - table).abs()
    assert far.max() <= 32 and far.mean() <= 3
    if name in ("magma", "cividis", "PuOr9_r"):  # those that kinds are drawn in
        assert far.max() <= 10 and far.mean() <= 2
    middle = 128 if palette(name).diverging else 0
    assert v.alpha[middle] == 0
    assert (v.alpha[middle:].int().diff() >= 0).all() and (v.alpha[:middle].int().diff() <= 0).all()


def test_a_layer_shows_what_the_picture_shows():
    row = planted(wave(5))
    one = layer(row, 448)
    assert torch.equal(palette(one.palette)(one.index.double() / 255), draw(row)[0].rgb)
    stored = Image.open(BytesIO(one.png()))
    assert stored.mode == "P" and np.array_equal(np.array(stored), one.index.numpy())
    rgba = np.array(stored.convert("RGBA"))
    assert np.array_equal(rgba[..., 3], veil(one.palette).alpha[one.index.long()].numpy())


def test_a_part_of_a_photo_is_a_hole_in_what_hides_it():
    row = planted(torch.linspace(0, 1, 24 * 24).view(1, 24, 24), Kind.PART)
    one = layer(row, 448)
    rgba = np.array(Image.open(BytesIO(one.png())).convert("RGBA"))
    assert rgba[0, 0].tolist() == [246, 247, 249, 255] and rgba[-1, -1, 3] == 0
    assert (np.diff(rgba[..., 3].ravel().astype(int)) <= 0).all()
    page = render(row)
    assert 'class="map on-revealed"' in page and ".on-revealed{--ground:rgb(246 247 249)" in page
    data = json.loads(re.findall(r'id="pellucid-data">(.*?)</script>', page, re.DOTALL)[0])
    assert [colour[3] for colour in data["palettes"]["revealed"]] == list(range(255, -1, -1))


def test_photos_of_one_name_stay_apart_and_questions_come_together():
    e = planted(wave(rows=2), names=["same", "same"])
    other = replace(planted(wave(1, rows=2), names=["same", "same"], target="lynx", method="b", title="B"))
    page = facts([e, other, planted(wave(2), names=["third"], model="second")], 100)
    assert [p.name for p in page.photos] == ["same", "same", "third"]
    assert [[q.target for q in p.questions] for p in page.photos] == [["tabby", "lynx"], ["tabby", "lynx"], ["tabby"]]
    assert [m.name for m in page.models] == ["toy", "second"]
    assert len({m.id for _, _, m in page.maps}) == len(page.maps) == 5


def test_one_model_evaluated_in_two_ways_is_one_model():
    e = planted(wave())
    prepared = replace(e.record, title="Other", model=replace(e.record.model, evaluator="prepared"))
    page = facts([e, replace(e, record=prepared)], 100)
    assert len(page.models) == 1 and [len(q.maps) for p in page.photos for q in p.questions] == [2]


def test_variants_of_a_method_have_cards_of_their_own():
    a, b = (
        replace(planted(wave()), record=replace(planted(wave()).record, title="IG", params={"steps": steps}))
        for steps in (8, 32)
    )
    page = facts([a, b], 100)
    assert [c.variant for c in page.cards] == ["steps 8", "steps 32"]
    assert [m.card for _, _, m in page.maps] == ["method-1", "method-2"]


@pytest.mark.parametrize(
    ("value", "passed", "limit", "word"),
    [
        (0.5, False, 0.05, "failed"),
        (0.048, True, 0.05, "close to its limit"),
        (0.01, True, 0.05, "passed"),
        (3.0, True, None, "passed"),
        (0.0, False, None, "failed"),
    ],
)
def test_chips_say_their_state(value, passed, limit, word):
    chip = check_chip(Check(name="gap", value=(value,), passed=(passed,), limit=limit))
    assert chip.word == word
    assert chip.mark == {"failed": "failed", "passed": "passed"}.get(word, "near")


def test_numbers_to_know_have_no_verdict_and_shares_are_in_per_cent() -> None:
    known = Check(name="not_here", value=(1.07,), passed=(True,), says="elsewhere", judged=False, share=True)
    chip = check_chip(known)
    assert (chip.mark, chip.word, chip.text) == ("told", "", "not here 107 %")
    page = render([planted(wave(), checks=(known,)), planted(wave(), checks=(replace(known, value=(-0.2,)),))])
    assert "not here</strong>, from −20 % to 107 %: elsewhere" in page
    assert facts([planted(wave(), checks=(known,))], 32).maps[0][2].state.mark == "passed"
    assert '"passed":null' in page


def test_failed_checks_stand_at_the_top_and_link_to_their_maps():
    bad = Check(name="completeness", value=(0.7,), passed=(False,), limit=0.05, says="what is missing")
    page = render(planted(wave(), checks=(bad,)))
    assert "1 failed check:" in page and 'href="#photo-1-q1-m1"' in page and "completeness 0.7, limit 0.05" in page
    assert "failed check:" not in render(planted(wave()))


def test_every_map_has_its_words_and_every_picture_an_alt():
    page = render(planted(wave()))
    shape = Shape(page)
    assert all("alt" in names for tag, names in shape.tags if tag == "img")
    assert draw(planted(wave()))[0].alt in [value for name, value in shape.values if name == "alt"]


def test_flat_broken_and_missing_maps_are_said():
    flat = render(planted(torch.zeros(1, 3, 8, 8)))
    assert "flat: all values 0" in flat
    assert "not finite" in render(planted(torch.full((1, 3, 8, 8), float("nan"))))
    e = planted(wave())
    table = replace(e, values=torch.ones(1, 5), dims=("batch", "column"), inputs=replace(e.inputs, picture=None))
    page = render(table)
    assert "numbers that are not a map" in page and "No picture was kept" in page


def test_the_standard_error_is_told_beside_the_size_of_the_values():
    e = replace(planted(torch.full((1, 3, 8, 8), 2.0)), std_error=torch.full((1, 3, 8, 8), 0.5))
    assert std_error(e) == "0.5, 25 % of the size of the values (2)"
    assert "Standard error" in render(e) and "Standard error" not in render(planted(wave()))


def test_a_report_beyond_the_budget_is_drawn_smaller_and_says_so():
    rows = [planted(wave(i, side=96), side=96, names=[f"p{i}"]) for i in range(6)]
    full, small = render(rows), render(rows, budget=120_000)
    assert "drawn with at most" in small and "drawn with at most" not in full
    pictures = sum(len(u) for u in re.findall(r"data:image/[^\"')]+", small))
    assert pictures <= 125_000 < sum(len(u) for u in re.findall(r"data:image/[^\"')]+", full))


def test_the_card_holds_equation_parameters_limits_and_citation():
    e = planted(wave())
    record = replace(
        e.record,
        method="integrated_gradients",
        title="Integrated Gradients",
        params={"steps": 8, "rule": "gauss_legendre"},
        cite=("sundararajan2017axiomatic", "nobody2099nothing"),
    )
    page = render(replace(e, record=record))
    text = "".join(Shape(page).text)
    assert (
        "∂s/∂xi" in text and "deterministic subdivisions of a path" in text and "compared with something absent" in text
    )
    assert "@" in text and "Axiomatic" in text and "nobody2099nothing" in text
    assert "8 changed" in text and "'gauss_legendre' changed" not in text


def test_equations_are_taken_apart():
    assert split_equation("a = b    [Somebody 2017, eq. 1]") == ("a = b", "Somebody 2017, eq. 1")
    assert split_equation("a = x g    [S. 2016], x in rows") == ("a = x g", "S. 2016; x in rows")
    assert pieces("Σ_k α_k A_kij") == (
        ("Σ", False), ("k", True), (" α", False), ("k", True), (" A", False), ("kij", True),
    )  # fmt: skip


def test_the_call_names_what_differs_and_runs_nothing_foreign():
    assert made("integrated_gradients", {"steps": 8, "rule": "gauss_legendre"}) == (
        "make(\"integrated_gradients\", {'steps': 8})"
    )
    assert made("gradient", {"at": None}) == 'make("gradient")'
    e = planted(wave())
    assert "target=Top(1)" in call([e])
    for asked in (
        "__import__('os').system('x')",
        "Top(__import__('os'))",
        "Top(1); 1",
        "Score(<f>)",
        "Top(k=[].pop())",
    ):
        text = call([replace(e, target=replace(e.target, asked=asked))])
        assert "target=Each([281])" in text and "__import__" not in text
    for hostile in HOSTILE[:-1]:
        compile(call([everywhere(hostile)]).replace("\ud800", ""), "call", "exec")


def test_text_is_cleaned_and_cut():
    assert clean("a\x00b\u202ec\nd\u2028") == "a bc\nd "
    assert clean("x" * 30_000).endswith("… (cut, 30000 characters)")
    assert len(label("y" * 999)) == 160 and label(" a \n b ") == "a b"
    assert clean("\N{MAN}\u200d\N{PERSONAL COMPUTER} é ∂") == "\N{MAN}\u200d\N{PERSONAL COMPUTER} é ∂"


def test_the_file_is_written_once(tmp_path):
    path = tmp_path / "report.html"
    assert write_report(planted(wave()), path, title="T", date="2026-01-02") == path
    text = path.read_text("utf-8")
    assert text == render(planted(wave()), "T", date="2026-01-02") and "2026-01-02" in text
    with pytest.raises(FileExists):
        write_report(planted(wave()), path)
    write_report([planted(wave())], path, overwrite=True)
    with pytest.raises(InputError):
        render([])


def test_pictures_are_whole():
    page = render(planted(wave(), Kind.SENSITIVITY))
    for address in re.findall(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)", page):
        Image.open(BytesIO(b64decode(address))).load()


def test_decisions_of_all_methods_of_a_call_are_told_once_each():
    a, b = (
        replace(planted(wave()), record=replace(planted(wave()).record, title=title, decisions=("both", said)))
        for title, said in (("A", "layer four"), ("B", "a rule"))
    )
    (work,) = facts([a, b], 100).work
    assert work.decisions == ("both", "layer four", "a rule")


@pytest.mark.parametrize("heading", ["A surrogate", *HOSTILE[:3]], ids=range(4))
def test_drawings_stand_beside_the_explanations(heading: str) -> None:
    drawn = Figure(width=300, height=90, marks=(), alt="a tree & its <leaves>")
    one = planted(wave())
    page, plainly, without = render(one, figures={heading: drawn}), render(one, figures={"x": drawn}), render(one)
    shape = Shape(page)
    assert shape.tags == Shape(plainly).tags != Shape(without).tags
    assert ("alt", drawn.alt) in shape.values and 'href="#figures"' in page and "#figures" not in without
    before = {value for name, value in Shape(without).values if name == "src"}
    (address,) = [value for name, value in shape.values if name == "src" and value not in before]
    assert Image.open(BytesIO(b64decode(address.partition(",")[2]))).size == (600, 180)
