"""The gallery shows every method that there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import gallery

DOCS = Path(__file__).parents[2] / "docs"


def test_every_method_is_asked_for_in_one_figure() -> None:
    names = [name for some in gallery.named().values() for name in some]
    assert sorted([*names, *gallery.ELSEWHERE]) == sorted(gallery.BUILT_IN)


@pytest.mark.parametrize("picture", gallery.named())
def test_the_pictures_are_of_all_methods(picture: str) -> None:
    missing = set(gallery.named()[picture]) - set(gallery.in_picture(DOCS / picture))
    assert not missing, f"not in docs/{picture}, which `python -m tools.gallery docs` draws: {sorted(missing)}"


@pytest.mark.parametrize("picture", gallery.named())
def test_the_page_shows_them(picture: str) -> None:
    assert f"]({picture})" in (DOCS / "gallery.md").read_text(encoding="utf-8")


def test_the_page_names_what_is_in_no_figure() -> None:
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert not [name for name in gallery.ELSEWHERE if f"`{name}`" not in page]


def test_settings_are_of_methods_that_are_there() -> None:
    assert {*gallery.SETTINGS, *gallery.ON_TRANSFORMER, *gallery.BESIDE} <= set(gallery.BUILT_IN)
