"""Room on the disk, and whether files and the journal can be written."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from natix_miner.doctor import Status, journal
from natix_miner.doctor.journal import check_journal
from natix_miner.doctor.places import (
    check_disk,
    check_writable_file,
    check_writable_folder,
    nearest,
)
from natix_miner.errors import JournalError
from natix_miner.journal.connection import make_journal

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("free", "status"), [(0.5e9, Status.FAIL), (15e9, Status.WARN), (30e9, Status.OK)]
)
def test_what_may_grow_on_one_file_system_is_added_up(tmp_path, free, status):
    places = {"journal": (tmp_path / "a" / "j", 19.5e9), "log": (tmp_path / "b", 0.5e9)}
    asked = []
    found = check_disk(places, lambda path: asked.append(path) or Usage(0, 0, free))
    assert (found.status, asked) == (status, [tmp_path])
    assert "journal, log" in found.detail


def test_the_nearest_thing_that_exists_is_looked_at(tmp_path):
    assert nearest(tmp_path / "a" / "b" / "c") == tmp_path
    assert nearest(Path("/nowhere/at/all")) == Path("/")


def test_a_file_that_can_be_written_is_left_as_it_was(tmp_path):
    path = tmp_path / "deep" / "miner.jsonl"
    assert check_writable_file(path, "--log-file").status is Status.OK
    assert check_writable_folder(tmp_path / "state", "--state-dir").status is Status.OK
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_named_for_root_as_well(tmp_path):
    (tmp_path / "file").write_text("")
    below = check_writable_file(tmp_path / "file" / "log", "--log-file")
    assert (below.status, "is no folder" in below.detail) == (Status.FAIL, True)
    (tmp_path / "file").chmod(0o444)
    marked = check_writable_file(tmp_path / "file", "--log-file")
    assert (marked.status, "mode 444" in marked.detail) == (Status.FAIL, True)
    assert check_writable_file(tmp_path, "--log-file").status is Status.FAIL
    # a kernel's own file system takes no file from anybody
    kernel = check_writable_folder(Path("/proc/self/fdinfo"), "--state-dir")
    assert kernel.status is Status.FAIL


def test_a_journal_that_is_not_there_yet_is_tried_beside_its_place(tmp_path):
    found = check_journal(tmp_path / "new" / "journal.sqlite3")
    assert (found.status, "can be made" in found.detail) == (Status.OK, True)
    assert list(tmp_path.iterdir()) == []


def test_a_journal_in_use_takes_a_row_and_is_left_as_it_was(tmp_path):
    path = tmp_path / "journal.sqlite3"
    make_journal(path)
    beside = sqlite3.connect(path)
    tables = beside.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
    assert check_journal(path).status is Status.OK
    assert beside.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall() == tables
    beside.close()


@pytest.mark.parametrize("ending", ["", "-wal"])
def test_a_journal_marked_read_only_is_named(tmp_path, ending):
    path = tmp_path / "journal.sqlite3"
    make_journal(path)
    part = path.with_name(path.name + ending)
    part.touch()
    part.chmod(0o444)
    found = check_journal(path)
    assert found.status is Status.FAIL
    assert f"{part} is read-only (mode 444" in found.detail
    assert found.advice.startswith(f"chmod u+w {part}")


def test_a_folder_in_which_sqlite_could_make_no_wal_file_is_named(tmp_path):
    path = tmp_path / "journal.sqlite3"
    make_journal(path)
    tmp_path.chmod(0o555)
    found = check_journal(path)
    tmp_path.chmod(0o755)
    assert (found.status, f"{tmp_path} is read-only" in found.detail) == (Status.FAIL, True)


def test_a_journal_that_takes_no_row_is_told_by_the_attempt_itself(tmp_path):
    """Its mode says nothing here: SQLite itself is told to write no page."""
    path = tmp_path / "journal.sqlite3"
    make_journal(path)
    with sqlite3.connect(path) as full:
        pages = full.execute("PRAGMA page_count").fetchone()[0]
    full.close()
    held = sqlite3.connect

    def small(*words, **options):
        connection = held(*words, **options)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.sqlite3, "connect", small)
        found = check_journal(path)
    assert (found.status, "disk-full" in found.detail) == (Status.FAIL, True)
    assert "make room" in found.advice


def test_what_is_no_journal_is_refused(tmp_path):
    (tmp_path / "blocked").write_text("")
    below = check_journal(tmp_path / "blocked" / "journal.sqlite3")
    assert (below.status, "is a file" in below.advice) == (Status.FAIL, True)
    (tmp_path / "notes.txt").write_text("notes, " * 1000)
    with pytest.raises(JournalError, match="not an SQLite file; give another --journal"):
        check_journal(tmp_path / "notes.txt")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE somebodys (row)")
    other.close()
    with pytest.raises(JournalError, match="no journal"):
        check_journal(tmp_path / "other.db")


def test_a_locked_journal_names_who_holds_it(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_BUSY_SECONDS", 0.1)
    path = tmp_path / "journal.sqlite3"
    make_journal(path)
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "locked\n"
        found = check_journal(path)
        holder.stdin.close()
    assert found.status is Status.FAIL
    assert "locked" in found.detail
    assert f"pid {holder.pid} (" in found.detail
