"""From rows to the figures that are printed, written to summary.json and shown in the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from natix_miner.scoring.metrics import Confusion, Interval, Metrics, intervals, measure
from natix_miner.scoring.reward import (
    ACCURACY_WINDOW,
    DEFAULT_RESAMPLES,
    MCC_WINDOW,
    RewardInterval,
    reward_interval,
)
from natix_miner.scoring.row import ScoredQuery

NO_LEVEL = "no level"


@dataclass(frozen=True, slots=True)
class Summary:
    """All figures of one run; `as_dict` is the document of `natix-miner score --json`.

    `n` counts queries, `labelled` those with a label; quality is over the labelled ones only.
    Times are in milliseconds; `levels` and its shares are by the last level entered.
    """

    n: int
    answered: int
    missing: Mapping[str, int]
    late: int
    quality: Metrics
    intervals: Mapping[str, Interval]
    reward: RewardInterval | None
    levels: Mapping[str, float]
    expert_ms_per_query: Mapping[str, float]
    latency_ms: Mapping[str, float | None]
    rate_per_second: float | None
    settings: Mapping[str, Any]

    @property
    def labelled(self) -> int:
        """Queries with a label."""
        return self.quality.n

    @property
    def confusion(self) -> Confusion:
        """Decisions against labels."""
        return self.quality.confusion

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; figures that the data cannot give are None."""
        reward: dict[str, Any] = {"mean": None, "low": None, "high": None, "resampled_mean": None}
        if self.reward is not None:
            reward = asdict(self.reward)
        quality = self.quality
        return {
            "n": self.n,
            "labelled": self.labelled,
            "answered": self.answered,
            "missing": dict(self.missing),
            "late": self.late,
            "mcc": quality.mcc,
            "accuracy": quality.accuracy,
            "auc": quality.auc,
            "brier": quality.brier,
            "ece": quality.ece,
            "intervals": {name: [one.low, one.high] for name, one in self.intervals.items()},
            "confusion": asdict(quality.confusion),
            "reward": {**reward, "windows": [MCC_WINDOW, ACCURACY_WINDOW]},
            "levels": dict(self.levels),
            "expert_ms_per_query": dict(self.expert_ms_per_query),
            "latency_ms": dict(self.latency_ms),
            "rate_per_second": self.rate_per_second,
            "settings": dict(self.settings),
        }


def summarise(
    rows: Sequence[ScoredQuery],
    *,
    settings: Mapping[str, Any] | None = None,
    rate_per_second: float | None = None,
    seed: int = 0,
    resamples: int = DEFAULT_RESAMPLES,
) -> Summary:
    """The figures of `rows`, given in the order of the stream; `seed` is that of the bootstrap."""
    labelled = [(row.prediction, row.label) for row in rows if row.label is not None]
    predictions = [prediction for prediction, _ in labelled]
    labels = [label for _, label in labelled]
    levels = Counter(row.level or NO_LEVEL for row in rows)
    return Summary(
        n=len(rows),
        answered=sum(row.answered for row in rows),
        missing=dict(Counter(_short(row.reason) for row in rows if not row.answered).most_common()),
        late=sum(row.late for row in rows),
        quality=measure(predictions, labels),
        intervals=intervals(predictions, labels, seed=seed, resamples=resamples),
        reward=reward_interval(predictions, labels, seed=seed, resamples=resamples),
        levels={name: count / len(rows) for name, count in levels.most_common()},
        expert_ms_per_query=_expert_ms(rows),
        latency_ms=_latency([row.total_ms for row in rows]),
        rate_per_second=rate_per_second,
        settings=dict(settings or {}),
    )


def _short(reason: str) -> str:
    """The fixed word of a reason, without what is told about one case in brackets."""
    return reason.split(" (", maxsplit=1)[0]


def _expert_ms(rows: Sequence[ScoredQuery]) -> dict[str, float]:
    total: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        for name, ms in row.expert_ms.items():
            total[name] += ms
    return {name: ms / len(rows) for name, ms in sorted(total.items())}


def _latency(total_ms: Sequence[float]) -> dict[str, float | None]:
    if not total_ms:
        return {"p50": None, "p99": None}
    p50, p99 = np.quantile(total_ms, [0.5, 0.99])
    return {"p50": float(p50), "p99": float(p99)}
