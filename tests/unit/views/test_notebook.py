"""A notebook shows still pictures with words, and nothing that runs."""

from __future__ import annotations

import base64
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import pytest
import torch
from PIL import Image
from tests.unit.views.planted import planted

from pellucid.core.explanation import Check, Explanations
from pellucid.views import describe, mime_bundle

NASTY = "\"><script>alert('x')</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Tags with their attributes, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def page_of(*them) -> Page:
    return Page(mime_bundle(them)["text/html"])


def test_six_maps_then_how_many_more():
    them = [planted(torch.rand(2, 4, 4), method=f"m{i}", title=f"M{i}") for i in range(5)]
    page = page_of(*them)
    assert not page.open
    assert sum(tag == "figure" for tag, _ in page.tags) == 6
    assert "… 4 more" in page.words
    assert "… " not in "".join(page_of(*them[:3]).words)


def test_every_map_has_its_alt_text():
    e = planted(torch.rand(2, 4, 4))
    alts = [a["alt"] for tag, a in page_of(e).tags if tag == "img" and a.get("class") != "bar"]
    assert alts == [describe(e[0]), describe(e[1])]


@pytest.mark.parametrize("where", ["title", "target", "model", "names"])
def test_labels_are_escaped(where):
    e = planted(torch.rand(1, 4, 4), **{where: [NASTY] if where == "names" else NASTY})
    page = page_of(e)
    assert {tag for tag, _ in page.tags} <= {"style", "div", "figure", "figcaption", "b", "img", "span", "p"}
    assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert all(a["src"].startswith("data:image/png;base64,") for tag, a in page.tags if tag == "img")


def test_light_and_dark():
    html = mime_bundle([planted(torch.rand(1, 4, 4))])["text/html"]
    assert "prefers-color-scheme:dark" in html and "<script" not in html and "http" not in html


def test_failed_checks_are_shown():
    bad = Check(name="completeness", value=(0.21,), passed=(False,), limit=0.05)
    assert "■ completeness 0.21, limit 0.05" in page_of(planted(torch.rand(1, 4, 4), checks=(bad,))).words


def test_the_png_is_one_figure():
    e = planted(torch.rand(1, 4, 4))
    read = Image.open(BytesIO(base64.b64decode(mime_bundle([e])["image/png"])))
    assert min(read.size) > 300


def test_explanations_show_themselves():
    e = planted(torch.rand(1, 4, 4))
    for bundle in (e._repr_mimebundle_(), Explanations((e,))._repr_mimebundle_(), mime_bundle(e)):
        assert set(bundle) == {"text/plain", "text/html", "image/png"}
        assert "Planted" in bundle["text/plain"]


def test_what_is_no_map_is_told_in_words():
    e = planted(torch.rand(1, 4, 4))
    numbers = replace(e, values=torch.zeros(1, 5), dims=("batch", "axis_1"))
    assert set(mime_bundle([numbers])) == {"text/plain"}
    assert set(mime_bundle([])) == {"text/plain"}
    assert "… 1 more" in page_of(e, numbers).words
