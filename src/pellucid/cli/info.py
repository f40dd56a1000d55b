"""`pellucid info`: what is in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli import text
from pellucid.cli.app import Verb
from pellucid.cli.files import STORE
from pellucid.cli.inputs import TEXT, contents, refuse_missing
from pellucid.cli.talk import Talk, json_option

if TYPE_CHECKING:
    from pellucid.core.explanation import Explanation, Explanations
    from pellucid.images import Photo


@click.command("info", cls=Verb)
@click.argument("file")
@json_option
def command(talk: Talk, file: str) -> None:
    """Tell what is in a file.

    FILE holds explanations (a file, or a folder that `explain` wrote), a picture, or a text (.txt).
    """
    from pellucid import images
    from pellucid.views.words import plural

    refuse_missing([file])
    path = Path(file).expanduser()
    if path.is_dir() or path.suffix.lower() == ".safetensors":
        explanations = stored(path)
        _tell(explanations, path, talk)
        return
    if path.suffix.lower() == TEXT and path.is_file():
        words = len(contents(path).split())
        talk.say("\n".join([text.head(text.clean(path.name)), f"  {plural(words, 'word')}"]))
        talk.document({"schema": 1, "text": {"name": path.name, "words": words}})
        return
    photo = images.read(path)
    talk.say(_picture(photo))
    size = {"height": photo.height, "width": photo.width}
    talk.document({"schema": 1, "picture": {"name": photo.name, **size, "notes": list(photo.notes)}})


def stored(path: Path) -> Explanations:
    """The explanations of a file, of a folder of `explain -o`, or of one that was streamed to."""
    from pellucid.core import store

    return store.load(path / STORE if (path / STORE).is_file() else path)


def _tell(explanations: Explanations, path: Path, talk: Talk) -> None:
    from pellucid.cli import tables
    from pellucid.cli.document import document
    from pellucid.views.words import what

    first = explanations[0]
    talk.say(text.head(text.clean(str(path))))
    talk.say(
        text.table(
            [
                ("methods", str(len(explanations.methods))),
                (f"{what(explanations)}s".replace("photo", "image"), str(len(explanations.images))),
                ("models", ", ".join(f"{c.name} ({c.fingerprint})" for c in _cards(explanations))),
                ("written by", ", ".join(f"{name} {version}" for name, version in first.record.versions.items())),
            ]
        )
    )
    talk.say()
    talk.say(tables.result(explanations))
    for e in explanations:
        talk.say()
        talk.say("\n".join(_record(e)))
    talk.document(document(explanations))


def _cards(explanations: Explanations) -> list[Any]:
    return list({e.record.model.name: e.record.model for e in explanations}.values())


def _record(e: Explanation) -> Iterator[str]:
    r = e.record
    shape = " × ".join(f"{name} {n}" for name, n in zip(e.dims, e.values.shape, strict=True))
    params = ", ".join(f"{key}={value}" for key, value in r.params.items()) or "none"
    passes = ", ".join(f"{name} {count}" for name, count in asdict(r.passes).items() if count)
    lines = {
        "parameters": params,
        "values": f"{shape}, {str(e.values.dtype).removeprefix('torch.')}, {e.kind.value}",
        "target": f"{e.target.asked}, {e.target.output.replace('_', ' ')}",
        "at": r.at or "the input",
        "passes": f"{passes}; {r.seconds:.2f} s, shared by all methods of the call",
        "evaluated": r.model.evaluator,
        "decided": "; ".join(r.decisions) or "nothing",
        "cite": ", ".join(r.cite) or "nothing",
    }
    yield text.head(r.title) + text.quiet(f"  {r.method}")
    for key, value in lines.items():
        yield text.wrap(text.clean(value), " " * 14, f"  {key.ljust(12)}")


def _picture(photo: Photo) -> str:
    bits = "8 bit" if photo.stored.dtype.itemsize == 1 else "more than 8 bit"
    lines = [text.head(text.clean(photo.name)), f"  {photo.width} × {photo.height} pixels, {bits}"]
    return "\n".join([*lines, *(f"  {text.clean(note)}" for note in photo.notes)])
