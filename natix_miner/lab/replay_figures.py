"""What a replay comes to: which answers differ, which change sides, and what they would earn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from natix_miner.cascade import NO_ANSWER


@dataclass(frozen=True, slots=True)
class Again:
    """One query before and after; `levels` names the levels whose pooled value is another one.

    `before` and `after` are answers in [0, 1], or -1 for none; `by` is how far the answers lie
    apart, 1 where only one of them is an answer.
    """

    id: str
    name: str
    label: int | None
    before: float
    after: float
    levels: tuple[str, ...] = ()

    @property
    def by(self) -> float:
        """How far the two answers lie apart, in [0, 1]."""
        if (self.before == NO_ANSWER) != (self.after == NO_ANSWER):
            return 1.0
        return abs(self.before - self.after)

    @property
    def flips(self) -> bool:
        """Whether it is decided otherwise: another side of one half, or an answer or none."""
        return _side(self.before) != _side(self.after)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "label": self.label,
            "before": self.before,
            "after": self.after,
            "levels": list(self.levels),
        }


@dataclass(frozen=True, slots=True)
class Earned:
    """What a stream of answers comes to: mean reward, MCC (None where a class is missing, in the
    labels or among the answers) and accuracy of the answers."""

    reward: float
    mcc: float | None
    accuracy: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Plain data for JSON."""
        return {"reward": self.reward, "mcc": self.mcc, "accuracy": self.accuracy}


@dataclass(frozen=True, slots=True)
class Replayed:
    """A whole replay; `as_dict` is the document of `natix-miner replay --json`.

    `queries` were compared, in stored order; `left_out` counts the others by reason. `stored`
    counts the queries by what made their answers then (version of consensus or profile), `given`
    is what made them now. `not_entered` counts the queries in which a level was not asked, so that
    its opinions are not there to be pooled. Differences up to `tolerance` count as none.
    """

    mode: str
    queries: tuple[Again, ...]
    left_out: Mapping[str, int]
    stored: Mapping[str, int]
    given: tuple[str, ...]
    not_entered: Mapping[str, int]
    seconds: float
    tolerance: float = 0.0
    remarks: tuple[str, ...] = ()

    @property
    def different(self) -> tuple[Again, ...]:
        """The queries of which an answer or the value after a level is another one."""
        return tuple(one for one in self.queries if one.levels or one.by > self.tolerance)

    @property
    def flips(self) -> tuple[Again, ...]:
        """The queries that are decided otherwise, those furthest apart first."""
        return tuple(sorted((one for one in self.queries if one.flips), key=lambda one: -one.by))

    def earned(self) -> tuple[Earned, Earned] | None:
        """What the labelled answers come to before and after; None without a label."""
        labelled = [(one, one.label) for one in self.queries if one.label is not None]
        if not labelled:
            return None
        labels = [label for _, label in labelled]
        return (
            _earned([one.before for one, _ in labelled], labels),
            _earned([one.after for one, _ in labelled], labels),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        earned = self.earned()
        different = self.different
        return {
            "mode": self.mode,
            "n": len(self.queries),
            "left_out": dict(self.left_out),
            "labelled": sum(one.label is not None for one in self.queries),
            "stored": dict(self.stored),
            "given": list(self.given),
            "differences": {
                "queries": len(different),
                "answers": sum(one.by > self.tolerance for one in self.queries),
                "levels": dict(Counter(name for one in different for name in one.levels)),
                "decisions": len(self.flips),
                "largest": max((one.by for one in self.queries), default=0.0),
                "tolerance": self.tolerance,
            },
            "before": earned[0].as_dict() if earned else None,
            "after": earned[1].as_dict() if earned else None,
            "flips": [one.as_dict() for one in self.flips],
            "not_entered": dict(self.not_entered),
            "seconds": round(self.seconds, 4),
            "rate_per_second": round(len(self.queries) / self.seconds, 1) if self.seconds else None,
            "remarks": list(self.remarks),
        }


def _side(prediction: float) -> bool | None:
    return None if prediction == NO_ANSWER else prediction > 0.5


def _earned(predictions: Sequence[float], labels: Sequence[int]) -> Earned:
    from natix_miner.scoring.metrics import measure
    from natix_miner.scoring.reward import rewards

    quality = measure(predictions, labels)
    return Earned(float(rewards(predictions, labels).mean()), quality.mcc, quality.accuracy)
