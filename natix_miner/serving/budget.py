"""How often a server may be started again, and how long to pause before each time."""

from __future__ import annotations

import random
from collections import deque
from typing import Protocol

from natix_miner.clock import Clock
from natix_miner.serving.settings import RestartLimits

#: 2 to this power is more than any pause; beyond it there is no need to compute.
_MOST_DOUBLINGS = 30


class Budget(Protocol):
    """`spent` is how many restarts were granted so far."""

    spent: int

    def was_up(self) -> None:
        """The latest start was not in vain."""
        ...

    def spend(self) -> float | None:
        """Seconds to pause before the next start; None when there shall be none."""
        ...


class RestartBudget:
    """Counts restarts of one server.

    Used up when `most` restarts lie within the window and another is due, or when so many starts in
    a row came to nothing, however long they took. The n-th restart within the window pauses for a
    time drawn evenly from [0, first * 2^n] seconds, at most `longest`: exponential back-off with
    full jitter.
    """

    def __init__(self, limits: RestartLimits, clock: Clock, rng: random.Random) -> None:
        self._limits = limits
        self._clock = clock
        self._rng = rng
        self._restarts: deque[float] = deque()
        self._in_vain = 0
        self.spent = 0

    def was_up(self) -> None:
        """The latest start was not in vain."""
        self._in_vain = 0

    def spend(self) -> float | None:
        """Seconds to pause before the next start; None when there shall be none."""
        now = self._clock.monotonic()
        while self._restarts and now - self._restarts[0] > self._limits.window_seconds:
            self._restarts.popleft()
        if max(len(self._restarts), self._in_vain) >= self._limits.most:
            return None
        doublings = min(max(len(self._restarts), self._in_vain), _MOST_DOUBLINGS)
        self._restarts.append(now)
        self._in_vain += 1
        self.spent += 1
        longest = min(self._limits.longest_seconds, self._limits.first_seconds * 2.0**doublings)
        return self._rng.uniform(0.0, longest)

    def __str__(self) -> str:
        limits = self._limits
        return f"{limits.most} restarts within {limits.window_seconds:g} s"


class Patience:
    """For a remote server: nothing is started, it is asked again for ever, after pauses that double
    from `first_seconds` to `longest_seconds` while it does not answer, half of them drawn."""

    def __init__(self, first_seconds: float, longest_seconds: float, rng: random.Random) -> None:
        self.spent = 0
        self._first = first_seconds
        self._longest = max(first_seconds, longest_seconds)
        self._rng = rng
        self._in_vain = 0

    def was_up(self) -> None:
        """It has answered."""
        self._in_vain = 0

    def spend(self) -> float | None:
        """Seconds until it is asked again."""
        doublings = min(self._in_vain, _MOST_DOUBLINGS)
        self._in_vain += 1
        pause = min(self._longest, self._first * 2.0**doublings)
        return self._rng.uniform(pause / 2.0, pause)
