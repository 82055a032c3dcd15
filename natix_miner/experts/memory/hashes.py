"""Perceptual hashes: 64 bits by which copies of one picture find each other.

The hash is ImageHash's `phash` of the picture proper: the signs of the 8 x 8 lowest frequencies of
a 32 x 32 grey copy, against their median. Re-encoding, scaling, brightness and the validators'
distortions turn over 0 to 6 of the bits, another cut of the scene many more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import MissingExtraError
from natix_miner.images import Pixels

BITS = 64
#: Standard deviation of the grey values (0-255) below which a picture has no structure to hash:
#: its signs would be those of noise.
FLAT_BELOW = 2.0

Hashes = NDArray[np.uint64]


def require_hashes() -> Any:
    """The ImageHash library; raises MissingExtraError where it is not installed."""
    try:
        import imagehash
    except ImportError as error:
        raise MissingExtraError(
            "perceptual hashes need ImageHash: pip install 'natix-miner[memory]'"
        ) from error
    return imagehash


def hash_of(picture: Pixels) -> int | None:
    """The hash of an RGB picture (h, w, 3), in [0, 2^64); None for one without any structure."""
    from PIL import Image

    grey = Image.fromarray(picture).convert("L")
    if float(np.asarray(grey).std()) < FLAT_BELOW:
        return None
    signs = require_hashes().phash(grey, hash_size=8).hash
    return int.from_bytes(np.packbits(signs).tobytes(), "big")


def distances(one: int, others: Hashes) -> NDArray[np.int64]:
    """In how many of the 64 bits one hash differs from each of the others (n,)."""
    return np.asarray(np.bitwise_count(others ^ np.uint64(one)), np.int64)
