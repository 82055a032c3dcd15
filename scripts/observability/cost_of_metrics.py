"""What metrics cost in CPU time: microseconds a query on the axon's loop, milliseconds a scrape.

    python scripts/observability/cost_of_metrics.py [--queries 20000]

A verdict of two levels with five experts is counted again and again; 8 validators ask in turn. Each
figure is the median of five rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from prometheus_client import generate_latest

from natix_miner.cascade.trace import Answer, ExpertTrace, LevelTrace, QueryTrace, Trace
from natix_miner.cascade.verdict import Verdict
from natix_miner.clock import SYSTEM_CLOCK
from natix_miner.neuron.chain import ChainState
from natix_miner.neuron.metrics import Metrics
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron
from natix_miner.query import Query

ROUNDS = 5
VALIDATORS = [f"validator-{number}" for number in range(8)]


class _Chain:
    """A chain that has answered."""

    state = ChainState.FRESH
    snapshot = ChainSnapshot(
        72,
        1,
        tuple(
            Neuron(uid, key, 1.0, True, "0.0.0.0", 0, 0.0, 0.0, 1)
            for uid, key in enumerate([*VALIDATORS, *(f"miner-{n}" for n in range(248))])
        ),
    )

    def age_seconds(self) -> float:
        return 1.0


def verdict_of(asked_by: str) -> Verdict:
    """A verdict as a cascade of two levels gives it."""
    query = Query.of(b"picture", source="axon", asked_by=asked_by, clock=SYSTEM_CLOCK)
    levels = tuple(_level(name, count) for name, count in (("glance", 2), ("closer", 3)))
    answer = Answer(prediction=0.75, reason="sure", level="closer")
    trace = Trace(
        query=QueryTrace.of(query),
        picture=None,
        levels=levels,
        answer=answer,
        stages_ms={"total": 30.0},
        versions={},
    )
    return Verdict(query, 0.75, trace)


def _level(name: str, experts: int) -> LevelTrace:
    return LevelTrace(
        name=name,
        entered=True,
        why="always entered",
        experts=tuple(_expert(f"{name}-{number}") for number in range(experts)),
        log_odds=1.0,
        probability=0.75,
        disagreement=0.1,
        ms=20.0,
    )


def _expert(name: str) -> ExpertTrace:
    return ExpertTrace(
        name=name,
        status="ok",
        probability=0.7,
        calibrated=0.7,
        log_odds=0.8,
        weight=1.0,
        ms=12.0,
        detail="",
        evidence=(),
    )


def median_seconds(work: Callable[[], object]) -> float:
    """CPU seconds, of `ROUNDS` runs."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=20_000)
    queries = parser.parse_args().queries
    metrics = Metrics()
    metrics.watch_chain(_Chain(), "miner-0")
    verdicts = [verdict_of(hotkey) for hotkey in VALIDATORS]

    def count() -> None:
        for number in range(queries):
            metrics.answered(verdicts[number % len(verdicts)], 0.03)

    count()
    a_query = median_seconds(count) / queries * 1e6
    scrape = median_seconds(lambda: generate_latest(metrics.registry)) * 1e3
    size = len(generate_latest(metrics.registry))
    print(f"a query: {a_query:.1f} us; a scrape: {scrape:.1f} ms, {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
