"""Counting what the journal could not keep, and telling about it without flooding the log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from loguru import logger

from natix_miner.clock import Clock

#: Called with a reason and a number of verdicts at every loss, from whichever thread lost them. It
#: must be quick and must not raise (a counter's `inc`).
OnLoss = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class WriterStats:
    """What a writer has done since it was made.

    `queued` verdicts wait (those of the batch at hand included), `queued_bytes` is the size of
    their pictures, `written` are committed, `lost` counts the rest by reason: "queue-full",
    "disk-full", "locked", "read-only", "cannot-open", "io-error", "corrupt", "not-a-journal",
    "unwritable", "duplicate", "closed", "writer-ended". `pruned` entries were removed by
    retention, `prune_failures` counts steps of it that failed. `last_error` is None until
    something went wrong.
    """

    queued: int
    queued_bytes: int
    written: int
    lost: Mapping[str, int]
    pruned: int
    prune_failures: int
    last_error: str | None


class LossBook:
    """Losses by reason; tells the first one at once, then one line a `report_seconds` at most."""

    def __init__(self, clock: Clock, report_seconds: float, on_loss: OnLoss | None) -> None:
        self._clock = clock
        self._report_seconds = report_seconds
        self._on_loss = on_loss
        self._lock = threading.Lock()
        self._lost: dict[str, int] = {}
        self._untold: dict[str, int] = {}
        self._told_at: float | None = None
        self.last_error: str | None = None

    def add(self, reason: str, number: int, detail: str) -> None:
        """Count `number` verdicts as lost."""
        if number == 0:
            return
        with self._lock:
            self._lost[reason] = self._lost.get(reason, 0) + number
            self._untold[reason] = self._untold.get(reason, 0) + number
            self.last_error = f"{reason}: {detail}"
            now = self._clock.monotonic()
            due = self._told_at is None or now - self._told_at >= self._report_seconds
            told = self._untold if due else {}
            if due:
                self._told_at, self._untold = now, {}
        if self._on_loss is not None:
            self._on_loss(reason, number)
        if told:
            logger.error("journal lost {} verdicts ({})", _sum(told), self.last_error)

    def trouble(self, reason: str, detail: str) -> None:
        """Something failed that is tried again: remembered, not counted."""
        with self._lock:
            self.last_error = f"{reason}: {detail}"

    def recovered(self) -> None:
        """The journal is written again: tell what had been lost until now."""
        with self._lock:
            told, self._untold, self._told_at = self._untold, {}, None
            total = sum(self._lost.values())
        logger.info(
            "journal is written again ({} verdicts lost since the last report, {} in all)",
            sum(told.values()),
            total,
        )

    def lost(self) -> Mapping[str, int]:
        """A copy of the counts."""
        with self._lock:
            return MappingProxyType(dict(self._lost))


def _sum(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in sorted(counts.items()))
