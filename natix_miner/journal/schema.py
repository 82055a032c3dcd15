"""The tables of a journal, step by step: numbered `.sql` files, each run in one transaction.

`PRAGMA user_version` holds the number of the last step. A new step is one new file
`NNN_what_it_does.sql` in `migrations/`; a step that was ever released is never edited.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from natix_miner.errors import JournalError

MIGRATIONS = Path(__file__).parent / "migrations"
#: Written by the first migration; tells a journal from any other SQLite file ("NX72").
APPLICATION_ID = int.from_bytes(b"NX72", "big")

_NAME = re.compile(r"^(\d{3})_\w+\.sql$")


@dataclass(frozen=True, slots=True, order=True)
class Migration:
    """One step of the schema: its number (from 1, without gaps) and the file that holds it."""

    number: int
    path: Path


def migrations(directory: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """The steps in `directory`, in order; JournalError when a number is missing or twice there."""
    found = sorted(
        Migration(number=int(match.group(1)), path=path)
        for path in directory.glob("*.sql")
        if (match := _NAME.match(path.name))
    )
    numbers = [step.number for step in found]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise JournalError(
            f"the migrations in {directory} are numbered {numbers}, not 1, 2, 3, ...: "
            "install the package again"
        )
    return tuple(found)


def schema_version(connection: sqlite3.Connection) -> int:
    """The number of the last step taken; 0 for a new file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check(connection: sqlite3.Connection, path: Path, directory: Path = MIGRATIONS) -> int:
    """The schema version of a file that this code can use, 0 for an empty one.

    Raises JournalError for an SQLite file of somebody else and for a journal that is newer than
    this code.
    """
    # Before the version: what another process migrates in between then only counts as a journal.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    version = schema_version(connection)
    mark = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if version == 0 and mark == 0:
        if tables:
            raise JournalError(f"{path} is an SQLite file, but no journal: give another path")
        return 0
    if mark != APPLICATION_ID:
        raise JournalError(f"{path} is an SQLite file, but no journal: give another path")
    newest = migrations(directory)[-1].number
    if version > newest:
        raise JournalError(
            f"the journal {path} has schema {version}, this code knows up to {newest}: "
            "run a newer natix-miner, or give another path"
        )
    return version


def migrate(connection: sqlite3.Connection, path: Path, directory: Path = MIGRATIONS) -> int:
    """Take the steps that `path` has not taken yet; the number of steps taken.

    Each step and its version number are one transaction: a crash in between leaves the step
    before. Raises JournalError when a step fails (the file is as it was before that step).
    """
    taken = 0
    for step in migrations(directory):
        if check(connection, path, directory) >= step.number:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have taken it while this one waited for the lock.
            if schema_version(connection) < step.number:
                for statement in _statements(step.path.read_text(encoding="utf-8")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {step.number}")
                taken += 1
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if _transient(error):
                raise
            raise JournalError(
                f"migration {step.path.name} of the journal {path} failed: {error}"
            ) from error
    return taken


def _transient(error: sqlite3.Error) -> bool:
    """True for trouble of the disk or of a lock, which is no fault of the step."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return (code & 0xFF) != sqlite3.SQLITE_ERROR


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, split where SQLite says that one is complete (triggers whole)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if line.rstrip().endswith(";") and sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip() and not all(
        not line.strip() or line.lstrip().startswith("--") for line in statement.splitlines()
    ):
        raise JournalError(f"a migration ends in the middle of a statement: {statement!r}")
