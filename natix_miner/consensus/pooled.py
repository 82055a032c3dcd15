"""What a pool comes to: votes after calibration, and one value over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from natix_miner.log_odds import expit


@dataclass(frozen=True, slots=True)
class Vote:
    """One usable opinion after calibration; `weight` is its share in the pool."""

    expert: str
    calibrated: float
    log_odds: float
    weight: float


@dataclass(frozen=True, slots=True)
class Pooled:
    """The pool's value over the votes.

    `disagreement` is the weighted standard deviation of the votes' log-odds (0 for a single vote);
    `bias` what the pool added to the votes for the frame and for missing votes.
    """

    log_odds: float
    probability: float
    disagreement: float
    votes: tuple[Vote, ...]
    bias: float = 0.0

    @classmethod
    def of(cls, votes: tuple[Vote, ...], log_odds: float, bias: float = 0.0) -> Pooled:
        """The pooled value `log_odds` of these votes."""
        return cls(
            log_odds=log_odds,
            probability=expit(log_odds),
            disagreement=spread([(abs(vote.weight), vote.log_odds) for vote in votes]),
            votes=votes,
            bias=bias,
        )


def spread(weighted: Sequence[tuple[float, float]]) -> float:
    """Standard deviation of values, each with a weight not below 0: pairs (weight, value)."""
    total = math.fsum([weight for weight, _ in weighted])
    if total <= 0.0 or len(weighted) < 2:
        return 0.0
    mean = math.fsum([weight * value for weight, value in weighted]) / total
    return math.sqrt(
        math.fsum([weight * (value - mean) ** 2 for weight, value in weighted]) / total
    )
