"""Loading an expert in a process of its own, to see what it really takes."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from natix_miner.errors import MissingExtraError, NatixMinerError
from natix_miner.experts.family import ExpertSettings, Surroundings, family_of


@dataclass(frozen=True, slots=True)
class Measured:
    """What loading and warming up one expert took, in MB (10^6 bytes) and seconds.

    `resident` is by how much the process grew, `peak` by how much at most meanwhile; `libraries`
    is what torch and transformers took before (0 for experts without them), once for all experts of
    a miner. `on_gpu` is the most that torch held there, None on a CPU. With an `error` nothing else
    counts.
    """

    resident: float = 0.0
    peak: float = 0.0
    libraries: float = 0.0
    on_gpu: float | None = None
    seconds: float = 0.0
    error: str | None = None


def measure(name: str, settings: ExpertSettings, folder: Path, catalogue: Path) -> Measured:
    """Load one expert in a fresh process, started as the miner starts it, and give it back.

    `folder` is the profile's. What goes wrong comes back as `error`, a killed process included.
    """
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        try:
            return pool.submit(load_here, name, settings, folder, catalogue).result()
        except BrokenProcessPool:
            return Measured(error="the process ended while loading: killed for want of memory?")


def load_here(name: str, settings: ExpertSettings, folder: Path, catalogue: Path) -> Measured:
    """The same in this process, whose memory must not have been used for anything else."""
    bare = _resident()
    if hasattr(settings, "device"):
        _import_libraries(name)
    begun, before = time.perf_counter(), _resident()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout belongs to whoever asked
            asyncio.run(_start(name, settings, folder, catalogue))
    except NatixMinerError as error:
        return Measured(error=str(error))
    except Exception as error:  # noqa: BLE001 - whatever a library raises is told in its row
        return Measured(error=f"{type(error).__name__}: {error}")
    return Measured(
        resident=_resident() - before,
        peak=max(_peak() - before, _resident() - before),
        libraries=before - bare,
        on_gpu=_on_gpu(str(getattr(settings, "device", "cpu"))),
        seconds=time.perf_counter() - begun,
    )


async def _start(name: str, settings: ExpertSettings, folder: Path, catalogue: Path) -> None:
    """Without closing it: its memory is looked at afterwards, and the process ends anyway."""
    around = Surroundings(folder, catalogue=catalogue)
    await family_of(settings.type).build(name, settings, around).start()


def _import_libraries(name: str) -> None:
    from natix_miner.torch_stack import torch_stack

    try:
        torch_stack(name)
    except MissingExtraError:
        return  # the expert says so itself, if it needs them


def _resident() -> float:
    """MB of this process that lie in memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # no Linux: the most there ever was is the nearest thing
        return _peak()
    return pages * resource.getpagesize() / 1e6


def _peak() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def _on_gpu(device: str) -> float | None:
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_allocated(device) / 1e6
