"""Spawned engines: real processes beneath a real warden, on a real event loop."""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest

from natix_miner.errors import ServerStartError
from natix_miner.serving import procfs, shared_memory
from natix_miner.serving.mark import Mark, Owner
from natix_miner.serving.process import LogFile, ServerProcess
from natix_miner.serving.record import records_in
from tests.serving.launching import soon, stand_in

PROMPT = 5.0
SHM = shared_memory.FOLDER


@pytest.fixture
def shared():
    """A name for a file in shared memory, of a kind that engines use; gone after the test."""
    name = f"psm_test_{uuid.uuid4().hex[:8]}"
    yield name
    (SHM / name).unlink(missing_ok=True)


@pytest.fixture
async def spawn(tmp_path):
    begun: list[ServerProcess] = []

    async def start(command: list[str], name: str = "fast", stop_seconds: float = 3.0, **variables):
        process = await ServerProcess.spawn(
            command,
            {**os.environ, **variables},
            Mark(Owner.this(), name),
            log=LogFile(tmp_path / f"{name}.log", 1_000_000, 2),
            records=tmp_path,
            stop_seconds=stop_seconds,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        await process.kill()


async def printed(process: ServerProcess, text: str) -> None:
    await soon(lambda: any(text in line for line in process.log.tail()), PROMPT, text)


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if (state := procfs.state_of(pid)) and state.lives]


async def test_a_running_engine_can_be_looked_at(spawn):
    process = await spawn(
        ["sh", "-c", "echo $GREETING $NATIX_MINER_SERVER; sleep 1000"], GREETING="hi"
    )
    await printed(process, f"hi fast@{Owner.this()}")
    await soon(lambda: len(process.pids()) == 2, PROMPT, "the shell and its child")
    assert process.pid not in process.pids()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await process.wait()
    assert len(alive(process.pids())) == 2, "waiting ends nothing"


async def test_stopping_is_polite_and_leaves_nothing(spawn, tmp_path):
    process = await spawn(["sh", "-c", "trap 'echo tidy; exit' TERM; echo up; sleep 1000 & wait"])
    await printed(process, "up")
    pids = process.pids()
    await process.stop()
    await process.stop()
    assert not alive([*pids, process.pid])
    assert process.pids() == []
    assert "tidy" in await process.last_lines()
    assert not list(records_in(tmp_path))


async def test_killing_a_stopped_engine_takes_no_patience(spawn):
    process = await spawn(stand_in("--engine", "--stubborn"), stop_seconds=60.0)
    await printed(process, "engine")
    pids = process.pids()
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    await process.kill()
    assert time.monotonic() - begun < 2.0
    assert not alive(pids)


async def test_its_end_is_seen_and_its_last_words_are_those_of_this_start_only(spawn):
    first = await spawn(["sh", "-c", "echo the first one"])
    await first.wait()
    second = await spawn(["sh", "-c", "printf '\\033[31mred\\033[0m\\n'; exit 4"])
    await second.wait()
    assert await second.last_lines() == ["red", "warden: the engine ended by itself (exit code 4)"]


async def test_an_engine_that_cannot_be_run_ends_at_once_and_says_so(spawn):
    process = await spawn(["/nowhere/vllm"])
    await process.wait()
    assert (await process.last_lines())[0].startswith("warden: cannot run /nowhere/vllm")


@pytest.mark.parametrize("how", ["kill -9", "stopped"])
async def test_a_broken_warden_does_not_shield_the_engine(spawn, tmp_path, how):
    process = await spawn(stand_in("--engine", "--unmarked"), stop_seconds=0.2)
    await printed(process, "engine")
    pids = process.pids()
    assert len(pids) == 2
    await soon(lambda: _known(tmp_path) >= set(pids), PROMPT, "the record")
    if how == "kill -9":
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.wait_for(process.wait(), PROMPT)
    else:
        os.kill(process.pid, signal.SIGSTOP)
        await process.stop()
    assert not alive(pids)


async def test_shared_memory_of_a_killed_engine_goes(spawn, shared, tmp_path):
    process = await spawn(stand_in("--engine", "--shared", shared))
    await printed(process, "engine")
    await soon(lambda: _recorded(tmp_path, shared), PROMPT, "the record")
    for pid in process.pids():
        os.kill(pid, signal.SIGKILL)
    await process.wait()
    assert not (SHM / shared).exists()
    assert not list(tmp_path.glob("*.json"))


async def test_shared_memory_made_just_before_the_end_goes_too(spawn, shared):
    process = await spawn(stand_in("--engine", "--shared", shared))
    await printed(process, "engine")
    await process.kill()
    assert not (SHM / shared).exists()


async def test_shared_memory_that_somebody_else_still_maps_stays(spawn, shared, tmp_path):
    process = await spawn(stand_in("--engine", "--shared", shared))
    await printed(process, "engine")
    await soon(lambda: _recorded(tmp_path, shared), PROMPT, "the record")
    with (SHM / shared).open("r+b") as file, mmap.mmap(file.fileno(), 4096):
        await process.kill()
        assert (SHM / shared).exists()


async def test_shared_memory_that_was_there_before_stays(spawn, shared):
    (SHM / shared).write_bytes(b"weights" * 1000)
    process = await spawn(stand_in("--engine", "--shared", shared))
    await printed(process, "engine")
    await process.kill()
    assert (SHM / shared).exists()


async def test_files_of_other_kinds_in_shared_memory_are_nobodys_business(spawn, shared):
    mine = SHM / f"my-weights-{shared}"
    try:
        process = await spawn(stand_in("--engine", "--shared", mine.name))
        await printed(process, "engine")
        assert mine.exists()
        await process.kill()
        assert mine.exists()
    finally:
        mine.unlink(missing_ok=True)


async def test_a_spawn_that_is_cancelled_leaves_nothing(tmp_path):
    mark = Mark(Owner.this(), "cancelled")
    for pause in (0.0, 0.001, 0.005):
        spawning = asyncio.create_task(
            ServerProcess.spawn(
                ["sleep", "1000"],
                os.environ,
                mark,
                log=LogFile(tmp_path / "log", 1000, 1),
                records=tmp_path,
                stop_seconds=1.0,
            )
        )
        await asyncio.sleep(pause)
        spawning.cancel()
        try:
            process = await spawning
        except asyncio.CancelledError:
            pass
        else:
            await process.kill()
    assert not [each for each in procfs.all_processes() if Mark.of(each.id.pid) == mark]


async def start_nothing(log: Path) -> None:
    await ServerProcess.spawn(
        ["true"],
        {},
        Mark(Owner.this(), "x"),
        log=LogFile(log, 1000, 1),
        records=log.parent,
        stop_seconds=1.0,
    )


async def test_a_warden_that_cannot_be_started_is_a_start_error(tmp_path, monkeypatch):
    with pytest.raises(ServerStartError, match=r"logging to .*: No such file or directory"):
        await start_nothing(tmp_path / "nowhere" / "log")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ServerStartError, match="cannot start its warden with /nowhere/python"):
        await start_nothing(tmp_path / "log")


async def test_the_loop_goes_on_while_servers_start_and_end(spawn):
    gaps, done = [], False

    async def beat() -> None:
        while not done:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - before)

    beating = asyncio.create_task(beat())
    process = await spawn(["sh", "-c", "trap '' TERM; echo up; sleep 1000 & wait; sleep 1000"])
    await printed(process, "up")
    await process.kill()
    done = True
    await beating
    assert sorted(gaps)[int(0.98 * len(gaps))] < 0.1, "each step of it would take longer"
    assert max(gaps) < 0.5


def _recorded(folder: Path, name: str) -> bool:
    return any(name in record.shared_memory for _, record in records_in(folder))


def _known(folder: Path) -> set[int]:
    return {process.pid for _, record in records_in(folder) for process in record.processes}
