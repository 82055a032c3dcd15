"""How a pooled value came together: bias and votes, one step after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from natix_miner.cascade.trace import ExpertTrace, LevelTrace, Trace
from natix_miner.consensus import Consensus, Pooled
from natix_miner.lab.replay import levels_again

#: What rounding may leave over of a sum of log-odds.
ROUNDING = 1e-6

StepKind = Literal["bias", "vote", "rest"]


@dataclass(frozen=True, slots=True)
class Step:
    """Part of a pooled value: it moves the log-odds from `start` to `end`."""

    name: str
    kind: StepKind
    start: float
    end: float

    @property
    def value(self) -> float:
        """What it adds."""
        return self.end - self.start


def steps_of(
    trace: Trace, number: int, consensus: Consensus | None = None
) -> tuple[tuple[Step, ...], str]:
    """The steps to the pooled value after level `number`, and a remark on them.

    The trace tells the weights of the experts of this level; what those of earlier levels add
    together is what is left over. The very `consensus` that pooled them tells each.
    """
    level = trace.levels[number]
    if not level.entered or level.log_odds is None:
        return (), ""
    method = str(trace.versions.get("consensus", "")).partition(":")[0]
    if method == "majority":
        return (), "a majority counts votes, so they do not add up: what counts is their side"
    pooled = _pooled_again(trace, number, consensus)
    if pooled is not None:
        order = [one.name for one in _experts(trace.levels[: number + 1])]
        heard = sorted(pooled.votes, key=lambda vote: order.index(vote.expert))
        votes = [(vote.expert, vote.weight * vote.log_odds) for vote in heard]
        return _steps(level, votes, "calibrated afterwards"), ""
    votes = [
        (one.name, one.weight * one.log_odds) for one in level.experts if one.log_odds is not None
    ]
    after = "calibration afterwards" if method == "geometric-mean" else ""
    earlier = any(one.log_odds is not None for one in _experts(trace.levels[:number]))
    rest = " and ".join(part for part in ("earlier levels" if earlier else "", after) if part)
    remark = (
        "the votes of earlier levels are shown together: their weights change with every level "
        "and the trace keeps those of their own"
    )
    return _steps(level, votes, rest or "not told by the trace"), remark if earlier else ""


def _experts(levels: Iterable[LevelTrace]) -> list[ExpertTrace]:
    return [one for level in levels for one in level.experts]


def _pooled_again(trace: Trace, number: int, consensus: Consensus | None) -> Pooled | None:
    """What the consensus says once more; None where it does not come to the very values and
    weights of the trace, so that it is not the one that pooled this query."""
    if consensus is None:
        return None
    until = trace.model_copy(update={"levels": trace.levels[: number + 1]})
    *_, (level, pooled) = levels_again(until, consensus)
    if pooled is None or level.log_odds is None:
        return None
    weights = {vote.expert: vote.weight for vote in pooled.votes}
    told = [(pooled.log_odds, level.log_odds), (pooled.bias, level.bias or 0.0)]
    told += [
        (weights.get(one.name, math.inf), one.weight)
        for one in level.experts
        if one.log_odds is not None
    ]
    return pooled if all(abs(ours - theirs) <= ROUNDING for ours, theirs in told) else None


def _steps(level: LevelTrace, votes: list[tuple[str, float]], rest: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    now = 0.0
    parts: list[tuple[str, StepKind, float]] = []
    if level.bias:
        parts.append(("bias", "bias", level.bias))
    parts += [(name, "vote", value) for name, value in votes]
    left = (level.log_odds or 0.0) - sum(value for _, _, value in parts)
    if abs(left) > ROUNDING:
        parts.append((rest, "rest", left))
    for name, kind, value in parts:
        steps.append(Step(name, kind, now, now + value))
        now += value
    return tuple(steps)
