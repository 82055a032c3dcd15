"""The answers of the gallery, each with its trace to fold out."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

from natix_miner.cascade.trace import ExpertTrace, LevelTrace, Trace
from natix_miner.scoring.report.facts import Facts, read_trace
from natix_miner.scoring.report.kinds import kind_words
from natix_miner.scoring.row import ScoredQuery

#: Ends of the log-odds axis: at least, and at most, so that one extreme vote hides no other.
LEAST_REACH, MOST_REACH = 3.0, 8.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A value on the log-odds axis, in percent of its length; beyond the end it is `cut`."""

    left: float
    width: float
    side: str
    cut: bool


@dataclass(frozen=True, slots=True)
class OpinionLine:
    """One expert in one level; without log-odds, `said` is why (or its probability, not pooled)."""

    name: str
    said: str
    log_odds: float | None
    weight: float
    ms: float
    bar: Bar | None
    detail: str
    failed: bool


@dataclass(frozen=True, slots=True)
class LevelCard:
    """One level of the story: why, what each expert said, and the pooled value after it."""

    name: str
    entered: bool
    why: str
    ms: float
    opinions: tuple[OpinionLine, ...]
    probability: float | None
    log_odds: float | None
    bar: Bar | None


@dataclass(frozen=True, slots=True)
class Card:
    """One answer of the gallery. `kind` is wrong, right, silent or open (no label)."""

    row: ScoredQuery
    picture: str | None
    said: str
    truth: str
    kind: str
    words: tuple[str, ...]
    levels: tuple[LevelCard, ...]
    reach: float


def card_of(facts: Facts) -> Card:
    """What the gallery shows of one row. Raises QuerySourceError for a broken trace."""
    row = facts.row
    picture = None
    if row.thumbnail is not None:
        picture = "data:image/jpeg;base64," + base64.b64encode(row.thumbnail).decode("ascii")
    if not row.answered:
        kind = "silent"
    elif row.label is None:
        kind = "open"
    else:
        kind = "wrong" if row.wrong else "right"
    trace = read_trace(row)
    reach = reach_of(trace)
    return Card(
        row=row,
        picture=picture,
        said=f"{row.prediction:.3f}" if row.answered else "no answer",
        truth={1: "roadwork", 0: "none", None: "no label"}[row.label],
        kind=kind,
        words=tuple(kind_words(facts)),
        levels=tuple(_level(level, reach) for level in trace.levels) if trace else (),
        reach=reach,
    )


def reach_of(trace: Trace | None) -> float:
    """How far the log-odds axis of a trace goes to either side, a whole number."""
    levels = trace.levels if trace else ()
    seen = [level.log_odds for level in levels]
    seen += [expert.log_odds for level in levels for expert in level.experts]
    most = max((abs(one) for one in seen if one is not None), default=0.0)
    return min(MOST_REACH, max(LEAST_REACH, float(math.ceil(most))))


def bar_of(log_odds: float | None, reach: float) -> Bar | None:
    """The bar from zero to a value on an axis from -reach to reach."""
    if log_odds is None:
        return None
    share = 50.0 * min(1.0, abs(log_odds) / reach)
    left = 50.0 if log_odds >= 0.0 else 50.0 - share
    return Bar(left, share, "roadwork" if log_odds > 0.0 else "none", abs(log_odds) > reach)


def cards_of(facts: Sequence[Facts]) -> list[Card]:
    """The cards of some rows, in their order."""
    return [card_of(one) for one in facts]


def _level(level: LevelTrace, reach: float) -> LevelCard:
    return LevelCard(
        name=level.name,
        entered=level.entered,
        why=level.why,
        ms=level.ms,
        opinions=tuple(_opinion(expert, reach) for expert in level.experts),
        probability=level.probability,
        log_odds=level.log_odds,
        bar=bar_of(level.log_odds, reach),
    )


def _opinion(expert: ExpertTrace, reach: float) -> OpinionLine:
    shown = expert.probability if expert.calibrated is None else expert.calibrated
    tells = ", ".join(f"{name} {value:.2f}" for name, value in sorted(expert.conditions.items()))
    return OpinionLine(
        name=expert.name,
        said=f"{shown:.3f}" if shown is not None else tells or expert.status,
        log_odds=expert.log_odds,
        weight=expert.weight,
        ms=expert.ms,
        bar=bar_of(expert.log_odds, reach),
        detail=expert.detail,
        failed=expert.status != "ok",
    )
