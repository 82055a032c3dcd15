"""Collectors of what the judge knows by itself: experts, their breakers and batches, servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from natix_miner.consensus import Standing
from natix_miner.judge import ServerStatus

#: As `judge.ServerStatus` has them.
SERVER_STATES = ("starting", "up", "down", "off", "closed")
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


class WatchedJudge(Protocol):
    """The part of a judge that is read here, from the thread that serves the metrics."""

    def server_status(self) -> Mapping[str, ServerStatus]:
        """How its servers are doing."""
        ...

    def standings(self) -> Mapping[str, Standing]:
        """How its experts stand against the fit."""
        ...

    def asked(self) -> Mapping[str, bool]:
        """Whether each expert is asked at present (its breaker is closed)."""
        ...

    def batch_sizes(self) -> Mapping[str, Mapping[int, int]]:
        """How many batches of which size each expert has run."""
        ...


class ServerCollector(Collector):
    """natix_server_up, natix_server_state, natix_server_restarts_total and
    natix_server_requests_total, from the servers' own status."""

    def __init__(self, status: Callable[[], Mapping[str, ServerStatus]]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("natix_server_up", "1 when pictures are answered", labels=["server"])
        states = GaugeMetricFamily(
            "natix_server_state", "1 for the state it is in", labels=["server", "state"]
        )
        restarts = CounterMetricFamily("natix_server_restarts", "Restarts", labels=["server"])
        requests = CounterMetricFamily(
            "natix_server_requests",
            "Questions by what became of them",
            labels=["server", "outcome"],
        )
        for name, status in self._status().items():
            for outcome, count in status.requests.items():
                requests.add_metric([name, outcome.replace("_", "-")], count)
            for state in SERVER_STATES:
                states.add_metric([name, state], float(status.state == state))
            up.add_metric([name], float(status.state == "up"))
            restarts.add_metric([name], status.restarts)
        return [up, states, restarts, requests]


class ExpertCollector(Collector):
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


class BreakerCollector(Collector):
    """natix_breaker_open."""

    def __init__(self, asked: Callable[[], Mapping[str, bool]]) -> None:
        self._asked = asked

    def collect(self) -> Iterable[Metric]:
        opened = GaugeMetricFamily(
            "natix_breaker_open", "1 while the expert is not asked", labels=["expert"]
        )
        for name, asked in self._asked().items():
            opened.add_metric([name], float(not asked))
        return [opened]


class BatchCollector(Collector):
    """natix_batch_size, from counts of batches by their size."""

    def __init__(self, sizes: Callable[[], Mapping[str, Mapping[int, int]]]) -> None:
        self._sizes = sizes

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(
            "natix_batch_size", "Pictures in one pass of the model", labels=["expert"]
        )
        for name, counts in self._sizes().items():
            pictures = sum(size * count for size, count in counts.items())
            family.add_metric([name], list(_buckets(counts)), pictures)
        return [family]


def _buckets(counts: Mapping[int, int]) -> Iterator[tuple[str, float]]:
    for bound in _BATCH_SIZES:
        yield str(float(bound)), sum(n for size, n in counts.items() if size <= bound)
    yield "+Inf", sum(counts.values())
