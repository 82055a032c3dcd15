"""The headline figures and the tables of experts and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from natix_miner.scoring.metrics import measure
from natix_miner.scoring.report.experts import ExpertFigures, ExpertPanel
from natix_miner.scoring.report.facts import Facts
from natix_miner.scoring.summary import Summary

#: From arrival to verdict, in the words of the trace.
STAGES = {"waiting": "waiting for the judge", "decode": "decoding", "judge": "the levels"}


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline figure, its interval or a note under it; `alarm` colours it."""

    name: str
    value: str
    note: str = ""
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class ExpertLine:
    """One expert: how often it was asked and had no usable vote (`missing`, with `reasons`), how
    well it ranks the labels on its own, its mean time, and what a fit says of it."""

    name: str
    level: str
    asked: int
    missing: int
    reasons: str
    auc: float | None
    ms: float
    figures: ExpertFigures


@dataclass(frozen=True, slots=True)
class TimeLine:
    """One stage in ms; `share` is p99 of the time there is, None without a deadline."""

    name: str
    p50: float
    p95: float
    p99: float
    most: float
    share: float | None


def figure(value: float | None, digits: int = 3) -> str:
    """A figure for people; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def tiles(summary: Summary, deadline_ms: float | None) -> list[Tile]:
    """The headline figures."""
    quality, reward, latency = summary.quality, summary.reward, summary.latency_ms
    found = [
        Tile(
            "mean reward",
            figure(reward.mean if reward else None),
            f"{reward.low:.3f} to {reward.high:.3f}" if reward else "no labels",
        )
    ]
    for name, value in (("MCC", quality.mcc), ("accuracy", quality.accuracy), ("AUC", quality.auc)):
        interval = summary.intervals.get(name.lower())
        note = f"{interval.low:.3f} to {interval.high:.3f}" if interval else "no interval"
        found.append(Tile(name, figure(value), note))
    found.append(Tile("Brier", figure(quality.brier), f"calibration error {figure(quality.ece)}"))
    silent = summary.n - summary.answered
    found += [
        Tile(
            "answered",
            f"{100 * summary.answered / summary.n:.4g} %" if summary.n else "–",
            f"{summary.answered} of {summary.n}",
            silent > 0,
        ),
        Tile(
            "late",
            str(summary.late),
            f"deadline {deadline_ms / 1000:g} s" if deadline_ms is not None else "",
            summary.late > 0,
        ),
        Tile(
            "time to answer",
            f"{figure(latency['p50'], 1)} ms",
            f"p99 {figure(latency['p99'], 1)} ms",
        ),
    ]
    if summary.rate_per_second is not None:
        rate = summary.rate_per_second
        shown = f"{rate:,.0f} /s" if rate >= 10 else f"{rate:.1f} /s"
        found.append(Tile("rate", shown, "pictures judged"))
    return found


def expert_lines(facts: Sequence[Facts], panel: ExpertPanel) -> list[ExpertLine]:
    """Every expert that was asked, in the order of the cascade."""
    names = dict.fromkeys(name for one in facts for name in one.row.votes)
    levels = {name: seat for one in facts for name, seat in one.seats.items()}
    return [_expert(name, levels.get(name, ""), facts, panel) for name in names]


def _expert(name: str, level: str, facts: Sequence[Facts], panel: ExpertPanel) -> ExpertLine:
    votes = [(one.row.votes[name], one.row.label) for one in facts if name in one.row.votes]
    usable = [(vote, label) for vote, label in votes if not isinstance(vote, str)]
    known = [(vote, label) for vote, label in usable if label is not None]
    reasons = Counter(vote for vote, _ in votes if isinstance(vote, str))
    weights = [one.weights[name] for one in facts if name in one.weights]
    ms = [one.row.expert_ms[name] for one in facts if name in one.row.expert_ms]
    figures = panel.figures.get(name, ExpertFigures())
    if figures.weight is None and weights:
        # What the traces say themselves: the weight that it had in the answers of this run.
        figures = replace(figures, weight=float(np.mean(weights)))
    return ExpertLine(
        name=name,
        level=level,
        asked=len(votes),
        missing=len(votes) - len(usable),
        reasons=", ".join(f"{reason} {count}" for reason, count in reasons.most_common()),
        auc=measure([vote for vote, _ in known], [label for _, label in known]).auc,
        ms=float(np.mean(ms)) if ms else 0.0,
        figures=figures,
    )


def time_lines(facts: Sequence[Facts], deadline_ms: float | None) -> list[TimeLine]:
    """Where the time went, stage by stage, and all together; empty where nothing was timed."""
    found = []
    for stage, name in STAGES.items():
        times = [one.stages_ms[stage] for one in facts if stage in one.stages_ms]
        if times:
            found.append(_times(name, times, deadline_ms))
    whole = [one.row.total_ms for one in facts if one.row.total_ms > 0.0]
    return [*found, _times("arrival to verdict", whole, deadline_ms)] if whole else []


def _times(name: str, times: Sequence[float], deadline_ms: float | None) -> TimeLine:
    p50, p95, p99, most = (float(one) for one in np.quantile(times, [0.5, 0.95, 0.99, 1.0]))
    return TimeLine(name, p50, p95, p99, most, p99 / deadline_ms if deadline_ms else None)
