"""Hostile strings through every text field of an explanation: no new tags, attributes or elements, anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from tests.unit.core.values import made

import pellucid.registry  # noqa: F401 - all methods are known, as after any explanation
from pellucid.core.explanation import TOKEN, Check, Explanation, Inputs
from pellucid.views import panel
from pellucid.views.notebook import mime_bundle
from pellucid.views.report import render

HTML = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "</style><style>@import 'http://x'</style>",
    "</title></textarea></noscript><svg/onload=alert(1)>",
    "]]><svg onload=alert(1)>",
    "--><!--<b>",
    "<![CDATA[<i>]]>",
    "&lt;b&gt;&#60;i&#62;&amp;amp;",
    "<a href=javascript:alert(1)>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<base href=//evil><meta http-equiv=refresh content=0>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "\u003cscript\u003e\u2028alert(1)\u2029",
    "＜script＞alert(1)＜/script＞",
)
CODE = (
    "{{ 7 * 7 }}{% raw %}{# #}",
    "${alert(1)}`\\'; import os; os.system('x')",
    "'''\"\"\"\\",
    "__import__('os').system('x')",
    "%s%n%x{0.__class__}",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "url(javascript:alert(1))",
    "expression(alert(1))",
    "</w:t><w:p>",
)
LETTERS = (
    "a\x00b\x07\x08\x1b[31m\x7f\x9b",
    "\u202egnp.exe\u2066\u2069\u200f",
    "\ud800lone\udfff",
    "\ufeff\ufffe\uffff",
    "é\u0301\u0301\u0301" * 40,
    "🏳️‍🌈👩‍👩‍👧‍👦" * 10,
    "\r\n\t \u2028",
    " ",
    ".",
    "../../../etc/passwd",
    "C:\\windows\\..\\con",
    "-rf /",
    "n" * 20_000,
    "<b>" * 1_000,
)
STRINGS = HTML + CODE + LETTERS

FIELDS: dict[str, Callable[[Explanation, str], Explanation]] = {
    "image": lambda e, s: replace(e, inputs=replace(e.inputs, name=(s,))),
    "note": lambda e, s: replace(e, inputs=replace(e.inputs, notes=((s,),))),
    "target": lambda e, s: replace(e, target=replace(e.target, name=(s,), asked=s)),
    "prediction": lambda e, s: replace(e, prediction=replace(e.prediction, name=((s, s),))),
    "method": lambda e, s: replace(e, record=replace(e.record, method=s)),
    "title": lambda e, s: replace(e, record=replace(e.record, title=s)),
    "parameter": lambda e, s: replace(e, record=replace(e.record, params={"fill": s, "at": {"method": s}})),
    "layer": lambda e, s: replace(e, record=replace(e.record, at=s)),
    "cite": lambda e, s: replace(e, record=replace(e.record, cite=(s,))),
    "model": lambda e, s: replace(e, record=replace(e.record, model=replace(e.record.model, name=s))),
    "evaluator": lambda e, s: replace(
        e, record=replace(e.record, model=replace(e.record.model, evaluator=s, fingerprint=s, framework=s))
    ),
    "decision": lambda e, s: replace(e, record=replace(e.record, decisions=(s,))),
    "version": lambda e, s: replace(e, record=replace(e.record, versions={"torch": s})),
    "check": lambda e, s: replace(e, checks=(Check(name=s, value=(0.5,), passed=(False,), limit=0.1, says=s),)),
}


def picture() -> Explanation:
    e = made(1, (3, 4, 5))
    return replace(e, values=torch.randn(e.values.shape, generator=torch.Generator().manual_seed(0)), look=None)


def words(*names: str) -> Explanation:
    e = made(1, (len(names), 2), picture=False)
    values = torch.randn(e.values.shape, generator=torch.Generator().manual_seed(0))
    about = Inputs(name=("a text",), picture=None, shape=(len(names),), notes=((),), tokens=(names,))
    return replace(e, values=values, dims=("batch", TOKEN, "channel"), inputs=about, look=None, extras={})


def cells(*names: str) -> Explanation:
    e = made(1, (len(names),), picture=False)
    values = torch.randn(e.values.shape, generator=torch.Generator().manual_seed(0))
    about = Inputs(
        name=("a row",), picture=None, shape=(len(names),), notes=((),), features=names, cells=(names[::-1],)
    )
    return replace(e, values=values, dims=("batch", "feature"), inputs=about, look=None, extras={})


COLOUR = re.compile(r"\.g[0-9a-f]{6}\{background:#[0-9a-f]{6};color:#[0-9a-f]{6}\}")
"""The ground of a number: which there are depends on the values, and on which pieces are more than white space."""


class Tags(HTMLParser):
    """All pairs of a tag and the name of one of its attributes, styles, addresses, and how many scripts there are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pairs: set[tuple[str, str]] = set()
        self.styles: list[str] = []
        self.scripts = 0
        self.addresses: list[str] = []
        self._in = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag
        self.scripts += tag == "script"
        self.pairs |= {(tag, ""), *((tag, name) for name, _ in attrs)}
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcdoc")]

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "style":
            self.styles.append(COLOUR.sub("", data))


def pages(e: Explanation) -> dict[str, str]:
    """Everything that becomes markup."""
    return {"report": render([e]), "notebook": mime_bundle([e]).get("text/html", "")}


HARMLESS = {
    kind: {where: Tags(page) for where, page in pages(e).items()}
    for kind, e in {
        "picture": FIELDS["check"](picture(), "harmless"),
        "words": words("good", "bad", "so"),
        "cells": cells("age", "height", "weight"),
    }.items()
}


def nothing_got_in(e: Explanation, kind: str) -> None:
    for where, page in pages(e).items():
        found, usual = Tags(page), HARMLESS[kind][where]
        assert found.pairs <= usual.pairs, (where, found.pairs - usual.pairs)
        assert all(not address or address.startswith(("data:image/", "#")) for address in found.addresses), where
        assert found.styles == usual.styles and found.scripts == usual.scripts, where
        page.encode("utf-8")


def everywhere(text: str) -> Explanation:
    """A text in every field at once."""
    e = picture()
    for put in FIELDS.values():
        e = put(e, text)
    return e


SOME = (HTML[2], LETTERS[2], LETTERS[3])
"""Those that are tried in every field alone."""


@pytest.mark.parametrize("start", range(0, len(STRINGS), 6))
def test_pictures(start: int) -> None:
    for text in STRINGS[start : start + 6]:
        nothing_got_in(everywhere(text), "picture")


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_alone(field: str) -> None:
    for text in SOME:
        nothing_got_in(FIELDS[field](picture(), text), "picture")


@pytest.mark.parametrize("kind", ["words", "cells"])
def test_tokens_names_and_cells(kind: str) -> None:
    make: Any = words if kind == "words" else cells
    for i in range(0, len(STRINGS), 3):
        some = (*(text[:2000] for text in STRINGS[i : i + 3]), "a", "b", "c")[:3]
        nothing_got_in(make(*some), kind)


def elements(svg: str) -> set[tuple[str, str]]:
    """All pairs of an element and the name of one of its attributes. Raises where it is not well-formed."""
    return {(node.tag, name) for node in ElementTree.fromstring(svg).iter() for name in ("", *node.attrib)}


def test_drawings() -> None:
    usual = elements(panel([FIELDS["check"](picture(), "harmless")]).svg())
    for text in STRINGS:
        assert elements(panel([everywhere(text[:2000])]).svg()) <= usual


@pytest.mark.parametrize("make", [words, cells])
def test_drawings_of_tokens_names_and_cells(make: Any) -> None:
    usual = elements(panel([make("good", "bad", "so")]).svg())
    for i in range(0, len(STRINGS), 3):
        assert elements(panel([make(*(*(text[:2000] for text in STRINGS[i : i + 3]), "a", "b")[:3])]).svg()) <= usual
