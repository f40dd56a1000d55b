"""A drawn surrogate: a tree with its questions and answers, or the weights of a linear model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.studies.surrogate import Surrogate, Weight
from pellucid.studies.trees import Node
from pellucid.views.cell import BAR_EXPLAINED, INK, LINE, QUIET, SMALL, TITLE, TRACK, chip
from pellucid.views.figure import Box, Figure, Mark, Photo, Shape, Text, bottom, moved
from pellucid.views.letters import fit, width
from pellucid.views.words import number, plural

BLOCK, BETWEEN, LEVEL, EDGE = 132.0, 14.0, 54.0, 20.0
"""Smallest width of a node, space beside it, below it, and around the figure; logical pixels."""
WIDEST = 240.0
"""A node is as wide as its longest question, from BLOCK to here."""
BAR, PAD, SHORT = 7.0, 8.0, 62.0
PALETTE = ("#2f5f8f", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7a00", "#6b4c9a")
"""Colours of classes, apart for every kind of colour vision; further classes are grey."""
OTHER, UP, DOWN = "#b4bec9", "#2f5f8f", "#b35806"


def surrogate(it: Surrogate) -> Figure:
    """A surrogate with its fidelity, which is red where it is too low to be read.

    Every node of a tree shows its question, how many rows came there, and what they say; yes goes to the left. Where
    features are regions of a picture, nodes show the region. A linear model shows its weights per standard deviation.
    """
    body = _tree(it, it.tree) if it.tree is not None else _weights(it)
    across = max(420.0, max(map(_right, body)) + EDGE)
    marks: list[Mark] = [*_head(it, across - 2 * EDGE)]
    down = bottom(marks) + 22
    marks += [moved(mark, down) for mark in body]
    note = "; ".join(it.warnings)
    return Figure(width=round(across), height=round(bottom(marks) + EDGE), marks=tuple(marks), alt=str(it), note=note)


def _head(it: Surrogate, room: float) -> Iterator[Mark]:
    title = it.title[:1].upper() + it.title[1:]
    yield Text(x=EDGE, y=EDGE + 11, text=fit(title, room, TITLE, "Medium"), size=TITLE, colour=INK, weight="Medium")
    yield Text(x=EDGE, y=EDGE + 30, text=fit(str(it.fidelity), room, SMALL), size=SMALL, colour=QUIET)
    for place, line in enumerate(it.warnings):
        yield from chip(line, True, EDGE, EDGE + 40 + 26 * place, room)


def _right(mark: Mark) -> float:
    """How far a mark reaches to the right."""
    if isinstance(mark, Shape):
        return max(x for x, _ in mark.points)
    if isinstance(mark, Text):
        return mark.x + (width(mark.text, mark.size) if mark.anchor == "l" else 0)
    return mark.x + mark.width


# -- trees -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """What all nodes of one tree share: colours of classes, the range of numbers, heights of the levels."""

    it: Surrogate
    low: float
    high: float
    tall: float
    """Height of a question; answers have no picture."""
    wide: float
    """Width of a node."""
    colours: Mapping[int, str]


def _tree(it: Surrogate, root: Node) -> list[Mark]:
    leaves = list(root.leaves())
    means = [leaf.value[0] for leaf in leaves]
    said = sorted({max(range(len(leaf.value)), key=leaf.value.__getitem__) for leaf in leaves}) if it.classes else []
    colours = {index: PALETTE[i] if i < len(PALETTE) else OTHER for i, index in enumerate(said)}
    wide = min(WIDEST, max([BLOCK, *(width(_says(it, node), SMALL, "Medium") + 2 * PAD + 2 for node in _nodes(root))]))
    thumb = 0.0 if it.picture is None else (wide - 2 * PAD) * it.picture.shape[0] / it.picture.shape[1] + 6
    sheet = _Sheet(it=it, low=min(means), high=max(means), tall=SHORT + thumb, wide=wide, colours=colours)
    marks: list[Mark] = []
    _place(root, 0, [0], sheet, marks)
    if it.classes:
        marks += _key(it, colours, bottom(marks) + 24)
    return marks


def _place(node: Node, level: int, taken: list[int], sheet: _Sheet, marks: list[Mark]) -> float:
    """Draw a node below and between its parts; returns its middle. taken: how many leaves there are so far."""
    top = level * (sheet.tall + LEVEL)
    if not node.parts:
        middle = EDGE + sheet.wide / 2 + taken[0] * (sheet.wide + BETWEEN)
        taken[0] += 1
        marks += _block(node, middle, top, sheet)
        return middle
    ends = [_place(part, level + 1, taken, sheet, marks) for part in node.parts]
    middle = sum(ends) / 2
    marks += _lines(middle, ends, top + sheet.tall, LEVEL)
    marks += _block(node, middle, top, sheet)
    return middle


def _lines(middle: float, ends: list[float], top: float, room: float) -> Iterator[Mark]:
    """From a node down to its two parts, with the answers that lead there."""
    half = room / 2
    yield Box(x=middle - 0.75, y=top, width=1.5, height=half, colour=OTHER)
    yield Box(x=ends[0] - 0.75, y=top + half, width=ends[1] - ends[0] + 1.5, height=1.5, colour=OTHER)
    for end, word in zip(ends, ("yes", "no"), strict=True):
        yield Box(x=end - 0.75, y=top + half, width=1.5, height=half, colour=OTHER)
        yield Text(x=end + 6, y=top + room - 7, text=word, size=SMALL, colour=QUIET)


def _block(node: Node, middle: float, top: float, sheet: _Sheet) -> Iterator[Mark]:
    left, room = middle - sheet.wide / 2, sheet.wide - 2 * PAD
    question = _says(sheet.it, node)
    tall, ground = (sheet.tall, "#ffffff") if node.parts else (SHORT, "#f6f8fa")
    yield Box(x=left, y=top, width=sheet.wide, height=tall, colour=LINE, radius=6)
    yield Box(x=left + 1, y=top + 1, width=sheet.wide - 2, height=tall - 2, colour=ground, radius=5)
    yield Text(
        x=middle, y=top + 19, text=fit(question, room, SMALL, "Medium"), size=SMALL, colour=INK, weight="Medium",
        anchor="m",
    )  # fmt: skip
    more = f"mean {number(node.value[0], 2)}" if node.parts else f"± {number(node.spread, 2)}"
    below = fit(plural(node.count, "row") + ("" if sheet.it.classes else f", {more}"), room, SMALL - 1)
    yield Text(x=middle, y=top + 35, text=below, size=SMALL - 1, colour=QUIET, anchor="m")
    yield from _bar(node, left + PAD, top + 45, room, sheet)
    seen = _thumb(node, sheet)
    if seen is not None:
        yield Photo(x=left + PAD, y=top + 58, width=room, height=sheet.tall - 66, rgb=seen, alt=question)


def _says(it: Surrogate, node: Node) -> str:
    """What a node asks, or answers."""
    return node.term.says(False, node.threshold) + "?" if node.term else it.answer(node).partition(" ±")[0]


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for part in node.parts or ():
        yield from _nodes(part)


def _bar(node: Node, x: float, y: float, room: float, sheet: _Sheet) -> Iterator[Mark]:
    """Shares of the classes; or where a mean lies between the lowest and the highest leaf."""
    yield Box(x=x, y=y, width=room, height=BAR, colour=TRACK)
    if not sheet.it.classes:
        span = sheet.high - sheet.low
        part = (node.value[0] - sheet.low) / span if span > 0 else 0.5
        yield Box(x=x, y=y, width=max(2.0, room * min(max(part, 0), 1)), height=BAR, colour=BAR_EXPLAINED)
        return
    for index, share in enumerate(node.value):
        if share > 0:
            yield Box(x=x, y=y, width=room * share, height=BAR, colour=sheet.colours.get(index, OTHER))
            x += room * share


def _thumb(node: Node, sheet: _Sheet) -> Tensor | None:
    """The picture with the region that is asked about, all else pale; nothing for a leaf."""
    picture, regions = sheet.it.picture, sheet.it.regions
    if picture is None or regions is None or node.term is None:
        return None
    here = (regions == node.term.column)[..., None]
    pale = (255 - (255 - picture.double()) * 0.25).to(torch.uint8)
    return torch.where(here, picture, pale).contiguous()


def _key(it: Surrogate, colours: Mapping[int, str], y: float) -> Iterator[Mark]:
    x = EDGE
    for index, colour in colours.items():
        name = fit(it.answers[index], 160, SMALL)
        yield Box(x=x, y=y - 9, width=10, height=10, colour=colour, radius=2)
        yield Text(x=x + 16, y=y, text=name, size=SMALL, colour=INK)
        x += 36 + width(name, SMALL)


# -- linear models -----------------------------------------------------------------------------------------------


def _weights(it: Surrogate) -> list[Mark]:
    names = min(220.0, max((width(w.term.name, SMALL) for w in it.weights), default=0.0))
    half, row = 130.0, 24.0
    most = max((abs(w.per_std) + w.std_error for w in it.weights), default=1.0) or 1.0
    zero = EDGE + names + 12 + half
    marks: list[Mark] = []
    for place, one in enumerate(it.weights):
        marks += _weight(one, row * place, zero, half / most, names)
    tall = row * max(1, len(it.weights))
    marks.append(Box(x=zero - 0.5, y=0, width=1, height=tall, colour=QUIET))
    said = f"{it.answers[0]} per standard deviation of each; {number(it.intercept)} where all are 0"
    return [*marks, Text(x=EDGE, y=tall + 20, text=said, size=SMALL, colour=QUIET)]


def _weight(one: Weight, y: float, zero: float, scale: float, names: float) -> Iterator[Mark]:
    length, error = one.per_std * scale, one.std_error * scale
    name = fit(one.term.name, names, SMALL)
    yield Text(x=EDGE + names, y=y + 16, text=name, size=SMALL, colour=INK, anchor="r")
    start = min(zero, zero + length)
    yield Box(x=start, y=y + 5, width=abs(length), height=14, colour=UP if length > 0 else DOWN)
    yield Box(x=zero + length - error, y=y + 11.25, width=2 * error, height=1.5, colour=INK)
    said = f"{number(one.per_std)} ± {number(one.std_error, 2)}"
    yield Text(x=2 * zero - EDGE - names + 8, y=y + 16, text=said, size=SMALL, colour=QUIET)
