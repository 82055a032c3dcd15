"""Sending spans by OTLP over HTTP, without ever holding up or breaking an answer.

A verdict's trace is put into a bounded queue; a thread makes spans of it (`spans.py`), and the
SDK's batch processor sends them from a thread of its own. When the collector is slow or away,
traces are lost as a whole: counted in natix_span_losses_total and told at most once a minute.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loguru import logger

from natix_miner.cascade.trace import Trace
from natix_miner.clock import Clock
from natix_miner.errors import ConfigurationError
from natix_miner.neuron.span_losses import SpanLosses, listen_to_sdk
from natix_miner.neuron.span_pipeline import SpanPipeline
from natix_miner.neuron.spans import spans_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: Where collectors take traces, below their base address.
TRACES_PATH = "/v1/traces"
#: Traces that may wait for the thread that makes spans of them.
MOST_TRACES = 512


def traces_url(endpoint: str) -> str:
    """The address that spans are sent to, from a collector's base address or from itself.

    Raises ConfigurationError for what is no http address.
    """
    try:
        parts = urlsplit(endpoint)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        sound = False
    if not sound:
        raise ConfigurationError(
            "--otlp-endpoint is no http:// or https:// address; give the base address of an OTLP"
            " collector, such as http://127.0.0.1:4318"
        )
    plain = endpoint.rstrip("/")
    return plain if plain.endswith(TRACES_PATH) else plain + TRACES_PATH


class SpanSender:
    """Sends the spans of traces to one collector; `close` within a bounded time.

    Everything else follows the standard variables: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
    OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, _TIMEOUT, _COMPRESSION, _CERTIFICATE,
    OTEL_BSP_SCHEDULE_DELAY.

    Raises MissingExtraError without the packages of `natix-miner[otel]`, ConfigurationError for an
    address that is none.
    """

    def __init__(
        self,
        endpoint: str,
        registry: CollectorRegistry,
        clock: Clock,
        *,
        most_traces: int = MOST_TRACES,
    ) -> None:
        url = traces_url(endpoint)
        self._losses = SpanLosses(registry, clock)
        # Before the SDK is set up: it would print a malformed header, which may be a key.
        listen_to_sdk(self._losses)
        self._pipeline = SpanPipeline(url, self._losses)
        self._traces: queue.Queue[Trace | None] = queue.Queue(most_traces)
        self._making = threading.Thread(target=self._make, name="spans", daemon=True)
        self._making.start()
        where = urlsplit(url)
        logger.info("spans go to {}://{}:{}", where.scheme, where.hostname, where.port or "-")

    def record(self, trace: Trace) -> None:
        """Take one trace; never waits."""
        try:
            self._traces.put_nowait(trace)
        except queue.Full:
            self._losses.lost("queue-full", len(spans_of(trace)))

    def close(self, seconds: float) -> None:
        """Send what is left for at most so long; what is not sent by then is lost, and counted."""

        def finish() -> None:
            self._traces.put(None)
            self._making.join()
            self._pipeline.finish()

        finishing = threading.Thread(target=finish, name="spans-end", daemon=True)
        finishing.start()
        finishing.join(seconds)
        if finishing.is_alive():
            self._losses.lost("shutdown", self._pipeline.abandon() + self._waiting())

    def _waiting(self) -> int:
        left = 0
        while True:
            try:
                trace = self._traces.get_nowait()
            except queue.Empty:
                return left
            left += len(spans_of(trace)) if trace is not None else 0

    def _make(self) -> None:
        while (trace := self._traces.get()) is not None:
            self._pipeline.send(trace.query.id, spans_of(trace))
