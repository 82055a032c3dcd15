"""What scoring over Ray brings on this machine: in process, with one worker and with two, in turns.

    .venv/bin/python scripts/bench_scale.py [--profile FILE] [--queries PATH] [--simulate KIND]
        [--pictures 200] [--rounds 5] [--json FILE]

Pictures a second are by the clock, so they mean something on a quiet machine only. Pictures a CPU
second count the time that the processes which judge were given, which others hardly change: they
tell what one core is worth, and what Ray costs on top. Starting Ray, loading models and a first
pass are not counted; what starting takes is told by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import Figure, machine, show

from natix_miner.assembly import build_judge
from natix_miner.demo.demo import QUERIES
from natix_miner.profile import Profile, load_profile
from natix_miner.scoring import ResultsFile, ScoredQuery, ScoreSettings, open_source, score_queries
from natix_miner.scoring.engines import RayEngine, RayOptions
from natix_miner.scoring.engines.ray_cluster import RayCluster

PROFILE = Path(__file__).parents[1] / "configs" / "embedded.yaml"
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@dataclass
class Way:
    """One way to score: what it is called, a pass, and the processes that judge in it."""

    name: str
    score: Callable[[], list[ScoredQuery]]
    pids: list[int]
    rates: list[float] = field(default_factory=list)
    per_cpu: list[float] = field(default_factory=list)
    driver_ms: list[float] = field(default_factory=list)

    def measure(self) -> list[ScoredQuery]:
        """One pass."""
        driver = os.getpid() not in self.pids
        before = sum(map(cpu_seconds, self.pids)), cpu_seconds(os.getpid()), time.perf_counter()
        rows = self.score()
        seconds = time.perf_counter() - before[2]
        used = sum(map(cpu_seconds, self.pids)) - before[0]
        if driver:
            driving = cpu_seconds(os.getpid()) - before[1]
            self.driver_ms.append(driving * 1000.0 / len(rows))
            used += driving
        self.rates.append(len(rows) / seconds)
        self.per_cpu.append(len(rows) / used)
        return rows


def figures_of(ways: list[Way]) -> list[Figure]:
    """Rates, and their ratios to the first way, round by round."""
    found = []
    for way in ways:
        found.append(Figure(way.name, tuple(way.rates), "pictures/s", more_is_better=True))
        found.append(
            Figure(f"{way.name}, CPU time", tuple(way.per_cpu), "pictures/CPU s", None, True)
        )
    found.append(Figure("driver of two workers, CPU", tuple(ways[-1].driver_ms), "ms/picture"))
    first = ways[0]
    for way in ways[1:]:
        for what, mine, theirs in (
            ("", way.rates, first.rates),
            (", CPU time", way.per_cpu, first.per_cpu),
        ):
            ratios = tuple(one / other for one, other in zip(mine, theirs, strict=True))
            found.append(Figure(f"{way.name} / {first.name}{what}", ratios, "ratio", None, True))
    return found


@contextmanager
def kept() -> Iterator[ResultsFile]:
    """A results file for one pass, as a run with --report or --resume writes it."""
    with TemporaryDirectory() as folder, ResultsFile(Path(folder) / "results.jsonl", {}) as results:
        yield results


def where_time_goes(
    run: Callable[[ScoreSettings], list[ScoredQuery]], settings: ScoreSettings
) -> list[Figure]:
    """Means of the stages of a query that is alone before the judge."""
    rows = run(replace(settings, concurrency=1))
    traces = [json.loads(row.trace)["stages_ms"] for row in rows if row.trace]
    return [
        Figure(f"{stage}, one query at a time", (statistics.fmean(t[stage] for t in traces),), "ms")
        for stage in ("decode", "judge", "total")
    ]


def measured(options: argparse.Namespace, profile: Profile) -> list[Figure]:
    """All figures of one run."""
    settings = ScoreSettings(
        simulate=options.simulate,
        repeats=1,
        limit=options.pictures,
        deadline_seconds=profile.deadline_seconds,
    )
    opened = partial(open_source, options.queries.resolve(), options.split)
    make_judge = partial(build_judge, profile)
    loop = asyncio.new_event_loop()
    judge = make_judge()
    loop.run_until_complete(judge.start())

    def local(settings: ScoreSettings = settings) -> list[ScoredQuery]:
        with kept() as results:
            scoring = score_queries(judge, opened(), settings, results=results)
            return loop.run_until_complete(scoring).rows

    def over(engine: RayEngine) -> list[ScoredQuery]:
        with kept() as results:
            return engine.score(results=results).rows

    def engine(workers: int) -> RayEngine:
        return RayEngine(
            make_judge, opened, opened(), settings, RayOptions(workers=workers), tell=print
        )

    begun = time.perf_counter()
    with RayCluster(RayOptions(workers=3)), engine(1) as one, engine(2) as two:
        pids = [[worker.pid for worker in e.ready(n)] for e, n in ((one, 1), (two, 2))]
        started = time.perf_counter() - begun
        ways = [
            Way("in process", local, [os.getpid()]),
            Way("Ray, one worker", partial(over, one), pids[0]),
            Way("Ray, two workers", partial(over, two), pids[1]),
        ]
        first = [way.score() for way in ways]
        answers = [[row.prediction for row in rows] for rows in first]
        if not answers[0] == answers[1] == answers[2]:
            raise SystemExit("the ways do not answer alike")
        for _ in range(options.rounds):
            for way in ways:
                way.measure()
    stages = where_time_goes(local, settings)
    loop.run_until_complete(judge.close())
    return [*figures_of(ways), *stages, Figure("starting Ray and three workers", (started,), "s")]


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", type=Path, default=PROFILE)
    parser.add_argument("--queries", type=Path, default=QUERIES)
    parser.add_argument("--split", help="only rows of this split of a CSV")
    parser.add_argument("--simulate", default="as-is", help="as for natix-miner score")
    parser.add_argument("--pictures", type=int, default=200, help="at most so many a pass")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write machine and figures to this file")
    options = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    on = machine()
    print(", ".join(f"{name} {value}" for name, value in on.items()), flush=True)
    figures = measured(options, load_profile(options.profile))
    show(figures)
    if options.json:
        document = {
            "machine": on,
            "figures": [{**asdict(figure), "median": figure.value} for figure in figures],
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
