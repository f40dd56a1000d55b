"""What the page says, as frozen values without any HTML: photos, texts or rows, questions, maps, checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from pellucid.core.explanation import CHANNEL, HEIGHT, TOKEN, WIDTH, Check, Explanation, ModelCard, Record, written
from pellucid.views.columns import Bars, Column, columns
from pellucid.views.grid import variants
from pellucid.views.pieces import read
from pellucid.views.report.cards import KINDS, Card, card, check_title, colours_of
from pellucid.views.report.layers import Layer, layer
from pellucid.views.tokens import Coloured, ink, tokens
from pellucid.views.words import Noun, checked, describe, is_row, number, per_token, percent, plural, strength, what

Mark = Literal["passed", "near", "failed", "told"]

_NEAR = 0.1
"""A passed check whose value is within this fraction of its limit is amber."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A check or a remark: its state in a word, never in a colour alone; a number without a verdict has none."""

    mark: Mark
    word: str
    text: str
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One prediction. `width` is 0..100, None where the model gives no probabilities."""

    name: str
    value: str
    width: str | None
    explained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token as it is read: whether it goes on with the word before it, its colours as `#rrggbb`, its number."""

    text: str
    glued: bool
    ground: str
    ink: str
    value: str

    @property
    def style(self) -> str:
        """The name of its colours on the page."""
        return f"g{self.ground[1:]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnBar:
    """One column of a row: what it says, its number, and its bar in per cent of the width, standard error included."""

    says: str
    value: str
    up: bool
    start: str
    width: str
    error: tuple[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """A row's bars, where zero is, and what is said below them; palette: that of their colours."""

    bars: tuple[ColumnBar, ...]
    zero: str
    below: tuple[str, ...]
    palette: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """One map, coloured text or row of bars, with all that stands beside it."""

    id: str
    card: str
    title: str
    kind: str
    colours: str
    layer: Layer | None
    text: tuple[Token, ...]
    ramp: str
    """The palette of a text; empty for maps."""
    columns: Columns | None
    alt: str
    low: str
    high: str
    centred: bool
    chips: tuple[Chip, ...]
    facts: tuple[tuple[str, str], ...]
    row: Explanation

    @property
    def state(self) -> Chip:
        """The worst chip."""
        order = {"failed": 0, "near": 1, "passed": 2, "told": 3}
        judged = [c for c in self.chips if c.mark != "told"]
        return min(judged, key=lambda c: order[c.mark]) if judged else Chip(mark="passed", word="", text="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Why this output, of this model, for this photo or text: one map per method."""

    id: str
    target: str
    strength: str
    model: str
    maps: tuple[Map, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoPage:
    """A photo, a text or a row of a table, with its predictions (per model) and the questions asked about it."""

    id: str
    name: str
    words: str
    """The text as the model's tokens spell it; empty for photos."""
    cells: tuple[tuple[str, str], ...]
    """Names and values of a row's columns; empty for others."""
    notes: tuple[str, ...]
    pixels: Tensor | None
    size: tuple[int, ...]
    predictions: tuple[tuple[str, tuple[Bar, ...]], ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One call's work, and what it was done with."""

    model: str
    rows: tuple[tuple[str, str], ...]
    decisions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything on the page."""

    photos: tuple[PhotoPage, ...]
    models: tuple[ModelCard, ...]
    cards: tuple[Card, ...]
    work: tuple[Work, ...]
    what: Noun | Literal["input"]

    @property
    def maps(self) -> tuple[tuple[PhotoPage, Question, Map], ...]:
        return tuple((p, q, m) for p in self.photos for q in p.questions for m in q.maps)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One row of one explanation, and where it belongs."""

    row: Explanation
    photo: tuple[str, int]
    method: str
    card: str


def facts(explanations: Sequence[Explanation], side: int) -> Facts:
    """Sort rows by photo, then by question (model and target), then by method, in the order of first appearance.

    side  the longest side of a drawn map in pixels.
    """
    names = variants(explanations, lambda e: e.title)
    uses: dict[str, list[Explanation]] = {}
    for e, name in zip(explanations, names, strict=True):
        uses.setdefault(name, []).append(e)
    cards = {name: card(i, name, each) for i, (name, each) in enumerate(uses.items(), 1)}
    entries = [one for e, name in zip(explanations, names, strict=True) for one in _entries(e, name, cards[name].id)]
    return Facts(
        photos=tuple(
            _photo(f"photo-{i}", members, side) for i, members in enumerate(_split(entries, lambda e: e.photo), 1)
        ),
        models=tuple({_identity(e): e.record.model for e in explanations}.values()),
        cards=tuple(cards.values()),
        work=_work(explanations),
        what=what(explanations),
    )


def _identity(e: Explanation) -> tuple[str, str]:
    """Which model: the same one may have been evaluated in several ways."""
    return e.record.model.name, e.record.model.fingerprint


def _entries(e: Explanation, method: str, card_id: str) -> list[_Entry]:
    """Rows with their photos; photos of the same name in one batch are different photos."""
    seen: dict[str, int] = {}
    out: list[_Entry] = []
    for row in e:
        name = row.inputs.name[0]
        seen[name] = seen.get(name, 0) + 1
        out.append(_Entry(row=row, photo=(name, seen[name]), method=method, card=card_id))
    return out


def _split(entries: Iterable[_Entry], key: Callable[[_Entry], object]) -> list[list[_Entry]]:
    out: dict[object, list[_Entry]] = {}
    for entry in entries:
        out.setdefault(key(entry), []).append(entry)
    return list(out.values())


def _photo(name: str, entries: list[_Entry], side: int) -> PhotoPage:
    first = entries[0].row.inputs
    several = len({_identity(e.row) for e in entries}) > 1
    questions = _split(entries, lambda e: (_identity(e.row), e.row.target.name[0]))
    return PhotoPage(
        id=name,
        name=first.name[0],
        words=_words(entries[0].row),
        cells=tuple(zip(first.features, map(written, first.cells[0]), strict=True)) if first.cells else (),
        notes=first.notes[0] if first.notes else (),
        pixels=None if first.picture is None else first.picture[0].cpu(),
        size=first.shape,
        predictions=tuple(
            (members[0].row.record.model.name if several else "", _bars([e.row for e in members]))
            for members in _split(entries, lambda e: _identity(e.row))
        ),
        questions=tuple(_question(f"{name}-q{i}", members, several, side) for i, members in enumerate(questions, 1)),
    )


def _words(row: Explanation) -> str:
    """What the model read, put together again from its tokens; empty where nobody knows them."""
    return "".join(
        ("" if p.glued or not i else " ") + p.text for i, p in enumerate(read(next(iter(row.inputs.tokens), ())))
    )


def _bars(rows: Sequence[Explanation]) -> tuple[Bar, ...]:
    p, explained = rows[0].prediction, {row.target.index[0] for row in rows}
    return tuple(
        Bar(
            name=name,
            value=f"{chance:.3f}" if p.is_probability else number(chance),
            width=f"{100 * min(1.0, max(0.0, chance)):.2f}" if p.is_probability else None,
            explained=index in explained,
        )
        for index, name, chance in zip(p.index[0], p.name[0], p.probability[0], strict=True)
    )


def _question(name: str, entries: list[_Entry], several: bool, side: int) -> Question:
    plain = next((e.row for e in entries if e.row.target.output == "logit"), entries[0].row)
    return Question(
        id=name,
        target=plain.target.name[0],
        strength=strength(plain),
        model=plain.record.model.name if several else "",
        maps=tuple(_map(f"{name}-m{i}", e, side) for i, e in enumerate(entries, 1)),
    )


def _map(name: str, entry: _Entry, side: int) -> Map:
    row = entry.row
    drawn = layer(row, side) if _is_map(row) else None
    text = tokens(row)[0] if TOKEN in row.dims else None
    bars = columns(row)[0] if is_row(row) else None
    picture = next((one.drawn for one in (drawn, text, bars) if one is not None), None)
    low, high = (0.0, 0.0) if picture is None else picture.scale
    note = "" if picture is None else picture.note
    return Map(
        id=name,
        card=entry.card,
        title=entry.method,
        kind=KINDS[row.kind],
        colours=colours_of(row),
        layer=drawn,
        text=() if text is None else _tokens(row, text),
        ramp="" if text is None else text.drawn.palette.name,
        columns=None if bars is None else _columns(bars),
        alt=describe(row),
        low=number(low),
        high=number(high),
        centred=low == -high and low != high,
        chips=_chips(row, note),
        facts=tuple(_told(row, note)),
        row=row,
    )


def _tokens(row: Explanation, text: Coloured) -> tuple[Token, ...]:
    numbers = per_token(row)[1].tolist()
    return tuple(
        Token(text=piece.text, glued=piece.glued, ground="#{:02x}{:02x}{:02x}".format(*c), ink=ink(c), value=number(n))
        for piece, c, n in zip(text.pieces, text.colours, numbers, strict=True)
        if piece.text  # white space between words is no token
    )


def _columns(bars: Bars) -> Columns:
    def per_cent(share: float) -> str:
        return f"{100 * share:.2f}"

    def bar(column: Column) -> ColumnBar:
        start, end = bars.span(column)
        low, high = (bars.at(column.value + sign * (column.std_error or 0.0)) for sign in (-1, 1))
        return ColumnBar(
            says=column.says,
            value=column.text,
            up=column.value > 0,
            start=per_cent(start),
            width=per_cent(end - start),
            error=(per_cent(low), per_cent(high - low)) if column.std_error else None,
        )

    return Columns(
        bars=tuple(bar(column) for column in bars.columns),
        zero=per_cent(bars.at(0.0)),
        below=tuple(line for line in (bars.rest, bars.fit) if line),
        palette=bars.drawn.palette.name,
    )


def _is_map(row: Explanation) -> bool:
    return {HEIGHT, WIDTH} <= set(row.dims) and not set(row.dims[1:]) - {CHANNEL, HEIGHT, WIDTH}


def _chips(row: Explanation, note: str) -> tuple[Chip, ...]:
    odd = [part for part in note.split("; ") if part and not part.startswith("clipped at the")]
    return (
        *(Chip(mark="near", word="note", text=part) for part in odd),
        *(check_chip(check) for check in row.checks),
    )


def check_chip(check: Check) -> Chip:
    """The first row of a check: red if it failed, amber if it passed close to its limit, else green.

    A number that is not judged has no colour and no word.
    """
    value, passed, limit = check.value[0], check.passed[0], check.limit
    text = f"{check_title(check.name)} {checked(check)}"
    if not check.judged:
        return Chip(mark="told", word="", text=text, says=check.says)
    near = passed and limit is not None and abs(value - limit) <= _NEAR * abs(limit)
    return Chip(
        mark="failed" if not passed else "near" if near else "passed",
        word="failed" if not passed else "close to its limit" if near else "passed",
        text=text,
        says=check.says,
    )


def _told(row: Explanation, note: str) -> Iterable[tuple[str, str]]:
    """Terms and what is to be said of them."""
    t = row.target
    yield "Explained", f"{t.output.replace('_', ' ')} of {t.name[0]}: {number(t.score[0])}"
    at = row.record.at
    yield "Measured at", "the input" if at is None else f"layer{'s' if ', ' in at else ''} {at}"
    if _is_map(row):
        yield "Grid", " × ".join(str(row.values.shape[row.dims.index(axis)]) for axis in (HEIGHT, WIDTH)) + " places"
    if "clipped" in note:
        yield "Colour scale", next(part for part in note.split("; ") if "clipped" in part)
    if row.std_error is not None:
        yield "Standard error", std_error(row)
    if row.record.seed is not None:
        yield "Seed", str(row.record.seed)


def std_error(row: Explanation) -> str:
    """The root mean square of the standard errors, beside that of the values."""
    if row.std_error is None:
        return "none: the method does not sample"
    error, size = (float(x.double().square().mean().sqrt()) for x in (row.std_error, row.values))
    share = f", {percent(error / size)} of the size of the values ({number(size)})" if size > 0 else ""
    return f"{number(error)}{share}"


def _work(explanations: Sequence[Explanation]) -> tuple[Work, ...]:
    calls: dict[object, list[Record]] = {}
    for e in explanations:
        calls.setdefault((_identity(e), e.record.passes, e.record.seconds), []).append(e.record)
    return tuple(
        Work(
            model=record.model.name,
            rows=(
                ("Forward passes", f"{record.passes.forward} rows"),
                ("Backward passes", f"{record.passes.backward} rows"),
                ("Model calls", f"{record.passes.calls} in {plural(record.passes.rounds, 'round')}"),
                ("To look and verify", f"{record.passes.verification} rows"),
                ("Computed again", f"{record.passes.retried} rows"),
                ("Behind an edited layer", f"{record.passes.tails} rows"),
                *([("Known in the session", f"{record.passes.known} rows")] if record.passes.known else []),
                ("Time", f"{record.seconds:.3g} s"),
                *((name, version) for name, version in record.versions.items()),
            ),
            decisions=tuple(dict.fromkeys(one for each in records for one in each.decisions)),
        )
        for record, records in ((records[0], records) for records in calls.values())
    )
