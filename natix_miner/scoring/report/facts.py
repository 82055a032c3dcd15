"""What the report needs of each trace, so that the traces themselves need not be held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from natix_miner.cascade import NO_ANSWER
from natix_miner.cascade.trace import LevelTrace, PictureTrace, Trace
from natix_miner.consensus import answer_from
from natix_miner.errors import QuerySourceError
from natix_miner.scoring.row import ScoredQuery


@dataclass(frozen=True, slots=True)
class LevelFacts:
    """One level in one query: the answer as it stood after it (-1 for none), its experts' time
    together and its own, in ms."""

    name: str
    entered: bool
    answer: float
    expert_ms: float
    ms: float


@dataclass(frozen=True, slots=True)
class Facts:
    """One row and what its trace says; without a trace everything but the row is empty.

    `conditions` are those that experts told, the largest of each, in [0, 1]; `weights` are in the
    pool, of usable votes, by expert; `seats` maps an expert to its level.
    """

    row: ScoredQuery
    traced: bool = False
    picture: PictureTrace | None = None
    conditions: Mapping[str, float] = field(default_factory=dict)
    levels: tuple[LevelFacts, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    seats: Mapping[str, str] = field(default_factory=dict)
    stages_ms: Mapping[str, float] = field(default_factory=dict)


def facts_of(rows: Iterable[ScoredQuery]) -> list[Facts]:
    """The facts of each row, in the same order. Raises QuerySourceError for a broken trace."""
    return [_facts(row, read_trace(row)) for row in rows]


def read_trace(row: ScoredQuery) -> Trace | None:
    """The trace of a row; None where it has none. Raises QuerySourceError for a broken one."""
    if not row.trace:
        return None
    try:
        return Trace.model_validate_json(row.trace)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise QuerySourceError(
            f"the trace of {row.name} cannot be read ({place}: {first['msg']}): it was changed, or "
            "written by another version; score these queries again"
        ) from error


def _facts(row: ScoredQuery, trace: Trace | None) -> Facts:
    if trace is None:
        return Facts(row)
    conditions: dict[str, float] = {}
    weights: dict[str, float] = {}
    seats: dict[str, str] = {}
    for level in trace.levels:
        for expert in level.experts:
            seats[expert.name] = level.name
            if expert.log_odds is not None:
                weights[expert.name] = expert.weight
            for name, value in expert.conditions.items():
                conditions[name] = max(value, conditions.get(name, 0.0))
    return Facts(
        row=row,
        traced=True,
        picture=trace.picture,
        conditions=conditions,
        levels=tuple(_level(level) for level in trace.levels),
        weights=weights,
        seats=seats,
        stages_ms=trace.stages_ms,
    )


def _level(level: LevelTrace) -> LevelFacts:
    cost = sum(expert.ms for expert in level.experts)
    answer = NO_ANSWER if level.log_odds is None else answer_from(level.log_odds)
    return LevelFacts(level.name, level.entered, answer, cost, level.ms)
