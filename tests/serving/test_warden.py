"""The warden as a program of its own: with real processes, killed in every way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from natix_miner.serving import procfs, warden
from natix_miner.serving.procfs import ProcessId
from tests.serving.launching import stand_in, until

PROMPT = 5.0
SHELL = ["sh", "-c"]


class Watched:
    """A warden with its engine; whatever is left is killed at the end of the test."""

    def __init__(self, folder: Path, command: list[str], **options: object) -> None:
        self.log = folder / "engine.log"
        settings = {
            "owner": os.getpid(),
            "log": self.log,
            "log_bytes": 100_000,
            "log_files": 3,
            "stop_seconds": 5.0,
        } | options
        words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", warden.__file__, *words, "--", *command],
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self.known: set[ProcessId] = set()

    def engine(self, count: int = 1) -> list[ProcessId]:
        """The processes below it, once there are so many."""
        ids = until(
            lambda: (
                [each.id for each in procfs.below(self.process.pid)][: count or None]
                if len(procfs.below(self.process.pid)) >= count
                else None
            ),
            PROMPT,
            f"{count} processes",
        )
        self.known |= set(ids)
        return ids

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def says(self, text: str) -> None:
        until(lambda: text in self.said(), PROMPT, f"{text!r} in the log")

    def ends(self, seconds: float = PROMPT) -> int:
        return self.process.wait(seconds)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        if self.process.poll() is None:
            self.known |= {each.id for each in procfs.below(self.process.pid)}
            self.process.kill()
            self.process.wait()
        for process in self.known:
            procfs.send(process, signal.SIGKILL)


@pytest.fixture
def watch(tmp_path):
    begun: list[Watched] = []

    def begin(command: list[str], **options: object) -> Watched:
        begun.append(Watched(tmp_path, command, **options))
        return begun[-1]

    yield begin
    for each in begun:
        each.close()


def gone(processes) -> bool:
    return not any(procfs.lives(process) for process in processes)


@pytest.mark.parametrize(
    ("command", "said"),
    [("exit 0", "exit code 0"), ("exit 3", "exit code 3"), ("kill -9 $$", "signal SIGKILL")],
)
def test_an_engine_that_ends_by_itself_is_told_apart_whatever_its_exit_code(watch, command, said):
    one = watch([*SHELL, f"echo out; echo err >&2; {command}"])
    assert one.ends() == warden.ENDED_BY_ITSELF
    lines = one.said().splitlines()
    assert lines[0] == "warden: starts sh"
    assert sorted(lines[1:3]) == ["err", "out"]
    assert lines[3] == f"warden: the engine ended by itself ({said})"


def test_a_command_that_cannot_be_run_is_named(watch):
    one = watch(["/nowhere/vllm", "serve"])
    assert one.ends() == warden.ENDED_BY_ITSELF
    assert "warden: cannot run /nowhere/vllm: No such file or directory" in one.said()


def test_when_the_pipe_closes_all_processes_end(watch):
    one = watch(stand_in("--engine"))
    engine = one.engine(2)
    one.says("engine")
    one.process.stdin.close()
    assert one.ends(warden.TIDY_SECONDS + PROMPT) == warden.STOPPED
    assert gone(engine)
    assert "the miner is gone; stopping the engine" in one.said()


@pytest.mark.parametrize("order", ["byte", "SIGTERM"])
def test_it_stops_the_engine_when_told_to(watch, order):
    one = watch([*SHELL, "echo begun; sleep 1000"])
    engine = one.engine()
    one.says("begun")
    if order == "byte":
        one.process.stdin.write(warden.STOP)
    else:
        one.process.send_signal(signal.SIGTERM)
    assert one.ends(warden.TIDY_SECONDS + PROMPT) == warden.STOPPED
    assert gone(engine)


def test_an_engine_may_tidy_up_before_it_ends(watch):
    one = watch([*SHELL, "trap 'sleep 0.3; echo tidied; exit' TERM; echo begun; sleep 1000 & wait"])
    one.says("begun")
    one.process.stdin.close()
    assert one.ends() == warden.STOPPED
    assert "tidied" in one.said()


def test_who_is_deaf_to_sigterm_is_killed_after_the_time_to_stop(watch):
    one = watch(
        [*SHELL, "trap '' TERM; echo begun; sleep 1000 & wait; sleep 1000"], stop_seconds=0.5
    )
    engine = one.engine(2)
    one.says("begun")
    begun = time.monotonic()
    one.process.stdin.write(warden.STOP)
    assert one.ends() == warden.STOPPED
    assert 0.5 <= time.monotonic() - begun < 2.5
    assert gone(engine)


def test_an_orphan_gets_less_patience(watch):
    one = watch(
        [*SHELL, "trap '' TERM; echo begun; sleep 1000 & wait; sleep 1000"], stop_seconds=60.0
    )
    engine = one.engine(2)
    one.says("begun")
    one.process.stdin.write(warden.STOP)
    one.process.stdin.close()
    assert one.ends(warden.ORPHAN_SECONDS + PROMPT) == warden.STOPPED
    assert gone(engine)


def test_a_stopped_engine_is_killed_at_once_when_told_so(watch):
    one = watch([*SHELL, "trap 'echo asked' TERM; echo begun; sleep 1000"], stop_seconds=60.0)
    one.says("begun")
    engine = one.engine(2)
    for process in engine:
        os.kill(process.pid, signal.SIGSTOP)
    one.process.stdin.write(warden.KILL_AT_ONCE)
    assert one.ends() == warden.STOPPED
    assert gone(engine)
    assert "asked" not in one.said()


def test_what_the_engine_leaves_behind_goes_too_though_it_left_its_session(watch):
    one = watch([*SHELL, "setsid sleep 1000 & setsid sleep 1001 & sleep 0.3; exit 1"])
    left = one.engine(3)
    assert one.ends(warden.TIDY_SECONDS + PROMPT) == warden.ENDED_BY_ITSELF
    assert gone(left)


def test_the_engine_dies_with_a_killed_warden(watch):
    one = watch([*SHELL, "echo begun; exec sleep 1000"])
    engine = one.engine()
    one.says("begun")
    one.process.kill()
    until(lambda: gone(engine), PROMPT, "the engine's end")


def test_a_dead_miner_is_noticed_though_somebody_else_holds_the_pipe(watch, tmp_path):
    program = (
        "import subprocess, sys\n"
        "held = subprocess.Popen(sys.argv[1:] + ['--owner', str(__import__('os').getpid()), '--',"
        " 'sleep', '1000'], stdin=0, start_new_session=True)\n"
        "print(held.pid, flush=True)\n"
        "sys.stdin.close()\n"
        "__import__('time').sleep(1000)\n"
    )
    read, write = os.pipe()
    words = [sys.executable, "-I", "-S", warden.__file__, "--log", str(tmp_path / "log")]
    words += ["--log-bytes", "1000", "--log-files", "1", "--stop-seconds", "1"]
    miner = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdin=read, stdout=subprocess.PIPE
    )
    os.close(read)
    pid = int(miner.stdout.readline())
    state = procfs.state_of(pid)
    until(lambda: procfs.below(pid), PROMPT, "the engine")
    miner.kill()
    miner.wait()
    miner.stdout.close()
    try:
        until(lambda: gone([state.id]), PROMPT, "the warden's end")
    finally:
        os.close(write)
    assert "the miner is gone" in (tmp_path / "log").read_text()


def test_a_flood_of_output_neither_fills_the_disk_nor_drowns_orders(watch, tmp_path):
    one = watch(["yes", "0123456789" * 10], log_bytes=50_000, log_files=3)
    until(lambda: (tmp_path / "engine.log.2").exists(), PROMPT, "the second rotation")
    one.process.stdin.close()
    assert one.ends() == warden.STOPPED
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sorted(sizes) == ["engine.log", "engine.log.1", "engine.log.2"]
    assert max(sizes.values()) < 50_000 + 2 * 65_536


def test_a_single_log_file_begins_anew(watch, tmp_path):
    one = watch([*SHELL, "seq 1 20000; sleep 0.2; echo last"], log_bytes=10_000, log_files=1)
    assert one.ends() == warden.ENDED_BY_ITSELF
    assert [path.name for path in tmp_path.iterdir()] == ["engine.log"]
    assert "last" in one.said()


def test_a_full_disk_costs_the_log_and_not_the_engine(watch, tmp_path):
    flag = tmp_path / "flag"
    one = watch(
        [*SHELL, f"seq 1 100000; touch {flag}; sleep 1000"], log=Path("/dev/full"), stop_seconds=1
    )
    until(flag.exists, PROMPT, "the engine's way through its output")
    assert one.process.poll() is None
    one.process.stdin.close()
    assert one.ends() == warden.STOPPED


def test_it_is_small_so_that_one_beside_each_server_does_not_matter(watch):
    one = watch([*SHELL, "echo begun; sleep 1000"])
    one.says("begun")
    status = Path(f"/proc/{one.process.pid}/status").read_text()
    held = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    assert int(held.split()[1]) < 25_000  # kB
