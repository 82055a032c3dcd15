"""Building an index from labelled pictures, one after the other."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from natix_miner import __version__
from natix_miner.errors import ModelError, PictureError
from natix_miner.experts.memory.card import IndexCard
from natix_miner.experts.memory.features import ScaledFeatures, proper
from natix_miner.experts.memory.hashes import hash_of
from natix_miner.experts.memory.index import Index, Scale, own_neighbours
from natix_miner.experts.memory.probe import probe_picture
from natix_miner.experts.memory.reliability import RELIABILITIES, Told, holding
from natix_miner.images import Pixels, decode_picture
from natix_miner.sections import PictureLimits

#: Formats of saved pictures; what a miner accepts over the wire is not the question here.
LIMITS = PictureLimits(formats=("JPEG", "PNG", "WEBP"))
#: So many pictures are described at once.
BATCH = 16


@dataclass(frozen=True, slots=True)
class Labelled:
    """One asking of a picture, or one file: its name, what was told of it, how its bytes are read
    (None: they were not kept)."""

    id: str
    told: tuple[Told, ...]
    load: Callable[[], bytes | None]
    sha256: str | None = None


@dataclass(slots=True)
class _Known:
    """A picture of the index to be; the same bytes come once, however often they were asked."""

    id: str
    hash: int
    told: list[Told] = field(default_factory=list)


class IndexBuilder:
    """Takes labelled pictures with `add`, gives the index with `finished`.

    Pictures that cannot be used are left out and counted in `left_out`, by reason.
    """

    def __init__(
        self, features: ScaledFeatures, reliabilities: Mapping[str, float] | None = None
    ) -> None:
        self.left_out: Counter[str] = Counter()
        self._features = features
        self._reliabilities = {**RELIABILITIES, **(reliabilities or {})}
        self._known: dict[str, _Known | None] = {}
        self._waiting: list[tuple[_Known, Pixels]] = []
        self._raw: list[np.ndarray] = []
        self._kept: list[tuple[str, _Known]] = []

    def add(self, one: Labelled) -> None:
        """Remember a picture; of one that is there already only what was told of it."""
        if not one.told:
            self.left_out["no label"] += 1
            return
        digest = one.sha256
        if digest not in self._known:
            data = self._bytes_of(one)
            if data is None:
                return
            digest = hashlib.sha256(data).hexdigest()
            if digest not in self._known:
                self._known[digest] = self._described(one, digest, data)
        known = self._known[str(digest)]
        if known is not None:
            known.told += one.told

    def finished(self, *, features: str, made_at: float, half: bool = False) -> Index:
        """The index of all that was added; `half` keeps vectors as float16, in half the space.

        Raises ModelError unless there are pictures with roadwork and pictures without: of one
        kind alone every neighbour would say the same.
        """
        self._describe()
        told = [holding(known.told, self._reliabilities) for _, known in self._kept]
        labels = np.array([newest.label for newest, _ in told], np.uint8)
        roadwork, none = int((labels == 1).sum()), int((labels == 0).sum())
        if not roadwork or not none:
            raise ModelError(
                f"{roadwork} labelled pictures with roadwork and {none} without can be used"
                f"{self._told()}: an index needs both; label more "
                "(natix-miner journal label), or give other pictures"
            )
        raw = np.concatenate(self._raw)
        scale = Scale.fitted(raw, self._features.scaling)
        vectors: NDArray[np.floating] = scale.of(raw)
        if half:
            vectors = vectors.astype(np.float16)
        reliabilities = np.array([reliability for _, reliability in told], np.float32)
        card = IndexCard(
            features=features,
            features_version=self._features.version,
            scaling=self._features.scaling,
            dimension=raw.shape[1],
            roadwork=roadwork,
            none=none,
            sources=dict(Counter(newest.source for newest, _ in told)),
            left_out=dict(self.left_out),
            made_from=self._made_from(labels, reliabilities),
            made_by=__version__,
            made_at=made_at,
            ids=tuple(known.id for _, known in self._kept),
        )
        return Index(
            card,
            scale,
            vectors,
            labels,
            reliabilities,
            hashes=np.array([known.hash for _, known in self._kept], np.uint64),
            own=own_neighbours(vectors),
            probe=self._features.of([probe_picture()])[0],
        )

    def _bytes_of(self, one: Labelled) -> bytes | None:
        try:
            data = one.load()
        except PictureError as error:
            self.left_out[error.reason] += 1
            return None
        if data is None:
            self.left_out["picture not kept"] += 1
        return data

    def _described(self, one: Labelled, digest: str, data: bytes) -> _Known | None:
        try:
            picture = proper(decode_picture(data, LIMITS))
        except PictureError as error:
            self.left_out[error.reason] += 1
            return None
        found = hash_of(picture)
        if found is None:
            self.left_out["no structure"] += 1
            return None
        known = _Known(one.id, found)
        self._kept.append((digest, known))
        self._waiting.append((known, picture))
        if len(self._waiting) >= BATCH:
            self._describe()
        return known

    def _describe(self) -> None:
        if not self._waiting:
            return
        raw = self._features.of([picture for _, picture in self._waiting])
        if not np.isfinite(raw).all():
            names = [known.id for known, _ in self._waiting]
            worst = names[int(np.flatnonzero(~np.isfinite(raw).all(axis=1))[0])]
            raise ModelError(
                f"the features of {worst} are not finite numbers: check the model that makes them"
            )
        self._raw.append(raw)
        self._waiting.clear()

    def _made_from(self, labels: np.ndarray, reliabilities: np.ndarray) -> str:
        rows = sorted(
            (digest, int(label), round(float(reliability), 6))
            for (digest, _), label, reliability in zip(
                self._kept, labels, reliabilities, strict=True
            )
        )
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]

    def _told(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        return f" (left out: {reasons})" if reasons else ""


def build_index(
    pictures: Iterable[Labelled],
    loaded: ScaledFeatures,
    *,
    features: str,
    made_at: float,
    reliabilities: Mapping[str, float] | None = None,
    half: bool = False,
) -> Index:
    """The index of these pictures; see `IndexBuilder`."""
    builder = IndexBuilder(loaded, reliabilities)
    for one in pictures:
        builder.add(one)
    return builder.finished(features=features, made_at=made_at, half=half)
