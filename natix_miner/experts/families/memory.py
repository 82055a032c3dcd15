"""The memory: what labelled pictures that look alike, or are the same, were.

It reads an index that `natix-miner memory build` made. A picture that looks like nothing in it gets
no trust; one that is in it gets the answer that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from natix_miner.errors import ExpertError, ModelError
from natix_miner.experts.family import ExpertSettings, Family, Surroundings
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.experts.memory.bursts import Bursts
from natix_miner.experts.memory.features import (
    SIDE,
    ColourShapeSection,
    FeaturesSection,
    ScaledFeatures,
    load_features,
    proper,
)
from natix_miner.experts.memory.hashes import BITS, hash_of, require_hashes
from natix_miner.experts.memory.index import MOST_NEIGHBOURS
from natix_miner.experts.memory.recall import Recall, Recalled
from natix_miner.experts.memory.storing import load_index
from natix_miner.experts.memory.voting import (
    copy_weights,
    neighbour_weights,
    share_of_roadwork,
    trust_of,
)
from natix_miner.experts.opinion import Evidence, Look
from natix_miner.images import Frame, View, upright

#: So many neighbours go into the trace.
TRACED = 3
_WORDS = ("none", "roadwork")


class MemorySettings(ExpertSettings):
    """`index` is the folder that `natix-miner memory build` wrote, `features` what it was made
    with. The `k` nearest entries vote, against a prior of 0.5 that is worth `prior` of them; with
    `balance` the rarer label of the index weighs more, so that its mixture is no evidence. Trust
    falls from 1 to 0 between the novelty `familiar` and 1.

    Pictures whose hashes differ in at most `near_duplicate_distance` of 64 bits are copies:
    `duplicates: vote` lets a copy's label decide, `ignore` judges as if it were not there (for
    honest evaluation). Copies asked within `burst_seconds` are counted, among the last
    `bursts_kept` askings.
    """

    type: Literal["memory"] = "memory"
    index: Path
    features: FeaturesSection = ColourShapeSection()
    k: Annotated[int, Field(ge=1, le=MOST_NEIGHBOURS)] = 15
    prior: PositiveFloat = 1.0
    balance: bool = True
    familiar: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.8
    near_duplicate_distance: Annotated[int, Field(ge=0, le=BITS // 4)] = 6
    duplicates: Literal["vote", "ignore"] = "vote"
    burst_seconds: NonNegativeFloat = 120.0
    bursts_kept: PositiveInt = 8192


class Memory(InProcessExpert):
    """One opinion a frame from the labels of what it resembles."""

    def __init__(self, name: str, settings: MemorySettings, surroundings: Surroundings) -> None:
        super().__init__(name, settings.batch_limits(), surroundings.clock)
        self._settings = settings
        self._surroundings = surroundings
        self._features: ScaledFeatures | None = None
        self._recall: Recall | None = None
        self._bursts = Bursts(
            settings.near_duplicate_distance, settings.burst_seconds, settings.bursts_kept
        )

    def load(self) -> None:
        settings = self._settings
        require_hashes()
        index = load_index(self._surroundings.folder / settings.index)
        features = load_features(self.name, settings.features, self._surroundings)
        try:
            self._recall = Recall(index, features, settings.k, settings.near_duplicate_distance)
        except ModelError:
            features.close()
            raise
        self._features = features
        self.version = f"{index.card.vectors_sha256[:16]}:{features.version}"

    def views(self, frame: Frame) -> list[View]:
        return [upright(frame, SIDE)]

    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        recall = self._recall
        if recall is None:
            raise ModelError(f"expert {self.name!r} was asked before it was loaded")
        now = self._clock.monotonic()
        pictures = [proper(frame) for frame in frames]
        hashes = [hash_of(picture) for picture in pictures]
        told = [
            "no structure to hash" if found is None else self._bursts.asked(found, now).told()
            for found in hashes
        ]
        return [
            ExpertError(f"expert {self.name!r}: the picture's features are no finite numbers")
            if recalled is None
            else self._look_of(recall, recalled, burst)
            for recalled, burst in zip(recall.recall(pictures, hashes), told, strict=True)
        ]

    async def close(self) -> None:
        await super().close()
        if self._features is not None:
            self._features.close()
            self._features = self._recall = None

    def _look_of(self, recall: Recall, recalled: Recalled, burst: str) -> Look:
        copied = bool(len(recalled.copies)) and self._settings.duplicates == "vote"
        detail = (self._told_of_copies(recall, recalled), _told_of(recall, recalled), burst)
        return Look(
            probability=self._vote(recall, recalled, copied),
            evidence=_evidence(recall, recalled, copied),
            trust=1.0 if copied else trust_of(recalled.novelty, self._settings.familiar),
            detail="; ".join(part for part in detail if part),
            conditions={
                "novelty": 0.0 if copied else recalled.novelty,
                "seen-before": float(copied),
            },
        )

    def _vote(self, recall: Recall, recalled: Recalled, copied: bool) -> float:
        index, settings = recall.index, self._settings
        if copied:
            voters = recalled.copies
            weights = copy_weights(
                recalled.bits, index.reliabilities[voters], settings.near_duplicate_distance
            )
        else:
            voters = recalled.neighbours
            weights = neighbour_weights(recalled.distances, index.reliabilities[voters])
            if settings.balance:
                weights = weights * index.balance()[index.labels[voters]]
        return share_of_roadwork(index.labels[voters], weights, settings.prior)

    def _told_of_copies(self, recall: Recall, recalled: Recalled) -> str:
        if not len(recalled.copies):
            return ""
        index, nearest = recall.index, int(recalled.copies[0])
        more = f" and {len(recalled.copies) - 1} more" if len(recalled.copies) > 1 else ""
        ignored = " (left out)" if self._settings.duplicates == "ignore" else ""
        return (
            f"seen before: {index.card.ids[nearest]}, labelled {_WORDS[index.labels[nearest]]}, "
            f"hash distance {recalled.bits[0]}{more}{ignored}"
        )


def _told_of(recall: Recall, recalled: Recalled) -> str:
    roadwork = int(recall.index.labels[recalled.neighbours].sum())
    return f"{roadwork} of {len(recalled.neighbours)} neighbours roadwork"


def _evidence(recall: Recall, recalled: Recalled, copied: bool) -> tuple[Evidence, ...]:
    """Copies with the share of bits that agree, or the nearest neighbours with how near they are:
    1 at distance 0, 1/e at the typical distance."""
    index = recall.index
    if copied:
        scores = 1.0 - recalled.bits / BITS
        found = [("copy of", *pair) for pair in zip(recalled.copies, scores, strict=True)]
    else:
        scores = np.exp(-recalled.distances / recall.typical)
        found = [("like", *pair) for pair in zip(recalled.neighbours, scores, strict=True)]
    return tuple(
        Evidence(f"{how} {index.card.ids[entry]}: {_WORDS[index.labels[entry]]}", float(score))
        for how, entry, score in found[:TRACED]
    )


FAMILY = Family(type="memory", settings=MemorySettings, build=Memory)
