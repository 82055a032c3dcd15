"""Which GPUs this machine has, by its driver's own tool."""

from __future__ import annotations

import subprocess

from natix_miner.errors import PlanError

QUERY = ("--query-gpu=memory.total", "--format=csv,noheader,nounits")
TIMEOUT_SECONDS = 20.0
MIB = 2**20


def gpus_here(tool: str = "nvidia-smi") -> tuple[float, ...]:
    """Memory of each GPU in GB (10^9 bytes), by index; none where there is no such tool.

    Raises PlanError when the tool is there and does not answer as expected.
    """
    try:
        done = subprocess.run(
            [tool, *QUERY], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except FileNotFoundError:
        return ()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlanError(f"{tool} does not tell which GPUs there are: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise PlanError(f"{tool} does not tell which GPUs there are: {said}")
    try:
        return tuple(int(line) * MIB / 1e9 for line in done.stdout.split("\n") if line.strip())
    except ValueError as error:
        raise PlanError(f"{tool} answered {done.stdout.strip()!r} for memory in MiB") from error
