"""Starting the miner and the validator as processes of their own, and seeing that none is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from natix_miner.demo.wallets import HOTKEY, MINER, NETUID
from natix_miner.errors import NeuronError
from natix_miner.profile import load_profile
from natix_miner.serving import procfs
from natix_miner.serving.mark import Mark

START_SECONDS = 60.0
STOP_SECONDS = 20.0


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """The environment without settings of a miner that the operator may have exported."""
    from natix_miner.neuron.settings import OPTIONS

    ours = {name for option in OPTIONS for name in option.variables}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "READ_ONLY": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class MinerProcess:
    """`natix-miner run` on a loopback port, in a session of its own; its log goes to `log`.

    As a context manager it is ready on entry and gone on exit. `start_seconds` is what it took to
    become ready, `exit_code` and `children_left` are known afterwards: the latter counts processes
    of its session and servers that it spawned (they have sessions of their own).
    """

    def __init__(self, profile: Path, folder: Path) -> None:
        read = load_profile(profile)
        self._start_seconds = START_SECONDS + read.serving.wait_seconds
        stops = [server.stop_seconds for server in read.servers.values()]
        self._stop_seconds = STOP_SECONDS + max(stops, default=0.0)
        self.port = free_port()
        self.log = folder / "miner.log"
        self.start_seconds = 0.0
        self.exit_code: int | None = None
        self.children_left = 0
        self._command = [
            *(sys.executable, "-m", "natix_miner", "run"),
            *("--profile", str(profile)),
            *("--wallet-name", MINER, "--wallet-hotkey", HOTKEY),
            *("--wallet-path", str(folder / "wallets")),
            *("--netuid", str(NETUID), "--axon-host", "127.0.0.1", "--axon-port", str(self.port)),
            *("--chain-snapshot", str(folder / "chain.json")),
            *("--state-dir", str(folder / "state")),
            *("--journal", str(folder / "journal.sqlite3")),
            *("--log-file", str(folder / "miner.jsonl")),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running miner."""
        if self._process is None:
            raise NeuronError("the miner has not been started")
        return self._process.pid

    def __enter__(self) -> MinerProcess:
        begun = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
                start_new_session=True,
            )
        try:
            self._wait_until_ready(begun + self._start_seconds)
        except BaseException:
            self._stop()
            raise
        self.start_seconds = time.monotonic() - begun
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _wait_until_ready(self, until: float) -> None:
        """The miner listens only once it is warm, so a connection means ready."""
        while time.monotonic() < until:
            if self._process is not None and self._process.poll() is not None:
                raise NeuronError(f"the miner ended at start:\n{self._last_lines()}")
            if b"ready" in self.log.read_bytes():
                return
            time.sleep(0.05)
        raise NeuronError(
            f"the miner was not ready within {self._start_seconds:.0f} s:\n{self._last_lines()}"
        )

    def _last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            self.exit_code = process.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            self.exit_code = process.wait()
        left = sorted({*processes_of_session(process.pid), *servers_of(process.pid)})
        self.children_left = len(left)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self._process = None


def processes_of_session(session: int) -> list[int]:
    """Process ids that belong to a session, zombies left out."""
    return [p.id.pid for p in procfs.all_processes() if p.session == session and p.lives]


def servers_of(miner: int) -> list[int]:
    """Process ids of the servers that a miner spawned (it may be dead), by their mark."""
    marks = ((p.id.pid, Mark.of(p.id.pid)) for p in procfs.all_processes() if p.lives)
    return [pid for pid, mark in marks if mark and mark.owner.process.pid == miner]


def run_validator(folder: Path, miner: str, port: int, queries: Path) -> list[str]:
    """Run the validator to its end; the JSON lines that it printed. Raises NeuronError."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "natix_miner.demo.validator"),
            *("--wallets", str(folder / "wallets"), "--miner", miner),
            *("--port", str(port), "--queries", str(queries)),
        ],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
    )
    (folder / "validator.log").write_text(done.stderr)
    if done.returncode != 0:
        raise NeuronError(f"the demo's validator failed:\n{done.stderr[-2000:]}")
    return [line for line in done.stdout.splitlines() if line.startswith("{")]
