from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pellucid.cli.app import program

TINY = "tests.unit.cli.tiny:model"
Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Run a command in this process; stdout and stderr are kept apart."""

    def call(*words: object, color: bool = False, env: dict[str, str] | None = None) -> Result:
        done = CliRunner(env=env).invoke(program, [str(word) for word in words], color=color, prog_name="pellucid")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two pictures, and one file that only looks like one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(("cat.png", "dog.png")):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def cat(photos: Path) -> Path:
    return photos / "cat.png"


@pytest.fixture
def bad(photos: Path) -> Path:
    path = photos / "bad.png"
    path.write_bytes(b"not a picture")
    return path
