"""Spans that no collector took: counted, and told without flooding."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING

from loguru import logger

from natix_miner.clock import Clock

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_TELL_SECONDS = 60.0


class SpanLosses:
    """Counts lost spans by reason, and tells of them: the first at once, then once a minute."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        from prometheus_client import Counter as Counted

        self._counted = Counted(
            "natix_span_losses", "Spans that no collector took", ["reason"], registry=registry
        )
        self._clock = clock
        self._lock = threading.Lock()
        self._untold: Counter[str] = Counter()
        self._told_at: float | None = None
        #: What the exporter said last about a failure.
        self.last_word = ""

    def lost(self, reason: str, count: int) -> None:
        """Count `count` spans; may be called from any thread."""
        if not count:
            return
        self._counted.labels(reason).inc(count)
        with self._lock:
            self._untold[reason] += count
            now = self._clock.monotonic()
            if self._told_at is not None and now - self._told_at < _TELL_SECONDS:
                return
            self._told_at = now
            counts = ", ".join(f"{n} {why}" for why, n in self._untold.most_common())
            self._untold.clear()
        said = f": {self.last_word}" if self.last_word else ""
        logger.warning("spans were lost ({}){}; answers are not affected", counts, said)


class _LastWord(logging.Handler):
    """Keeps what the SDK says last, for the line about losses; the SDK itself is not heard."""

    def __init__(self, losses: SpanLosses) -> None:
        super().__init__(logging.ERROR)
        self._losses = losses

    def emit(self, record: logging.LogRecord) -> None:
        self._losses.last_word = record.getMessage()[:200]


def listen_to_sdk(losses: SpanLosses) -> None:
    """Hear the SDK's errors for the line about losses; else it is silent."""
    sdk = logging.getLogger("opentelemetry")
    sdk.handlers = [_LastWord(losses)]
    sdk.propagate = False
    sdk.setLevel(logging.ERROR)
