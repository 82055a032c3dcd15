"""One fault row in a process of its own, which can be cut off: started by `soak.py`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.frame import Outcome, Scale

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a row came to."""

    row: str
    factor: float
    seconds: float
    figures: dict[str, Any] = field(default_factory=dict)
    broken: tuple[str, ...] = ()


def run_apart(name: str, scale: Scale, limit_seconds: float) -> Run:
    """Run a row in a child with all that the child starts; cut off after `limit_seconds`."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="natix-soak-") as folder:
        answer = Path(folder) / "answer.json"
        left = None if scale.until is None else scale.until - time.monotonic()
        job = {"row": name, "factor": scale.factor, "seed": scale.seed, "seconds": left}
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.one_row", json.dumps(job), str(answer)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, errors = child.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired:
            errors = f"cut off after {limit_seconds:.0f} s"
        finally:
            _end_group(child)
        seconds = time.monotonic() - begun
        try:
            told = json.loads(answer.read_text())
        except (OSError, ValueError):
            last = (errors.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
            return Run(name, scale.factor, seconds, broken=(f"gave no figures: {last}",))
    return Run(name, scale.factor, seconds, told["figures"], tuple(told["broken"]))


def _end_group(child: subprocess.Popen[str]) -> None:
    """End the child and every process that is still in its group."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(10)
    if child.stderr is not None:
        child.stderr.close()


async def _outcome(name: str, scale: Scale, folder: Path) -> Outcome:
    from tests.faults.every_row import every_row

    try:
        return await every_row()[name].run(scale, folder)
    except Exception as error:  # noqa: BLE001  a row that raises is a row that broke
        return Outcome({}, (f"raised {type(error).__name__}: {error}",))


def main(job_text: str, answer: str) -> None:
    """Run the row that `job_text` (JSON) names and write its outcome to `answer`."""
    from tests.faults.miners import end_all

    job = json.loads(job_text)
    until = None if job["seconds"] is None else time.monotonic() + job["seconds"]
    scale = Scale(job["factor"], job["seed"], until)
    try:
        with tempfile.TemporaryDirectory() as folder:
            outcome = asyncio.run(_outcome(job["row"], scale, Path(folder)))
        Path(answer).write_text(json.dumps(asdict(outcome)))
    finally:
        end_all()


if __name__ == "__main__":
    main(*sys.argv[1:])
