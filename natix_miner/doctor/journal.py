"""Can the journal be written? A real row is put in and taken back."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from natix_miner.doctor.holders import users_of
from natix_miner.doctor.places import nearest, remedy_of, why_not_folder, why_not_writable
from natix_miner.doctor.row import Finding, fail, ok
from natix_miner.errors import JournalError
from natix_miner.journal.connection import open_for_writing, reason_of
from natix_miner.journal.schema import check, migrations

#: Seconds that the lock of another writer is waited for; a miner holds it for milliseconds.
_BUSY_SECONDS = 3.0
_TRIAL = "doctor_trial"
_OPTION = "--journal"


def check_journal(path: Path) -> Finding:
    """Is it writable? The file of a running miner is not disturbed: one short transaction, rolled
    back. Where there is none yet, one is made in a passing folder beside it. Nothing is migrated.

    Raises JournalError for a file that is no journal, or is newer than this code.
    """
    for part, why in _hindrances(path):
        if why:
            return fail(f"the journal {path} cannot be written: {why}", remedy_of(part, _OPTION))
    try:
        if not path.exists():
            _make_one(nearest(path.parent))
            return ok(f"{path} is not there yet and can be made")
        said = _try_row(path)
    except sqlite3.Error as error:
        reason = reason_of(error)
        users = ", ".join(users_of(path)) if reason == "locked" else ""
        if reason == "not-a-journal":
            raise JournalError(f"{path} is not an SQLite file; give another --journal") from error
        return fail(
            f"the journal {path} cannot be written ({reason}: {error})"
            + (f"; it is open in {users}" if users else ""),
            _advice(reason, path),
        )
    except OSError as error:
        return fail(f"the journal {path} cannot be written: {error}", remedy_of(path, _OPTION))
    return ok(said)


def _hindrances(path: Path) -> Iterator[tuple[Path, str]]:
    """What the modes and a trial say of the file, of those that SQLite keeps beside it, and of the
    folder in which it makes these."""
    yield path, why_not_writable(path)
    for ending in ("-wal", "-shm"):
        beside = path.with_name(path.name + ending)
        if beside.exists():
            yield beside, why_not_writable(beside)
    yield path.parent, why_not_folder(path.parent)


def _advice(reason: str, path: Path) -> str:
    if reason == "locked":
        return "end the process that keeps it locked, or give another --journal"
    if reason == "disk-full":
        return f"make room on the file system of {path}"
    return remedy_of(path, _OPTION)


def _try_row(path: Path) -> str:
    address = f"file:{quote(str(path.absolute()))}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    with closing(connection):
        version = check(connection, path)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"CREATE TABLE {_TRIAL} (row TEXT)")
        connection.execute(f"INSERT INTO {_TRIAL} VALUES ('trial')")
        connection.execute("ROLLBACK")
    newest = migrations()[-1].number
    older = f"; schema {version} becomes {newest} at start" if version < newest else ""
    return f"{path} takes a row (taken back), {path.stat().st_size / 1e6:.1f} MB{older}"


def _make_one(folder: Path) -> None:
    """Whether SQLite's way of writing works on this file system: a journal in a passing folder."""
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as trial:
        open_for_writing(Path(trial) / "journal.sqlite3").close()
