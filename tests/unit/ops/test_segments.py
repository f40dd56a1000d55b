"""Segments against scikit-image's, and against properties that can be seen by eye."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.ops.segments import felzenszwalb


def random(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((height, width, 3))


def alike(one: Any, other: Any) -> bool:
    """Whether two labellings are the same partition."""
    pairs = len(np.unique(np.stack([one.ravel(), other.ravel()]), axis=1).T)
    return pairs == len(np.unique(one)) == len(np.unique(other))


@pytest.mark.parametrize(("scale", "least"), [(1, 1), (50, 5), (200, 20), (1e4, 1)])
def test_the_same_partition_as_scikit_image(scale: float, least: int) -> None:
    segmentation = pytest.importorskip("skimage.segmentation")
    picture = random(24, 17)
    smooth = (picture + np.roll(picture, 1, 0) + np.roll(picture, 1, 1)) / 3
    wanted = segmentation.felzenszwalb(smooth, scale=scale, sigma=0, min_size=least)
    assert alike(felzenszwalb(smooth, [scale / 255], least)[0], wanted)


def test_patches_of_one_colour_are_the_segments() -> None:
    picture = np.zeros((8, 12, 3))
    picture[:, 4:8], picture[5:, 8:] = 0.5, (1, 0, 0)
    wanted = np.zeros((8, 12), int)
    wanted[:, 4:8], wanted[:, 8:], wanted[5:, 8:] = 1, 2, 3
    assert (felzenszwalb(picture, [1.0])[0] == wanted).all()  # numbered in the order of their first pixels


def test_every_scale_is_a_segmentation_of_its_own() -> None:
    picture = random(12, 12)
    both = felzenszwalb(picture, [0.5, 5.0], 2)
    assert both.shape == (2, 12, 12)
    for labels, scale in zip(both, (0.5, 5.0), strict=True):
        assert (labels == felzenszwalb(picture, [scale], 2)[0]).all()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 30), st.floats(1e-3, 10))
@settings(max_examples=30, deadline=None)
def test_all_pixels_have_a_segment_and_none_is_too_small(h: int, w: int, least: int, scale: float) -> None:
    labels = felzenszwalb(random(h, w), [scale], least)[0]
    sizes = np.bincount(labels.ravel())
    assert labels.min() == 0
    assert sizes.min() >= min(least, h * w)


def test_flat_pictures_are_one_segment() -> None:
    assert not felzenszwalb(np.full((5, 6, 1), 0.3), [1e-9]).any()
