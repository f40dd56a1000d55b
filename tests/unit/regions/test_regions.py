"""Regions of pictures: against loops over pixels, and against what was drawn."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pellucid.core.errors import InputError, ParameterError, PellucidError
from pellucid.regions import Cells, Felzenszwalb, Labels, Quickshift, Slic, as_regions, cut
from pellucid.regions.slic import beside, joined, lab

EVERY = (Cells(3, 4), Slic(n=12), Felzenszwalb(scale=50, least=4), Quickshift(kernel_size=2, max_dist=6))


def quarters(height: int = 24, width: int = 32, channels: int = 3) -> Tensor:
    """Two pictures of four rectangles in four colours, the second upside down."""
    draw = torch.Generator().manual_seed(1)
    colours = torch.rand(channels, 2, 2, generator=draw, dtype=torch.float64)
    one = colours.repeat_interleave(height // 2, 1).repeat_interleave(width // 2, 2)
    return torch.stack([one, one.flip(1)])


def noisy(**more: int) -> Tensor:
    x = quarters(**more)
    return (x + 0.1 * torch.rand(x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)).clamp(0, 1)


def flood(labels: Tensor) -> int:
    """How many pieces the places with equal labels make, by four neighbours."""
    left = {(i, j) for i in range(labels.shape[0]) for j in range(labels.shape[1])}
    pieces = 0
    while left:
        edge = [left.pop()]
        pieces += 1
        while edge:
            i, j = edge.pop()
            for near in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if near in left and labels[near] == labels[i, j]:
                    left.remove(near)
                    edge.append(near)
    return pieces


@pytest.mark.parametrize("maker", EVERY, ids=lambda m: m.__name__)
def test_regions_are_numbered_from_zero_and_each_picture_is_cut_by_itself(maker: Any) -> None:
    x = noisy()
    labels = maker(x)
    assert labels.dtype == torch.int64
    assert labels.shape == (2, 24, 32)
    for one, alone in zip(labels, x, strict=True):
        assert torch.equal(one.unique(), torch.arange(int(one.max()) + 1))
        assert torch.equal(one, maker(alone[None])[0])
    assert torch.equal(labels, maker(x))


@pytest.mark.parametrize("maker", EVERY, ids=lambda m: m.__name__)
def test_the_global_random_states_are_not_touched_and_do_not_matter(maker: Any) -> None:
    wanted = maker(noisy())
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), repr(np.random.get_state())
    assert torch.equal(maker(noisy()), wanted)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert repr(np.random.get_state()) == before[1]


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
@pytest.mark.parametrize("maker", EVERY, ids=lambda m: m.__name__)
def test_any_number_of_channels(maker: Any, channels: int) -> None:
    assert maker(noisy(channels=channels)).shape == (2, 24, 32)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(9, 20), st.integers(9, 20))
@settings(max_examples=30, deadline=None)
def test_cells_are_rectangles_as_equal_as_can_be(rows: int, columns: int, height: int, width: int) -> None:
    labels = Cells(rows, columns)(torch.zeros(1, 3, height, width))[0]
    for k in range(rows * columns):
        i, j = (labels == k).nonzero(as_tuple=True)
        tall, wide = int(i.max() - i.min()) + 1, int(j.max() - j.min()) + 1
        assert len(i) == tall * wide
        assert abs(tall - height / rows) < 1
        assert abs(wide - width / columns) < 1
    assert torch.equal(labels.flatten().unique(), torch.arange(rows * columns))


SHARP = (Slic(n=12, weight=2), Felzenszwalb(scale=50, sigma=0, least=4), EVERY[3])


@pytest.mark.parametrize("maker", SHARP, ids=lambda m: m.__name__)
def test_no_region_crosses_a_clear_edge(maker: Any) -> None:
    x = quarters()
    for picture, labels in zip(x, maker(x), strict=True):
        for k in range(int(labels.max()) + 1):
            assert len(picture[:, labels == k].unique(dim=1).mT) == 1


def test_superpixels_are_connected_and_not_too_small() -> None:
    for labels in Slic(n=12)(noisy()):
        count = int(labels.max()) + 1
        assert flood(labels) == count
        assert int(labels.flatten().bincount().min()) > 24 * 32 / 12 / 4


def test_a_flat_picture_is_cut_into_the_cells_where_superpixels_begin() -> None:
    labels = Slic(n=12, iterations=1)(torch.full((1, 3, 24, 32), 0.5, dtype=torch.float64))
    assert torch.equal(labels, Cells(3, 4)(labels[:, None]))


def test_higher_weight_is_more_compact() -> None:
    x = noisy(height=40, width=40)

    def border(weight: float) -> int:
        labels = Slic(n=16, weight=weight)(x)
        return int((labels.diff(dim=1) != 0).sum() + (labels.diff(dim=2) != 0).sum())

    assert border(200.0) < border(20.0)


def test_pieces_are_joined_to_the_neighbour_with_the_longest_border() -> None:
    drawn = torch.tensor([[0, 0, 0, 1, 1], [0, 2, 0, 1, 1], [0, 0, 0, 1, 0], [3, 3, 3, 1, 1]])
    got = joined(drawn, 1)
    assert torch.equal(
        got == got[0, 0], torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0] * 5]).bool()
    )
    assert torch.equal(got == got[0, 4], torch.tensor([[0, 0, 0, 1, 1]] * 4).bool())
    assert flood(got) == 3
    assert flood(joined(drawn, 100)) == 1


@given(st.integers(2, 6), st.integers(2, 6), st.integers(2, 9), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_borders_are_counted_side_by_side(height: int, width: int, colours: int, seed: int) -> None:
    """Against a table of all pairs, which a picture of noise has no memory for."""
    labels = torch.randint(colours, (height, width), generator=torch.Generator().manual_seed(seed))
    number = torch.arange(labels.numel()).view(labels.shape)
    a = torch.cat([number[:, :-1].flatten(), number[:-1].flatten()])
    b = torch.cat([number[:, 1:].flatten(), number[1:].flatten()])
    piece = joined(labels, 0).flatten()
    count = int(piece.max()) + 1
    if count == 1:
        return
    p, q = torch.cat([piece[a], piece[b]]), torch.cat([piece[b], piece[a]])
    table = torch.zeros(count, count)
    for one, other in zip(p.tolist(), q.tolist(), strict=True):
        table[one, other] += one != other
    assert torch.equal(beside(p, q, count), table.argmax(1))


def test_noise_has_superpixels_too() -> None:
    """Tens of thousands of pieces come loose."""
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sizes = Slic()(x).flatten().bincount()
    assert int(sizes.min()) > 224 * 224 / 50 / 4 * 0.9 and len(sizes) > 20


def test_lab_is_that_of_scikit_image() -> None:
    color = pytest.importorskip("skimage.color")
    x = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = torch.from_numpy(color.rgb2lab(x.permute(1, 2, 0).numpy())).permute(2, 0, 1)
    wanted[0] *= 2.55
    torch.testing.assert_close(lab(x), wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["tensor", "array", "list", "floats"])
def test_label_maps_may_start_anywhere_and_have_gaps(kind: str) -> None:
    drawn = [[7, 7, -3], [100, 7, -3]]
    given: Any = {"tensor": torch.tensor(drawn), "array": np.array(drawn, np.int16), "floats": np.array(drawn, float)}
    labels = cut(given.get(kind, drawn), torch.zeros(2, 3, 2, 3))
    assert torch.equal(labels, torch.tensor([[1, 1, 0], [2, 1, 0]]).expand(2, 2, 3))


def test_every_picture_may_have_its_own_map() -> None:
    drawn = torch.tensor([[[1, 1], [2, 2]], [[5, 6], [7, 8]]])
    assert cut(drawn, torch.zeros(2, 1, 2, 2)).tolist() == [[[0, 0], [1, 1]], [[0, 1], [2, 3]]]
    with pytest.raises(ParameterError, match="where all run at once"):
        cut(drawn, torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(
    "drawn", [torch.zeros(3, 2), torch.zeros(2), torch.full((2, 3), 0.5), "slick", object(), None, Cells]
)
def test_what_cannot_be_regions_is_refused(drawn: Any) -> None:
    with pytest.raises(ParameterError):
        cut(drawn, torch.zeros(1, 3, 2, 3))


def test_functions_of_the_pixels_are_regions_too() -> None:
    assert cut(lambda pixels: (pixels[:, 0] > 0.5) * 9, torch.eye(2)[None, None]).tolist() == [[[1, 0], [0, 1]]]


@pytest.mark.parametrize("text", ["slic", "cells(3, 4)", "slic(n_superpixels=9, weight=7, n_iter=2)", " Cells ( 2 )"])
def test_names_may_have_parameters_and_the_name_makes_it_again(text: str) -> None:
    made: Any = as_regions(text)
    assert as_regions(made.__name__) == made


@pytest.mark.parametrize(
    "text",
    [
        "slic(",
        "cells(0)",
        "cells(2, 2.5)",
        "slic(m=3)",
        "slic(n=True)",
        "cells(3)(4)",
        "cells(1, 2, 3)",
        "slic(n=open)",
    ],
)
def test_parameters_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        as_regions(text)


def test_a_misspelt_name_finds_its_neighbours() -> None:
    with pytest.raises(ParameterError, match="quickshift"):
        as_regions("quick_shift")


@pytest.mark.parametrize("maker", [Cells(5), Slic(n=17)])
def test_no_more_regions_than_pixels(maker: Any) -> None:
    with pytest.raises(ParameterError):
        maker(torch.zeros(1, 3, 4, 4))


def test_only_pictures_have_regions() -> None:
    with pytest.raises(InputError, match="pictures"):
        cut("cells", torch.zeros(2, 6))


def test_without_scikit_image_quickshift_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(PellucidError, match="pip install scikit-image"):
        Quickshift()(torch.zeros(1, 3, 4, 4))


def test_labels_tell_their_shape() -> None:
    assert Labels(torch.zeros(2, 3)).__name__ == "labels(2, 3)"
