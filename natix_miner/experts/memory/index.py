"""The index: vectors, labels and hashes of remembered pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import ModelError
from natix_miner.experts.memory.card import IndexCard
from natix_miner.experts.memory.features import Scaling
from natix_miner.experts.memory.hashes import Hashes

Vectors = NDArray[np.float32]

#: An index knows the distances of its entries to so many of their neighbours.
MOST_NEIGHBOURS = 32
#: So many entries, drawn by chance, stand for all where there are more.
SAMPLED = 2000
#: Standardised numbers are kept within so many standard deviations.
_FARTHEST = 8.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How raw vectors become comparable; `centre` and `spread` (d,) count when standardised."""

    scaling: Scaling
    centre: Vectors
    spread: Vectors

    @classmethod
    def fitted(cls, raw: Vectors, scaling: Scaling) -> Scale:
        """From raw vectors (n, d); a number that never changes keeps the spread 1."""
        spread = raw.std(axis=0, dtype=np.float64)
        return cls(
            scaling,
            raw.mean(axis=0, dtype=np.float64).astype(np.float32),
            np.where(spread > 1e-9, spread, 1.0).astype(np.float32),
        )

    def of(self, raw: Vectors) -> Vectors:
        """Comparable vectors (n, d), float32."""
        if self.scaling == "normalised":
            lengths = np.linalg.norm(raw, axis=1, keepdims=True)
            return np.asarray(raw / np.maximum(lengths, 1e-12), np.float32)
        return np.clip((raw - self.centre) / self.spread, -_FARTHEST, _FARTHEST)


@dataclass(frozen=True, slots=True)
class Index:
    """Remembered pictures: vectors (n, d) brought to `scale`, labels 1 or 0, reliabilities in
    (0, 1], hashes.

    `own` (m, most) holds for some or all entries the distances to their nearest others, sorted;
    `probe` is the raw vector of the probe picture.
    """

    card: IndexCard
    scale: Scale
    vectors: NDArray[np.floating]
    labels: NDArray[np.uint8]
    reliabilities: Vectors
    hashes: Hashes
    own: Vectors
    probe: Vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def balance(self) -> NDArray[np.float64]:
        """Factors (2,) for the labels 0 and 1 by which both weigh the same in all."""
        counts = np.array([self.card.none, self.card.roadwork])
        return np.asarray(0.5 * counts.sum() / counts)

    def own_distances(self, k: int) -> Vectors:
        """The distances of entries to their k-th neighbours, sorted; raises ModelError when the
        index is too small for k."""
        if k > self.own.shape[1]:
            raise ModelError(
                f"the index holds {len(self)} pictures, so no more than {self.own.shape[1]} "
                f"neighbours can be asked, and k is {k}: lower `k`, or build it from more pictures"
            )
        return np.sort(self.own[:, k - 1])


def own_neighbours(vectors: NDArray[np.floating], seed: int = 0) -> Vectors:
    """Distances (m, most) of at most SAMPLED entries to their nearest other entries, sorted."""
    from sklearn.neighbors import NearestNeighbors

    count = len(vectors)
    chosen = np.arange(count)
    if count > SAMPLED:
        chosen = np.sort(np.random.default_rng(seed).choice(count, SAMPLED, replace=False))
    most = min(MOST_NEIGHBOURS, count - 1)
    known = np.asarray(vectors, np.float32)
    search = NearestNeighbors(n_neighbors=most + 1, algorithm="brute").fit(known)
    found, which = search.kneighbors(known[chosen])
    # Copies of an entry lie as near as the entry itself, so it need not come first in its own list.
    itself = which == chosen[:, None]
    itself[~itself.any(axis=1), -1] = True
    return found[~itself].reshape(len(chosen), most).astype(np.float32)
