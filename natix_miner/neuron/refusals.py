"""Telling the operator who is turned away and why, without letting strangers fill his disk."""

from __future__ import annotations

from collections import Counter

from loguru import logger

from natix_miner.clock import Clock
from natix_miner.neuron.transport import Observer

#: Refusals are summed up over at least this many seconds.
_SUM_SECONDS = 60.0


class RefusalLog:
    """An observer that passes everything on and writes two kinds of line: the first refusal of a
    reason at once, the counts of all reasons at most once a minute."""

    def __init__(self, inner: Observer, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._known: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._since = clock.monotonic()

    def refused(self, status: int, reason: str, asked_by: str | None) -> None:
        """A request was turned away."""
        self._inner.refused(status, reason, asked_by)
        self._note(f"{status} {reason}")

    def picture_refused(self, reason: str, asked_by: str) -> None:
        """A picture could not be judged."""
        self._inner.picture_refused(reason, asked_by)
        self._note(f"422 {reason}")

    def _note(self, what: str) -> None:
        self._counts[what] += 1
        if what not in self._known:
            self._known.add(what)
            logger.info("refused a request: {} (the first; further ones are summed up)", what)
        passed = self._clock.monotonic() - self._since
        if passed >= _SUM_SECONDS:
            counts = ", ".join(f"{count} x {what}" for what, count in self._counts.most_common())
            logger.info("refused in the last {:.0f} s: {}", passed, counts)
            self._counts.clear()
            self._since = self._clock.monotonic()
