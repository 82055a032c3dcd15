"""Smooth random fields, cheap enough for every picture."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

_TILE = 1024


def noise(
    rng: np.random.Generator, height: int, width: int, grain: int, strength: float
) -> npt.NDArray[np.float32]:
    """Normal noise float32 (height, width) of this deviation, blobs ``grain`` pixels wide.

    Cut at a random place from one fixed tile, so that a large picture costs little.
    """
    rows, columns = height // grain + 2, width // grain + 2
    tile = _tile()
    top, left = int(rng.integers(_TILE)), int(rng.integers(_TILE))
    if top + rows <= 2 * _TILE and left + columns <= 2 * _TILE:
        small = tile[top : top + rows, left : left + columns]
    else:
        small = tile.take(np.arange(top, top + rows), 0, mode="wrap").take(
            np.arange(left, left + columns), 1, mode="wrap"
        )
    small = small * np.float32(strength)
    if grain == 1:
        return np.asarray(small[:height, :width])
    large = cv2.resize(small, (columns * grain, rows * grain), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large[:height, :width])


@lru_cache(maxsize=1)
def _tile() -> npt.NDArray[np.float32]:
    one = np.random.default_rng(72).standard_normal((_TILE, _TILE), np.float32)
    return np.tile(one, (2, 2))
