"""A journal as one Parquet file, and back: nothing is lost on the way, bit for bit.

One row is one query with its picture, its trace and the history of its labels. The file carries
its format version in the schema's metadata. Rows stream through in small groups, so that memory
stays bounded however large the journal is.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from natix_miner.errors import JournalError
from natix_miner.journal.connection import make_journal, writing
from natix_miner.journal.entry import JournalEntry
from natix_miner.journal.reader import Filter, Journal
from natix_miner.journal.rows import QUERY_COLUMNS, Label, Row, insert_new

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

#: Raised whenever a column changes its meaning or goes away.
PARQUET_FORMAT = 1
FORMAT_KEY = b"natix_miner.journal.format"
#: A row group ends at so many rows or so many bytes of pictures and traces.
GROUP_ROWS = 1_000
GROUP_BYTES = 32 * 2**20
#: Rows of one transaction of an import: short, so that a miner can write in between.
IMPORT_ROWS = 50

_PLAIN = (*QUERY_COLUMNS, "trace")
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: entries `added`, and `skipped` because their id was there already."""

    added: int
    skipped: int


def export_parquet(
    journal: Journal,
    out: Path,
    *,
    which: Filter | None = None,
    progress: Progress | None = None,
) -> int:
    """Write the entries (those that `which` lets through) to `out`; the number of rows.

    `out` appears whole or not at all: it is written beside its place and moved there. `progress`
    is called with the number of rows of each group written.

    Raises JournalError when the journal cannot be read or `out` cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    schema, rows = _schema(), 0
    try:
        with pq.ParquetWriter(
            partial, schema, compression=_compression(), use_dictionary=_repeating()
        ) as writer:
            for group in _groups(journal.entries(which)):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                rows += len(group)
                if progress is not None:
                    progress(len(group))
        os.replace(partial, out)
    except OSError as error:
        raise JournalError(f"the export {out} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return rows


def import_parquet(
    path: Path, source: Path, *, create: bool = False, progress: Progress | None = None
) -> Imported:
    """Put the rows of an export into the journal at `path`; with `create` a new one is made.

    Rows whose id is there already are skipped, so an import may be repeated, also after it was
    interrupted. Works while a miner writes the journal. `progress` as in `export_parquet`.

    Raises JournalError when `source` is no export of this format (it says what is missing), is
    damaged (rows before the damage are in), or the journal cannot be written.
    """
    rows = read_parquet(source)
    added = skipped = 0
    while True:
        # Read before the transaction begins: the journal is locked for as short as can be.
        group = list(islice(rows, IMPORT_ROWS))
        if added + skipped == 0 and create and not path.exists():
            make_journal(path)
        with writing(path) as connection:
            done = sum(_insert(connection, row, source) for row in group)
        added += done
        skipped += len(group) - done
        if progress is not None:
            progress(len(group))
        if len(group) < IMPORT_ROWS:
            return Imported(added=added, skipped=skipped)


def read_parquet(source: Path, group: int | None = None) -> Iterator[Row]:
    """The rows of an export, one after the other, or those of one row group (no other is read).

    Raises JournalError as `import_parquet` does.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not source.is_file():
        raise JournalError(f"there is no file {source} to import: give the path of an export")
    number = 0
    try:
        with pq.ParquetFile(source) as file:
            check_export(file, source)
            groups = list(range(file.num_row_groups)) if group is None else [group]
            number = sum(file.metadata.row_group(before).num_rows for before in range(group or 0))
            schema = _schema(strict=False)
            for batch in file.iter_batches(
                batch_size=IMPORT_ROWS, row_groups=groups, columns=schema.names
            ):
                table = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
                for values in table.to_pylist():
                    yield _row(values, number, source)
                    number += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        raise JournalError(
            f"{source} cannot be read as Parquet after row {number}: {error}"
        ) from error


def rows_in(source: Path) -> int:
    """The number of rows of an export, from its footer. Raises JournalError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(source).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise JournalError(f"{source} cannot be read as Parquet: {error}") from error


def _schema(*, strict: bool = True) -> pa.Schema:
    """The columns; not `strict`: any may be null (nulls are then looked for row by row)."""
    import pyarrow as pa

    label = pa.struct(
        [
            pa.field("label", pa.int8()),
            pa.field("source", pa.string(), nullable=not strict),
            pa.field("set_at", pa.float64(), nullable=not strict),
        ]
    )
    text, real, optional = pa.string(), pa.float64(), True
    columns: list[tuple[str, pa.DataType, bool]] = [
        ("id", text, False),
        ("sha256", text, False),
        ("picture_bytes", pa.int64(), False),
        ("source", text, False),
        ("asked_by", text, optional),
        ("received_at", real, False),
        ("prediction", real, False),
        ("reason", text, False),
        ("level", text, optional),
        ("late", pa.bool_(), False),
        ("error", text, optional),
        ("total_ms", real, optional),
        ("profile", text, optional),
        ("miner", text, optional),
        ("label", pa.int8(), optional),
        ("label_source", text, optional),
        ("labels", pa.list_(label), False),
        ("trace", text, False),
        ("picture", pa.binary(), optional),
    ]
    return pa.schema(
        [pa.field(name, kind, nullable=nullable or not strict) for name, kind, nullable in columns],
        metadata={FORMAT_KEY: str(PARQUET_FORMAT).encode()},
    )


def _compression() -> dict[str, str]:
    """Pictures are compressed already."""
    return {
        leaf: "none" if leaf == "picture" else "zstd"
        for name in _schema().names
        for leaf in (
            [f"labels.list.element.{part}" for part in ("label", "source", "set_at")]
            if name == "labels"
            else [name]
        )
    }


def _repeating() -> list[str]:
    """Columns in which the same value comes again and again."""
    return ["source", "asked_by", "reason", "level", "error", "profile", "miner", "label_source"]


def _groups(entries: Iterator[JournalEntry]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    total = 0
    for entry in entries:
        values = {name: getattr(entry, name) for name in _PLAIN}
        values["labels"] = [
            {"label": label.label, "source": label.source, "set_at": label.set_at}
            for label in entry.labels()
        ]
        values["picture"] = entry.picture()
        total += len(values["picture"] or b"") + len(entry.trace)
        group.append(values)
        if len(group) >= GROUP_ROWS or total >= GROUP_BYTES:
            yield group
            group, total = [], 0
    if group:
        yield group


def check_export(file: pq.ParquetFile, source: Path) -> None:
    """Raise JournalError unless the file is an export of a format that this code knows."""
    found = file.schema_arrow
    told = (found.metadata or {}).get(FORMAT_KEY)
    if told is None:
        raise JournalError(
            f"{source} is Parquet, but no export of a journal: its metadata has no "
            f"{FORMAT_KEY.decode()!r}; make one with `natix-miner journal export`"
        )
    if told != str(PARQUET_FORMAT).encode():
        raise JournalError(
            f"{source} has export format {told.decode(errors='replace')!r}, this code reads "
            f"{PARQUET_FORMAT}: use the natix-miner that wrote it, or a newer one"
        )
    missing = [name for name in _schema().names if name not in found.names]
    if missing:
        raise JournalError(f"{source} lacks the columns {', '.join(missing)}: export it again")


def _row(values: dict[str, Any], number: int, source: Path) -> Row:
    picture = values["picture"]
    empty = [field.name for field in _schema() if not field.nullable and values[field.name] is None]
    if None in (values["labels"] or ()):
        empty.append("labels")
    if empty:
        raise JournalError(f"row {number} of {source} has no value for {', '.join(empty)}")
    if picture is not None and hashlib.sha256(picture).hexdigest() != values["sha256"]:
        raise JournalError(
            f"the picture in row {number} of {source} does not have the digest "
            f"{values['sha256']}: the file is damaged, export it again"
        )
    labels = tuple(Label(**label) for label in values["labels"])
    plain = {
        name: values[name]
        for name in _PLAIN
        if name not in ("label", "label_source")  # follow from the history
    }
    return Row(**plain, picture=picture, labels=labels)


def _insert(connection: sqlite3.Connection, row: Row, source: Path) -> bool:
    try:
        return insert_new(connection, row)
    except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError) as error:
        raise JournalError(f"query {row.id!r} of {source} cannot be stored: {error}") from error
