"""What a notebook shows: still pictures with their words, in light and dark, without any script."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace
from html import escape

from PIL import Image

from pellucid.core.explanation import HEIGHT, TOKEN, WIDTH, Explanation, listed
from pellucid.views.cell import chips_of, strip
from pellucid.views.columns import columns
from pellucid.views.drawing import draw, look_of
from pellucid.views.panel import panel
from pellucid.views.picture import Picture, png_bytes
from pellucid.views.tokens import tokens
from pellucid.views.words import is_row, number, plain, strength

SHOWN = 6
"""Maps in a notebook cell; a notebook is a file that somebody has to open again."""

_STYLE = """
.pellucid{--ink:#1c2127;--quiet:#5c6670;--ground:#fff;--line:#dfe3e8;--red:#a61b12;--amber:#7a4a00;
color:var(--ink);background:var(--ground);border:1px solid var(--line);border-radius:6px;padding:16px;
font:13px/1.45 system-ui,sans-serif}
.pellucid .maps{display:flex;flex-wrap:wrap;gap:20px}
.pellucid figure{margin:0;width:224px}
.pellucid img{display:block;width:224px;height:auto;max-width:100%;border:1px solid var(--line);margin:0 0 6px}
.pellucid p.text{margin:0 0 6px}
.pellucid img.bar{height:7px;border:0;margin:0}
.pellucid figcaption{margin:0 0 6px;overflow-wrap:anywhere}
.pellucid b{font-weight:600}
.pellucid .quiet{color:var(--quiet);margin:0}
.pellucid p.quiet{margin:12px 0 0}
.pellucid .ends{display:flex;justify-content:space-between;color:var(--quiet);font-size:12px}
.pellucid .failed{color:var(--red)}
.pellucid .odd{color:var(--amber)}
@media (prefers-color-scheme:dark){.pellucid{--ink:#e8ebee;--quiet:#a4adb7;--ground:#16191d;--line:#343b43;
--red:#ff9d94;--amber:#f2c069}}
"""


def mime_bundle(explanations: Iterable[Explanation]) -> dict[str, object]:
    """`text/plain`, static `text/html` and `image/png` of explanations.

    The first six maps are shown, then how many more there are. Explanations that are no maps are told in words.
    """
    them = listed(explanations)
    rows = [row for e in them for row in e]
    plain = "\n".join(repr(e) for e in them) or "no explanations"
    maps = [row for row in rows if {HEIGHT, WIDTH} <= set(row.dims) or TOKEN in row.dims or is_row(row)][:SHOWN]
    if not maps:
        return {"text/plain": plain}
    figure = replace(panel(maps, max_images=SHOWN), density=1)
    return {
        "text/plain": plain,
        "text/html": _html(maps, len(rows) - len(maps)),
        "image/png": base64.b64encode(figure.png()).decode(),
    }


def _html(maps: list[Explanation], more: int) -> str:
    rest = f'<p class="quiet">… {more} more</p>' if more else ""
    figures = "\n".join(_figure(row, draw(row)[0]) for row in maps)
    return f'<style>{_STYLE}</style>\n<div class="pellucid"><div class="maps">\n{figures}\n</div>{rest}</div>'


def _figure(row: Explanation, drawn: Picture) -> str:
    """One map with its title, what was explained, its scale and what is wrong with it."""
    strip_png = png_bytes(Image.fromarray(strip(drawn.palette, look_of(row)).numpy()))
    chips = "".join(
        f'<div class="{"failed" if red else "odd"}">{"■" if red else "●"} {escape(plain(text))}</div>'
        for text, red in chips_of(row, drawn.note)
    )
    ends = "".join(f"<span>{escape(number(end))}</span>" for end in drawn.scale)
    below = f'<img class="bar" src="{data_uri(strip_png)}" alt=""><div class="ends">{ends}</div>'
    shown = f'<img src="{data_uri(drawn.png())}" alt="{escape(plain(drawn.alt))}">'
    if TOKEN in row.dims:
        shown = f'<p class="text">{tokens(row)[0].html()}</p>'
    elif is_row(row):
        shown, below = columns(row)[0].html(), ""
    return (
        f"<figure><figcaption><b>{escape(plain(row.title))}</b>"
        f"<div>{escape(plain(row.target.name[0]))}, {escape(strength(row))}</div>"
        f'<div class="quiet">{escape(plain(row.inputs.name[0]))}</div>'
        f"</figcaption>{shown}"
        f"{below}{chips}</figure>"
    )


def data_uri(png: bytes) -> str:
    """A PNG file inside an address."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
