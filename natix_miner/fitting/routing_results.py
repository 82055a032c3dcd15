"""What routing comes to, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from natix_miner.cascade.level import EntryRule
from natix_miner.fitting.routing_settings import GOAL_SHARE

Ends = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Point:
    """One way of routing: expected reward in [0, 1], expert-milliseconds a query, that cost as a
    share of asking everybody and the reward lost against it, the rule and the share of queries of
    each level after the first; `front` when no cheaper point of the curve is paid as much."""

    reward: float
    cost_ms: float
    cost_share: float
    reward_loss: float
    rules: Mapping[str, EntryRule]
    entered: Mapping[str, float]
    front: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "reward": round(self.reward, 5),
            "cost_ms": round(self.cost_ms, 3),
            "cost_share": round(self.cost_share, 5),
            "reward_loss": round(self.reward_loss, 5),
            "thresholds": {
                name: {
                    "unsure_below": rule.unsure_below,
                    "disagreement_above": rule.disagreement_above,
                }
                for name, rule in self.rules.items()
            },
            "entered": {name: round(share, 5) for name, share in self.entered.items()},
        }


@dataclass(frozen=True, slots=True)
class Routing:
    """What routing comes to, on `n` queries of `groups`.

    `all` asks everybody, `first_level_only` nobody after the first level. `chosen` and the points
    of `curve` are held out; their rules are those found on all queries. `interval` (low, high) of
    the chosen point by figure: reward, reward_loss, cost_share. `believed_loss` is its loss of
    reward with the pool's probabilities in place of the labels: far steadier, and as true as the
    pool is calibrated. `reached` when the goal is: at most a fifth of the cost, within what may be
    lost, by the labels. `time_ms` until the last level of the chosen point is done: p50, p99.
    """

    all: Point
    first_level_only: Point
    chosen: Point
    interval: Mapping[str, Ends]
    believed_loss: float
    curve: tuple[Point, ...]
    time_ms: Mapping[str, float]
    reached: bool
    n: int
    groups: int
    within: float
    remarks: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The document of `natix-miner fit --routing --json`, without the patch."""
        bare = {"thresholds", "entered", "cost_share", "reward_loss"}
        return {
            "n": self.n,
            "groups": self.groups,
            "within": self.within,
            "all": {k: v for k, v in self.all.as_dict().items() if k not in bare},
            "first_level_only": {
                k: v for k, v in self.first_level_only.as_dict().items() if k != "thresholds"
            },
            "chosen": {
                **self.chosen.as_dict(),
                "interval": {
                    name: [round(low, 5), round(high, 5)]
                    for name, (low, high) in self.interval.items()
                },
                "believed_loss": round(self.believed_loss, 5),
                "time_ms": {name: round(value, 2) for name, value in self.time_ms.items()},
            },
            "goal": {"cost_share": GOAL_SHARE, "within": self.within, "reached": self.reached},
            "curve": [{**point.as_dict(), "front": point.front} for point in self.curve],
            "remarks": list(self.remarks),
        }
