"""Real miner processes for the fault rows, and what can be seen of them from outside.

`MinerSetup` says how one runs: the embedded profile with its real experts, or the judge double of
`tests/neuron/miner_with_double.py` where a row is about the wire alone. Everything else is real:
wallet, axon, admission, journal, metrics, log. Rows that leave a miner as they found it share one
(`shared_miner`); `end_all` ends whatever is still running.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from bittensor_wallet import Keypair, Wallet

ROOT = Path(__file__).resolve().parents[2]
MINER_WITH_DOUBLE = ROOT / "tests" / "neuron" / "miner_with_double.py"
START_SECONDS = 60.0
_READY = re.compile(r"ready axon=(?P<host>\S+):(?P<port>\d+) uid=\S+ hotkey=(?P<hotkey>\S+)")
_METRIC = re.compile(r"^(?P<name>[a-z_]+)(?P<labels>\{.*\})? (?P<value>\S+)$")

#: Sixteen hotkeys with a validator permit, the same in every run.
VALIDATORS = [Keypair.create_from_seed("0x" + f"{0x40 + n:02x}" * 32) for n in range(16)]

#: For miners that are asked very many queries: nonces are forgotten after 8 s, so that their number
#: settles soon, and the journal is pruned from some thousand queries on.
SHORT_MEMORY: dict[str, Any] = {"nonce_window_seconds": 4.0}
SMALL_JOURNAL: dict[str, Any] = {"keep_gigabytes": 0.03}


@dataclass(frozen=True)
class MinerSetup:
    """How one miner runs. `double` names a kind of judge double, None the real cascade;
    `neuron` are limits of the axon that differ from the profile's."""

    double: str | None = None
    deadline_seconds: float = 7.0
    neuron: dict[str, Any] = field(default_factory=dict)
    journal: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the kernel says about a process: resident and highest resident memory in KB, open
    files, threads."""

    resident_kb: int
    peak_kb: int
    files: int
    threads: int


@dataclass
class RunningMiner:
    """One miner process and its folder."""

    process: subprocess.Popen[str]
    folder: Path
    host: str
    port: int
    hotkey: str
    metrics_port: int
    deadline_seconds: float
    started_in: float

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the axon."""
        return self.host, self.port

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.folder / "journal.sqlite3"

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def log(self) -> str:
        """What it has written to its terminal."""
        return (self.folder / "miner.log").read_text(errors="replace")

    def vitals(self) -> Vitals:
        """Memory, files and threads now. Raises OSError when the process is gone."""
        proc = Path(f"/proc/{self.process.pid}")
        status = dict(
            line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
        )
        return Vitals(
            resident_kb=int(status["VmRSS"].split()[0]),
            peak_kb=int(status["VmHWM"].split()[0]),
            files=len(list((proc / "fd").iterdir())),
            threads=int(status["Threads"]),
        )

    def forget_peak(self) -> None:
        """Let the highest resident memory begin anew at what is resident now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by name and labels as they are printed."""
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10)
        with page:
            lines = page.read().decode().splitlines()
        matches = [_METRIC.match(line) for line in lines]
        return {m["name"] + (m["labels"] or ""): float(m["value"]) for m in matches if m}

    def refused(self, reason: str) -> float:
        """How many requests were refused for this reason so far."""
        return sum(
            value
            for name, value in self.metrics().items()
            if name.startswith("natix_refusals_total{") and f'reason="{reason}"' in name
        )

    def stop(self, number: int = 15, seconds: float = 20.0) -> int | None:
        """Send a signal and wait; the exit code, None when it did not end in time."""
        if self.alive():
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


_running: list[RunningMiner] = []
_shared: dict[str, RunningMiner] = {}


def start_miner(setup: MinerSetup, folder: Path) -> RunningMiner:
    """A miner that has said it is ready; its files lie in `folder`.

    Raises RuntimeError with the end of its log when it does not get there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    metrics_port = _free_port()
    hotkey = _wallet(folder)
    _snapshot(folder, hotkey)
    command = [sys.executable, "-m", "natix_miner", "run"]
    if setup.double is not None:
        command = [sys.executable, str(MINER_WITH_DOUBLE), setup.double]
    with (folder / "miner.log").open("a") as log:
        process = subprocess.Popen(
            [*command, *_options(folder, _profile(setup, folder), metrics_port)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )
    assert process.stdout is not None
    line = ""
    if select.select([process.stdout], [], [], START_SECONDS)[0]:
        line = process.stdout.readline()
    ready = _READY.match(line)
    if not ready:
        process.kill()
        process.wait(10)
        said = (folder / "miner.log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"no ready line from the miner but {line!r}; its log ends: {said}")
    miner = RunningMiner(
        process=process,
        folder=folder,
        host=ready["host"],
        port=int(ready["port"]),
        hotkey=ready["hotkey"],
        metrics_port=metrics_port,
        deadline_seconds=setup.deadline_seconds,
        started_in=time.monotonic() - begun,
    )
    _running.append(miner)
    return miner


async def shared_miner(name: str, setup: MinerSetup) -> RunningMiner:
    """The miner of this name, started when there is none that lives; ended by `end_all`."""
    miner = _shared.get(name)
    if miner is None or not miner.alive():
        folder = Path(tempfile.mkdtemp(prefix=f"natix-faults-{name}-"))
        miner = _shared[name] = await asyncio.to_thread(start_miner, setup, folder)
    return miner


def end_all() -> None:
    """End every miner that was started here; remove the folders of the shared ones."""
    for miner in _running:
        if miner.alive():
            miner.process.kill()
        miner.process.wait(10)
        if miner.process.stdout is not None:
            miner.process.stdout.close()
    for miner in _shared.values():
        shutil.rmtree(miner.folder, ignore_errors=True)
    _running.clear()
    _shared.clear()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wallet(folder: Path) -> str:
    """A wallet without its coldkey, as on a miner; the address of the hotkey."""
    wallet = Wallet(name="miner", hotkey="default", path=str(folder / "wallets"))
    wallet.create_if_non_existent(
        coldkey_use_password=False, hotkey_use_password=False, suppress=True
    )
    (folder / "wallets" / "miner" / "coldkey").unlink(missing_ok=True)
    return str(wallet.unlock_hotkey().ss58_address)


def _snapshot(folder: Path, hotkey: str) -> None:
    def row(uid: int, address: str, permit: bool) -> dict[str, Any]:
        return {
            "uid": uid,
            "hotkey": address,
            "stake": 1000.0,
            "validator_permit": permit,
            "ip": "127.0.0.1",
            "port": 8091,
            "incentive": 0.0,
            "emission": 0.0,
        }

    rows = [row(uid, key.ss58_address, True) for uid, key in enumerate(VALIDATORS)]
    content = {"netuid": 72, "block": 1, "neurons": [*rows, row(99, hotkey, False)]}
    (folder / "chain.json").write_text(json.dumps(content))


def _profile(setup: MinerSetup, folder: Path) -> Path:
    """The embedded profile with these limits, or one whose expert nobody loads. JSON is YAML."""
    if setup.double is None:
        source = ROOT / "configs" / "embedded.yaml"
        content = yaml.safe_load(source.read_text())
        for expert in content["experts"].values():
            expert["model"] = str((source.parent / expert["model"]).resolve())
        fitted = source.parent / content["consensus"]["fitted"]
        content["consensus"]["fitted"] = str(fitted.resolve())
    else:
        content = {
            "name": "double",
            "experts": {"nobody": {"type": "embedded-network", "model": "none.onnx"}},
            "levels": [{"name": "only", "experts": ["nobody"]}],
        }
    content["deadline_seconds"] = setup.deadline_seconds
    # A row drives the miner harder than any validator: the pace of a hotkey has tests of its own.
    content["neuron"] = {"max_per_minute_per_hotkey": 0, **setup.neuron}
    content["journal"] = setup.journal
    path = folder / "profile.yaml"
    path.write_text(json.dumps(content))
    return path


def _options(folder: Path, profile: Path, metrics_port: int) -> list[str]:
    options = {
        "profile": profile,
        "wallet-name": "miner",
        "wallet-hotkey": "default",
        "wallet-path": folder / "wallets",
        "netuid": 72,
        "chain-snapshot": folder / "chain.json",
        "axon-host": "127.0.0.1",
        "axon-port": 0,
        "metrics-port": metrics_port,
        "journal": folder / "journal.sqlite3",
        "log-file": folder / "miner.jsonl",
        "log-level": "warning",
        "state-dir": folder / "state",
    }
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]
