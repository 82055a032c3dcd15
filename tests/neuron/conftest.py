"""Shared by the tests of the neuron: throw-away wallets, snapshot files, miner processes."""

from __future__ import annotations

import json
import logging
import os
import re
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bittensor_wallet import Keypair, Wallet
from loguru import logger

HERE = Path(__file__).parent
READY = re.compile(
    r"ready axon=(?P<host>\S+):(?P<port>\d+) uid=(?P<uid>\S+) hotkey=(?P<hotkey>\S+)"
)


def key(number: int) -> Keypair:
    """A hotkey that is the same in every run."""
    return Keypair.create_from_seed("0x" + f"{number:02x}" * 32)


MINER, VALIDATOR, NO_PERMIT, STRANGER = key(1), key(2), key(3), key(4)


def neuron_row(uid: int, hotkey: str, permit: bool) -> dict[str, Any]:
    return {
        "uid": uid,
        "hotkey": hotkey,
        "stake": 1000.0,
        "validator_permit": permit,
        "ip": "127.0.0.1",
        "port": 8091,
        "incentive": 0.0,
        "emission": 0.0,
    }


def write_snapshot_file(path: Path, rows: list[dict[str, Any]], *, netuid=72, block=1) -> Path:
    """Replaced as a whole, as a careful operator would."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"netuid": netuid, "block": block, "neurons": rows}))
    draft.replace(path)
    return path


def make_wallet(folder: Path, name: str) -> Wallet:
    """A wallet whose coldkey was taken away, as it should be on a miner."""
    wallet = Wallet(name=name, hotkey="default", path=str(folder))
    wallet.create_if_non_existent(
        coldkey_use_password=False, hotkey_use_password=False, suppress=True
    )
    (folder / name / "coldkey").unlink()
    return wallet


@dataclass
class MinerProcess:
    """A miner in another process."""

    process: subprocess.Popen[str]
    host: str
    port: int
    uid: str
    hotkey: str
    folder: Path
    ready_line: str
    started_in: float
    killed: bool = field(default=False)

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    def log(self) -> str:
        return (self.folder / "miner.log").read_text()

    def json_log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "miner.jsonl").read_text().splitlines()]

    def stop(self, number: int = 15, seconds: float = 15.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)


class MinerFactory:
    """Starts miner processes and ends what a test has left running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deadline_seconds = 7.0
        self.limits: dict[str, Any] = {}
        self._running: list[subprocess.Popen[str]] = []
        self.wallet = make_wallet(folder / "wallets", "miner")
        self.hotkey = self.wallet.unlock_hotkey().ss58_address
        self.snapshot = write_snapshot_file(
            folder / "chain.json",
            [
                neuron_row(0, VALIDATOR.ss58_address, True),
                neuron_row(1, NO_PERMIT.ss58_address, False),
                neuron_row(7, self.hotkey, False),
            ],
        )

    def profile(self, **changes: Any) -> Path:
        """A profile file; its expert is never loaded, the judge is a double. Written in JSON, which
        is YAML."""
        path = self.folder / "profile.yaml"
        content = {
            "name": "double",
            "deadline_seconds": self.deadline_seconds,
            "experts": {"nobody": {"type": "embedded-network", "model": "none.onnx"}},
            "levels": [{"name": "only", "experts": ["nobody"]}],
            "neuron": self.limits,
        }
        path.write_text(json.dumps({**content, **changes}))
        return path

    def options(self, **changes: str | None) -> list[str]:
        options: dict[str, str | None] = {
            "profile": str(self.profile()),
            "wallet-name": "miner",
            "wallet-hotkey": "default",
            "wallet-path": str(self.folder / "wallets"),
            "netuid": "72",
            "chain-snapshot": str(self.snapshot),
            "axon-host": "127.0.0.1",
            "axon-port": "0",
            "journal": str(self.folder / "journal.sqlite3"),
            "log-file": str(self.folder / "miner.jsonl"),
            "state-dir": str(self.folder / "state"),
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        return [
            part
            for name, value in options.items()
            if value is not None
            for part in (f"--{name}", value)
        ]

    def popen(self, kind: str, *extra: str, **changes: str | None) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "miner_with_double.py"), kind]
        with (self.folder / "miner.log").open("a") as log:
            process = subprocess.Popen(
                [*command, *self.options(**changes), *extra],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self._running.append(process)
        return process

    def start(self, kind: str = "quick", *extra: str, **changes: str | None) -> MinerProcess:
        begun = time.monotonic()
        process = self.popen(kind, *extra, **changes)
        assert process.stdout is not None
        line = ""
        if select.select([process.stdout], [], [], 30.0)[0]:
            line = process.stdout.readline()
        match = READY.match(line)
        assert match, f"no ready line but {line!r}; log: {(self.folder / 'miner.log').read_text()}"
        return MinerProcess(
            process=process,
            host=match["host"],
            port=int(match["port"]),
            uid=match["uid"],
            hotkey=match["hotkey"],
            folder=self.folder,
            ready_line=line,
            started_in=time.monotonic() - begun,
        )

    def end_all(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def miners(tmp_path: Path):
    factory = MinerFactory(tmp_path)
    yield factory
    factory.end_all()


@pytest.fixture(scope="module")
def shared_miners(tmp_path_factory: pytest.TempPathFactory):
    factory = MinerFactory(tmp_path_factory.mktemp("miner"))
    yield factory
    factory.end_all()


class DendriteProcess:
    """A real dendrite in another process (`dendrite_script.py`), asked as often as one likes."""

    def __init__(self, interpreter: str, folder: Path) -> None:
        self._errors = folder / "dendrite.log"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [interpreter, str(HERE / "dendrite_script.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(
        self,
        seed: str,
        axons: list[dict[str, Any]],
        queries: list[dict[str, Any]],
        *,
        concurrent: bool = False,
        timeout: float = 9.0,
    ) -> dict[str, Any]:
        """Send the queries to every axon; SDK version and returned synapses."""
        request = {
            "seed": seed,
            "axons": axons,
            "queries": queries,
            "concurrent": concurrent,
            "timeout": timeout,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith('{"sdk"'):
                result: dict[str, Any] = json.loads(line)
                return result
        raise AssertionError(self._errors.read_text()[-3000:])

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture(scope="session")
def dendrite(tmp_path_factory: pytest.TempPathFactory):
    """Asks through a real dendrite of the installed SDK."""
    process = DendriteProcess(sys.executable, tmp_path_factory.mktemp("dendrite"))
    yield process.ask
    process.close()


@pytest.fixture(scope="module")
def old_dendrite(tmp_path_factory: pytest.TempPathFactory):
    """The same for the SDK of another interpreter, that of validators which have not upgraded."""
    interpreter = os.environ.get("NATIX_SDK9_PYTHON")
    if not interpreter:
        pytest.skip("NATIX_SDK9_PYTHON names no interpreter with bittensor 9.12.2")
    process = DendriteProcess(interpreter, tmp_path_factory.mktemp("old-dendrite"))
    yield process.ask
    process.close()


@pytest.fixture(scope="session")
def keys():
    """The hotkeys that snapshot files of these tests know, by their part."""
    return {"validator": VALIDATOR, "no-permit": NO_PERMIT, "stranger": STRANGER, "other": MINER}


@pytest.fixture(scope="session")
def seeds():
    """Seeds of the same hotkeys, for other processes."""
    return {"other": "0x" + "01" * 32, "validator": "0x" + "02" * 32, "stranger": "0x" + "04" * 32}


class ManualClock:
    """A clock that goes on only when told."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self.wall = wall
        self.ticks = 1000.0

    def monotonic(self) -> float:
        return self.ticks

    def time(self) -> float:
        return self.wall

    def advance(self, seconds: float) -> None:
        self.ticks += seconds
        self.wall += seconds


@pytest.fixture
def quiet_logs():
    """For code that sets up the logs of its process: take them down again."""
    names = ("uvicorn.error", "asyncio", "bittensor")
    before = [(logging.getLogger(n), logging.getLogger(n).level) for n in names]
    yield
    logger.remove()
    for stdlib_logger, level in before:
        stdlib_logger.handlers = []
        stdlib_logger.propagate = True
        stdlib_logger.setLevel(level)


@pytest.fixture
def told():
    """The lines that loguru is given during a test, as "LEVEL message"."""
    lines: list[str] = []
    number = logger.add(
        lambda line: lines.append(str(line).rstrip()), format="{level} {message}", level="DEBUG"
    )
    yield lines
    logger.remove(number)


@pytest.fixture
def manual_clock():
    return ManualClock()
