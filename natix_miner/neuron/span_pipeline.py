"""The OpenTelemetry SDK's part of sending spans: tracer, batch processor, exporter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from natix_miner.errors import MissingExtraError
from natix_miner.neuron.span_losses import SpanLosses
from natix_miner.neuron.spans import PlannedSpan

#: Spans that may be on their way to the collector.
MOST_SPANS = 4096
_SERVICE = "natix-miner"


class SpanPipeline:
    """The SDK's tracer, batch processor and exporter, and an account of what is under way."""

    def __init__(self, url: str, losses: SpanLosses) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise MissingExtraError(
                f"spans need OpenTelemetry ({error.name} is missing): install natix-miner[otel], or"
                " leave out --otlp-endpoint"
            ) from error
        self._losses = losses
        self._lock = threading.Lock()
        self._under_way = 0
        self._abandoned = False
        self._exporter = OTLPSpanExporter(endpoint=url)
        self._processor = BatchSpanProcessor(
            _counting(self._exporter, self._exported), max_queue_size=MOST_SPANS
        )
        self._ids = _query_ids()
        provider = TracerProvider(
            resource=_resource(), id_generator=self._ids, shutdown_on_exit=False
        )
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("natix_miner")

    def send(self, query_id: str, planned: Sequence[PlannedSpan]) -> None:
        """Give the spans of one query to the processor, all of them or none."""
        with self._lock:
            if self._under_way + len(planned) > MOST_SPANS:
                full = True
            else:
                full = False
                self._under_way += len(planned)
        if full:
            self._losses.lost("queue-full", len(planned))
            return
        self._ids.query_id = query_id
        sampled = self._start_and_end(planned)
        with self._lock:
            self._under_way -= len(planned) - sampled

    def _start_and_end(self, planned: Sequence[PlannedSpan]) -> int:
        """How many of them were sampled, and so are on their way."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        made: list[Any] = []
        for plan in planned:
            above = Context()
            if plan.parent is not None:
                above = set_span_in_context(made[plan.parent], above)
            span = self._tracer.start_span(
                plan.name,
                context=above,
                kind=SpanKind[plan.kind.upper()],
                attributes=dict(plan.attributes),
                start_time=plan.start,
            )
            for event in plan.events:
                span.add_event(event.name, dict(event.attributes), event.at)
            if plan.error is not None:
                span.set_status(Status(StatusCode.ERROR, plan.error))
            made.append(span)
        sampled = sum(span.is_recording() for span in made)
        for plan, span in zip(planned, made, strict=True):
            span.end(plan.end)
        return sampled

    def finish(self) -> None:
        """Send all that is left; waits for it."""
        self._processor.shutdown()

    def abandon(self) -> int:
        """Try no further; the number of spans that were still under way."""
        self._exporter.shutdown()
        with self._lock:
            self._abandoned = True
            return self._under_way

    def _exported(self, count: int, taken: bool) -> None:
        with self._lock:
            if self._abandoned:
                return
            self._under_way -= count
        if not taken:
            self._losses.lost("not-sent", count)


def _counting(exporter: Any, exported: Callable[[int, bool], None]) -> Any:
    """The exporter, with a word about every batch."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Counting(SpanExporter):
        def export(self, spans: Sequence[Any]) -> Any:
            taken = False
            try:
                result = exporter.export(spans)
                taken = result is SpanExportResult.SUCCESS
            finally:
                exported(len(spans), taken)
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

    return Counting()


def _query_ids() -> Any:
    """Trace ids that are the queries' own ids, so that a journal entry leads to its spans."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class QueryIds(RandomIdGenerator):
        query_id = ""

        def generate_trace_id(self) -> int:
            try:
                own = int(self.query_id, 16) if len(self.query_id) == 32 else 0
            except ValueError:
                own = 0
            return own or super().generate_trace_id()

    return QueryIds()


def _resource() -> Any:
    """Who sends, by OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, with our name else."""
    from opentelemetry.sdk.resources import Resource

    from natix_miner import __version__

    known = Resource.create()
    ours = {"service.version": __version__}
    if str(known.attributes.get("service.name", "")).startswith("unknown_service"):
        ours["service.name"] = _SERVICE
    return known.merge(Resource(ours))
