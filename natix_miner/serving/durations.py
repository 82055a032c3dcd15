"""How long things took lately."""

from __future__ import annotations

import statistics
from collections import deque


class RecentSeconds:
    """The last few durations, in seconds."""

    def __init__(self, most: int = 32) -> None:
        self._seconds: deque[float] = deque(maxlen=most)

    def add(self, seconds: float) -> None:
        """Take one in; the oldest goes."""
        self._seconds.append(seconds)

    def usual(self) -> float:
        """Their median; 0 when there are none yet."""
        return statistics.median(self._seconds) if self._seconds else 0.0
