"""How long the report of a long run takes, and how large it is.

    python scripts/bench_report.py [--queries 2000] [--out DIR]

The bundled queries are judged once by the embedded profile; rows are drawn from their traces, each
with votes moved a little and a picture digest of its own, so that nothing is shared. Measured are
the figures, what a fit says of the experts, and the page: all that `natix-miner score --report`
does after judging, but for reading the pictures of the gallery again.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np

from natix_miner.assembly import build_judge
from natix_miner.cascade.trace import ExpertTrace, Trace
from natix_miner.cli.score_experts import expert_panel
from natix_miner.log_odds import expit, logit
from natix_miner.profile import load_profile
from natix_miner.scoring import (
    ScoredQuery,
    ScoreSettings,
    open_source,
    score_queries,
    summarise,
)
from natix_miner.scoring.gallery import with_thumbnails
from natix_miner.scoring.report import write_report

ROOT = Path(__file__).resolve().parents[1]
QUERIES = ROOT / "natix_miner" / "demo" / "queries"
NOISE = 0.7  # of log-odds


def judged() -> list[ScoredQuery]:
    """The bundled queries through the embedded profile, with pictures."""

    async def run() -> list[ScoredQuery]:
        judge = build_judge(load_profile(ROOT / "configs" / "embedded.yaml"))
        await judge.start()
        try:
            return (await score_queries(judge, source, settings)).rows
        finally:
            await judge.close()

    source, settings = open_source(QUERIES), ScoreSettings()
    return with_thumbnails(asyncio.run(run()), source, settings, errors=1000, unsure=1000)


def drawn(seen: list[ScoredQuery], count: int, seed: int) -> list[ScoredQuery]:
    """So many rows like those."""
    rng = np.random.default_rng(seed)
    return [moved(seen[rng.integers(len(seen))], position, rng) for position in range(count)]


def moved(row: ScoredQuery, position: int, rng: np.random.Generator) -> ScoredQuery:
    """A row of its own: name, digest and votes differ."""
    trace = Trace.model_validate_json(row.trace)
    shift = float(rng.normal(0.0, NOISE))
    digest = hashlib.sha256(f"{row.name} {position}".encode()).hexdigest()
    query = trace.query.model_copy(update={"id": f"0-{position}", "sha256": digest})
    levels = []
    for level in trace.levels:
        experts = tuple(_moved(one, float(rng.normal(0.0, NOISE))) for one in level.experts)
        pooled = None if level.log_odds is None else level.log_odds + shift
        change = {"experts": experts, "log_odds": pooled}
        change["probability"] = None if pooled is None else expit(pooled)
        levels.append(level.model_copy(update=change))
    trace = trace.model_copy(update={"query": query, "levels": tuple(levels)})
    return dataclasses.replace(
        row,
        name=f"{position:05d}-{row.name}",
        prediction=expit(logit(row.prediction) + shift) if row.answered else row.prediction,
        position=position,
        trace=trace.model_dump_json(),
    )


def _moved(expert: ExpertTrace, by: float) -> ExpertTrace:
    if expert.probability is None:
        return expert
    return expert.model_copy(update={"probability": expit(logit(expert.probability) + by)})


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="keep the page here")
    arguments = parser.parse_args()
    rows = drawn(judged(), arguments.queries, arguments.seed)
    steps: dict[str, tuple[float, float]] = {}

    def step(name: str, started: tuple[float, float]) -> tuple[float, float]:
        now = time.perf_counter(), time.process_time()
        steps[name] = now[0] - started[0], now[1] - started[1]
        return now

    with tempfile.TemporaryDirectory() as folder:
        begin = now = time.perf_counter(), time.process_time()
        summary = summarise(rows, settings={"profile": "embedded"})
        now = step("figures", now)
        experts = expert_panel(rows, seed=0)
        now = step("experts", now)
        page = write_report(
            (arguments.out or Path(folder)) / "report.html",
            rows,
            summary,
            title="Bench of the report",
            subtitle=f"{len(rows)} rows drawn from the bundled queries",
            deadline_ms=7000.0,
            experts=experts,
        )
        step("page", now)
        step("all", begin)
        size = page.stat().st_size
    for name, (wall, cpu) in steps.items():
        print(f"{name}\t{wall:.2f} s\t{cpu:.2f} s of CPU")
    print(f"size\t{size / 1e6:.2f} MB\tof {arguments.queries} queries")


if __name__ == "__main__":
    main()
