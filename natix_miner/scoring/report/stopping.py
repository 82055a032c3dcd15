"""What stopping after each level would have earned, and what it would have cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from natix_miner.cascade import NO_ANSWER
from natix_miner.scoring.metrics import Metrics, measure
from natix_miner.scoring.report.facts import Facts
from natix_miner.scoring.reward import RewardInterval, reward_interval


@dataclass(frozen=True, slots=True)
class Stop:
    """Answers as they stood after one level, for all labelled queries.

    `entered` is the share of them that went into the level, `ended` the share for which it was the
    last; `expert_ms` the mean time of all experts asked up to it, `level_ms` that of the levels
    one after the other.
    """

    name: str
    entered: float
    ended: float
    expert_ms: float
    level_ms: float
    quality: Metrics
    reward: RewardInterval | None


def stops_of(facts: Sequence[Facts], *, seed: int, resamples: int) -> list[Stop]:
    """One stop a level, in the order of the cascade; empty without labelled traces.

    A query that ended earlier keeps the answer that it had. After the last level all answers are
    those that were given. Left out are answers without a trace.
    """
    used = [
        one for one in facts if one.row.label is not None and (one.traced or not one.row.answered)
    ]
    names = list(dict.fromkeys(level.name for one in used for level in one.levels))
    stood = [_Stood() for _ in used]
    found = []
    for name in names:
        for place, one in zip(stood, used, strict=True):
            place.go_on(one, name)
        if name == names[-1]:
            answers = [one.row.prediction for one in used]
        else:
            answers = [place.answer for place in stood]
        labels = [one.row.label or 0 for one in used]
        found.append(
            Stop(
                name=name,
                entered=sum(place.entered for place in stood) / len(used),
                ended=sum(one.row.level == name for one in used) / len(used),
                expert_ms=sum(place.expert_ms for place in stood) / len(used),
                level_ms=sum(place.level_ms for place in stood) / len(used),
                quality=measure(answers, labels),
                reward=reward_interval(answers, labels, seed=seed, resamples=resamples),
            )
        )
    return found


@dataclass(slots=True)
class _Stood:
    """Where one query stands on its way through the levels."""

    answer: float = NO_ANSWER
    expert_ms: float = 0.0
    level_ms: float = 0.0
    entered: bool = False

    def go_on(self, query: Facts, name: str) -> None:
        """Through the level of this name; who never came to it stays as he is."""
        self.entered = False
        for level in query.levels:
            if level.name == name:
                self.answer, self.entered = level.answer, level.entered
                self.expert_ms += level.expert_ms
                self.level_ms += level.ms
