from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from natix_miner.errors import JournalError
from natix_miner.journal import Journal, JournalWriter
from natix_miner.journal.connection import open_for_reading, open_for_writing
from natix_miner.journal.schema import (
    APPLICATION_ID,
    MIGRATIONS,
    migrate,
    migrations,
    schema_version,
)
from natix_miner.sections import JournalSettings


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """A copy of the migrations to which a test may add one."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


def tables(connection: sqlite3.Connection) -> set[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in found}


def test_a_new_journal_has_the_newest_schema_in_wal_mode(tmp_path: Path) -> None:
    connection = open_for_writing(tmp_path / "deep" / "down" / "j.sqlite3")

    assert schema_version(connection) == migrations()[-1].number
    assert tables(connection) == {"pictures", "queries", "traces", "labels"}
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)  # incremental
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


def test_opening_again_takes_no_step_twice(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    open_for_writing(path).close()
    connection = open_for_writing(path)

    assert migrate(connection, path) == 0
    connection.close()


def test_a_second_step_is_taken_on_a_journal_with_entries(
    tmp_path: Path, steps: Path, settings: JournalSettings, make_verdict
) -> None:
    with JournalWriter(settings) as writer:
        writer.record(make_verdict(1, label=1))
    (steps / "002_notes.sql").write_text(
        "-- A note; with a semicolon in the comment\n"
        "ALTER TABLE queries ADD COLUMN note TEXT DEFAULT 'a;b';\n"
        "CREATE TRIGGER noted AFTER UPDATE ON queries BEGIN\n"
        "  SELECT 1;\n  SELECT 2;\nEND;\n"
    )
    connection = open_for_writing(settings.path, directory=steps)

    assert schema_version(connection) == 2
    assert connection.execute("SELECT label, note FROM queries").fetchall() == [(1, "a;b")]
    connection.close()


def test_a_step_that_fails_leaves_nothing_of_itself(tmp_path: Path, steps: Path) -> None:
    path = tmp_path / "j.sqlite3"
    open_for_writing(path).close()
    (steps / "002_half.sql").write_text("CREATE TABLE half (x);\nINSERT INTO nowhere VALUES (1);\n")

    with pytest.raises(JournalError, match=r"002_half\.sql .*nowhere"):
        open_for_writing(path, directory=steps)

    connection = open_for_reading(path)
    assert schema_version(connection) == 1
    assert "half" not in tables(connection)
    connection.close()


def test_a_step_cut_off_in_a_statement_is_refused(tmp_path: Path, steps: Path) -> None:
    (steps / "002_cut.sql").write_text("CREATE TABLE half (x\n")
    with pytest.raises(JournalError, match="middle of a statement"):
        open_for_writing(tmp_path / "j.sqlite3", directory=steps)


@pytest.mark.parametrize("name", ["003_gap.sql", "001_again.sql"])
def test_migrations_with_a_gap_or_a_double_are_refused(steps: Path, name: str) -> None:
    (steps / name).write_text("SELECT 1;\n")
    with pytest.raises(JournalError, match="numbered"):
        migrations(steps)


def test_a_journal_newer_than_the_code_is_refused(settings: JournalSettings) -> None:
    connection = open_for_writing(settings.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(JournalError, match=r"schema 99.*newer natix-miner"):
        Journal(settings.path)
    with pytest.raises(JournalError, match=r"schema 99.*newer natix-miner"):
        JournalWriter(settings).start()


def test_a_journal_older_than_the_code_is_brought_up_to_date_by_writing_only(
    settings: JournalSettings, steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_for_writing(settings.path).close()
    (steps / "002_more.sql").write_text("CREATE TABLE more (x);\n")
    monkeypatch.setattr("natix_miner.journal.connection.migrations", lambda: migrations(steps))

    with pytest.raises(JournalError, match="older schema 1"):
        open_for_reading(settings.path)

    open_for_writing(settings.path, directory=steps).close()
    monkeypatch.setattr("natix_miner.journal.connection.check", lambda *_: 2)
    open_for_reading(settings.path).close()


def test_an_sqlite_file_of_somebody_else_is_left_alone(settings: JournalSettings) -> None:
    settings.path.parent.mkdir()
    other = sqlite3.connect(settings.path)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    before = settings.path.read_bytes()

    for use in (lambda: Journal(settings.path), lambda: JournalWriter(settings).start()):
        with pytest.raises(JournalError, match="no journal"):
            use()
    assert settings.path.read_bytes() == before


def test_a_file_that_is_no_sqlite_is_left_alone(settings: JournalSettings) -> None:
    settings.path.parent.mkdir()
    settings.path.write_bytes(b"dear diary, " * 1000)

    for use in (lambda: Journal(settings.path), lambda: JournalWriter(settings).start()):
        with pytest.raises(JournalError, match="not an SQLite file"):
            use()
    assert settings.path.read_bytes() == b"dear diary, " * 1000


def test_many_may_make_the_same_journal_at_once(tmp_path: Path) -> None:
    path, start = tmp_path / "j.sqlite3", threading.Barrier(6)
    troubles: list[Exception] = []

    def make() -> None:
        start.wait()
        try:
            open_for_writing(path).close()
        except (sqlite3.Error, JournalError) as error:
            troubles.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert troubles == []
    connection = open_for_reading(path)
    assert tables(connection) == {"pictures", "queries", "traces", "labels"}
    connection.close()
