"""A drawn picture whose vector is kept in every index.

Vectors of other code or another library version would be compared as if nothing had happened; the
vector of this picture, computed anew at every start, tells.
"""

from __future__ import annotations

import numpy as np

from natix_miner.images import Pixels


def probe_picture() -> Pixels:
    """A road under a sky with an orange triangle that has a white stripe; 224 x 224, RGB."""
    rows, columns = np.mgrid[0:224, 0:224]
    grey = np.where(rows < 100, 150 + rows // 2, 70 + (columns * 3 + rows * 5) % 23)
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    cone = (rows > 120) & (rows < 190) & (np.abs(columns - 120) < (rows - 110) // 3)
    picture[cone] = (245, 110, 30)
    picture[cone & (rows > 150) & (rows < 162)] = (235, 235, 235)
    return np.ascontiguousarray(picture.astype(np.uint8))
