"""A miner that is killed loses at most what was queued."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from natix_miner.journal import Journal, JournalWriter
from natix_miner.sections import JournalSettings

RECORDER = """
import runpy, sys
from itertools import count
from pathlib import Path
from natix_miner.journal import JournalWriter, Pacing
from natix_miner.sections import JournalSettings
make = runpy.run_path(sys.argv[1])["verdict_of"]
# Little is kept in one of the cases: then the kill may fall into pruning as well.
settings = JournalSettings(
    path=Path(sys.argv[2]), keep_days=1e6, keep_gigabytes=float(sys.argv[3])
)
pacing = Pacing(batch_rows=20, batch_seconds=0.002, prune_seconds=0.01)
writer = JournalWriter(settings, pacing=pacing).start()
for number in count():
    writer.record(make(number, picture=number.to_bytes(4, "big") * 3_000, label=number % 2))
    stats = writer.stats()
    if stats.queued > 300:
        writer.flush(10)
    print(number + 1, stats.written, stats.pruned, sum(stats.lost.values()), flush=True)
"""


@pytest.mark.parametrize(
    ("kill_at", "gigabytes"), [(1, 20.0), (150, 20.0), (900, 20.0), (1200, 0.004)]
)
def test_what_was_committed_is_there_after_kill_9(
    tmp_path: Path, make_verdict, kill_at: int, gigabytes: float
) -> None:
    path = tmp_path / "journal.sqlite3"
    fixtures = Path(__file__).with_name("conftest.py")
    child = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(fixtures), str(path), str(gigabytes)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line.split()[1]) >= kill_at:
            break
    child.kill()
    lines = [line, *child.stdout]
    child.stdout.close()
    assert child.wait() == -9

    whole = [told for told in lines if told.endswith("\n")]
    recorded, written, pruned, lost = map(int, whole[-1].split())
    assert written >= kill_at
    assert lost == 0

    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert check.execute("PRAGMA foreign_key_check").fetchall() == []
    check.close()
    with Journal(path) as journal:
        entries = list(journal.entries())
        numbers = [int(entry.id, 16) for entry in entries]
        # One more may have been recorded, and commits and pruning gone on, after the last line.
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert written - 1 <= numbers[-1] <= recorded
        if gigabytes > 1.0:
            assert numbers[0] == 0
        else:
            assert numbers[0] >= pruned > 0
        for entry in entries:
            number = int(entry.id, 16)
            assert entry.picture() == number.to_bytes(4, "big") * 3_000
            assert entry.label == number % 2
            assert entry.read_trace().query.id == entry.id

    with JournalWriter(JournalSettings(path=path, keep_days=1e6)) as writer:
        assert writer.record(make_verdict(10**6))
    assert (writer.stats().written, dict(writer.stats().lost)) == (1, {})
