"""The report in a real browser: silent, offline, usable by keyboard, readable without JavaScript."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from tests.unit.views.planted import planted

import pellucid
from pellucid import KernelSHAP, Table, TabularLIME
from pellucid.core.explanation import Check, Kind
from pellucid.views.report import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install it, or name it in $CHROMIUM"),
]
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
HOSTILE = '</script><img src=x onerror="console.error(1)"><b>'


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two photos, two classes, three methods; one failed check; one name that would like to be a script."""
    bad = Check(name="completeness", value=(0.7, 0.01), passed=(False, True), limit=0.05, says="what is missing")
    draw = torch.Generator().manual_seed(0)

    def one(kind: Kind, title: str, target: str, rank: int, checks: tuple[Check, ...] = ()):
        values = torch.randn(2, 3, 32, 32, generator=draw)
        values = values.sum(1).relu() if kind is Kind.CAM else values
        return planted(
            values, kind, title=title, method=title, target=target, rank=rank, side=32, names=["cat", HOSTILE],
            checks=checks,
        )  # fmt: skip

    entries = [
        one(kind, title, target, rank, checks)
        for kind, title, checks in (
            (Kind.SENSITIVITY, "Slope", ()),
            (Kind.CONTRIBUTION, "Share", (bad,)),
            (Kind.CAM, "Place", ()),
        )
        for rank, target in enumerate(("tabby", "lynx"))
    ]
    return write_report(entries, tmp_path_factory.mktemp("report") / "report.html", date="2026-01-02")


@contextmanager
def opened(browser, report, width: int = 1280, **options) -> Iterator:
    """The page; afterwards nothing may have been said on the console, and nothing asked of the network."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    try:
        yield page
        assert said == []
        assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    finally:
        context.close()


def shown(page, selector: str) -> list[str]:
    """Ids of the elements that are seen."""
    return page.eval_on_selector_all(selector, "all => all.filter(e => e.checkVisibility()).map(e => e.id)")


def test_the_page_is_silent_and_its_pictures_load(browser, report):
    with opened(browser, report) as page:
        pictures = page.eval_on_selector_all("img", "all => all.map(i => i.complete && i.naturalWidth > 0)")
        assert len(pictures) == 2 + 12 + 12 and all(pictures)
        assert page.locator("main b, main img[onerror]").count() == 0
        assert page.locator("h2").nth(1).inner_text() == HOSTILE


def test_tabs_move_by_keyboard(browser, report):
    with opened(browser, report) as page:
        assert shown(page, ".map") == ["photo-1-q1-m1", "photo-2-q1-m1"]
        page.locator(".questions [aria-selected=true]").first.focus()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent").startswith("Slope")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
        assert shown(page, ".map")[0] == "photo-1-q1-m2"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("End")
        assert shown(page, ".map")[0] == "photo-1-q1-m3"
        page.keyboard.press("ArrowRight")
        assert shown(page, ".map")[0] == "photo-1-q1-m1"
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("ArrowRight")  # the other class, the same method
        assert shown(page, ".map") == ["photo-1-q2-m3", "photo-2-q1-m1"]


def test_a_link_brings_its_map_to_the_front(browser, report):
    with opened(browser, report) as page:
        page.locator(".failures a").nth(1).click()
        assert shown(page, ".map")[0] == "photo-1-q2-m2"


def test_the_slider_changes_the_layer_of_its_photo_only(browser, report):
    opacity = "e => getComputedStyle(e).opacity"
    with opened(browser, report) as page:
        layers = page.locator(".layer:visible")
        page.locator(".slider input").first.focus()
        page.keyboard.press("Home")
        assert [layers.nth(i).evaluate(opacity) for i in (0, 1)] == ["0", "0.9"]
        page.keyboard.press("ArrowRight")
        assert layers.nth(0).evaluate(opacity) == "0.01"
        assert page.locator(".slider output").first.inner_text() == "1 %"


def test_with_nothing_below_a_layer_has_the_colours_of_its_palette(browser, report):
    with opened(browser, report) as page:
        page.get_by_label("Nothing").first.check()
        ground = page.locator(".stage").first.evaluate("e => getComputedStyle(e).backgroundColor")
        below = page.locator(".stage").first.evaluate("e => getComputedStyle(e, '::before').display")
        assert (ground, below) == ("rgb(0, 0, 4)", "none")


def test_side_by_side_shows_every_method(browser, report):
    with opened(browser, report) as page:
        page.get_by_label("Side by side").first.check()
        assert shown(page, "#photo-1 .map") == ["photo-1-q1-m1", "photo-1-q1-m2", "photo-1-q1-m3"]
        tops = page.eval_on_selector_all("#photo-1-q1 .map", "all => all.map(e => e.getBoundingClientRect().top)")
        assert len(set(tops)) == 1


def test_the_pointer_reads_the_number_below_it(browser, report):
    with opened(browser, report) as page:
        page.locator(".layer:visible").first.hover()
        text = page.locator(".reading:visible").first.inner_text()
        low, high = page.evaluate(
            "JSON.parse(document.getElementById('pellucid-data').textContent).maps['photo-1-q1-m1'].scale"
        )
        assert low <= float(text.removeprefix("≈ ").replace("−", "-")) <= high


def test_dark_by_preference_and_by_switch(browser, report):
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    with opened(browser, report, color_scheme="light") as page:
        light = page.evaluate(paper)
        page.get_by_label("Dark").check()
        dark = page.evaluate(paper)
        assert light != dark
    with opened(browser, report, color_scheme="dark") as page:
        assert page.evaluate(paper) == dark
        page.get_by_label("Light", exact=True).check()
        assert page.evaluate(paper) == light


def test_without_javascript_everything_is_seen(browser, report):
    with opened(browser, report, java_script_enabled=False) as page:
        maps = page.locator(".map")
        assert maps.count() == 12 and all(maps.nth(i).is_visible() for i in range(12))
        assert page.locator(".card:visible").count() == 3
        assert page.locator(".tabs:visible, .slider:visible, .copy:visible").count() == 0
        page.get_by_label("Dark").check()
        assert page.get_by_label("Dark").is_checked()


def test_print_shows_everything(browser, report):
    with opened(browser, report) as page:
        page.emulate_media(media="print")
        assert len(shown(page, ".map")) == 12
        assert page.locator(".tabs:visible, .tools:visible").count() == 0


@pytest.mark.parametrize("width", [400, 720, 1000, 1280])
def test_nothing_sticks_out(browser, report, width):
    with opened(browser, report, width) as page:
        for view in ("One at a time", "Side by side"):
            page.get_by_label(view).first.check()
            assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["One at a time", "Side by side"])
def test_axe_finds_nothing(browser, report, scheme, view):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    with opened(browser, report, color_scheme=scheme, reduced_motion="reduce") as page:
        page.get_by_label(view).first.check()
        found = axe.Axe().run(page).response["violations"]
        assert not found, [(v["id"], v["help"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found]


def test_texts_are_words_with_colours_and_no_map_is_spoken_of(browser, tmp_path):
    from tests.unit.texts import Splitter, encoder

    from pellucid.api import explain, wrap

    them = explain(wrap(encoder(), Splitter()), ["a great film", "the film was very bad"], "gradient,lrp", target=2)
    said: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(write_report(them, tmp_path / "texts.html").as_uri())
    words = page.locator("#photo-1 .map:not([hidden]) .words")
    assert words.inner_text() == "[CLS] a great film [SEP]"
    grounds = words.locator("span").evaluate_all("all => all.map((one) => getComputedStyle(one).backgroundColor)")
    assert len(set(grounds)) > 1 and "rgba(0, 0, 0, 0)" not in grounds
    assert (
        page.locator("#photo-1 .ramp").first.evaluate("one => getComputedStyle(one).backgroundImage").startswith("url")
    )
    assert page.locator(".slider").count() == 0 and page.locator("img").count() == 0
    page.get_by_role("tab", name="LRP").first.click()
    chip = page.locator("#photo-1 .map:not([hidden]) .chip.told")
    assert re.fullmatch(r"relevance not at the input .+ %", chip.inner_text().strip())
    assert said == []
    page.close()


def test_rows_are_bars_with_names_and_axe_finds_nothing(browser, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    data = torch.randn(60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table = Table.of(data, names=["age", HOSTILE, "steps"])
    model = pellucid.wrap(lambda rows: rows.sum(1) - 2 * (rows[:, 1] > 0), table)
    entries = pellucid.explain(model, data[:2], [TabularLIME(samples=200), KernelSHAP()])
    report = write_report(entries, tmp_path / "rows.html")
    for scheme in ("light", "dark"):
        with opened(browser, report, color_scheme=scheme, reduced_motion="reduce") as page:
            assert page.locator(".overline").first.inner_text() == "Row 1 of 2"
            assert page.locator(".columns li").count() == 2 * 2 * 3
            assert page.locator("main b").count() == 0
            widths = page.eval_on_selector_all(
                ".columns svg rect:first-child", "all => all.map(r => r.getBoundingClientRect().width)"
            )
            assert max(widths) > 100
            found = axe.Axe().run(page).response["violations"]
            assert not found, [(v["id"], v["help"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found]
