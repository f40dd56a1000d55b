"""`pellucid demo`: a first look, with photos and a model that arrive by pip."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pellucid.cli import text
from pellucid.cli.app import Verb
from pellucid.cli.files import PANEL, REPORT, STORE, write_one
from pellucid.cli.talk import Talk, progress, talk_options
from pellucid.core.errors import FileExists, FormatError

if TYPE_CHECKING:
    from pellucid.core.explanation import Explanation
    from pellucid.core.method import Method
    from pellucid.images import Photo

METHODS = (
    ("integrated_gradients", {"baseline": "blur"}),
    ("smooth_grad", {"samples": 16}),
    ("input_x_gradient", {}),
    ("guided_backprop", {}),
    ("grad_cam", {}),
    ("layer_cam", {}),
    ("guided_grad_cam", {}),
    ("occlusion", {"window": 48, "stride": 22}),
)
"""One or two of every family, small enough that two photos take about half a minute on two cores."""


@click.command("demo", cls=Verb)
@talk_options
@click.option("-o", "--output-dir", "place", default="demo", show_default=True, help="Folder to write to.")
@click.option("--overwrite", is_flag=True, help="Replace files that are not of an earlier demo.")
def command(talk: Talk, place: str, overwrite: bool) -> None:
    """Explain two photos with a real ImageNet model.

    Takes about a minute; no network, nothing to prepare.
    """
    folder = Path(place).expanduser()
    overwrite = overwrite or _of_an_earlier_demo(folder)
    for name in (PANEL, REPORT, STORE):
        if (folder / name).exists() and not overwrite:
            raise FileExists(f"{folder / name} is in the way", do="choose another folder with -o, or give --overwrite")
    talk.say(text.head("Pellucid: why did the model say that, and can the answer be trusted?"))
    talk.say()
    from pellucid import api, registry, zoo

    start = time.monotonic()
    model, photos = api.load("efficientnet_lite0"), zoo.sample_photos()
    methods = [registry.make(name, params) for name, params in METHODS]
    talk.say(_intention(methods))
    with progress(talk) as shown:
        got = api.explain(model, list(photos), methods, progress=shown)
    _tell(got, talk)
    written = _write(got, photos, folder)
    talk.say()
    talk.say(_ending(folder, time.monotonic() - start, got))
    from pellucid.cli.document import document

    talk.document(document(got, written))


def _of_an_earlier_demo(folder: Path) -> bool:
    """Whether the numbers in the folder are those of this command, which may then be written anew."""
    from pellucid.core import store

    try:
        return (folder / STORE).is_file() and store.load(folder / STORE).images == ("cat", "coffee")
    except FormatError:
        return False


def _intention(methods: Sequence[Method]) -> str:
    named = ", ".join(m.about.title for m in methods)
    return text.wrap(
        "A photo of a cat and one of a cup of coffee go through EfficientNet-Lite0, a model trained on ImageNet. "
        f"{len(methods)} methods then explain its first choice, sharing their passes: {named}."
    )


def _tell(got: Sequence[Explanation], talk: Talk) -> None:
    from pellucid.cli import tables

    talk.say()
    talk.say(tables.result(got))
    if talk.verbose:
        talk.say(tables.details(got))


def _write(got: Sequence[Explanation], photos: Sequence[Photo], folder: Path) -> list[Path]:
    """Numbers, panel, report, and the photos, so that the commands below have something to work on."""
    from pellucid.views.write import make_folder, write_bytes

    make_folder(folder)
    written = [write_one(got, folder / name, overwrite=True) for name in (STORE, PANEL, REPORT)]
    for photo in photos:
        file = BytesIO()
        photo.image().save(file, "PNG")
        written.append(write_bytes(folder / f"{photo.name}.png", file.getvalue(), overwrite=True))
    return written


def _ending(folder: Path, seconds: float, got: Sequence[Explanation]) -> str:
    passes = got[0].record.passes
    shown = text.clean(str(folder))
    commands = (
        f'pellucid explain {shown}/cat.png -t tabby --versus "Egyptian cat" -o out',
        f"pellucid info {shown}/{STORE}",
        "pellucid methods integrated_gradients",
    )
    return "\n".join(
        [
            f"Done in {seconds:.0f} s: {passes.forward} rows forward, {passes.backward} backward. Open",
            f"  {text.head(f'{shown}/{REPORT}')}   everything, in a browser",
            f"  {text.head(f'{shown}/{PANEL}')}     all maps in one picture",
            "",
            "and go on with",
            *(f"  {line.replace('pellucid', program(), 1)}" for line in commands),
        ]
    )


def program() -> str:
    """How the user calls this program: `pellucid` where the shell finds it, else the path from here."""
    called = Path(sys.argv[0])
    if shutil.which("pellucid") is not None or called.name != "pellucid":
        return "pellucid"
    return os.path.relpath(called)
