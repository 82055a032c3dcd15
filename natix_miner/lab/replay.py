"""Replaying stored queries: their opinions pooled again by the code that pools in the miner."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from natix_miner.cascade import NO_ANSWER
from natix_miner.cascade.trace import EvidenceTrace, LevelTrace, Trace
from natix_miner.consensus import (
    POOLS,
    Consensus,
    FittedConsensus,
    Pooled,
    PoolKind,
    answer_from,
    frame_conditions,
)
from natix_miner.errors import FittedFileError
from natix_miner.experts import Evidence, Opinion, Status
from natix_miner.lab.replay_figures import Again, Replayed
from natix_miner.stored import StoredQuery

_STATUSES = {status.value: status for status in Status}
NO_OPINIONS = "no opinions (refused, or nobody was asked)"


def opinions_of(trace: Trace, up_to_level: int | None = None) -> tuple[Opinion, ...]:
    """The opinions of a trace as its consensus got them, those of the levels up to the place given
    (all of them by default; -1: none). Whether an expert called its probability calibrated is not
    in a trace; no pool asks for it."""
    levels = trace.levels if up_to_level is None else trace.levels[: up_to_level + 1]
    return tuple(
        replace(opinion, evidence=tuple(_evidence(seen) for seen in expert.evidence))
        for level in levels
        for opinion, expert in zip(_opinions(level), level.experts, strict=True)
    )


def levels_again(trace: Trace, consensus: Consensus) -> Iterator[tuple[LevelTrace, Pooled | None]]:
    """Each level of a trace with what the consensus makes of the opinions so far.

    A level that was not entered has no opinions: what is pooled stays as it was before it.
    """
    size_class = trace.picture.size_class if trace.picture else None
    conditions = frame_conditions(trace.picture) if trace.picture else {}
    heard: list[Opinion] = []
    pooled: Pooled | None = None
    for level in trace.levels:
        if level.entered:
            heard.extend(_opinions(level))
            pooled = consensus.pool(heard, size_class, conditions)
        yield level, pooled


class PoolChoice:
    """Pools with one fitted file: of the kind given, else of the kind that a verdict was made with
    where that was with this very file, else of the file's own."""

    def __init__(self, fitted: FittedConsensus, kind: PoolKind | None = None) -> None:
        self.experts = fitted.experts()
        self._digest = fitted.digest()
        self._own = fitted.kind
        self._kind = kind
        self._pools: dict[str, Consensus] = {name: made(fitted) for name, made in POOLS.items()}

    def of(self, version: str) -> Consensus:
        """The consensus to pool with, for a verdict that one of this version has made."""
        stored, _, digest = version.partition(":")
        same = digest == self._digest and stored in self._pools
        return self._pools[self._kind or (stored if same else self._own)]


def repool(
    queries: Iterable[StoredQuery],
    choice: PoolChoice,
    *,
    limit: int | None = None,
    tolerance: float = 0.0,
) -> Replayed:
    """Pool the stored opinions of at most `limit` queries again and compare with what was said.

    With the consensus of the stored verdicts every value is the same to the last bit; after each
    level log-odds, probability, disagreement and bias are compared, and the answer. Of levels that
    were not entered there are no opinions, whatever the entry rules would say now.

    Raises FittedFileError when the fit knows not one of the experts.
    """
    left_out: Counter[str] = Counter()
    stored: Counter[str] = Counter()
    given: Counter[str] = Counter()
    not_entered: Counter[str] = Counter()
    voters: Counter[str] = Counter()
    drifting: Counter[str] = Counter()
    done: list[Again] = []
    started = time.perf_counter()
    for query in islice(queries, limit):
        trace = query.trace
        if not any(level.experts for level in trace.levels):
            left_out[NO_OPINIONS] += 1
            continue
        version = version_of(trace)
        consensus = choice.of(version)
        stored[version] += 1
        given[consensus.version] += 1
        done.append(_again(query, consensus, tolerance))
        for level in trace.levels:
            if level.entered:
                voters.update(one.name for one in level.experts if one.probability is not None)
                drifting.update(one.name for one in level.experts if one.reliability < 1.0)
            else:
                not_entered[level.name] += 1
    seconds = time.perf_counter() - started
    if voters and not voters.keys() & choice.experts:
        raise FittedFileError(
            f"the fit was made for the experts {sorted(choice.experts)}, the stored opinions are "
            f"of {sorted(voters)}: give the fit of their profile"
        )
    return Replayed(
        mode="repool",
        queries=tuple(done),
        left_out=dict(left_out),
        stored=dict(stored),
        given=tuple(given),
        not_entered=dict(not_entered),
        seconds=seconds,
        tolerance=tolerance,
        remarks=tuple(_remarks(stored, given, not_entered, drifting))
        + _without_weight(voters, choice.experts),
    )


def version_of(trace: Trace) -> str:
    """The consensus that made a verdict, kind and digest of its file; empty where none is told."""
    version = trace.versions.get("consensus")
    return version if isinstance(version, str) else ""


def _again(query: StoredQuery, consensus: Consensus, tolerance: float) -> Again:
    differing: list[str] = []
    pooled: Pooled | None = None
    for level, pooled in levels_again(query.trace, consensus):
        if not _same(level, pooled, tolerance):
            differing.append(level.name)
    return Again(
        id=query.id,
        name=query.name,
        label=query.label,
        before=query.prediction,
        after=NO_ANSWER if pooled is None else answer_from(pooled.log_odds),
        levels=tuple(differing),
    )


def _same(level: LevelTrace, pooled: Pooled | None, tolerance: float) -> bool:
    if pooled is None or level.log_odds is None:
        return pooled is None and level.log_odds is None
    pairs = (
        (level.log_odds, pooled.log_odds),
        (level.probability, pooled.probability),
        (level.disagreement, pooled.disagreement),
        (level.bias, pooled.bias),
    )
    return all(
        stored is None or stored == found or abs(stored - found) <= tolerance
        for stored, found in pairs
    )


def _evidence(seen: EvidenceTrace) -> Evidence:
    return Evidence(what=seen.what, score=seen.score, box=seen.box, outline=seen.outline)


def _opinions(level: LevelTrace) -> Iterator[Opinion]:
    for expert in level.experts:
        yield Opinion(
            expert=expert.name,
            # A word of a newer miner is no "ok", and only that is pooled.
            status=_STATUSES.get(expert.status, Status.FAILED),
            probability=expert.probability,
            detail=expert.detail,
            seconds=expert.ms / 1000.0,
            trust=expert.trust,
            by=expert.by,
            conditions=expert.conditions,
        )


def _remarks(
    stored: Mapping[str, int],
    given: Mapping[str, int],
    not_entered: Mapping[str, int],
    drifting: Mapping[str, int],
) -> Iterator[str]:
    if stored.keys() == given.keys():
        return
    yield (
        f"the stored verdicts were pooled by {' and '.join(sorted(stored)) or 'nobody'}, now "
        f"by {' and '.join(sorted(given)) or 'nobody'}: differences are those of the two fits"
    )
    if not_entered:
        yield (
            f"levels that were not entered then have no opinions now: {_counted(not_entered)}; "
            "whether the entry rules would enter them with this fit, and what they would say, only "
            "--rejudge tells"
        )
    if drifting:
        yield (
            f"experts that drifted weighed less then and do so now: {_counted(drifting)}; this fit "
            "may not find that they drift"
        )


def _without_weight(voters: Mapping[str, int], known: frozenset[str]) -> tuple[str, ...]:
    unknown = sorted(voters.keys() - known)
    return (f"the fit has no weight for {', '.join(unknown)}",) if unknown else ()


def _counted(names: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in names.items())
