"""What the journal tells of the last hour, the last day and all time; read while it is written.

Counts of whole windows come from the journal's own counting. What needs every entry (outcomes by
validator) is read from the newest MOST_ENTRIES, what needs traces (experts) from the newest
MOST_TRACES, so that the time does not grow with the journal's age."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from natix_miner.journal import Counts, Filter, Journal
from natix_miner.watching.report import (
    ExpertPart,
    JournalPart,
    LatencyPart,
    QueryWindow,
    ValidatorPart,
)
from natix_miner.watching.rewarding import Earned, earned_by

if TYPE_CHECKING:
    from natix_miner.journal import JournalEntry

HOUR, DAY = 3600.0, 86400.0
MOST_ENTRIES = 20_000
MOST_TRACES = 1_000
#: Validators that get a row of their own; a subnet has 64 at most.
MOST_VALIDATORS = 64
#: The name of queries whose sender did not say who it is.
NOBODY = "-"


@dataclass(frozen=True, slots=True)
class Record:
    """What one journal tells."""

    part: JournalPart
    windows: tuple[QueryWindow, ...]
    validators: tuple[ValidatorPart, ...]
    latency: LatencyPart | None
    levels: dict[str, int]
    experts: tuple[ExpertPart, ...]
    looked_at: int


def read_record(path: Path, now: float) -> Record:
    """The figures of a journal at `now` (unix seconds). Raises JournalError."""
    with Journal(path) as journal:
        everything = journal.counts()
        hour = journal.counts(Filter(since=now - HOUR))
        day = journal.counts(Filter(since=now - DAY))
        newest = _newest_day(journal, now)
        # A miner that was asked nothing today still tells of its last queries.
        traced = newest[:MOST_TRACES] or list(journal.entries(limit=MOST_TRACES, newest_first=True))
        earned = earned_by(journal)
    complete = len(newest) == day.queries
    return Record(
        part=journal_part(path, everything),
        windows=(
            _window("hour", hour, [e for e in newest if e.received_at >= now - HOUR]),
            _window("day", day, newest if complete else None),
            _window("all", everything, None),
        ),
        validators=validators_of(everything.asked_by, newest, earned, now),
        latency=latency_of(traced),
        levels=dict(Counter(entry.level or "none" for entry in traced)),
        experts=experts_of(json.loads(entry.trace) for entry in traced),
        looked_at=len(traced),
    )


def _newest_day(journal: Journal, now: float) -> list[JournalEntry]:
    """The newest entries of a day, the newest first; only the first of them with their traces,
    as those take a hundred times the memory of all the rest."""
    entries = journal.entries(Filter(since=now - DAY), newest_first=True, limit=MOST_ENTRIES)
    return [
        entry if number < MOST_TRACES else replace(entry, trace="")
        for number, entry in enumerate(entries)
    ]


def journal_part(path: Path, counts: Counts) -> JournalPart:
    """The journal itself, without the figures that only its writer knows."""
    return JournalPart(
        path=str(path),
        queries=counts.queries,
        labelled=counts.labelled,
        pictures=counts.pictures,
        used_bytes=counts.used_bytes,
        first=counts.first,
        last=counts.last,
    )


def validators_of(
    asked_by: Mapping[str | None, int],
    newest: list[JournalEntry],
    earned: Mapping[str | None, Earned],
    now: float,
) -> tuple[ValidatorPart, ...]:
    """A row a hotkey, those that asked most first: the hour and the day from the entries of a day,
    all time from the journal's counts."""
    of: dict[str | None, list[JournalEntry]] = {}
    for entry in newest:
        of.setdefault(entry.asked_by, []).append(entry)
    rows = []
    for who, total in islice(asked_by.items(), MOST_VALIDATORS):
        day = of.get(who, [])
        hour = [entry for entry in day if entry.received_at >= now - HOUR]
        pay = earned.get(who)
        rows.append(
            ValidatorPart(
                hotkey=NOBODY if who is None else who,
                windows=(_counted("hour", hour), _counted("day", day)),
                queries=total,
                labelled=0 if pay is None else pay.labelled,
                reward=None if pay is None else pay.reward,
                mcc=None if pay is None else pay.mcc,
                accuracy=None if pay is None else pay.accuracy,
            )
        )
    return tuple(rows)


def latency_of(entries: Iterable[JournalEntry]) -> LatencyPart | None:
    """Exact percentiles (nearest rank) of the answers' times; None without any."""
    times = sorted(
        entry.total_ms / 1000.0
        for entry in entries
        if entry.total_ms is not None and entry.error is None
    )
    if not times:
        return None
    p50, p95, p99 = (times[max(0, math.ceil(q * len(times)) - 1)] for q in (0.5, 0.95, 0.99))
    return LatencyPart("journal", len(times), p50, p95, p99)


def experts_of(traces: Iterable[Mapping[str, Any]]) -> tuple[ExpertPart, ...]:
    """How often each expert said what, and its median time, over some traces (as plain JSON, so
    that those of an older format are read as far as they go)."""
    statuses: dict[str, Counter[str]] = {}
    times: dict[str, list[float]] = {}
    for trace in traces:
        for level in trace.get("levels", ()):
            for expert in level.get("experts", ()):
                name = str(expert.get("name"))
                statuses.setdefault(name, Counter())[str(expert.get("status"))] += 1
                times.setdefault(name, []).append(float(expert.get("ms", 0.0)) / 1000.0)
    return tuple(
        ExpertPart(
            name=name,
            asked=(asked := counter.total()),
            statuses={word: count / asked for word, count in counter.most_common()},
            seconds=median(times[name]),
        )
        for name, counter in statuses.items()
    )


def _window(name: Any, counts: Counts, entries: list[JournalEntry] | None) -> QueryWindow:
    """A window by the journal's counts; by its entries what those do not tell."""
    split = None if entries is None else _counted(name, entries)
    if split is not None and split.queries == counts.queries:
        return split
    return QueryWindow(name, counts.queries, counts.answered, late=counts.late)


def _counted(name: Any, entries: list[JournalEntry]) -> QueryWindow:
    answered = sum(entry.prediction >= 0 for entry in entries)
    errors = sum(entry.error is not None for entry in entries)
    return QueryWindow(
        name,
        queries=len(entries),
        answered=answered,
        no_answer=len(entries) - answered - errors,
        picture_errors=errors,
        late=sum(entry.late for entry in entries),
    )
