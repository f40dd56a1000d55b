"""Files have harmless names, appear whole, and never replace others unasked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.unit.views.planted import planted

import pellucid
from pellucid.core.errors import FileExists, InputError, ParameterError
from pellucid.core.explanation import Explanations
from pellucid.views import save_maps
from pellucid.views.files import map_names
from pellucid.views.write import safe_name, unlike, write_bytes

SAFE = re.compile(r"^[A-Za-z0-9._-]{1,128}$")
HOSTILE = (
    "../../etc/passwd",
    "/abs/olute.png",
    "..",
    ".",
    "",
    "C:\\Windows\\x",
    "a\0b",
    "two\nlines",
    "-rf",
    ".hidden",
    "über/Katze",
    "猫",
    "x" * 500,
    "\ud800",
)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_any_text_becomes_a_safe_name(parts):
    name = safe_name(*parts, suffix=".png")
    assert SAFE.match(name) and name.endswith(".png")
    assert ".." not in name.removesuffix(".png").split("--") and name[0] not in ".-"


@given(st.lists(st.text("aA.", min_size=1, max_size=3), min_size=1, max_size=20))
def test_names_are_made_different(parts):
    names = unlike([safe_name(p, suffix=".png") for p in parts], ".png")
    assert len({n.lower() for n in names}) == len(parts)
    assert all(SAFE.match(n) for n in names)


def test_long_names_that_differ_at_the_end_stay_different():
    a, b = (safe_name("n" * 300 + tail, suffix=".png") for tail in "ab")
    assert a != b and len(a) == len(b) == 128
    assert len(set(unlike([a] * 12, ".png"))) == 12 and max(map(len, unlike([a] * 12, ".png"))) <= 128


def test_names_tell_image_method_and_target():
    e = planted(torch.rand(2, 4, 4), method="grad_cam", target="Egyptian cat")
    assert map_names([e]) == ["photo0.png--grad_cam--Egyptian-cat.png", "photo1.png--grad_cam--Egyptian-cat.png"]
    two = [e, planted(torch.rand(1, 4, 4), model="other")]
    assert map_names(two)[0].startswith("toy--") and map_names(two)[2].startswith("other--")


def test_hostile_names_stay_in_the_folder(tmp_path):
    folder = tmp_path / "maps"
    them = [planted(torch.rand(len(HOSTILE), 4, 4), names=HOSTILE, target=t, method=t) for t in HOSTILE[:4]]
    paths = save_maps(them, folder)
    assert len(set(paths)) == 4 * len(HOSTILE)
    assert {p.name for p in tmp_path.iterdir()} == {"maps"}
    assert sorted(folder.iterdir()) == sorted(paths)
    assert all(SAFE.match(p.name) and Image.open(p).size == (24, 24) for p in paths)


def test_nothing_is_written_when_one_file_is_in_the_way(tmp_path):
    e = planted(torch.rand(3, 4, 4))
    (tmp_path / map_names([e])[2]).write_text("mine")
    with pytest.raises(FileExists, match="overwrite"):
        save_maps(e, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    save_maps(e, tmp_path, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_dangling_link_is_not_followed(tmp_path):
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "a.png"
    link.symlink_to(elsewhere)
    with pytest.raises(FileExists):
        write_bytes(link, b"x")
    write_bytes(link, b"x", overwrite=True)
    assert not elsewhere.exists() and not link.is_symlink() and link.read_bytes() == b"x"


def test_a_missing_folder_and_a_file_as_a_folder(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        write_bytes(tmp_path / "no" / "a.png", b"x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="a file has that name"):
        save_maps(planted(torch.rand(1, 4, 4)), tmp_path / "file")


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("pellucid.views.write.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_bytes(tmp_path / "a.png", b"x", overwrite=True)
    assert not list(tmp_path.iterdir())


def test_what_is_no_explanation_is_refused_wherever_it_is_shown(tmp_path: Path) -> None:
    whole = planted(torch.ones(1, 4, 4))

    class Verdicts:
        explanations = Explanations((whole,))

    shows: tuple[Callable[[Any], object], ...] = (
        lambda what: pellucid.report(what, tmp_path / "r.html"),
        pellucid.panel,
        pellucid.plots.bar,
        lambda what: pellucid.save(what, tmp_path / "e"),
        pellucid.submodular_pick,
    )
    for show in shows:
        for what, said in ((5, "a int in the place"), (["cat.png"], "a list in"), ("cat.png", "a str in")):
            with pytest.raises(InputError, match=said):
                show(what)
        with pytest.raises(InputError, match=r"it has them: \.explanations"):
            show(Verdicts())
    for name in ("report", "report.png"):
        with pytest.raises(ParameterError, match=r"ends in \.html"):
            pellucid.report(whole, tmp_path / name)
    assert not list(tmp_path.iterdir())
