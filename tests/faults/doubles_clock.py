"""A clock whose wall time is set wrongly, or slewed; its monotonic time is the machine's."""

from __future__ import annotations

import time


class WrongClock:
    """What the machine's clock says, plus `offset` seconds, plus `slew` seconds a second."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._slew = 0.0
        self._slewed_at = time.monotonic()

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time() + self.error

    @property
    def error(self) -> float:
        """Seconds that the wall time is ahead of the true one."""
        return self.offset + self._slew * (time.monotonic() - self._slewed_at)

    def jump(self, offset: float) -> None:
        """Be so far ahead from now on."""
        self.offset, self._slew = offset, 0.0

    def slew(self, rate: float) -> None:
        """Drift by so many seconds a second from now on."""
        self.offset = self.error
        self._slew, self._slewed_at = rate, time.monotonic()
