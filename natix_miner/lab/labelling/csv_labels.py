"""Labels as a CSV file: taken out of a journal, put into one.

Columns: `id` and/or `sha256` (which query, or which picture), `label` (roadwork or none; 1 or 0),
`source` (who said so), `set_at` (when: ISO 8601, or unix seconds). Other columns are left aside.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.errors import JournalError
from natix_miner.journal import Journal, Label, QueryLabel, add_labels, newest_by_source
from natix_miner.lab.labelling.people import source_of

COLUMNS = ("id", "sha256", "label", "source", "set_at")
WORDS = {"roadwork": 1, "1": 1, "none": 0, "0": 0}
#: A label from further in the future than this is a wrong clock or a wrong column.
FUTURE_SECONDS = 86_400.0
LONGEST_SOURCE = 80


@dataclass(frozen=True, slots=True)
class ImportedLabels:
    """How many labels were added, and how many rows the journal knew already."""

    added: int
    known: int


def export_csv(journal: Journal, out: Path, *, force: bool = False) -> int:
    """Write what each source says now, one row a query and source; the number of rows.

    Raises JournalError when the file is there already (unless `force`) or cannot be written.
    """
    if out.exists() and not force:
        raise JournalError(f"{out} is there already: give another path, or --force")
    history: dict[tuple[str, str], list[QueryLabel]] = {}
    for row in journal.all_labels():
        history.setdefault((row.query_id, row.sha256), []).append(row)
    rows = [
        (query_id, sha256, "roadwork" if label.label else "none", source, _iso(label.set_at))
        for (query_id, sha256), labels in history.items()
        for source, label in newest_by_source(row.label for row in labels).items()
    ]
    half = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with half.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(rows)
        half.replace(out)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise JournalError(f"{out} cannot be written: {error}") from error
    return len(rows)


def import_csv(
    journal: Journal, source: Path, who: str | None, *, clock: Clock = SYSTEM_CLOCK
) -> ImportedLabels:
    """Put the labels of a CSV file into a journal: all of them, or none when a row is wrong.

    A row's own `source` is kept; those without one become labels of the person `who`. A row by
    `sha256` alone goes to the newest query that showed the picture. Rows that the journal holds
    already are counted only. Raises JournalError naming the line.
    """
    wanted: dict[tuple[str, str], tuple[int, Label]] = {}
    for number, row in _rows(source):
        query_id, label = _read(journal, row, who, clock, f"line {number} of {source}")
        key = query_id, label.source
        before = wanted.get(key)
        if before is not None and before[1].label != label.label:
            raise JournalError(
                f"line {number} of {source} contradicts line {before[0]}: {label.source} labels "
                f"the query {query_id} both ways. Nothing was written"
            )
        if before is None or label.set_at > before[1].set_at:
            wanted[key] = number, label
    new = [
        (query_id, label)
        for (query_id, _), (_, label) in wanted.items()
        if not _known(journal, query_id, label)
    ]
    if new:
        add_labels(journal.path, new)
    return ImportedLabels(added=len(new), known=len(wanted) - len(new))


def _rows(source: Path) -> list[tuple[int, Mapping[str, str]]]:
    """The rows with the numbers of their lines."""
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            heads = [head.strip() for head in reader.fieldnames or ()]
            if "label" not in heads or not {"id", "sha256"} & set(heads):
                raise JournalError(
                    f"{source} begins with the columns {heads}: it needs label, and id or sha256 "
                    f"(all that are known: {', '.join(COLUMNS)}), separated by commas"
                )
            reader.fieldnames = heads
            rows: list[tuple[int, Mapping[str, str]]] = []
            for row in reader:
                if None in row or None in row.values():
                    raise JournalError(
                        f"line {reader.line_num} of {source} has not {len(heads)} fields like the "
                        "first line. Nothing was written"
                    )
                rows.append((reader.line_num, {k: v.strip() for k, v in row.items()}))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise JournalError(f"the labels {source} cannot be read: {error}") from error
    return rows


def _read(
    journal: Journal, row: Mapping[str, str], who: str | None, clock: Clock, where: str
) -> tuple[str, Label]:
    value = WORDS.get(row["label"].lower())
    if value is None:
        raise JournalError(
            f"{where}: the label {row['label']!r} is neither roadwork (1) nor none (0). "
            "Nothing was written"
        )
    source = row.get("source", "")
    if not source:
        if who is None:
            raise JournalError(
                f"{where} does not say who labelled: give --who. Nothing was written"
            )
        source = source_of(who)
    if len(source) > LONGEST_SOURCE or not source.isprintable():
        raise JournalError(f"{where}: {source!r} is no name of a source. Nothing was written")
    set_at = _moment(row.get("set_at", ""), clock, where)
    return _query(journal, row, where), Label(value, source, set_at)


def _query(journal: Journal, row: Mapping[str, str], where: str) -> str:
    query_id, sha256 = row.get("id", ""), row.get("sha256", "").lower()
    if query_id:
        try:
            found = journal.find(query_id)
        except JournalError as error:
            raise JournalError(f"{where}: {error}. Nothing was written") from error
        if found.id != query_id:
            raise JournalError(
                f"{where}: {query_id!r} is the beginning of an id, not a whole one. "
                "Nothing was written"
            )
        if sha256 and found.sha256 != sha256:
            raise JournalError(
                f"{where}: the query {query_id} showed the picture {found.sha256}, not {sha256}. "
                "Nothing was written"
            )
        return found.id
    if not sha256:
        raise JournalError(f"{where} names neither id nor sha256. Nothing was written")
    queries = journal.queries_of(sha256)
    if not queries:
        raise JournalError(
            f"{where}: the journal {journal.path} has no query with the picture {sha256!r}. "
            "Nothing was written"
        )
    return queries[0]


def _known(journal: Journal, query_id: str, label: Label) -> bool:
    return any(
        (row.label, row.source) == (label.label, label.source)
        and abs(row.set_at - label.set_at) < 1e-5  # as exact as a time in a CSV file
        for row in journal.labels(query_id)
    )


def _moment(text: str, clock: Clock, where: str) -> float:
    now = clock.time()
    if not text:
        return now
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise JournalError(
                f"{where}: {text!r} is no time like 2026-01-31T12:00:00+00:00, and no unix "
                "seconds. Nothing was written"
            ) from error
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(seconds) or not 0.0 <= seconds <= now + FUTURE_SECONDS:
        raise JournalError(f"{where}: the time {text!r} cannot be. Nothing was written")
    return seconds


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
