"""Counters of the miner, in a registry of their own, served to Prometheus on loopback if asked for.

Labels are drawn from fixed words; nothing that a sender writes becomes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from natix_miner.cascade.verdict import Verdict
from natix_miner.consensus import Standing
from natix_miner.errors import AddressError
from natix_miner.judge import ServerStatus

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12)


class Metrics:
    """All counters; also the transport's observer (see `transport.Observer`)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self._queries = Counter("natix_queries", "Queries by outcome", ["outcome"], **made)
        self._latency = Histogram(
            "natix_answer_seconds", "Arrival to answer", buckets=_SECONDS, **made
        )
        self._levels = Counter("natix_level", "Last level entered", ["level"], **made)
        self._experts = Counter("natix_expert", "Experts by status", ["expert", "status"], **made)
        self._refusals = Counter("natix_refusals", "Refused requests", ["status", "reason"], **made)
        self._pictures = Counter("natix_picture_errors", "Unjudgeable pictures", ["reason"], **made)
        self._losses = Counter("natix_journal_losses", "Lost verdicts", ["reason"], **made)
        self._reloads = Counter(
            "natix_consensus_reloads", "Reloads of the fitted file", ["outcome"], **made
        )
        self._age = Gauge("natix_chain_snapshot_age_seconds", "Since the chain answered", **made)
        self._registered = Gauge("natix_registered", "1 when our hotkey has a uid", **made)
        self._in_flight = Gauge("natix_in_flight", "Requests being worked on", **made)

    def refused(self, status: int, reason: str, asked_by: str | None) -> None:
        """Count a refusal."""
        self._refusals.labels(str(status), reason).inc()

    def picture_refused(self, reason: str, asked_by: str) -> None:
        """Count a picture that could not be judged."""
        self._pictures.labels(reason).inc()
        self._queries.labels("picture-error").inc()

    def answered(self, verdict: Verdict, seconds: float) -> None:
        """Count an answer, or the lack of one, with how it came about."""
        outcome = "no-answer" if verdict.probability is None else "answered"
        self._queries.labels(outcome).inc()
        self._latency.observe(seconds)
        self._levels.labels(verdict.trace.answer.level or "none").inc()
        for level in verdict.trace.levels:
            for expert in level.experts:
                self._experts.labels(expert.name, expert.status).inc()

    def journal_lost(self, reason: str, count: int) -> None:
        """Count verdicts that the journal did not take (called from its thread)."""
        self._losses.labels(reason).inc(count)

    def reloaded(self, outcome: str) -> None:
        """Count an attempt to read the fitted file again."""
        self._reloads.labels(outcome).inc()

    def watch(
        self,
        chain_age: Callable[[], float | None],
        uid: Callable[[], int | None],
        in_flight: Callable[[], int],
    ) -> None:
        """Read these whenever somebody scrapes; an age that is not known is shown as -1."""
        self._age.set_function(lambda: _or(chain_age(), -1.0))
        self._registered.set_function(lambda: 0.0 if uid() is None else 1.0)
        self._in_flight.set_function(lambda: float(in_flight()))

    def watch_servers(self, status: Callable[[], Mapping[str, ServerStatus]]) -> None:
        """Read the servers' states whenever somebody scrapes."""
        self.registry.register(_ServerCollector(status))

    def watch_experts(self, standings: Callable[[], Mapping[str, Standing]]) -> None:
        """Read how the experts stand against the fit whenever somebody scrapes."""
        self.registry.register(_ExpertCollector(standings))

    def serve(self, port: int) -> Callable[[], None]:
        """Serve /metrics on 127.0.0.1; returns what stops it. Raises AddressError."""
        try:
            server, thread = start_http_server(port, addr="127.0.0.1", registry=self.registry)
        except OSError as error:
            raise AddressError(
                f"metrics cannot be served on 127.0.0.1:{port} ({error.strerror}); give another"
                " --metrics-port"
            ) from error

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join(2.0)

        return close


class _ServerCollector(Collector):
    """natix_server_up, natix_server_restarts_total and natix_server_requests_total, from the
    servers' own status."""

    def __init__(self, status: Callable[[], Mapping[str, ServerStatus]]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("natix_server_up", "1 when pictures are answered", labels=["server"])
        restarts = CounterMetricFamily("natix_server_restarts", "Restarts", labels=["server"])
        requests = CounterMetricFamily(
            "natix_server_requests",
            "Questions by what became of them",
            labels=["server", "outcome"],
        )
        for name, status in self._status().items():
            for outcome, count in status.requests.items():
                requests.add_metric([name, outcome.replace("_", "-")], count)
            up.add_metric([name], float(status.state == "up"))
            restarts.add_metric([name], status.restarts)
        return [up, restarts, requests]


class _ExpertCollector(Collector):
    """natix_expert_reliability, natix_expert_drifted, and once there is enough to tell
    natix_expert_agreement and natix_expert_missing_share."""

    def __init__(self, standings: Callable[[], Mapping[str, Standing]]) -> None:
        self._standings = standings

    def collect(self) -> Iterable[Metric]:
        def gauge(name: str, what: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"natix_expert_{name}", what, labels=["expert"])

        reliability = gauge("reliability", "Factor of its trust, below 1 while it drifts")
        drifted = gauge("drifted", "1 while it drifts from the fit")
        agreement = gauge("agreement", "Share of its votes on the pool's side")
        missing = gauge("missing_share", "Share of the queries it was asked and had no vote in")
        for name, standing in self._standings().items():
            reliability.add_metric([name], standing.reliability)
            drifted.add_metric([name], float(standing.drifted))
            if standing.agreement is not None:
                agreement.add_metric([name], standing.agreement)
            if standing.missing is not None:
                missing.add_metric([name], standing.missing)
        return [reliability, drifted, agreement, missing]


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
