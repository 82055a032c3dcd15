"""Re-pooling: queries a CPU second of the pools that judge, with twelve opinions a query.

    .venv/bin/python scripts/bench_pool.py [--queries 2000] [--missing 0.2] [--runs 7] [--json]

A fifth of the votes is missing at random; the weights have three depths, known `missing` terms,
conditions and size classes, as a fit writes them. Every figure is the median of the runs, in CPU
time of this one thread, so that others on the machine do not count.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time

import numpy as np

from natix_miner.consensus import (
    POOLS,
    Calibration,
    FittedConsensus,
    Isotonic,
    Platt,
    Pool,
)
from natix_miner.experts import Opinion, Status

EXPERTS = tuple(f"expert-{number:02d}" for number in range(12))
DEPTHS = (4, 8, 12)
CONDITIONS = {
    "frame-dark": 0.0,
    "frame-blurred": 1.0,
    "frame-tilted": 0.37,
    "frame-padded": 0.05,
}


def fitted(seed: int) -> FittedConsensus:
    """Weights such as a fit writes them, every third expert calibrated by isotonic regression."""
    rng = np.random.default_rng(seed)
    knots = tuple(float(knot) for knot in np.linspace(-6.0, 6.0, 12))
    calibrations: dict[str, Calibration] = {}
    for number, name in enumerate(EXPERTS):
        if number % 3 == 2:
            values = np.sort(rng.normal(0.0, 2.0, len(knots)))
            calibrations[name] = Isotonic(raw=knots, calibrated=tuple(map(float, values)))
        else:
            slope, intercept = rng.uniform(0.4, 1.6), rng.normal(0.0, 0.3)
            calibrations[name] = Platt(slope=float(slope), intercept=float(intercept))
    pools = tuple(
        Pool(
            weights={name: float(rng.uniform(0.05, 0.9)) for name in EXPERTS[:depth]},
            bias=0.1,
            size_bias={"frame": -0.4, "validator-square": 0.3},
            condition_bias=dict.fromkeys(CONDITIONS, -0.2),
            missing={name: float(rng.normal(0.0, 0.1)) for name in EXPERTS[:depth:2]},
        )
        for depth in DEPTHS
    )
    return FittedConsensus(calibrations=calibrations, pools=pools)


def queries(count: int, missing: float, seed: int) -> list[list[Opinion]]:
    """The opinions of every query, `missing` of them without a vote."""
    rng = np.random.default_rng([seed, 1])
    absent = rng.random((count, len(EXPERTS))) < missing
    said = rng.random((count, len(EXPERTS)))
    return [
        [
            Opinion(name, Status.TIMED_OUT)
            if absent[row, column]
            else Opinion(name, Status.OK, float(said[row, column]))
            for column, name in enumerate(EXPERTS)
        ]
        for row in range(count)
    ]


def measure(kind: str, asked: list[list[Opinion]], runs: int, seed: int) -> list[float]:
    """Queries a CPU second of each run, the first (which fills the tables) left out."""
    pool = POOLS[kind](fitted(seed))
    rates = []
    for _ in range(runs + 1):
        gc.collect()
        begun = time.process_time()
        for opinions in asked:
            pool.pool(opinions, "frame", CONDITIONS)
        rates.append(len(asked) / (time.process_time() - begun))
    return rates[1:]


def main() -> None:
    """Print a line a pool, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--missing", type=float, default=0.2)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    asked = queries(options.queries, options.missing, options.seed)
    figures = {
        kind: round(statistics.median(measure(kind, asked, options.runs, options.seed)))
        for kind in POOLS
    }
    if options.json:
        print(json.dumps({"queries_per_cpu_second": figures, "missing": options.missing}))
        return
    for kind, rate in figures.items():
        print(f"{kind:15} {rate:7,d} queries a CPU second")


if __name__ == "__main__":
    main()
