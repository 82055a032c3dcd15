"""Opening the SQLite file of a journal, for the writer and for readers, and naming its troubles."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from natix_miner.errors import JournalError
from natix_miner.journal.schema import MIGRATIONS, check, migrate, migrations

#: Pages of 8 kB: a 20 kB picture takes three overflow pages instead of five.
PAGE_BYTES = 8192

_REASONS = {
    sqlite3.SQLITE_FULL: "disk-full",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot-open",
    sqlite3.SQLITE_IOERR: "io-error",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "not-a-journal",
    sqlite3.SQLITE_NOMEM: "memory",
}
_ERRNO_REASONS = {
    errno.ENOSPC: "disk-full",
    errno.EDQUOT: "disk-full",
    errno.EROFS: "read-only",
    errno.EACCES: "read-only",
    errno.EPERM: "read-only",
}


def reason_of(error: Exception) -> str:
    """A short fixed word for counters: why the journal could not be used."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return _REASONS.get(code & 0xFF, "sqlite") if code is not None else "sqlite"
    if isinstance(error, JournalError):
        return "not-a-journal"
    return _ERRNO_REASONS.get(getattr(error, "errno", None) or 0, "cannot-open")


def open_for_writing(
    path: Path, *, busy_seconds: float = 5.0, directory: Path = MIGRATIONS
) -> sqlite3.Connection:
    """A connection in WAL mode with the newest schema; makes the file when it is not there.

    `busy_seconds` is how long one statement waits for another writer. A committed transaction
    survives the death of the process at once (it is in the WAL file); the death of the machine
    may cost the last commits, but leaves the file whole (synchronous=NORMAL).

    Raises JournalError when the file is no journal or is newer than this code, sqlite3.Error or
    OSError when the disk or a lock is in the way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )
    try:
        if check(connection, path, directory) == 0:
            # Both only take hold before the first page is written, and WAL mode writes it.
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise JournalError(
                f"the file system of {path} does not allow SQLite's WAL mode (it stays in "
                f"{mode!r} mode): put the journal on a local disk"
            )
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 2000")
        connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
        migrate(connection, path, directory)
    except (sqlite3.Error, OSError, JournalError) as error:
        connection.close()
        if reason_of(error) == "not-a-journal" and not isinstance(error, JournalError):
            raise JournalError(f"{path} is not an SQLite file: give another path") from error
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A read-only connection to a journal that is there; works while the miner writes.

    Raises JournalError when there is no such file, it is no journal, its schema is not this
    code's, or it cannot be read.
    """
    must_be_file(path)
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        try:
            return _read(path, address)
        except sqlite3.OperationalError:
            wal = path.with_name(path.name + "-wal")
            if wal.exists() and wal.stat().st_size:
                raise
            # A directory where SQLite can make no shared-memory file. Whoever writes keeps a WAL
            # file there, and there is none: nobody writes, the file is the whole truth.
            return _read(path, address + "&immutable=1")
    except sqlite3.DatabaseError as error:
        if reason_of(error) == "not-a-journal":
            raise JournalError(f"{path} is not an SQLite file: give another path") from error
        raise JournalError(f"the journal {path} cannot be read: {error}") from error


@contextmanager
def writing(path: Path, *, busy_seconds: float = 10.0) -> Iterator[sqlite3.Connection]:
    """One short transaction in a journal that is there, beside a miner that may be writing it.

    Committed when the block ends, rolled back when it raises. Raises JournalError when the journal
    cannot be opened or written.
    """
    with changing(path, busy_seconds=busy_seconds) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


@contextmanager
def changing(path: Path, *, busy_seconds: float = 10.0) -> Iterator[sqlite3.Connection]:
    """A connection for changes, whose troubles come out as JournalError; closed at the end."""
    must_be_file(path)
    connection = None
    try:
        connection = open_for_writing(path, busy_seconds=busy_seconds)
        yield connection
    except (sqlite3.Error, OSError) as error:
        raise JournalError(
            f"the journal {path} cannot be written ({reason_of(error)}: {error})"
        ) from error
    finally:
        if connection is not None:
            connection.close()


def make_journal(path: Path) -> None:
    """Make an empty journal. Raises JournalError when it cannot be made."""
    try:
        open_for_writing(path).close()
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"no journal can be made at {path}: {error}") from error


def must_be_file(path: Path) -> None:
    """Raise JournalError unless `path` is a file."""
    if not path.exists():
        raise JournalError(f"there is no journal at {path}: give the path of an existing one")
    if not path.is_file():
        raise JournalError(f"{path} is not a file: give the path of the journal's SQLite file")


def _read(path: Path, address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address, uri=True, timeout=5.0, isolation_level=None, check_same_thread=False
    )
    try:
        version = check(connection, path)
        if version == 0:
            raise JournalError(f"{path} is empty: no miner has written a journal there yet")
        if version < (newest := migrations()[-1].number):
            raise JournalError(
                f"the journal {path} has the older schema {version}, this code reads {newest}: "
                "start the miner on it once, or prune it, to bring it up to date"
            )
    except (sqlite3.Error, JournalError):
        connection.close()
        raise
    return connection
