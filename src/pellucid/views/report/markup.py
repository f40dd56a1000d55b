"""The one place where text becomes HTML: every value is cleaned, cut and escaped here, and nowhere else."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

LONGEST = 20_000
"""Characters of one text on the page; what is longer is cut, and says so."""
LABEL = 160
"""Characters of a name on the page."""

_DIRECTION = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def clean(text: str, longest: int = LONGEST) -> str:
    """A text without control, surrogate and direction characters; line feeds stay."""
    kept = (c if c in "\n\t" else _harmless(c) for c in text[: longest + 1])
    out = "".join(kept)
    return out if len(text) <= longest else f"{out[:longest]}… (cut, {len(text)} characters)"


def _harmless(c: str) -> str:
    if c in _DIRECTION:
        return ""
    return " " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp", "Cn", "Co") else c


def label(text: object, longest: int = LABEL) -> str:
    """A name on one line, not too long for a heading."""
    line = " ".join(clean(str(text), longest * 4).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def script_json(value: Any) -> Markup:
    """JSON that can stand inside a script element: no `<`, no `>`, no `&`, no line separators."""
    text = json.dumps(_jsonable(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def uri(picture: bytes) -> Markup:
    """A PNG or JPEG file inside an address: letters, digits and `+/=` only, of any length."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return Markup(f"data:image/{kind};base64,{base64.b64encode(picture).decode()}")


def _jsonable(value: Any) -> Any:
    """Cleaned text, and numbers that JSON knows; infinity and NaN become words."""
    if isinstance(value, Mapping):
        return {clean(str(k)): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return clean(str(value))


def digest(content: str) -> str:
    """A source for the content security policy: the hash of a style or a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def asset(name: str) -> str:
    """A file that comes with this package."""
    return files("pellucid.views.report").joinpath("page", name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """Templates that escape everything; `Markup` is made in this file only."""
    env = Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(str(value)) if type(value) is not Markup else value,
    )
    env.filters["label"] = label
    return env


def filled(template: str, style: str, script: str, data: Any, **values: Any) -> str:
    """The page. `style` and `script` are our own, and nothing else may run: the policy holds their hashes."""
    page = environment().get_template(template)
    return page.render(
        style=Markup(style),
        script=Markup(script),
        style_hash=digest(style),
        script_hash=digest(script),
        data=script_json(data),
        **values,
    )
