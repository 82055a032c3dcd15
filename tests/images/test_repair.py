"""Mending of contrast and darkness: what it does to flat, dark and good pictures."""

from __future__ import annotations

import numpy as np
import pytest

from natix_miner.images.repair import LOWEST_GAMMA, MOST_STRETCH, repaired


def ramp(low: int, high: int) -> np.ndarray:
    """All greys between two values, equally often, in a picture of 64 x 64."""
    values = np.linspace(low, high, 64 * 64).round().astype(np.uint8)
    return np.random.default_rng(1).permutation(values).reshape(64, 64, 1).repeat(3, 2)


@pytest.mark.parametrize("step", ["contrast", "darkness"])
def test_a_good_picture_comes_back_as_it_is(step) -> None:
    pixels = ramp(4, 255)
    assert repaired(pixels, step) is pixels


def test_a_flat_picture_gets_its_contrast_back() -> None:
    mended = repaired(ramp(90, 200), "contrast")
    assert mended.min() <= 2
    assert mended.max() >= 253


def test_contrast_is_never_stretched_beyond_its_limit() -> None:
    flat = ramp(120, 130)
    spread = np.ptp(repaired(flat, "contrast").astype(int))
    assert spread <= np.ceil(MOST_STRETCH * 10) + 1


def test_a_dark_picture_reaches_the_wanted_brightness() -> None:
    dark = ramp(10, 90)
    assert repaired(dark, "darkness").mean() / 255 == pytest.approx(0.42, abs=0.05)


def test_a_nearly_black_picture_is_raised_by_the_lowest_gamma_at_most() -> None:
    black = np.full((32, 32, 3), 5, np.uint8)
    want = 255 * (5 / 255) ** LOWEST_GAMMA
    assert repaired(black, "darkness").max() == pytest.approx(want, abs=1)


@pytest.mark.parametrize("step", ["contrast", "darkness"])
def test_black_borders_do_not_count_and_stay_black(step) -> None:
    proper = ramp(60, 110)
    padded = np.pad(proper, ((64, 64), (0, 0), (0, 0)))
    mended = repaired(padded, step)
    assert np.array_equal(mended[64:128], repaired(proper, step))
    assert mended[:64].max() <= 1


@pytest.mark.parametrize("step", ["contrast", "darkness"])
def test_a_black_picture_is_left_alone(step) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    assert repaired(pixels, step) is pixels
