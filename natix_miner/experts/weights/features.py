"""Features: a picture as a vector, for the experts that compare pictures."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from natix_miner.images.frame import Pixels


class Features(Protocol):
    """Turns pictures into vectors; two pictures of one thing lie close together."""

    @property
    def version(self) -> str:
        """Digest of what makes them: vectors of another version cannot be compared."""
        ...

    def of(self, pictures: list[Pixels]) -> NDArray[np.float32]:
        """Vectors (n, d) of n RGB pictures (h, w, 3), of any sizes."""
        ...
