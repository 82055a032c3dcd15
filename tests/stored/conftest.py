"""Stored queries as they really come about: the real judge, journal, export and results file."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from natix_miner.breaker import Breaker, BreakerLimits
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import Level, Seat
from natix_miner.clock import SYSTEM_CLOCK, Deadline
from natix_miner.consensus import POOLS, equal_weights
from natix_miner.experts import Expert
from natix_miner.experts.opinion import Look
from natix_miner.images import Frame
from natix_miner.journal import JournalWriter
from natix_miner.judge import Judge
from natix_miner.query import Query
from natix_miner.scoring import ResultsFile, ScoreSettings, open_source, score_queries
from natix_miner.sections import JournalSettings, PictureLimits


class Redness(Expert):
    """A real, very simple expert: roadwork is what is red."""

    name = "redness"
    version = "1"

    async def look(self, frame: Frame, deadline: Deadline) -> Look:
        red = frame.pixels[..., 0].mean() - frame.pixels[..., 2].mean()
        return Look(probability=float(np.clip(0.5 + red / 300.0, 0.05, 0.95)))


def judge_of_redness() -> Judge:
    expert = Redness()
    breaker = Breaker(BreakerLimits(failures=1000, rest_seconds=1.0), SYSTEM_CLOCK)
    level = Level(name="glance", seats=(Seat(expert, 5.0, breaker),))
    pool = POOLS["log-odds"](equal_weights(frozenset({expert.name})))
    return Judge(Cascade((level,), pool), (expert,), PictureLimits(), {"miner": "test"})


def picture_of(number: int) -> bytes:
    """Even numbers are red; every one is another picture."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(60, 120, (64, 96, 3)).astype(np.uint8)
    if number % 2 == 0:
        pixels[16:48, 24:72] = (230, 40, 20)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labelled pictures in two drives, as a table."""
    folder = tmp_path_factory.mktemp("pictures")
    lines = ["file,label,group"]
    for number in range(8):
        (folder / f"{number}.jpg").write_bytes(picture_of(number))
        label = "roadwork" if number % 2 == 0 else "none"
        lines.append(f"{number}.jpg,{label},drive-{number // 4}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


async def _verdicts(count: int) -> list:
    judge = judge_of_redness()
    await judge.start()
    try:
        return [
            await judge.judge(
                Query.of(picture_of(number), source="axon", query_id=f"{number:032x}")
            )
            for number in range(count)
        ]
    finally:
        await judge.close()


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    """A journal of eight judged queries, the fourth without its picture."""
    path = tmp_path / "journal.sqlite3"
    verdicts = asyncio.run(_verdicts(8))
    for keep, some in ((True, verdicts[:3]), (False, verdicts[3:4]), (True, verdicts[4:])):
        settings = JournalSettings(path=path, keep_days=1e6, keep_pictures=keep)
        with JournalWriter(settings) as writer:
            assert all(writer.record(verdict) for verdict in some)
    return path


Score = Callable[..., Path]


@pytest.fixture
def score(tmp_path: Path) -> Score:
    """Scores a source of queries as `natix-miner score --report` does; the folder of results."""

    def run(queries: Path, name: str = "scored", **settings: object) -> Path:
        chosen = ScoreSettings(**settings)
        about = {"queries": str(queries), "split": None, **chosen.about()}

        async def scored() -> None:
            judge = judge_of_redness()
            await judge.start()
            try:
                with ResultsFile(tmp_path / name / "results.jsonl", {}, about=about) as results:
                    await score_queries(judge, open_source(queries), chosen, results=results)
            finally:
                await judge.close()

        asyncio.run(scored())
        return tmp_path / name

    return run
