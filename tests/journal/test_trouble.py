"""What the writer does when the disk or somebody else stands in its way, with the real things."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from loguru import logger

from natix_miner.journal import Journal, JournalWriter, Pacing
from natix_miner.sections import JournalSettings

HASTY = Pacing(batch_seconds=0.005, first_wait=0.01, busy_seconds=0.01, attempts=3)


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    handle = logger.add(lambda message: lines.append(str(message)), format="{level} {message}")
    yield lines
    logger.remove(handle)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of its own; skipped where that is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
        return place

    yield mount
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "did not come about in time"
        time.sleep(0.005)


def test_a_short_lock_costs_nothing(settings: JournalSettings, make_verdict) -> None:
    writer = JournalWriter(settings, pacing=replace(HASTY, attempts=1000)).start()
    other = sqlite3.connect(settings.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for number in range(20):
        assert writer.record(make_verdict(number))
    eventually(lambda: "locked" in (writer.stats().last_error or ""))
    assert writer.stats().written == 0

    other.execute("COMMIT")
    assert writer.flush(10)
    assert (writer.stats().written, dict(writer.stats().lost)) == (20, {})
    other.close()
    writer.close()


def test_a_long_lock_costs_what_waited_too_long_and_then_it_goes_on(
    settings: JournalSettings, make_verdict, log: list[str]
) -> None:
    writer = JournalWriter(settings, pacing=HASTY).start()
    other = sqlite3.connect(settings.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for number in range(5):
        assert writer.record(make_verdict(number))
    assert writer.flush(10)
    assert dict(writer.stats().lost) == {"locked": 5}

    other.execute("COMMIT")
    assert writer.record(make_verdict(5))
    assert writer.flush(10)
    assert (writer.stats().written, dict(writer.stats().lost)) == (1, {"locked": 5})
    other.close()
    writer.close()
    assert any(line.startswith("ERROR journal lost 5 locked") for line in log)
    assert any(line.startswith("INFO journal is written again") for line in log)


def test_many_losses_make_few_lines(
    settings: JournalSettings, make_verdict, log: list[str]
) -> None:
    writer = JournalWriter(settings.model_copy(update={"queue": 1}), pacing=HASTY).start()
    other = sqlite3.connect(settings.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    lost = sum(not writer.record(make_verdict(number)) for number in range(2000))
    other.close()
    writer.close()

    assert lost > 1000
    assert len(log) < 10


def test_a_full_disk_costs_verdicts_until_there_is_room_again(
    mounted: Callable[[str], Path], make_verdict, log: list[str]
) -> None:
    place = mounted("size=1m")
    settings = JournalSettings(path=place / "journal.sqlite3", keep_days=1e6)
    writer = JournalWriter(settings, pacing=replace(HASTY, batch_rows=5)).start()
    slowest = 0.0
    for number in range(100):
        started = time.perf_counter()
        assert writer.record(make_verdict(number, picture=number.to_bytes(2, "big") * 10_000))
        slowest = max(slowest, time.perf_counter() - started)
    assert writer.flush(20)

    stats = writer.stats()
    assert set(stats.lost) == {"disk-full"}
    assert stats.written > 0
    assert stats.written + stats.lost["disk-full"] == 100
    assert slowest < 1.0
    assert any("disk-full" in line for line in log)

    remount(place, "size=32m")
    for number in range(100, 120):
        assert writer.record(make_verdict(number, picture=number.to_bytes(2, "big") * 10_000))
    assert writer.flush(20)
    assert writer.stats().written == stats.written + 20
    assert writer.stats().lost == stats.lost
    assert writer.close() == 0

    with Journal(settings.path) as journal:
        entries = list(journal.entries())
        assert len(entries) == stats.written + 20
        assert all(len(entry.picture() or b"") == 20_000 for entry in entries)
    check = sqlite3.connect(settings.path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


CAPPED = """
import json, resource, runpy, sys
from pathlib import Path
from natix_miner.journal import JournalWriter, Pacing
from natix_miner.sections import JournalSettings
make = runpy.run_path(sys.argv[1])["verdict_of"]
writer = JournalWriter(
    JournalSettings(path=Path(sys.argv[2]), keep_days=1e6),
    pacing=Pacing(batch_rows=5, batch_seconds=0.005, first_wait=0.01, attempts=2),
).start()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
taken = [writer.record(make(n, picture=bytes([n]) * 20_000)) for n in range(60)]
writer.flush(20)
capped = writer.stats()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
taken += [writer.record(make(n, picture=bytes([n]) * 20_000)) for n in range(60, 80)]
left = writer.close(20)
after = writer.stats()
print(json.dumps([sum(taken), capped.written, dict(capped.lost), after.written, left]))
"""


def test_a_file_that_may_not_grow_costs_verdicts_until_it_may(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    done = subprocess.run(
        [sys.executable, "-c", CAPPED, str(Path(__file__).with_name("conftest.py")), str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    taken, written, lost, written_after, left = json.loads(done.stdout)

    assert taken == 80
    assert set(lost) == {"io-error"}  # EFBIG is an I/O error to SQLite; only ENOSPC is "full"
    assert 0 < written < 60
    assert written + lost["io-error"] == 60
    assert (written_after, left) == (written + 20, 0)
    with Journal(path) as journal:
        assert journal.counts().queries == written_after


def test_a_read_only_disk_at_the_start_is_told_and_left_behind_when_it_ends(
    mounted: Callable[[str], Path], make_verdict, log: list[str]
) -> None:
    place = mounted("size=16m,ro")
    settings = JournalSettings(path=place / "deep" / "journal.sqlite3", keep_days=1e6)
    writer = JournalWriter(settings, pacing=HASTY).start()
    assert any("cannot be written (read-only" in line for line in log)
    assert writer.record(make_verdict(1))
    assert writer.flush(10)
    assert dict(writer.stats().lost) == {"read-only": 1}

    remount(place, "rw")
    assert writer.record(make_verdict(2))
    assert writer.flush(10)
    assert writer.stats().written == 1
    writer.close()


def test_a_journal_on_a_read_only_disk_can_be_read(
    mounted: Callable[[str], Path], make_verdict
) -> None:
    place = mounted("size=16m")
    settings = JournalSettings(path=place / "journal.sqlite3", keep_days=1e6)
    with JournalWriter(settings) as writer:
        writer.record(make_verdict(1))
    remount(place, "ro")

    with Journal(settings.path) as journal:
        assert [entry.id for entry in journal.entries()] == [f"{1:032x}"]


@pytest.mark.parametrize("also", ["", "-wal", "-shm"])
def test_a_journal_removed_under_the_writer_begins_anew(
    settings: JournalSettings, make_verdict, also: str
) -> None:
    writer = JournalWriter(settings, pacing=HASTY).start()
    writer.record(make_verdict(1))
    assert writer.flush(10)
    settings.path.unlink()
    if also:
        settings.path.with_name(settings.path.name + also).unlink()
    for number in (2, 3):
        assert writer.record(make_verdict(number))
    assert writer.flush(10)
    writer.close()

    assert (writer.stats().written, dict(writer.stats().lost)) == (3, {})
    check = sqlite3.connect(settings.path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert check.execute("SELECT id FROM queries").fetchall() == [(f"{n:032x}",) for n in (2, 3)]
    check.close()
