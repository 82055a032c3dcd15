"""How long fitting and pooling again take, on simulated votes.

    python scripts/bench_fit.py [--queries 10000] [--experts 12] [--repeats 3]

Prints the median seconds of a whole fit (nested cross-validation, figures with intervals, choice),
by the clock and of processor time (which is what counts when others use the machine as well), and
the median queries pooled again per second, by arrays and one by one as the miner does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from natix_miner.consensus import POOLS, FittedConsensus
from natix_miner.experts import Opinion, Status
from natix_miner.fitting import Votes, fit, pool_votes, votes_from_lines

SIMULATOR = Path(__file__).parent / "simulate_votes.py"


def simulated(queries: int, experts: int, seed: int) -> Votes:
    """Votes of the simulator."""
    command = [sys.executable, str(SIMULATOR), "--seed", str(seed)]
    command += ["--queries", str(queries), "--experts", str(experts)]
    done = subprocess.run(command, capture_output=True, check=True)
    return votes_from_lines(done.stdout.splitlines())


def one_by_one(fitted: FittedConsensus, votes: Votes, count: int) -> float:
    """Queries a second through the pool of the running miner."""
    told = [
        [
            Opinion(name, Status.OK if value == value else Status.FAILED, _plain(value))
            for name, value in zip(votes.experts, row, strict=True)
        ]
        for row in votes.probability[:count].tolist()
    ]
    pool = POOLS[fitted.kind](fitted)
    started = time.perf_counter()
    for opinions in told:
        pool.pool(opinions)
    return len(told) / (time.perf_counter() - started)


def _plain(value: float) -> float | None:
    return value if value == value else None


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--experts", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    votes = simulated(options.queries, options.experts, options.seed)
    done = fit(votes)  # the first one also loads scikit-learn
    seconds, processor = [], []
    for _ in range(options.repeats):
        before = time.process_time()
        done = fit(votes)
        seconds.append(done.seconds)
        processor.append(time.process_time() - before)
        told = f"fit: {seconds[-1]:.1f} s, {processor[-1]:.1f} s of processor time"
        print(told, file=sys.stderr, flush=True)
    many = votes.take(np.arange(max(20_000, len(votes))) % len(votes))
    rates = []
    for _ in range(max(5, options.repeats)):
        started = time.perf_counter()
        pool_votes(done.fitted, many)
        rates.append(len(many) / (time.perf_counter() - started))
    singly = [one_by_one(done.fitted, votes, 5000) for _ in range(3)]
    print(
        json.dumps(
            {
                "queries": len(votes),
                "experts": len(votes.experts),
                "fit_seconds": round(statistics.median(seconds), 2),
                "fit_processor_seconds": round(statistics.median(processor), 2),
                "pooled_per_second": round(statistics.median(rates)),
                "pooled_one_by_one_per_second": round(statistics.median(singly)),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
