"""Putting the report together: look at the miner, the journal and the snapshot, then build."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from natix_miner.clock import Clock
from natix_miner.errors import JournalError, WatchingError
from natix_miner.neuron import RunSettings
from natix_miner.watching import metered
from natix_miner.watching.records import Record, read_record
from natix_miner.watching.report import (
    ExpertPart,
    JournalPart,
    MinerPart,
    StatusReport,
)
from natix_miner.watching.samples import Samples, fetch
from natix_miner.watching.sentences import sentences
from natix_miner.watching.subnet import Kept, chain_part, read_kept, subnet_part


@dataclass(frozen=True, slots=True)
class Seen:
    """What could be seen at one moment. `samples` are None where the miner does not answer at
    `url` (None: nobody said where), `why` says why; the same for `record` and `journal`."""

    at: float
    url: str | None
    samples: Samples | None
    why: str | None
    journal: Path | None
    record: Record | None
    journal_why: str | None
    kept: Kept
    netuid: int


def look(
    settings: RunSettings,
    url: str | None,
    journal: Path | None,
    clock: Clock,
    *,
    no_journal: str | None = None,
) -> Seen:
    """Ask the miner at `url`, read the journal and the kept snapshot; what is missing is noted.

    `no_journal` says why there is no path of a journal.
    """
    now = clock.time()
    samples, why = _scrape(url)
    record, journal_why = (None, no_journal) if journal is None else _record(journal, now)
    kept = read_kept(settings, now)
    return Seen(now, url, samples, why, journal, record, journal_why, kept, settings.netuid)


def _scrape(url: str | None) -> tuple[Samples | None, str | None]:
    if url is None:
        return None, "no metrics port is set: give the --metrics-port that `run` was given"
    try:
        return fetch(url), None
    except WatchingError as error:
        return None, str(error)


def _record(journal: Path, now: float) -> tuple[Record | None, str | None]:
    try:
        return read_record(journal, now), None
    except JournalError as error:
        return None, str(error)


def build(seen: Seen) -> StatusReport:
    """The report on what was seen; nothing is asked any more."""
    samples, record = seen.samples, seen.record
    start = None if samples is None else metered.since_start(samples)
    windows = (*(record.windows if record else ()), *((start,) if start else ()))
    latency = record.latency if record else None
    levels = record.levels if record else {}
    report = StatusReport(
        at=seen.at,
        miner=(
            MinerPart(seen.url, running=False, why=seen.why)
            if samples is None
            else metered.miner_part(seen.url or "", samples)
        ),
        windows=windows,
        validators=record.validators if record else (),
        latency=latency or (metered.latency_of(samples) if samples else None),
        levels=levels or (metered.levels_of(samples) if samples else {}),
        experts=_experts(record, samples),
        servers=metered.servers_of(samples) if samples else (),
        refusals=metered.refusals_of(samples) if samples else {},
        journal=_journal(seen),
        chain=chain_part(seen.kept, samples, seen.netuid),
        subnet=subnet_part(seen.kept, samples),
        looked_at=record.looked_at if record else 0,
    )
    return replace(report, sentences=sentences(report))


def _experts(record: Record | None, samples: Samples | None) -> tuple[ExpertPart, ...]:
    """From the journal's traces, with their standing from the miner; or all from the miner."""
    if samples is None:
        return record.experts if record else ()
    if record is None or not record.experts:
        return metered.experts_of(samples)
    return tuple(metered.standing_of(part, samples) for part in record.experts)


def _journal(seen: Seen) -> JournalPart:
    path = None if seen.journal is None else str(seen.journal)
    part = seen.record.part if seen.record else JournalPart(path, why=seen.journal_why)
    if seen.samples is None:
        return part
    queue = seen.samples.one("natix_journal_queue")
    return replace(
        part,
        queue=None if queue is None else int(queue),
        losses=metered.losses_of(seen.samples),
    )
