"""A real miner process: time from its start to the first answer, and its memory after work."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from bench import Figure
from bench_judge import PROFILE

from natix_miner.demo.demo import QUERIES
from natix_miner.demo.processes import MinerProcess, run_validator
from natix_miner.demo.wallets import MINER, VALIDATOR, make_snapshot, make_wallet

RUNS = 3


def measure_miner() -> list[Figure]:
    """Start the miner, ask it all bundled queries, look at its memory, stop it."""
    starts, memory = [], []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            miner = make_wallet(folder / "wallets", MINER).hotkey.ss58_address
            validator = make_wallet(folder / "wallets", VALIDATOR).hotkey.ss58_address
            make_snapshot(folder / "chain.json", miner, validator)
            with MinerProcess(PROFILE, folder) as process:
                starts.append(process.start_seconds)
                lines = run_validator(folder, miner, process.port, QUERIES)
                if not lines:
                    raise SystemExit("the miner answered nothing, there is nothing to measure")
                memory.append(_resident_megabytes(process.pid))
    return [
        Figure("miner start to first answer (its own rehearsal)", tuple(starts), "s", 8.0),
        Figure("miner resident memory after the bundled queries", tuple(memory), "MB", 600.0),
    ]


def _resident_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000.0
    raise subprocess.SubprocessError(f"process {pid} has no VmRSS line")
