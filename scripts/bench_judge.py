"""The judge in this process: time to a verdict, and the rate of scoring against its floor."""

from __future__ import annotations

import asyncio
import csv
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import Figure

from natix_miner.assembly import build_judge
from natix_miner.demo.demo import QUERIES
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.images import decode_picture
from natix_miner.judge import Judge
from natix_miner.profile import Profile, load_profile
from natix_miner.query import Query

PROFILE = Path(__file__).parents[1] / "configs" / "embedded.yaml"
RUNS = 5
#: Queries judged at once when scoring, as `natix-miner score` does by default.
AT_ONCE = 8


def bundled(*generations: str) -> list[bytes]:
    """The bundled queries of these generations, encoded."""
    with (QUERIES / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["generation"] in generations]
    return [(QUERIES / row["file"]).read_bytes() for row in rows]


def _query(picture: bytes, profile: Profile) -> Query:
    return Query.of(picture, source="bench", seconds=profile.deadline_seconds)


def measure_judge() -> list[Figure]:
    """Medians of the time to a verdict, one query at a time."""
    return asyncio.run(_judge_times())


async def _judge_times() -> list[Figure]:
    profile = load_profile(PROFILE)
    judge = build_judge(profile)
    await judge.start()
    small = bundled("cropped", "letterboxed")
    large = [p for p in bundled("full-frame") if _is_largest(p)]
    figures = []
    for name, pictures, rounds, goal in (
        ("224 px picture, decode to verdict, p50", small, 3, 6.0),
        ("4032 x 3024 frame, decode to verdict, p50", large, 8, 150.0),
    ):
        runs = []
        for _ in range(RUNS):
            times = [await _timed(judge, picture, profile) for picture in pictures * rounds]
            runs.append(sorted(times)[len(times) // 2])
        figures.append(Figure(name, tuple(runs), "ms", goal))
    await judge.close()
    return figures


def _is_largest(picture: bytes) -> bool:
    import io

    from PIL import Image

    with Image.open(io.BytesIO(picture)) as opened:
        return opened.size == (4032, 3024)


async def _timed(judge: Judge, picture: bytes, profile: Profile) -> float:
    begun = time.perf_counter()
    await judge.judge(_query(picture, profile))
    return (time.perf_counter() - begun) * 1000.0


def measure_scoring() -> list[Figure]:
    """Pictures a second through the judge as scoring uses it, against decode and networks alone.

    Both do the same work in turns within one run: the floor decodes and asks exactly the experts
    that the verdict's trace names, from two plain threads, with no cascade, trace or consensus.
    """
    return asyncio.run(_scoring_rates())


async def _scoring_rates() -> list[Figure]:
    profile = load_profile(PROFILE)
    judge = build_judge(profile)
    await judge.start()
    pictures = bundled("cropped", "letterboxed") * 8
    asked = [
        [e.name for level in verdict.trace.levels for e in level.experts]
        for verdict in await _score_all(judge, pictures, profile)
    ]
    rates, floors, ratios = [], [], []
    for _ in range(RUNS):
        begun = time.perf_counter()
        await _score_all(judge, pictures, profile)
        rates.append(len(pictures) / (time.perf_counter() - begun))
        begun = time.perf_counter()
        _floor(judge, pictures, asked, profile)
        floors.append(len(pictures) / (time.perf_counter() - begun))
        ratios.append(rates[-1] / floors[-1])
    await judge.close()
    return [
        Figure("scoring at 224 px", tuple(rates), "pictures/s", 200.0, more_is_better=True),
        Figure("decode and networks alone", tuple(floors), "pictures/s", more_is_better=True),
        Figure("scoring / decode and networks alone", tuple(ratios), "ratio", 0.9, True),
    ]


async def _score_all(judge: Judge, pictures: list[bytes], profile: Profile) -> list:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(picture: bytes):
        async with gate:
            return await judge.judge(_query(picture, profile))

    return await asyncio.gather(*(one(picture) for picture in pictures))


def _floor(judge: Judge, pictures: list[bytes], asked: list[list[str]], profile: Profile) -> None:
    experts = {e.name: e for e in judge.experts if isinstance(e, InProcessExpert)}

    def work(job: tuple[bytes, list[str]]) -> None:
        frame = decode_picture(job[0], profile.pictures)
        for name in job[1]:
            experts[name].look_at([frame])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, zip(pictures, asked, strict=True)))
