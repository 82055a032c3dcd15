"""How many there were in the last hour, in bounded memory."""

from __future__ import annotations

import threading

from natix_miner.clock import Clock

_MINUTES = 60


class LastHour:
    """A ring of one count a minute. `count` covers the minute that runs and the 59 before it, so
    between 59 and 60 minutes. Any thread may add and ask."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = [0] * _MINUTES
        self._minute = self._now()

    def add(self) -> None:
        """One more, now."""
        with self._lock:
            self._turn()
            self._counts[self._minute % _MINUTES] += 1

    def count(self) -> int:
        """How many there were."""
        with self._lock:
            self._turn()
            return sum(self._counts)

    def _turn(self) -> None:
        """Empty the minutes that have begun since the last look."""
        now = self._now()
        for minute in range(max(self._minute, now - _MINUTES) + 1, now + 1):
            self._counts[minute % _MINUTES] = 0
        self._minute = max(self._minute, now)

    def _now(self) -> int:
        return int(self._clock.monotonic() // 60.0)
