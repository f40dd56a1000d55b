"""The page of texts in a real browser: it answers while one writes, and what one writes stays text."""

from __future__ import annotations

import os
import re
import shutil

import pytest

import pellucid
from pellucid import Words, plots

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install it, or name it in $CHROMIUM"),
]
VALUE = {"good": 2.0, "bad": -2.0, "friendly": 1.0}


def mood(texts: list[str]) -> list[list[float]]:
    sums = [sum(VALUE.get(word, 0.0) for word in re.findall(r"\w+", text.lower())) for text in texts]
    return [[-value, value] for value in sums]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def url():
    model = pellucid.wrap(mood, Words(), ["bad", "good"], emits="logits")
    with plots.interactive_text_explanations(model) as page:
        yield page.url


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without"])
def test_words_are_highlighted_while_one_writes(browser, url: str, script: bool) -> None:
    context = browser.new_context(java_script_enabled=script)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    hostile = (
        'A good, friendly place; the bill was bad <img src=x onerror="alert(1)"></textarea><script>alert(2)</script>'
    )
    page.get_by_label("Text").fill(hostile)
    if not script:
        page.get_by_role("button").click()
    page.wait_for_selector("#result section mark")
    marks = page.eval_on_selector_all("#result section mark", "all => all.map(m => [m.className[0], m.textContent])")
    assert ["p", "good"] in marks and ["n", "bad"] in marks and len(marks) == 2
    assert page.locator("#result img, #result script").count() == 0
    assert page.get_by_label("Text").input_value() == hostile
    if os.environ.get("PICTURES"):
        page.screenshot(path=f"{os.environ['PICTURES']}/texts-{script}.png", full_page=True)
    if script:
        page.get_by_label("Words").fill("3")
        page.locator("#result section mark").nth(2).wait_for()
        assert page.locator("output").inner_text() == "3"
        page.get_by_label("Text").fill("no")
        page.wait_for_selector("#result .error")
        assert page.locator("#result").inner_text() == "Text provided is too short to be explained (>= 3)."
    assert [one for one in said if "422" not in one] == []  # a refusal is told by its status too
    assert {one for one in asked if not one.startswith("data:")} <= {url, url + "explain"}
    context.close()
