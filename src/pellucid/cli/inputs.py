"""From the words of a command line to photos, texts or rows, as the models read them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pellucid.cli.rows import CSV, rows_of
from pellucid.core.errors import ImageError, InputError, PellucidError, nearest

if TYPE_CHECKING:
    from pellucid.adapters import Handle
    from pellucid.images import Photo

TEXT = ".txt"
MOST = 1_000_000
"""Bytes of one text file: more than any model reads."""


@dataclass(slots=True)
class Given:
    """What is to be explained.

    what    `photo`, `text` or `row`, as the models read them
    each    the photos, one at a time, the texts, or a frame of rows
    failed  why some could not be read; grows while `each` is read
    notes   what has to be said of texts: those too long for a model are cut
    """

    what: Literal["photo", "text", "row"]
    each: Any
    failed: list[PellucidError]
    notes: tuple[str, ...] = ()


def refuse_missing(words: Sequence[str]) -> None:
    """Raise, before any model is loaded, for what can only be meant as a file and is none."""
    from pellucid import images

    for word in words:
        ending = Path(word).suffix.lower()
        if exists(word) or any(c.isspace() for c in word):
            continue
        if ending in images.SUFFIXES or "://" in word:
            images.read(word)  # raises, with the nearest names
        if ending in (TEXT, CSV):
            beside = Path(os.path.expanduser(word)).parent
            near = nearest(Path(word).name, os.listdir(beside) if beside.is_dir() else [])
            wanted = "an existing file" if ending == CSV else "a text in quotes, or an existing file"
            raise InputError(f"no file {word!r}", wanted, near and f"perhaps {near}")


def given(words: Sequence[str], models: Sequence[Handle]) -> Given:
    """What the words mean to the models. Raises InputError where none of it can be read, or not by these models."""
    from pellucid.preprocess import Table, reads_texts

    tables = [model.preprocess for model in models if isinstance(model.preprocess, Table)]
    reads = {reads_texts(model.preprocess) for model in models}
    if len(reads) > 1:
        raise InputError("models of pictures beside models of texts", "models that read the same inputs")
    if 0 < len(tables) < len(models):
        raise InputError("models of tables beside models of pictures", "models that read the same inputs")
    if tables:
        return Given("row", rows_of(words, tables[0], models[0].name), [])
    return _texts(words, models) if True in reads else _photos(words, models[0].name)


def exists(word: str) -> bool:
    """Whether a word names a file or a folder; long texts are no names, and no error."""
    return os.path.exists(os.path.expanduser(word))


# -- texts -------------------------------------------------------------------------------------------------------


def _texts(words: Sequence[str], models: Sequence[Handle]) -> Given:
    failed: list[PellucidError] = []
    found: list[str] = []
    for word in (each for one in words for each in _inside(one)):
        try:
            found.append(_text(word, models[0].name))
        except InputError as error:
            failed.append(error)
    if not found:
        raise _none(failed, "texts")
    return Given("text", found, failed, tuple(dict.fromkeys(_notes(found, models))))


def _inside(word: str) -> list[str]:
    """The text files of a folder, sorted; anything else as it is."""
    path = Path(os.path.expanduser(word))
    if not exists(word) or not path.is_dir():
        return [word]
    inside = sorted(p for p in path.iterdir() if p.suffix.lower() == TEXT and not p.name.startswith("."))
    if not inside:
        raise InputError(f"{word} is a folder without {TEXT} files", f"a text in quotes, {TEXT} files, or a folder")
    return [str(p) for p in inside]


def _text(word: str, model: str) -> str:
    """The word itself, or all that stands in the file of that name. Raises InputError for other files."""
    text = _of_file(word, model) if exists(word) else word
    if not text.strip():
        raise InputError(f"{word} holds no text" if exists(word) else "an empty text", "at least one word")
    return text


def _of_file(word: str, model: str) -> str:
    from pellucid import images

    path = Path(os.path.expanduser(word))
    wanted = f"a text in quotes, a {TEXT} file, or a folder of them"
    if path.suffix.lower() in images.SUFFIXES:
        raise InputError(f"{word} is a picture, and {model} reads texts", wanted)
    if path.suffix.lower() != TEXT:
        raise InputError(f"{word} is the name of a file", wanted, f"let its name end in {TEXT} if it is a text")
    return contents(path)


def contents(path: Path) -> str:
    """All that stands in a text file. Raises InputError where it is too large, or not in UTF-8."""
    if (size := path.stat().st_size) > MOST:
        raise InputError(f"{path} has {size} bytes", f"at most {MOST}, which is more than models read")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 (byte {error.start})", do="save it as UTF-8") from error


def _notes(texts: list[str], models: Sequence[Handle]) -> Iterator[str]:
    from pellucid.cli.text import fit
    from pellucid.preprocess import Tokens

    for model in models:
        if isinstance(model.preprocess, Tokens):
            for one in model.preprocess.read(texts):
                yield from (f"‘{fit(' '.join(one.text.split()), 40)}’ {note}" for note in one.notes)


# -- photos ------------------------------------------------------------------------------------------------------


def _photos(words: Sequence[str], model: str) -> Given:
    from pellucid import images

    for word in words:
        if exists(word):
            if Path(word).suffix.lower() == TEXT:
                raise InputError(f"{word} is a text, and {model} takes pictures", "a picture file", _OTHER)
            if Path(word).suffix.lower() == CSV:
                raise InputError(f"{word} is a table, and {model} takes pictures", "a picture file", _ROWS)
        elif any(c.isspace() for c in word) and Path(word).suffix.lower() not in images.SUFFIXES:
            raise InputError(f"{word[:60]!r} is no file, and {model} takes pictures", "a picture file", _OTHER)
        else:
            images.read(word)  # raises, with the nearest names
    failed: list[PellucidError] = []
    photos = _readable(words, failed)
    first = next(photos, None)
    if first is None:
        raise _none(failed, "photos")
    return Given("photo", chain((first,), photos), failed)


_ROWS = "rows need a model that was wrapped with its table: pellucid.wrap(model, frame)"
_OTHER = "texts need a model that reads them, such as hf:OWNER/NAME of a text classifier"


def _readable(words: Sequence[str], failed: list[PellucidError]) -> Iterator[Photo]:
    """The photos that can be read, one at a time and no two of the same name; the others' reasons go to `failed`."""
    from pellucid import images

    each, seen = images.read_each(list(words)), dict[str, int]()
    while True:
        try:
            photo = next(each)
        except StopIteration:
            return
        except ImageError as error:
            failed.append(error)
            continue
        seen[photo.name] = count = seen.get(photo.name, 0) + 1
        yield photo if count == 1 else replace(photo, name=f"{photo.name} ({count})")


def _none(failed: Sequence[PellucidError], what: str) -> PellucidError:
    if len(failed) == 1:
        return failed[0]
    kind: Any = ImageError if what == "photos" else InputError
    return kind(f"none of the {len(failed)} {what} can be read", do="\n  ".join(["see", *map(str, failed)]))
