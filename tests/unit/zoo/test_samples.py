"""The photos that a scorecard takes when none are given."""

from __future__ import annotations

import pytest

pytest.importorskip("skimage")

from pellucid.zoo.samples import eight_photos


def test_four_photos_and_a_part_of_each() -> None:
    photos = eight_photos()
    names = [photo.name for photo in photos]
    assert len(set(names)) == 8
    for whole, part in zip(photos[:4], photos[4:], strict=True):
        assert part.name.startswith(whole.name) and part.name != whole.name
        assert part.pixels.shape[0] < whole.pixels.shape[0] and part.pixels.shape[1] < whole.pixels.shape[1]
