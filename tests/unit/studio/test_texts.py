"""The page of texts, asked as a browser, a stranger and an attacker would ask it."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from html import unescape
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

import pellucid
from pellucid import Words, plots
from pellucid.core.errors import InputError, ParameterError

VALUE = {"good": 4.0, "bad": -4.0}
JSON = {"Content-Type": "application/json"}


def mood(texts: list[str]) -> list[list[float]]:
    sums = [sum(VALUE.get(word, 0.0) for word in re.findall(r"\w+", text.lower())) for text in texts]
    return [[-value, value] for value in sums]


def model(fn: Any = mood) -> Any:
    return pellucid.wrap(fn, Words(), ["<i>bad", "good"], emits="logits")


@pytest.fixture(scope="module")
def page():
    with plots.interactive_text_explanations(model(), title='A <b>"title"', window_title="</title><script>") as made:
        yield made


def asked(
    url: str, method: str = "GET", path: str | None = None, body: str | bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of an answer; headers with _ for -."""
    where = urlsplit(url)
    link = http.client.HTTPConnection(where.hostname or "", where.port or 0, timeout=20)
    try:
        link.putrequest(method, where.path if path is None else path, skip_host="Host" in headers)
        raw = body.encode() if isinstance(body, str) else body
        for name, value in headers.items():
            link.putheader(name.replace("_", "-"), value)
        if raw is not None and "Content_Length" not in headers:
            link.putheader("Content-Length", str(len(raw)))
        link.endheaders(raw)
        answer = link.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        link.close()


def told(page: Any, text: str, **more: str) -> tuple[int, dict[str, Any]]:
    fields = {"text": text, "n_permutations": "200", "n_features": "2", "feature_select": "auto", **more}
    status, _, body = asked(page.url + "explain", "POST", body=json.dumps(fields), Content_Type="application/json")
    return status, json.loads(body)


def test_the_page_stands_alone_and_its_rules_are_strict(page: Any) -> None:
    status, headers, body = asked(page.url)
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    rules = headers["Content-Security-Policy"]
    assert "default-src 'none'" in rules and "frame-ancestors 'none'" in rules and "unsafe" not in rules
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    assert not re.search(r"(src|href)=|https?://|@import|url\(", body)
    assert "<title>&lt;/title&gt;&lt;script&gt;</title>" in body and "A &lt;b&gt;&quot;title&quot;" in body
    assert 'placeholder="Put here the text to explain"' in body and 'value="5000"' in body and 'max="20"' in body
    assert re.findall(r"<option[^>]*>(\w+)", body)[:2] == ["auto", "none"]


def test_words_are_highlighted(page: Any) -> None:
    status, answer = told(page, "a good, good and bad film")
    marks = re.findall(r'<mark class="(\w\d)" title[^>]*>([^<]*)<', answer["html"])
    assert status == 200 and [(name[0], word) for name, word in marks] == [("p", "good"), ("p", "good"), ("n", "bad")]
    assert "Label predicted: good (100 %)" in answer["html"] and "Explainer fit" in answer["html"]


def test_texts_that_are_too_short_are_told_so_in_the_words_of_r(page: Any) -> None:
    wanted = "Text provided is too short to be explained (>= 3)."
    assert told(page, " ab ") == (422, {"error": wanted})
    assert told(page, "") == (422, {"error": wanted})
    status, _, body = asked(page.url + "explain", "POST", body=urlencode({"text": "x"}))
    assert status == 422 and wanted.replace(">", "&gt;") in body


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"n_permutations": "1e9"}, "n_permutations='1e9'"),
        ({"n_permutations": "999999"}, "from 4 to 20000"),
        ({"n_features": "0"}, "from 1 to 20"),
        ({"n_features": "-1"}, "n_features"),
        ({"feature_select": "<img src=x>"}, "feature_select"),
    ],
)
def test_what_is_not_offered_is_refused(page: Any, more: dict[str, str], says: str) -> None:
    status, answer = told(page, "a good film", **more)
    assert status == 422 and says in answer["error"]


@pytest.mark.parametrize(
    "text", ["a good\x00 film", "good \u202e bad", "…?! —", "good " * 3999, "😀 good", "good\ud800 film"]
)
def test_odd_texts_are_answered(page: Any, text: str) -> None:
    status, answer = told(page, text)
    assert status == (422 if text.startswith("…") else 200)
    assert "\x00" not in str(answer) and "\u202e" not in str(answer)


def test_long_texts_are_refused(page: Any) -> None:
    assert told(page, "good " * 4001)[0] == 422


def test_strangers_texts_stay_text_with_and_without_a_script(page: Any) -> None:
    hostile = '</textarea><script>alert(1)</script> good "onfocus=alert(1)" <img src=x onerror=alert(1)> bad & &lt;'
    status, answer = told(page, hostile)
    assert status == 200 and "<script" not in answer["html"] and "<img" not in answer["html"]
    status, headers, body = asked(
        page.url + "explain", "POST", body=urlencode({"text": hostile, "n_permutations": "100", "n_features": "3"}),
        Content_Type="application/x-www-form-urlencoded",
    )  # fmt: skip
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    assert body.count("<script") == 1 and "<img" not in body
    field = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", body, re.DOTALL)
    assert field and unescape(field[1]) == hostile


def test_nobody_gets_in_without_the_word_or_by_another_name(page: Any) -> None:
    word = urlsplit(page.url).path
    assert len(word) > 30
    port = str(urlsplit(page.url).port)
    assert asked(page.url, path="/")[0] == 404
    assert asked(page.url, path="/" + "a" * 32 + "/")[0] == 404
    assert asked(page.url, path=word + "../../etc/passwd")[0] == 404
    assert asked(page.url, path="/%C3%A9/")[0] == 404
    assert asked(page.url, Host=f"evil.example:{port}")[0] == 421
    assert asked(page.url, Host=f"localhost:{port}")[0] == 200
    assert asked(page.url + "explain", "POST", body="{}", Origin="http://evil.example", **_json())[0] == 403
    assert asked(page.url, "DELETE")[0] == 501
    assert asked(page.url + "explain")[0] == 405
    assert asked(page.url, "POST", body="")[0] == 405


def _json() -> dict[str, str]:
    return {"Content_Type": "application/json"}


@pytest.mark.parametrize("body", ["", "{", "[1]", "null", "[" * 100_000, '{"text": 3}', b"\xff\xfe"])
def test_bodies_that_are_no_fields_are_refused(page: Any, body: str | bytes) -> None:
    status, _, said = asked(page.url + "explain", "POST", body=body, **_json())
    assert status in (400, 422) and "Traceback" not in said


def test_bodies_of_no_length_or_too_much_are_refused(page: Any) -> None:
    assert asked(page.url + "explain", "POST", Content_Length="9999999", **_json())[0] == 413
    assert asked(page.url + "explain", "POST", Content_Length="-1", **_json())[0] == 413
    assert asked(page.url + "explain", "POST", **_json())[0] == 413


def test_a_model_that_fails_is_told_and_the_page_goes_on() -> None:
    def moody(texts: list[str]) -> list[list[float]]:
        if any("fail" in text for text in texts):
            raise RuntimeError("<b>no</b> such luck")
        return mood(texts)

    with plots.interactive_text_explanations(model(moody)) as page:
        status, answer = told(page, "a film to fail")
        assert status == 422 and answer["error"].endswith("RuntimeError: <b>no</b> such luck")
        assert "&lt;b&gt;no" in asked(page.url + "explain", "POST", body=urlencode({"text": "fail it"}))[2]
        assert told(page, "a good film")[0] == 200


def test_the_model_is_asked_by_one_thread_and_too_many_questions_are_turned_away() -> None:
    threads: set[int] = set()
    go = threading.Event()

    def slow(texts: list[str]) -> list[list[float]]:
        threads.add(threading.get_ident())
        go.wait(10)
        return mood(texts)

    statuses: list[int] = []
    with plots.interactive_text_explanations(model(slow)) as page:
        askers = [threading.Thread(target=lambda: statuses.append(_status(page))) for _ in range(12)]
        for one in askers:
            one.start()
        end = time.monotonic() + 10
        while len(statuses) < 4 and time.monotonic() < end:
            time.sleep(0.02)
        go.set()
        for one in askers:
            one.join()
    assert sorted(statuses) == [200] * 8 + [503] * 4
    assert len(threads) == 1


def _status(page: Any) -> int:
    return asked(page.url + "explain", "POST", body=json.dumps({"text": "a good film"}), **_json())[0]


def test_a_closed_page_is_gone_and_closing_twice_does_no_harm() -> None:
    before = threading.active_count()
    page = plots.interactive_text_explanations(model())
    assert page.url.startswith("http://127.0.0.1:") and page.url in repr(page)
    told(page, "a good film")
    page.close()
    page.close()
    assert "closed" in repr(page)
    with pytest.raises(ConnectionError):
        asked(page.url)
    end = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.02)
    assert threading.active_count() <= before


def test_two_pages_have_words_of_their_own() -> None:
    with plots.interactive_text_explanations(model()) as a, plots.interactive_text_explanations(model()) as b:
        assert urlsplit(a.url).path != urlsplit(b.url).path
        assert asked(a.url, path=urlsplit(b.url).path)[0] == 404


def test_arguments_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InputError, match="reads no texts"):
        plots.interactive_text_explanations(pellucid.wrap(lambda rows: rows, None))
    with pytest.raises(ParameterError, match="minimum_lentgh=0"):
        plots.interactive_text_explanations(model(), minimum_lentgh=0)
    with pytest.raises(AttributeError, match="nothing"):
        plots.nothing  # noqa: B018 - that it is not there


def test_whoever_waits_is_freed_when_the_page_is_closed() -> None:
    page = plots.interactive_text_explanations(model())
    waiting = threading.Thread(target=page.wait)
    waiting.start()
    assert asked(page.url)[0] == 200 and waiting.is_alive()
    page.close()
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_method_and_a_class_of_ones_own() -> None:
    method = pellucid.LIME(samples=300, regions="words")
    with plots.interactive_text_explanations(model(), method=method, target=0, max_feature_to_select=1) as page:
        body = asked(page.url)[2]
        assert 'value="300"' in body and 'max="1"' in body
        status, answer = told(page, "a good good film", n_features="1")
        assert status == 200 and "&lt;i&gt;bad" in answer["html"] and 'class="n' in answer["html"]
