"""Plots of pictures: which superpixels are marked, in which colour, under which words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.unit.plots.rows import SIDE, check_layout, picture, said
from tests.unit.views.planted import planted

from pellucid import plots
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation, Explanations
from pellucid.regions import Slic
from pellucid.views.figure import Box, Figure, Photo
from pellucid.views.outlines import borders, colour, enlarged, filled

WEIGHTS = [0.5, -0.4, 0.0, 0.03125, -0.03125, 0.01, -0.6, 0.02, 0.25]


def photos(figure: Figure) -> list[np.ndarray]:
    return [mark.rgb.numpy().astype(int) for mark in figure.marks if isinstance(mark, Photo)]


def middles(rgb: np.ndarray) -> np.ndarray:
    """The colour in the middle of each of the nine squares."""
    third = rgb.shape[0] // 3
    return rgb[third // 2 :: third, third // 2 :: third][:3, :3].reshape(9, 3)


def marked(rgb: np.ndarray, plain: np.ndarray) -> set[int]:
    return set(np.flatnonzero((middles(rgb) != middles(plain)).any(1)).tolist())


def unmarked(e: Explanation) -> np.ndarray:
    return photos(plots.plot_image_explanation(e, threshold=99.0))[0]


def test_what_is_above_the_threshold_is_marked() -> None:
    e = picture(WEIGHTS)
    figure = plots.plot_image_explanation(e, show_negative=True)
    check_layout(figure)
    supports, contradicts = photos(figure)
    assert marked(supports, unmarked(e)) == {0, 3, 8}
    assert marked(contradicts, unmarked(e)) == {1, 4, 6}
    supports, contradicts = photos(plots.plot_image_explanation(e, threshold=0.03125, show_negative=True))
    assert marked(supports, unmarked(e)) == {0, 8}
    assert marked(contradicts, unmarked(e)) == {1, 4, 6}  # at −threshold too, as in R
    assert said(figure)[:3] == ["Label: tabby", "Probability: 0.4", "Explanation fit: 0.70"]
    assert "Supports" in said(figure) and "Contradicts" in said(figure)


def test_nothing_weighs_nothing() -> None:
    e = picture(WEIGHTS)
    supports, contradicts = photos(plots.plot_image_explanation(e, threshold=0, show_negative=True))
    assert marked(supports, unmarked(e)) == {0, 3, 5, 7, 8}
    assert marked(contradicts, unmarked(e)) == {1, 4, 6}  # and not 2, which weighs 0


def test_which_selects_the_picture() -> None:
    both = [picture(WEIGHTS, name="a.png"), picture([-w for w in WEIGHTS], name="b.png")]
    first, second = (photos(plots.plot_image_explanation(both, which=i))[0] for i in (1, 2))
    assert marked(first, unmarked(both[0])) == {0, 3, 8}
    assert marked(second, unmarked(both[1])) == {1, 4, 6}
    named = photos(plots.plot_image_explanation(Explanations(tuple(both)), which="b.png"))[0]
    np.testing.assert_array_equal(named, second)
    for wrong in (0, 3, "c.png", True):
        with pytest.raises(InputError, match="which"):
            plots.plot_image_explanation(both, which=wrong)


def test_a_block_hides_everything_else() -> None:
    e = picture(WEIGHTS)
    seen = middles(photos(plots.plot_image_explanation(e, display="block", block_col="#102030"))[0])
    for i in range(9):
        hidden = seen[i].tolist() == [0x10, 0x20, 0x30]
        assert hidden == (i not in (0, 3, 8))
    grey = middles(photos(plots.plot_image_explanation(e, display="block"))[0])
    assert grey[1].tolist() == [190, 190, 190]


def test_colours_and_their_strength_are_those_asked_for() -> None:
    e = picture(WEIGHTS)
    drawn = photos(plots.plot_image_explanation(e, fill_alpha=1.0, outline_col=("lime", "red"), show_negative=True))
    assert middles(drawn[0])[0].tolist() == [0, 255, 0]
    assert middles(drawn[1])[1].tolist() == [255, 0, 0]
    thin = photos(plots.plot_image_explanation(e, fill_alpha=0.0, outline_col=("lime", "red")))[0]
    assert marked(thin, unmarked(e)) == set()  # the outline alone
    edge = (thin == [0, 255, 0]).all(2)
    assert edge.any() and edge.mean() < 0.1


def test_labels_stand_side_by_side_and_a_low_fit_is_red() -> None:
    labels = [picture(WEIGHTS, label=f"label {i}", r2=0.2 if i else 0.9) for i in range(5)]
    figure = plots.plot_image_explanation(labels, show_negative=True)
    check_layout(figure)
    assert len(photos(figure)) == 10
    assert said(figure).count("Explanation fit: 0.20 (low)") == 4
    assert len({m.colour for m in figure.marks if getattr(m, "text", "").startswith("Explanation fit")}) == 2


def test_wrong_words_are_refused() -> None:
    e = picture(WEIGHTS)
    for wrong in (
        {"display": "both"},
        {"fill_alpha": 2},
        {"threshold": -1},
        {"outline_col": "blue"},
        {"outline_col": ("blue", "blurple")},
        {"block_col": "nothing"},
    ):
        with pytest.raises(ParameterError):
            plots.plot_image_explanation(e, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cut into regions"):
        plots.plot_image_explanation(planted(torch.ones(1, 4, 4)))


def test_superpixels_are_those_of_slic() -> None:
    draw = np.random.default_rng(0)
    photo = np.kron(draw.integers(0, 255, (6, 9, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    figure = plots.plot_superpixels(photo, n_superpixels=20, weight=30, n_iter=5, colour="red")
    check_layout(figure)
    labels = Slic(n=20, weight=30, iterations=5)((torch.from_numpy(photo).double() / 255).movedim(-1, 0)[None])[0]
    assert f"{int(labels.max()) + 1} superpixels" in figure.alt
    drawn = photos(figure)[0]
    assert drawn.shape[:2] == (2 * figure.height, 2 * figure.width) and (figure.width, figure.height) == (640, 427)
    red = torch.from_numpy((drawn == [255, 0, 0]).all(2))
    fine = enlarged(labels, (drawn.shape[0], drawn.shape[1]))
    assert torch.equal(red | ~borders(fine), torch.ones_like(red))  # every border is red
    with pytest.raises(ParameterError, match="colour"):
        plots.plot_superpixels(photo, colour="blurple")


def test_image_plot_shares_a_symmetric_scale() -> None:
    labels = [picture([w * k for w in WEIGHTS], label=f"label {k}") for k in (1, 2, 3)]
    figure = plots.image_plot(labels)
    check_layout(figure)
    assert len(photos(figure)) == 5  # the picture, three maps, the colour bar
    assert "−1.8" in said(figure) and "1.8" in said(figure)
    maps = photos(figure)[1:4]
    nothing = middles(maps[0])[2]
    assert all((middles(one)[2] == nothing).all() for one in maps)  # 0 has one colour everywhere
    assert said(figure)[0] == "cat.png"
    several = plots.image_plot([*labels, *labels, *labels])
    check_layout(several)
    check_layout(plots.image_plot(planted(torch.randn(1, 8, 8), pictures=False)))
    with pytest.raises(ParameterError, match="64"):
        plots.image_plot(labels, width=10)


# -- outlines ----------------------------------------------------------------------------------------------------


def test_enlarged_regions_are_the_same_regions() -> None:
    line = torch.arange(SIDE) // 8
    labels = line[:, None] * 3 + line
    assert torch.equal(enlarged(labels, (SIDE, SIDE)), labels)
    twice = enlarged(labels, (2 * SIDE, 2 * SIDE))
    assert torch.equal(twice, labels.repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert set(enlarged(labels, (9, 9)).flatten().tolist()) == set(range(9))


def test_borders_lie_where_neighbours_differ() -> None:
    labels = torch.tensor([[0, 0, 1], [0, 2, 1]])
    assert borders(labels).tolist() == [[False, True, False], [True, True, False]]
    assert int(borders(torch.zeros(4, 4)).sum()) == 0
    thick = borders(torch.tensor([[0, 0, 0, 1, 1, 1]]).repeat(6, 1), 3)
    assert thick[0].tolist() == [False, True, True, True, False, False]


def test_a_colour_lies_over_a_picture() -> None:
    grey = torch.full((1, 2, 3), 100, dtype=torch.uint8)
    made = filled(grey, torch.tensor([[True, False]]), (200, 0, 100), 0.5)
    assert made.tolist() == [[[150, 50, 100], [100, 100, 100]]]
    assert (colour("blue"), colour("#010203"), colour("grey")) == ((0, 0, 255), (1, 2, 3), (190, 190, 190))


def test_the_box_of_a_sign_has_its_colour() -> None:
    figure = plots.plot_image_explanation(picture(WEIGHTS), show_negative=True, outline_col=("#112233", "#445566"))
    assert {"#112233", "#445566"} <= {mark.colour for mark in figure.marks if isinstance(mark, Box)}
