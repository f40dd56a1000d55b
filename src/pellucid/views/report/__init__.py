"""A report in one HTML file: it opens from disk, needs no network, and works without JavaScript."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date
from pathlib import Path

from PIL import Image

from pellucid.core.cite import references
from pellucid.core.errors import InputError
from pellucid.core.explanation import Explanation, listed
from pellucid.core.players import players_of
from pellucid.views.columns import tones
from pellucid.views.figure import Figure
from pellucid.views.palette import palette
from pellucid.views.picture import png_bytes
from pellucid.views.report.call import call
from pellucid.views.report.facts import Facts, Map, facts
from pellucid.views.report.layers import photo_jpeg, strip, veil
from pellucid.views.report.markup import asset, filled, uri
from pellucid.views.words import noun_of
from pellucid.views.write import page_at, refuse_existing, write_bytes

BUDGET = 15_000_000
"""Bytes of pictures in one report; beyond it maps and photos are drawn smaller, and the report says so."""
LARGEST, SMALLEST = 448, 48


def write_report(
    explanations: Explanation | Iterable[Explanation],
    path: str | Path,
    *,
    title: str | None = None,
    date: Date | str | None = None,
    overwrite: bool = False,
    figures: Mapping[str, Figure] | None = None,
) -> Path:
    """Write a report into one file; gives its path.

    title      heading of the report; None names the photos or texts.
    figures    drawings beside the explanations by their headings, such as that of a surrogate.
    date       as it is to be printed; None is today.
    overwrite  whether a file of that name may be replaced.
    Raises FileExists before anything is drawn, InputError where there is nothing to show or no such folder,
    ParameterError for a name that does not end in .html.
    """
    where = page_at(path)
    refuse_existing([where], overwrite)
    return write_bytes(where, render(explanations, title, date=date, figures=figures).encode("utf-8"), overwrite)


def render(
    explanations: Explanation | Iterable[Explanation],
    title: str | None = None,
    *,
    date: Date | str | None = None,
    budget: int = BUDGET,
    figures: Mapping[str, Figure] | None = None,
) -> str:
    """The report as HTML. Arguments as in `write_report`; `budget` is in bytes of pictures."""
    them = listed(explanations)
    if not any(len(e) for e in them):
        raise InputError("there is no explanation to report", "at least one with at least one row")
    page, pictures, note = _drawn(them, budget)
    return filled(
        "report.html.jinja",
        asset("report.css") + pictures.style,
        asset("report.js"),
        _data(page),
        title=title or _title(page),
        date=str(date or Date.today()),
        page=page,
        pictures=pictures,
        note=note,
        call=call(them),
        references=references(),
        figures=[(name, uri(one.png()), one) for name, one in (figures or {}).items()],
        failed=[(p, q, m, c) for p, q, m in page.maps for c in m.chips if c.mark == "failed"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Addresses of the pictures by id, and the styles that hold photos and palettes once for all their uses."""

    photo: Mapping[str, str]
    layer: Mapping[str, str]
    thumbnail: Mapping[str, str]
    style: str

    @property
    def bytes(self) -> int:
        """Size of everything in the page."""
        pictures = (self.photo, self.layer, self.thumbnail)
        return len(self.style) + sum(len(u) for each in pictures for u in each.values())


def _drawn(them: Sequence[Explanation], budget: int) -> tuple[Facts, Pictures, str]:
    """Facts and pictures that fit into the budget, and what is to be said if they had to be drawn smaller."""
    side = LARGEST
    page = facts(them, side)
    pictures = _pictures(page, side)
    full = pictures.bytes
    while pictures.bytes > budget and side > SMALLEST:
        longest = max((max(m.layer.index.shape) for _, _, m in page.maps if m.layer is not None), default=side)
        side = max(SMALLEST, int(0.95 * min(side, longest) * math.sqrt(budget / pictures.bytes)))
        page = facts(them, side)
        pictures = _pictures(page, side)
    if side == LARGEST:
        return page, pictures, ""
    said = (
        f"Pictures in full would take {full / 1e6:.0f} MB. They are drawn with at most {side} pixels a side and take "
        f"{pictures.bytes / 1e6:.1f} MB; the numbers in the text are those of the full maps."
    )
    return page, pictures, said


def _pictures(page: Facts, side: int) -> Pictures:
    photo = {p.id: uri(photo_jpeg(p.pixels, side)) for p in page.photos if p.pixels is not None}
    layers = {m.id: m.layer for _, _, m in page.maps if m.layer is not None}
    pixels = {m.id: p.pixels for p, _, m in page.maps}
    palettes = list(dict.fromkeys(drawn.palette for drawn in layers.values()))
    return Pictures(
        photo=photo,
        layer={name: uri(drawn.png()) for name, drawn in layers.items()},
        thumbnail={name: uri(drawn.thumbnail(pixels[name])) for name, drawn in layers.items()},
        style="".join(f'.{name}{{--photo:url("{address}")}}' for name, address in photo.items())
        + "".join(_palette_style(name) for name in palettes)
        + _text_style([m for _, _, m in page.maps])
        + _bar_style([m for _, _, m in page.maps]),
    )


def _palette_style(name: str) -> str:
    red, green, blue = veil(name).ground
    return f'.on-{name}{{--ground:rgb({red} {green} {blue});--strip:url("{uri(strip(name))}")}}'


def _text_style(maps: Sequence[Map]) -> str:
    """The colours of all tokens, and the palettes below them, each once: a page may not style its elements singly."""
    grounds = {t.style: f".{t.style}{{background:{t.ground};color:{t.ink}}}" for m in maps for t in m.text}
    ramps = {m.ramp for m in maps if m.ramp}
    return "".join([grounds[key] for key in sorted(grounds)] + [_ramp_style(name) for name in sorted(ramps)])


def _bar_style(maps: Sequence[Map]) -> str:
    """The colours of bars, those of each palette once."""
    names = sorted({m.columns.palette for m in maps if m.columns is not None})
    pairs = [(name, *tones(palette(name))) for name in names]
    return "".join(f".tones-{name}{{--up:{up};--down:{down}}}" for name, up, down in pairs)


def _ramp_style(name: str) -> str:
    whole = palette(name)
    return f'.ramp-{whole.name}{{--ramp:url("{uri(png_bytes(Image.fromarray(whole.table[None].numpy())))}")}}'


def _data(page: Facts) -> dict[str, object]:
    """The numbers of the page for programs: one entry per map."""
    palettes = {m.layer.palette for _, _, m in page.maps if m.layer is not None}
    return {
        "maps": {m.id: _map_data(p.name, q.model, m) for p, q, m in page.maps},
        "palettes": {
            name: [[*rgb, a] for rgb, a in zip(veil(name).rgb.tolist(), veil(name).alpha.tolist(), strict=True)]
            for name in sorted(palettes)
        },
    }


def _map_data(photo: str, model: str, m: Map) -> dict[str, object]:
    row = m.row
    return {
        noun_of(row): photo,
        "model": model or row.record.model.name,
        "method": row.record.method,
        "params": dict(row.record.params),
        "target": row.target.name[0],
        "output": row.target.output,
        "score": row.target.score[0],
        "kind": row.kind.value,
        "palette": None if m.layer is None else m.layer.palette,
        "scale": None if m.layer is None else list(m.layer.drawn.scale),
        **({"tokens": [[t.text, t.value] for t in m.text]} if m.text else {}),
        **({"columns": [[p.name, p.says, p.weight] for p in players_of(row)]} if m.columns else {}),
        "checks": [
            {"name": c.name, "value": c.value[0], "passed": c.passed[0] if c.judged else None, "limit": c.limit}
            for c in row.checks
        ],
        "alt": m.alt,
    }


def _title(page: Facts) -> str:
    names = [f"‘{p.name}’" if p.words else p.name for p in page.photos]
    return "Explanations of " + (" and ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} more")
