"""The one rule by which a picture becomes the embedded network's input.

Used by training and by inference alike, so that both see the same pixels.
This module knows nothing about the network itself, batching or ONNX Runtime.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from natix_miner.errors import PictureError

LONG_SIDE = 448
"""Longest side in pixels that the network is given; larger pictures are shrunk to it."""

SHORT_SIDE_MIN = 32
"""Shortest side in pixels that the network accepts; thinner pictures are padded with black."""


def input_size(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) in pixels to which a picture of this size is scaled.

    The longer side becomes ``LONG_SIDE`` when it is larger, the aspect is kept and
    nothing is ever enlarged: a 224 x 224 picture stays as it is.
    """
    scale = min(1.0, LONG_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def network_input(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Turn a picture into the network's input.

    ``pixels`` is RGB uint8 of shape (H, W, 3). The result is RGB uint8 of shape
    (3, h, w), contiguous: shrunk with area averaging to at most ``LONG_SIDE`` pixels
    on the longer side, padded at the bottom and the right with black to at least
    ``SHORT_SIDE_MIN``. Add a leading batch axis (and stack pictures of equal size)
    for the graph; normalisation is inside the graph.

    Raises ``PictureError`` for anything that is not RGB uint8 with at least one pixel.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise PictureError(
            f"the network takes RGB uint8 of shape (H, W, 3), got {pixels.dtype} {pixels.shape}"
        )
    height, width = input_size(pixels.shape[0], pixels.shape[1])
    if (height, width) != pixels.shape[:2]:
        shrunk = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        pixels = np.asarray(shrunk, np.uint8)
    below, right = max(0, SHORT_SIDE_MIN - height), max(0, SHORT_SIDE_MIN - width)
    if below or right:
        pixels = np.pad(pixels, ((0, below), (0, right), (0, 0)))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
