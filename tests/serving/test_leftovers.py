"""What a miner that was killed with -9 leaves, and who may clean it up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from natix_miner.serving import leftovers, mark, procfs, shared_memory
from natix_miner.serving.mark import Mark, Owner
from natix_miner.serving.procfs import ProcessId
from natix_miner.serving.record import Record, RecordFile, records_in
from tests.serving.launching import OWNER, ROOT, until

PROMPT = 10.0


class Miner:
    """A miner process with one stand-in server `fast`, to be killed."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        section = {"model": "x", "arguments": {"extra": ["--engine", *options]}}
        words = [sys.executable, str(OWNER), str(folder), "stand-in", json.dumps({"fast": section})]
        self.process = subprocess.Popen(
            words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
        )
        self.warden = 0
        while not self.warden:
            told = json.loads(self.process.stdout.readline())["fast"]
            self.warden = told["pid"] if told["state"] == "up" else 0
        self.server = [each.id for each in procfs.below(self.warden)]

    def die(self, *, with_warden: bool) -> None:
        if with_warden:
            os.kill(self.warden, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.die(with_warden=False)
        self.process.stdout.close()
        for process in [ProcessId(self.warden, 0), *self.server]:
            procfs.send(process, signal.SIGKILL)


@pytest.fixture
def miners(tmp_path):
    begun: list[Miner] = []

    def begin(*options: str) -> Miner:
        begun.append(Miner(tmp_path, *options))
        return begun[-1]

    yield begin
    for miner in begun:
        miner.close()


@pytest.fixture
def shared():
    name = f"psm_test_{uuid.uuid4().hex[:8]}"
    yield shared_memory.FOLDER / name
    (shared_memory.FOLDER / name).unlink(missing_ok=True)


def alive(processes: list[ProcessId]) -> list[ProcessId]:
    return [process for process in processes if procfs.lives(process)]


@pytest.mark.parametrize("child", ["marked", "unmarked"])
def test_what_a_killed_warden_left_is_found_at_the_next_start(miners, shared, tmp_path, child):
    miner = miners("--shared", shared.name, *(["--unmarked"] if child == "unmarked" else []))
    until(lambda: any(r.shared_memory for _, r in records_in(tmp_path)), PROMPT, "the record")
    miner.die(with_warden=True)
    until(lambda: len(alive(miner.server)) == 1, PROMPT, "the end of the main process")
    assert shared.exists()
    cleaned = leftovers.clean(tmp_path)
    assert cleaned.processes >= 1, "other miners may have died on this machine too"
    assert cleaned.files == 1
    assert not alive(miner.server)
    assert not shared.exists()
    assert not list(tmp_path.glob("*.json"))


def test_two_miners_share_a_folder_and_one_is_killed(miners, shared, tmp_path):
    living, killed = miners("--shared", shared.name), miners()
    until(lambda: any(r.shared_memory for _, r in records_in(tmp_path)), PROMPT, "the record")
    killed.die(with_warden=False)
    until(lambda: not alive(killed.server), PROMPT, "the end of its servers")
    assert len(list(records_in(tmp_path))) == 2
    assert leftovers.clean(tmp_path).files == 0
    assert alive(living.server) == living.server
    assert shared.exists()
    owners = [record.mark.owner.process.pid for _, record in records_in(tmp_path)]
    assert owners == [living.process.pid]
    assert sorted(path.name for path in tmp_path.glob("*.log")) == ["fast-2.log", "fast.log"]


def _sleeper(its_mark: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["sleep", "1000"], env={mark.VARIABLE: its_mark}, start_new_session=True
    )


DEAD = ProcessId(2**22, 1)


@pytest.mark.parametrize(
    ("text", "dies"),
    [
        (f"fast@{DEAD.pid}/{DEAD.started}/{procfs.namespace()}", True),
        (f"fast@{os.getpid()}/1/{procfs.namespace()}", True),
        (f"fast@{Owner.this()}", False),
        (f"fast@{DEAD.pid}/{DEAD.started}/pid:[1]", False),
        (f"fast@{DEAD.pid}", False),
        ("whatever", False),
    ],
    ids=["dead", "number in use again", "living", "other container", "not ours", "nonsense"],
)
def test_only_the_mark_of_a_miner_known_to_be_dead_counts(tmp_path, text, dies):
    sleeper = _sleeper(text)
    try:
        assert leftovers.clean(tmp_path).processes >= int(dies)
        assert (sleeper.poll() is not None) == dies
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_recorded_process_is_killed_but_not_a_later_one_of_its_number(tmp_path):
    sleepers = [subprocess.Popen(["sleep", "1000"], start_new_session=True) for _ in range(2)]
    try:
        first, second = (procfs.state_of(sleeper.pid).id for sleeper in sleepers)
        dead = Mark(Owner(DEAD, procfs.namespace()), "fast")
        known = (first, ProcessId(second.pid, second.started - 1))
        RecordFile(tmp_path, dead).write(Record(dead, known, {}))
        assert leftovers.clean(tmp_path).processes >= 1
        assert not procfs.lives(first)
        assert procfs.lives(second)
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()


def test_a_recorded_file_that_was_made_anew_stays(tmp_path, shared):
    shared.write_bytes(b"of somebody else")
    dead = Mark(Owner(DEAD, procfs.namespace()), "fast")
    inode = shared.stat().st_ino
    RecordFile(tmp_path, dead).write(Record(dead, (), {shared.name: inode + 1, "../passwd": inode}))
    assert leftovers.clean(tmp_path).files == 0
    assert shared.exists()
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("text", ["", "{}", '{"mark": "x", "processes": [], "shared_memory": {}}'])
def test_a_broken_record_is_left_alone(tmp_path, text):
    path = tmp_path / "fast.1-2.record.json"
    path.write_text(text)
    assert leftovers.clean(tmp_path).files == 0
    assert path.read_text() == text


def test_a_record_is_read_as_it_was_written(tmp_path):
    its_mark = Mark(Owner.this(), "fast-b")
    record = Record(its_mark, (ProcessId(5, 6), ProcessId(7, 8)), {"psm_1": 9})
    file = RecordFile(tmp_path, its_mark)
    file.write(record)
    assert list(records_in(tmp_path)) == [(file.path, record)]
    file.remove()
    assert list(records_in(tmp_path)) == []
