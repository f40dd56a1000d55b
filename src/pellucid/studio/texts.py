"""A page on this machine: somebody writes a text, and sees at once which of its words speak for the model's label."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from html import escape
from importlib.resources import files
from typing import Any

from pellucid import api
from pellucid.adapters import Handle
from pellucid.core.errors import InputError, ParameterError, PellucidError
from pellucid.methods.lime import LIME
from pellucid.ops.select import WAYS
from pellucid.plots.texts import STYLE, plot_text_explanations
from pellucid.preprocess import reads_texts
from pellucid.studio.local import Local, Page, Reply, policy
from pellucid.views.words import plain

OF_R = LIME(samples=5000, regions="vocabulary", design="by_shown", kernel="cosine", penalty="glmnet")
MOST_SAMPLES, MOST_LETTERS = 20_000, 20_000
STEP = 1000
WAITING = 8
"""Questions that may wait for the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the page says and takes, under the names of R's `interactive_text_explanations`."""

    window_title: str
    title: str
    place_holder: str
    minimum_lentgh: int
    minimum_lentgh_error: str
    max_feature_to_select: int
    method: LIME


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for: a text, how many samples, how words are selected, and how many."""

    text: str
    samples: int
    select: str
    features: int


def interactive_text_explanations(
    model: Any,
    window_title: str = "Text model explainer",
    title: str = "Local Interpretable Model-agnostic Explanations",
    place_holder: str = "Put here the text to explain",
    minimum_lentgh: int = 3,
    minimum_lentgh_error: str = "Text provided is too short to be explained (>= 3).",
    max_feature_to_select: int = 20,
    *,
    method: LIME = OF_R,
    target: Any = None,
    port: int = 0,
) -> Local:
    """A page for one model of texts, at an address that only this machine reaches and only who is told knows.

    Arguments are called as in R, spelling included. The page needs no network and stays until `close()`; it is a
    context manager too. Questions are answered one after another in one thread.

    model                  a handle on a model of texts, or what `pellucid.as_model` takes for one
    window_title, title    of the browser's tab, and of the page
    place_holder           what stands in the empty text field
    minimum_lentgh         letters of the shortest text; minimum_lentgh_error: what is said of shorter ones
    max_feature_to_select  words, at most, that can be asked for
    method                 the LIME that explains; samples, features and select are chosen on the page. By default with
                           R's definitions
    target                 the class explained; None for the best one of every text
    port                   of the address; 0 for any that is free
    Raises InputError for a model that reads no texts, ParameterError for numbers below 1.
    """
    handle = api.as_model(model)
    if not reads_texts(handle.preprocess):
        raise InputError(f"{handle.name} reads no texts", "a model of texts", "pellucid.wrap(function, Words())")
    for name, number in (("minimum_lentgh", minimum_lentgh), ("max_feature_to_select", max_feature_to_select)):
        if isinstance(number, bool) or number < 1:
            raise ParameterError(f"{name}={number!r}", "1 or more")
    settings = Settings(
        window_title=window_title,
        title=title,
        place_holder=place_holder,
        minimum_lentgh=minimum_lentgh,
        minimum_lentgh_error=minimum_lentgh_error,
        max_feature_to_select=max_feature_to_select,
        method=method,
    )
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pellucid-texts")
    told = _teller(handle, settings, target)

    def asked(given: Mapping[str, str], wants_json: bool) -> Reply:
        try:
            waiting = worker.submit(told, given)
        except RuntimeError:
            return Reply(body="the page is closed", kind="text/plain", status=503)
        return _reply(waiting.result(), given, settings, wants_json)

    empty = document(settings, {}, '<p class="quiet">Words that support the label are blue, the others red.</p>')
    pages = {"": Page(get=lambda: Reply(body=empty)), "explain": Page(post=asked, most_waiting=WAITING)}
    return Local(pages, policy(script=_part("texts.js"), style=_style()), port, worker.shutdown)


def _teller(handle: Handle, settings: Settings, target: Any) -> Callable[[Mapping[str, str]], tuple[str, str]]:
    """(what was explained, as HTML, error), of which one is empty."""

    def told(given: Mapping[str, str]) -> tuple[str, str]:
        try:
            wish = wished(given, settings)
            chosen = replace(settings.method, samples=wish.samples, features=wish.features, select=wish.select)
            found = api.explain(handle, [wish.text], chosen, target=target)
            return plot_text_explanations(found).fragment(), ""
        except PellucidError as error:
            return "", str(error)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's model raises; it is told, and the page goes on
            return "", f"The model failed: {type(error).__name__}: {error}"

    return told


def wished(given: Mapping[str, str], settings: Settings) -> Wish:
    """What was asked for, looked at. Raises InputError for short and long texts, ParameterError for other numbers."""
    text = given.get("text", "")
    if len(text.strip()) < settings.minimum_lentgh:
        raise InputError(settings.minimum_lentgh_error)
    if len(text) > MOST_LETTERS:
        raise InputError(f"a text of {len(text)} letters", f"at most {MOST_LETTERS}")
    select = given.get("feature_select", "auto")
    if select not in WAYS:
        raise ParameterError(f"feature_select={select[:40]!r}", f"one of {', '.join(WAYS)}")
    return Wish(
        text=text,
        samples=_whole(given, "n_permutations", settings.method.samples, MOST_SAMPLES, least=4),
        select=select,
        features=_whole(given, "n_features", 2, settings.max_feature_to_select),
    )


def _whole(given: Mapping[str, str], name: str, usual: int, most: int, least: int = 1) -> int:
    said = given.get(name, str(usual))
    if not (said.isascii() and said.isdigit() and len(said) < 9 and least <= int(said) <= most):
        raise ParameterError(f"{name}={said[:40]!r}", f"a whole number from {least} to {most}")
    return int(said)


# -- the page ----------------------------------------------------------------------------------------------------


def _reply(told: tuple[str, str], given: Mapping[str, str], settings: Settings, wants_json: bool) -> Reply:
    shown, error = told
    status = 422 if error else 200
    if wants_json:
        body = json.dumps({"error": plain(error)} if error else {"html": shown})
        return Reply(body=body, kind="application/json", status=status)
    inside = f'<p class="error">{escape(plain(error))}</p>' if error else shown
    return Reply(body=document(settings, given, inside), status=status)


def document(settings: Settings, given: Mapping[str, str], inside: str) -> str:
    """The page with what was asked before; it works without its script too."""
    most = settings.max_feature_to_select
    count = given.get("n_features", str(min(2, most)))
    chosen = given.get("feature_select", settings.method.select)
    ways = "".join(f"<option{' selected' if way == chosen else ''}>{way}</option>" for way in WAYS)
    samples = given.get("n_permutations", str(settings.method.samples))
    first = settings.method.samples % STEP or STEP
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(plain(settings.window_title))}</title><style>{_style()}</style></head><body><main>"
        f"<h1>{escape(plain(settings.title))}</h1>"
        '<form method="post" action="explain"><label for="text">Text</label>'
        f'<textarea id="text" name="text" placeholder="{escape(plain(settings.place_holder))}" autofocus '
        f'maxlength="{MOST_LETTERS}">\n{escape(given.get("text", ""))}</textarea><div class="fields">'
        '<label>Permutations <br><input type="number" name="n_permutations" '
        f'min="{first}" max="{MOST_SAMPLES}" step="{STEP}" value="{escape(samples)}"></label>'
        f'<label>Feature selection <br><select name="feature_select">{ways}</select></label>'
        f'<div><label for="words">Words</label><output for="words">{escape(count)}</output> '
        f'<input type="range" id="words" name="n_features" min="1" max="{most}" value="{escape(count)}">'
        "</div><button>Explain</button></div></form>"
        f'<div id="result" role="status">{inside}</div></main><script>{_part("texts.js")}</script></body></html>\n'
    )


def _style() -> str:
    return _part("texts.css") + STYLE


def _part(name: str) -> str:
    return files("pellucid.studio").joinpath(f"page/{name}").read_text(encoding="utf-8")
