"""Saved pictures turned into what a validator of one generation would have sent."""

from __future__ import annotations

import numpy as np

from natix_miner.images.decode import decode_picture
from natix_miner.images.generations import encode_jpeg, simulate
from natix_miner.sections import PictureLimits

#: Generations that change the picture; `full-frame` and `as-is` send the very bytes.
REMADE = frozenset({"cropped", "letterboxed"})
GENERATIONS = ("as-is", "full-frame", "letterboxed", "cropped")

#: A validator takes any format and works on every pixel.
_WHOLE = PictureLimits(formats=("JPEG", "PNG", "WEBP"), decode_longer_side=1_000_000)


def simulated(picture: bytes, generation: str, *, seed: int, index: int, repeat: int) -> bytes:
    """The encoded picture that a validator would send.

    The draw depends on (seed, index, repeat) alone, so that order, an interrupted run and
    concurrency change nothing. Raises PictureError where `picture` cannot be decoded.
    """
    if generation not in REMADE:
        return picture
    rng = np.random.default_rng([seed, index, repeat])
    pixels, _ = simulate(decode_picture(picture, _WHOLE).pixels, generation, rng)
    return encode_jpeg(pixels)
