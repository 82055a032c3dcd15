"""Asking an index: copies by hash, neighbours by vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import ModelError
from natix_miner.experts.memory.features import ScaledFeatures
from natix_miner.experts.memory.hashes import distances
from natix_miner.experts.memory.index import Index
from natix_miner.experts.memory.probe import probe_picture
from natix_miner.experts.memory.voting import novelty_of
from natix_miner.images import Pixels

Numbers = NDArray[np.int64]

#: How far the probe's vector may have moved, as a share of the typical neighbour's distance.
PROBE_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class Recalled:
    """What an index knows of one picture: entries that are copies of it (`copies`) and in how many
    bits they differ, nearest first; the k nearest other entries and their distances; novelty."""

    copies: Numbers
    bits: Numbers
    neighbours: Numbers
    distances: NDArray[np.float64]
    novelty: float


class Recall:
    """An index with its search; `typical` is the median distance of an entry to its k-th."""

    def __init__(self, index: Index, features: ScaledFeatures, k: int, near: int) -> None:
        """Raises ModelError when the features are not those of the index, or k is too large."""
        from sklearn.neighbors import NearestNeighbors

        self.index = index
        self._features, self._k, self._near = features, k, near
        self._own = index.own_distances(k)
        self.typical = max(float(np.median(self._own)), 1e-6)
        self._refuse_other_features()
        known = np.asarray(index.vectors, np.float32)
        self._search: Any = NearestNeighbors(algorithm="brute").fit(known)

    def recall(self, pictures: list[Pixels], hashes: list[int | None]) -> list[Recalled | None]:
        """What is known of each picture; None where its features are no finite numbers."""
        raw = self._features.of(pictures)
        finite = [bool(np.isfinite(row).all()) for row in raw]
        vectors = self.index.scale.of(np.nan_to_num(raw, posinf=0.0, neginf=0.0))
        copies = [self._copies(found) for found in hashes]
        # Copies are no neighbours; enough others must be left when they are taken out.
        asked = min(len(self.index), self._k + max(len(which) for which, _ in copies))
        far, near = self._search.kneighbors(vectors, n_neighbors=asked)
        return [
            self._recalled(far[row], near[row], *copies[row]) if finite[row] else None
            for row in range(len(pictures))
        ]

    def _copies(self, found: int | None) -> tuple[Numbers, Numbers]:
        if found is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        bits = distances(found, self.index.hashes)
        which = np.flatnonzero(bits <= self._near)
        which = which[np.argsort(bits[which], kind="stable")]
        return which, bits[which]

    def _recalled(
        self, far: NDArray[np.float64], near: Numbers, copies: Numbers, bits: Numbers
    ) -> Recalled:
        others = np.flatnonzero(~np.isin(near, copies))[: self._k]
        chosen = np.asarray(far[others], np.float64)
        novelty = novelty_of(float(chosen[-1]), self._own) if len(chosen) else 1.0
        return Recalled(copies, bits, near[others], chosen, novelty)

    def _refuse_other_features(self) -> None:
        card, features = self.index.card, self._features
        anew = "build the index anew with these features (natix-miner memory build)"
        if features.version != card.features_version:
            raise ModelError(
                f"the index was made with features {card.features} {card.features_version}, and "
                f"those loaded are {features.version}: {anew}"
            )
        probe = np.stack((features.of([probe_picture()])[0], self.index.probe))
        first, second = self.index.scale.of(probe)
        moved = float(np.linalg.norm(first - second)) / self.typical
        if not moved <= PROBE_TOLERANCE:
            raise ModelError(
                f"features {card.features} {card.features_version} describe the test picture "
                f"otherwise than when the index was made ({moved:.2f} of a neighbour's distance "
                f"away): {anew}"
            )
