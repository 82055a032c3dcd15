"""The asking side of a fault row: who asks, how long each answer took, and what the process holds.

Late is what came to the asker after the deadline of the profile, the way there and back included.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import io
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Answered:
    """One request as its sender saw it; status 0 when the connection broke, prediction None when
    there was none in the reply."""

    begun: float
    seconds: float
    status: int
    prediction: float | None


class AsksMiner(Protocol):
    """The part of a running miner that a load needs."""

    deadline_seconds: float

    async def ask(self, picture: bytes) -> Answered:
        """Send one signed query."""
        ...


@dataclass(slots=True)
class Tally:
    """All requests of a row."""

    deadline_seconds: float
    answers: list[Answered] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Those with a probability."""
        return sum(a.status == 200 and (a.prediction or -1.0) >= 0.0 for a in self.answers)

    @property
    def late(self) -> int:
        """Those that took longer than the deadline, whatever they said."""
        return sum(a.seconds > self.deadline_seconds for a in self.answers)

    @property
    def slowest(self) -> float:
        """Seconds."""
        return max((a.seconds for a in self.answers), default=0.0)

    def figures(self) -> dict[str, float | int | str]:
        """For the table."""
        return {
            "queries": len(self.answers),
            "answered": self.answered,
            "late": self.late,
            "slowest_answer_seconds": round(self.slowest, 3),
        }


class Load:
    """Asks one picture after another, `at_once` side by side, for as long as the block lasts."""

    def __init__(
        self,
        miner: AsksMiner,
        pictures: Sequence[bytes],
        *,
        at_once: int = 3,
        pause: float = 0.01,
    ) -> None:
        self.tally = Tally(miner.deadline_seconds)
        self._miner = miner
        self._pictures = pictures
        self._at_once = at_once
        self._pause = pause
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._over = False
        self._tasks = [asyncio.create_task(self._ask(n)) for n in range(self._at_once)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)

    async def more(self, count: int, seconds: float = 30.0) -> None:
        """Wait until `count` more answers have come."""
        wanted = len(self.tally.answers) + count
        await happens(lambda: len(self.tally.answers) >= wanted, seconds)

    async def _ask(self, number: int) -> None:
        while not self._over:
            picture = self._pictures[number % len(self._pictures)]
            number += self._at_once
            self.tally.answers.append(await self._miner.ask(picture))
            await asyncio.sleep(self._pause)


def pictures(count: int, seed: int, side: int = 128) -> list[bytes]:
    """JPEGs of noise, all different."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(out, "JPEG")
        made.append(out.getvalue())
    return made


async def happens(true: Callable[[], Any], seconds: float) -> float | None:
    """Seconds until `true` (a function or a coroutine function) says so; None when it never did."""
    begun = time.monotonic()
    while True:
        said = true()
        if inspect.isawaitable(said):
            said = await said
        if said:
            return time.monotonic() - begun
        if time.monotonic() - begun > seconds:
            return None
        await asyncio.sleep(0.02)


def figure(seconds: float | None) -> float | str:
    """A duration for the table."""
    return "never" if seconds is None else round(seconds, 2)


def resident_megabytes() -> float:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files() -> int:
    """File descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


@dataclass(frozen=True, slots=True)
class Held:
    """The fewest files and threads that the process held for a while: what comes and goes with
    single connections is not in it."""

    files: int
    threads: int


async def held(seconds: float = 0.5) -> Held:
    """Look for so long, once what is garbage has been collected: the SDK leaves its connections to
    the collector."""
    gc.collect()
    files, threads = open_files(), threading.active_count()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.sleep(0.005)
        files, threads = min(files, open_files()), min(threads, threading.active_count())
    return Held(files, threads)


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What asyncio complains of meanwhile: exceptions that nobody looked at. In a miner they are
    lines of its log, with a traceback each."""
    lines: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, source = Listening(logging.ERROR), logging.getLogger("asyncio")
    source.addHandler(handler)
    try:
        gc.collect()  # what ended before is not counted
        lines.clear()
        yield lines
        gc.collect()  # they are noticed when their tasks are collected
    finally:
        source.removeHandler(handler)


@contextmanager
def told() -> Iterator[list[str]]:
    """What is logged meanwhile, as "LEVEL message"."""
    from loguru import logger

    lines: list[str] = []
    number = logger.add(
        lambda line: lines.append(str(line).rstrip()), format="{level} {message}", level="DEBUG"
    )
    try:
        yield lines
    finally:
        logger.remove(number)
