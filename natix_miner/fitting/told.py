"""What a stored query tells a fit: its opinions without the rest of its trace."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from natix_miner.cascade.trace import ExpertTrace, Trace
from natix_miner.consensus import frame_conditions
from natix_miner.experts import Status
from natix_miner.fitting.grouping import Kin, KinReader
from natix_miner.stored import StoredQuery

DUPLICATES, CONFLICTING = "duplicates", "conflicting labels"
REFUSED, NOBODY_ASKED, WITHOUT_LABEL = "no picture (refused)", "nobody was asked", "no label"


@dataclass(frozen=True, slots=True)
class Said:
    """What one expert said: `probability` is NaN where there is no usable vote; `tells` is True
    where it answered without voting, as experts do that only tell conditions. `ms` its time."""

    level: str
    expert: str
    probability: float
    tells: bool
    trust: float
    ms: float


@dataclass(frozen=True, slots=True)
class Told:
    """One query without its trace; `versions` are those of the experts' weights."""

    id: str
    sha256: str
    received_at: float
    prediction: float
    total_ms: float
    label: int | None
    generation: str
    kin: Kin
    said: tuple[Said, ...]
    levels: tuple[str, ...]
    versions: Mapping[str, str]
    size_class: str | None
    conditions: Mapping[str, float]


def read_told(
    queries: Iterable[StoredQuery],
    reader: KinReader,
    left_out: Counter[str],
    *,
    labelled_only: bool,
) -> Iterator[Told]:
    """The queries that a fit can use at all, one after the other; the others are counted."""
    seen: set[tuple[str, str]] = set()
    ids: set[str] = set()
    for query in queries:
        if (query.id, query.sha256) in seen:
            left_out[DUPLICATES] += 1
            continue
        seen.add((query.id, query.sha256))
        reason = _unusable(query, labelled_only=labelled_only)
        if reason:
            left_out[reason] += 1
            continue
        # Two scored folders both begin with the query 0-0.
        unique = query.id if query.id not in ids else f"{query.id}@{query.sha256[:12]}"
        ids.add(unique)
        yield _told(query, unique, reader.kin_of(query))


def without_conflicts(told: list[Told], left_out: Counter[str]) -> list[Told]:
    """Those whose picture was not labelled both ways; the others are counted."""
    labels: dict[str, set[int]] = {}
    for one in told:
        if one.label is not None:
            labels.setdefault(one.sha256, set()).add(one.label)
    kept = [one for one in told if len(labels.get(one.sha256, ())) < 2]
    if len(kept) < len(told):
        left_out[CONFLICTING] += len(told) - len(kept)
    return kept


def _unusable(query: StoredQuery, *, labelled_only: bool) -> str:
    if labelled_only and query.label is None:
        return WITHOUT_LABEL
    if query.trace.picture is None:
        return REFUSED
    if not any(level.experts for level in query.trace.levels):
        return NOBODY_ASKED
    return ""


def _told(query: StoredQuery, unique: str, kin: Kin) -> Told:
    trace = query.trace
    versions = trace.versions.get("experts")
    return Told(
        id=unique,
        sha256=query.sha256,
        received_at=query.received_at,
        prediction=query.prediction,
        total_ms=math.nan if query.total_ms is None else query.total_ms,
        label=query.label,
        generation=query.generation,
        kin=kin,
        said=tuple(_said(level.name, expert) for level in trace.levels for expert in level.experts),
        levels=tuple(level.name for level in trace.levels),
        versions=versions if isinstance(versions, dict) else {},
        size_class=trace.picture.size_class if trace.picture else None,
        conditions=_conditions(trace),
    )


def _said(level: str, expert: ExpertTrace) -> Said:
    """Usable as the consensus reads it: status ok, and a probability in [0, 1]."""
    ok, said = expert.status == Status.OK.value, expert.probability
    usable = ok and said is not None and 0.0 <= said <= 1.0
    return Said(
        level=level,
        expert=expert.name,
        probability=said if usable and said is not None else math.nan,
        tells=ok and said is None,
        # The factor of an expert that drifted is no part of what it said.
        trust=min(1.0, expert.trust / (expert.reliability or 1.0)),
        ms=expert.ms,
    )


def _conditions(trace: Trace) -> dict[str, float]:
    """Those of the frame and those that experts told; of two that tell the same, the higher."""
    found = frame_conditions(trace.picture) if trace.picture else {}
    for level in trace.levels:
        for expert in level.experts:
            for name, value in expert.conditions.items():
                found[name] = max(value, found.get(name, 0.0))
    return found
