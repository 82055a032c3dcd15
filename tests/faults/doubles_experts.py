"""Experts that misbehave on purpose, and a judge with them among the embedded ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from natix_miner.breaker import Breaker, BreakerLimits, BreakerState
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import Level, Seat
from natix_miner.consensus import LogOddsPool, equal_weights
from natix_miner.experts import Expert, Look
from natix_miner.experts.batching import BatchLimits
from natix_miner.experts.family import Surroundings, family_of
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.images import Frame
from natix_miner.judge import Judge, JudgeThread
from natix_miner.profile import Profile


class CountingBreaker(Breaker):
    """A breaker that counts how often it opened."""

    openings = 0

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "state" and value is BreakerState.OPEN and self.state is not BreakerState.OPEN:
            self.openings += 1
        super().__setattr__(name, value)


class Misbehaving(InProcessExpert):
    """A double: says 0.5 of every picture until it is told to misbehave, by `act` before a batch is
    looked at. `act` gets the number of frames and may raise, sleep or keep memory."""

    def __init__(self, name: str, limits: BatchLimits | None = None) -> None:
        super().__init__(name, limits or BatchLimits())
        self.act: Callable[[int], None] | None = None
        self.batches: list[int] = []

    def load(self) -> None:
        self.version = "double"

    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        self.batches.append(len(frames))
        if self.act is not None:
            self.act(len(frames))
        return [Look(probability=0.5) for _ in frames]


class Gate:
    """Where hanging batches wait until the row lets them go; `waiting` counts their threads."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._lock = threading.Lock()
        self.waiting = 0

    def wait(self) -> None:
        """Hang, for ten minutes at most."""
        with self._lock:
            self.waiting += 1
        self._open.wait(600.0)
        with self._lock:
            self.waiting -= 1

    def open(self) -> None:
        """Let all go."""
        self._open.set()
        patience = time.monotonic() + 5.0
        while self.waiting and time.monotonic() < patience:
            time.sleep(0.01)


def embedded_experts(profile: Profile) -> tuple[Expert, ...]:
    """The real experts of a profile of the embedded ones."""
    surroundings = Surroundings(profile.folder, {}, catalogue=profile.path(profile.catalogue))
    return tuple(
        family_of(settings.type).build(name, settings, surroundings)
        for name, settings in profile.experts.items()
    )


class FaultyJudge:
    """The embedded experts and one that misbehaves, in one level; `breaker` is that one's."""

    def __init__(self, expert: Expert, *, timeout_seconds: float = 0.4, rest: float = 0.3) -> None:
        self.breaker = CountingBreaker(BreakerLimits(failures=3, rest_seconds=rest))
        self._expert = expert
        self._timeout = timeout_seconds

    def make(self, profile: Profile) -> JudgeThread:
        """For `running`."""
        others = embedded_experts(profile)
        seats = [Seat(each, 2.0, Breaker()) for each in others]
        seats.append(Seat(self._expert, self._timeout, self.breaker))
        experts = (*others, self._expert)
        names = frozenset(each.name for each in experts)
        cascade = Cascade((Level("glance", tuple(seats)),), LogOddsPool(equal_weights(names)))
        return JudgeThread(Judge(cascade, experts, profile.pictures, {"miner": "faults"}))


def folder_of(folder: Path, name: str) -> Path:
    """A new folder for a part of a row."""
    made = folder / name
    made.mkdir()
    return made
