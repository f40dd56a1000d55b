"""Colours survive colour blindness, grow evenly, and are those of their names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pellucid.core.errors import ParameterError
from pellucid.views import LOOKS, PALETTES, palette

# Machado, Oliveira and Fernandes 2009, table 1, severity 1.0; applied to linear RGB.
SIGHT = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def lab(rgb: np.ndarray, sight: str = "usual") -> np.ndarray:
    """CIELAB (D65) of uint8 colours as seen with a deficiency."""
    s = rgb / 255
    linear = np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.asarray(SIGHT[sight]).T, 0, 1)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    t = linear @ to_xyz.T / [0.95047, 1.0, 1.08883]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def apart(name: str, v: float, sight: str) -> float:
    """ΔE between the colours of −v and +v."""
    pair = palette(name)(torch.tensor([0.5 - v / 2, 0.5 + v / 2], dtype=torch.float64)).double().numpy()
    a, b = lab(pair, sight)
    return float(np.linalg.norm(a - b))


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("name", ["PuOr9_r", "PuOr", "vik"])
def test_signs_are_told_apart_with_every_kind_of_sight(name, sight):
    assert apart(name, 0.25, sight) >= 15
    assert apart(name, 0.5, sight) >= 25
    assert apart(name, 1.0, sight) >= 25


def test_every_diverging_preset_is_among_those_tested():
    used = {look.palette for look in LOOKS.values() if palette(look.palette).diverging}
    assert used == {"PuOr9_r"}


def test_a_red_and_green_scale_would_fail_this_test():
    red_green = np.array([[255, 128, 128], [128, 200, 128]], dtype=float)
    a, b = lab(red_green, "deuteranopia")
    assert np.linalg.norm(a - b) < np.linalg.norm(np.subtract(*lab(red_green))) / 2


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("name", ["cividis", "magma", "viridis", "gray"])
def test_sequential_palettes_grow_lighter_throughout(name, sight):
    lightness = lab(palette(name).table.double().numpy(), sight)[:, 0]
    steps = np.diff(lightness)
    slack = -0.05 if sight == "usual" else -0.35  # 8-bit colours; cut-off where a deficiency leaves the gamut
    assert steps.min() >= slack
    assert lightness[-1] - lightness[0] > 60


def test_jet_runs_backwards_and_says_so():
    lightness = lab(palette("jet").table.double().numpy())[:, 0]
    assert np.diff(lightness).clip(max=0).sum() < -40
    assert "jet" in palette("jet").remark
    assert not any(palette(name).remark for name in PALETTES if name != "jet")


@pytest.mark.parametrize("name", [name for name in PALETTES if palette(name).diverging])
def test_diverging_palettes_are_neutral_and_lightest_in_the_middle(name):
    seen = lab(palette(name).table.double().numpy())
    chroma = np.hypot(seen[:, 1], seen[:, 2])
    assert chroma[127:129].max() < 6
    assert seen[127:129, 0].min() > 85
    assert chroma[[40, 215]].min() > 20


def test_tables_are_those_of_matplotlib():
    matplotlib = pytest.importorskip("matplotlib")
    for name in ("PuOr", "bwr", "seismic", "cividis", "magma", "viridis", "gray", "jet"):
        theirs = np.round(matplotlib.colormaps[name].resampled(256)(np.arange(256))[:, :3] * 255)
        assert np.array_equal(palette(name).table.numpy(), theirs)


def test_known_ends():
    assert palette("viridis").table[[0, -1]].tolist() == [[68, 1, 84], [253, 231, 37]]
    assert palette("PuOr9").table[[0, -1]].tolist() == [[0xB3, 0x58, 0x06], [0x54, 0x27, 0x88]]
    assert palette("gray").table[:, 0].tolist() == list(range(256))


def test_turned_around():
    assert torch.equal(palette("magma_r").table, palette("magma").table.flip(0))
    assert palette("PuOr_r").diverging


def test_the_ends_and_the_middle_are_reached():
    unit = torch.tensor([-1.0, 0.0, 0.5, 1.0, 7.0])
    assert palette("gray")(unit)[:, 0].tolist() == [0, 0, 128, 255, 255]


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ParameterError, match="viridis"):
        palette("virids")
