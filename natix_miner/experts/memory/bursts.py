"""Bursts: how often the same picture was asked within the last seconds.

Validators that hand an organic query to several miners at once, or ask again, show as bursts. The
memory is a ring of fixed size; time is passed in.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from natix_miner.experts.memory.hashes import distances


@dataclass(frozen=True, slots=True)
class Burst:
    """`times` counts the askings of one picture, this one included; the first of them was
    `seconds` ago. `bounded` tells that the ring was too small for the whole window, so that there
    may have been more."""

    times: int
    seconds: float
    bounded: bool = False

    def told(self) -> str:
        """The same in words; nothing for a picture that was asked once."""
        if self.times < 2:
            return ""
        least = "at least " if self.bounded else ""
        return f"asked {least}{self.times} times in the last {self.seconds:.0f} s"


class Bursts:
    """Remembers the hashes of the last `most` askings and when they came; thread-safe."""

    def __init__(self, distance: int, seconds: float, most: int) -> None:
        self._distance = distance
        self._seconds = seconds
        self._hashes = np.zeros(most, np.uint64)
        self._times = np.full(most, -np.inf)
        self._next = 0
        self._lock = threading.Lock()

    def asked(self, picture: int, now: float) -> Burst:
        """Note an asking of the picture with this hash at `now` (monotonic seconds)."""
        with self._lock:
            bounded = bool(now - self._times[self._next] <= self._seconds)
            self._hashes[self._next] = picture
            self._times[self._next] = now
            self._next = (self._next + 1) % len(self._times)
            same = distances(picture, self._hashes) <= self._distance
            recent = self._times[same & (now - self._times <= self._seconds)]
        return Burst(len(recent), float(now - recent.min()), bounded)

    @property
    def bytes_held(self) -> int:
        """What the ring takes in memory, however much is asked."""
        return self._hashes.nbytes + self._times.nbytes
