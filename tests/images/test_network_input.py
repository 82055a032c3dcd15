"""The one rule by which pictures become the network's input."""

from __future__ import annotations

import numpy as np
import pytest

from natix_miner.errors import PictureError
from natix_miner.images.network_input import input_size, network_input


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((224, 224), (224, 224)),
        ((100, 448), (100, 448)),
        ((1080, 1920), (252, 448)),
        ((3024, 4032), (336, 448)),
        ((1024, 1024), (448, 448)),
        ((1, 5000), (1, 448)),
    ],
)
def test_larger_pictures_shrink_and_none_grows(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert input_size(*size) == expected


def test_small_pictures_pass_through_channels_first() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 200, 3), dtype=np.uint8)
    made = network_input(pixels)
    assert made.shape == (3, 224, 200)
    assert made.flags.c_contiguous
    assert np.array_equal(made.transpose(1, 2, 0), pixels)


def test_shrinking_averages_areas() -> None:
    pixels = np.zeros((896, 896, 3), np.uint8)
    pixels[::2] = 200
    assert (network_input(pixels) == 100).all()


def test_thin_pictures_are_padded_with_black() -> None:
    made = network_input(np.full((10, 64, 3), 255, np.uint8))
    assert made.shape == (3, 32, 64)
    assert (made[:, :10] == 255).all()
    assert (made[:, 10:] == 0).all()


def test_anything_but_rgb_uint8_is_refused() -> None:
    for wrong in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(PictureError):
            network_input(wrong)
