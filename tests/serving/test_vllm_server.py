"""The real vLLM beneath our warden and supervisor: what it does when it is hurt, and what is left.

The tests share one server and run in the order in which they stand here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from natix_miner.clock import Deadline
from natix_miner.errors import UnavailableError
from natix_miner.experts.vlm.port import Question, TokenAnswer
from natix_miner.serving import canary, leftovers, procfs, shared_memory
from natix_miner.serving.procfs import ProcessId
from natix_miner.serving.record import records_in
from natix_miner.serving.servers import Servers
from natix_miner.serving.settings import ServingSettings
from natix_miner.serving.state import State
from tests.serving.conftest import Vllm, run_vllm
from tests.serving.launching import (
    KEY,
    OWNER,
    ROOT,
    START_SECONDS,
    ServersThread,
    plan_vllm,
    tiny_settings,
    until,
)

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300)]

#: What is promised: a hang is seen within this time, and a killed miner's servers are gone.
DOWN_SECONDS, GONE_SECONDS = 30.0, 10.0


@pytest.fixture(scope="module")
def own(vllm_installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """A server to be hurt."""
    yield from run_vllm(tmp_path_factory.mktemp("own"))


def ask(server: Vllm, seconds: float = 30.0) -> TokenAnswer:
    question = Question(before="Is there roadwork?", picture=canary.picture(server.thread.rng))
    return server.thread.do(server.guarded.ask(question, Deadline.after(seconds)))


def titled(processes: list[ProcessId], title: str) -> ProcessId:
    """The process that gave itself this title."""
    return next(
        process
        for process in processes
        if title in Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace")
    )


def alive(processes: list[ProcessId]) -> list[ProcessId]:
    return [process for process in processes if procfs.lives(process)]


def shared_by(folder: Path) -> dict[str, int]:
    return {k: v for _, record in records_in(folder) for k, v in record.shared_memory.items()}


def left_of(files: dict[str, int]) -> list[str]:
    return [name for name, inode in shared_memory.present().items() if files.get(name) == inode]


def test_it_is_up_when_a_picture_was_answered(own):
    begun = time.monotonic()
    answer = ask(own)
    assert time.monotonic() - begun < 2.0, "the slow first picture was the supervisor's"
    assert 0.0 < answer.yes + answer.no <= 1.0
    assert titled(own.processes, "EngineCore")
    assert KEY not in own.log.read_text()
    commands = [Path(f"/proc/{each.pid}/cmdline").read_text() for each in own.processes]
    assert not any(KEY in command for command in commands)
    until(lambda: shared_by(own.folder), 15.0, "the record of its shared memory")
    assert left_of(shared_by(own.folder)) != []


def test_a_stopped_engine_is_found_out_though_its_health_says_200(own):
    before, files = own.processes, shared_by(own.folder)
    url = own.url
    os.kill(titled(before, "EngineCore").pid, signal.SIGSTOP)
    begun = time.monotonic()
    healthy = httpx.get(f"{url}/health", trust_env=False, timeout=5.0)
    assert healthy.status_code == 200
    until(lambda: own.state is State.DOWN, DOWN_SECONDS, "its going down")
    took = time.monotonic() - begun
    assert "no answer to a picture within 5 s" in own.reason
    with pytest.raises(UnavailableError):
        ask(own)
    until(lambda: not alive(before), 10.0, "the end of the stopped processes")
    until(lambda: own.state is State.UP, START_SECONDS, "its coming back")
    ask(own)
    assert left_of(files) == []
    print(f"SIGSTOP: down after {took:.1f} s, up after {time.monotonic() - begun:.1f} s")


def test_a_killed_engine_comes_back(own):
    before, files = own.processes, shared_by(own.folder)
    os.kill(titled(before, "EngineCore").pid, signal.SIGKILL)
    begun = time.monotonic()
    until(lambda: own.state is State.DOWN, DOWN_SECONDS, "its going down")
    took = time.monotonic() - begun
    assert "its process ended" in own.reason
    assert not alive(before)
    until(lambda: own.state is State.UP, START_SECONDS, "its coming back")
    ask(own)
    assert left_of(files) == []
    assert own.thread.status()["tiny"].restarts == 2
    print(f"kill -9: down after {took:.1f} s, up after {time.monotonic() - begun:.1f} s")


def test_a_miner_killed_with_9_takes_its_server_along_and_leaves_the_other_miners_alone(
    own, tmp_path
):
    section = tiny_settings().model_dump(mode="json")
    command = [sys.executable, str(OWNER), str(tmp_path), "vllm", json.dumps({"tiny": section})]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    miner = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        until(lambda: shared_by(tmp_path), START_SECONDS, "its engine's shared memory")
        files = shared_by(tmp_path)
        spawned = [process.id for process in procfs.below(miner.pid)]
        assert titled(spawned, "EngineCore")
    finally:
        miner.kill()
        miner.wait()
    begun = time.monotonic()
    until(lambda: not alive(spawned), GONE_SECONDS, "the end of its server")
    took = time.monotonic() - begun
    leftovers.clean(tmp_path)
    assert left_of(files) == []
    assert own.state is State.UP
    ask(own)
    print(f"kill -9 of the miner: its server was gone after {took:.1f} s")


def test_stopping_leaves_no_process_and_no_shared_memory(own):
    before, files = [*own.processes, *[procfs.state_of(own.warden).id]], shared_by(own.folder)
    begun = time.monotonic()
    own.thread.close()
    took = time.monotonic() - begun
    assert took < tiny_settings().stop_seconds + 2.0
    assert not alive(before)
    assert left_of(files) == []
    assert not list(records_in(own.folder))
    assert "warden: stopped (exit code 0)" in own.log.read_text()
    print(f"stopped in {took:.1f} s")


def test_a_wrong_flag_and_a_missing_model_are_told_in_the_servers_own_words(
    vllm_installed, tmp_path
):
    flag = tiny_settings(
        arguments=tiny_settings().arguments.model_copy(update={"extra": ("--bogus-flag", "1")})
    )
    missing = tiny_settings(model=str(tmp_path / "models" / "gone"))
    thread = ServersThread(
        lambda: Servers(
            {"flag": flag, "missing": missing},
            ServingSettings(folder=tmp_path / "servers"),
            prepare=plan_vllm,
        )
    )
    try:
        begun = time.monotonic()
        thread.do(thread.servers.start())
        thread.do(thread.servers.settled(START_SECONDS))
        took = time.monotonic() - begun
        status = thread.status()
    finally:
        thread.close()
    assert status["flag"].state is status["missing"].state is State.OFF
    assert "unrecognized arguments: --bogus-flag 1" in status["flag"].reason
    assert "the model's folder is missing" in status["missing"].reason
    assert "models/gone" in status["missing"].reason
    assert status["flag"].restarts == status["missing"].restarts == 0
    print(f"both given up after {took:.1f} s")
