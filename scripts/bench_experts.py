"""Each in-process expert by itself: time by size, batch and runtime; a level against the sum.

Shipped experts are measured as they are. Of the families whose weights are not shipped the tiny
models of scripts/tiny_models are measured: their figures compare runtimes and batches and show what
the code around a model costs, not how fast real weights are.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
import typing
from pathlib import Path

import make_tiny_models
from bench import Figure

from natix_miner.assembly import build_judge
from natix_miner.demo.demo import QUERIES
from natix_miner.errors import ModelError
from natix_miner.experts.family import Surroundings, family_of
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.images import Frame, decode_picture
from natix_miner.profile import load_profile
from natix_miner.query import Query
from natix_miner.sections import PictureLimits

ROOT = Path(__file__).parents[1]
#: Rounds of one figure; each is the median of as many calls.
RUNS = 3
CALLS = 3
SIZES = {"224 px": (224, 224), "1920 x 1080": (1920, 1080)}
BATCHES = (1, 8)
#: On so many a level is measured; the median counts.
PICTURES = 8
NETWORK = {"type": "embedded-network", "model": "../models/embedded/network.onnx"}
#: What is shipped, by name, as sections of a profile in configs/.
SHIPPED: dict[str, dict[str, object]] = {
    "network": {**NETWORK, "views": ["whole"]},
    "network, enlarged + tiles": {**NETWORK, "views": ["enlarged", "tiles"]},
    "colour": {"type": "colour-shape", "model": "../models/embedded/colour_shape.json"},
    "conditions": {"type": "conditions"},
}


def measure_experts() -> list[Figure]:
    """Milliseconds a picture for every expert, size, batch and runtime; then the levels."""
    with tempfile.TemporaryDirectory() as scratch:
        profile = make_tiny_models.write(Path(scratch))
        tiny = make_tiny_models.sections(Path(scratch))
        figures = [
            *_each(_by_runtime(SHIPPED), ROOT / "configs", "shipped"),
            *_each(_by_runtime(tiny), Path(scratch), "tiny"),
            *_level(ROOT / "configs" / "embedded.yaml", "embedded profile"),
            *_level(profile, "all tiny experts"),
        ]
    return figures


def _by_runtime(
    sections: dict[str, dict[str, object]],
) -> dict[str, dict[str, object]]:
    """Every section once for each runtime that its family offers."""
    found: dict[str, dict[str, object]] = {}
    for name, section in sections.items():
        field = family_of(str(section["type"])).settings.model_fields.get("runtime")
        offered = typing.get_args(field.annotation) if field else ()
        for runtime in offered:
            found[f"{name}, {runtime}"] = {**section, "runtime": runtime}
        if not offered:
            found[name] = section
    return found


def _each(sections: dict[str, dict[str, object]], folder: Path, group: str) -> list[Figure]:
    figures = []
    frames = {size: _frames(*sides) for size, sides in SIZES.items()}
    for name, section in sections.items():
        family = family_of(str(section["type"]))
        settings = family.settings.model_validate(section)
        expert = family.build("bench", settings, Surroundings(folder))
        if not isinstance(expert, InProcessExpert):
            raise TypeError(f"{name} does not run in this process")
        try:
            expert.load()
        except ModelError as error:
            print(f"left out: {name}: {error}")
            continue
        for size, pictures in frames.items():
            for batch in BATCHES:
                _timed(expert, pictures[:batch])
                runs = tuple(_timed(expert, pictures[:batch]) for _ in range(RUNS))
                figures.append(
                    Figure(f"{group}: {name}, {size}, batch of {batch}", runs, "ms/picture")
                )
        asyncio.run(expert.close())
    return figures


def _frames(width: int, height: int) -> list[Frame]:
    """Eight bundled pictures of this size."""
    decoded = (
        decode_picture(path.read_bytes(), PictureLimits()) for path in sorted(QUERIES.glob("*.jpg"))
    )
    fitting = [f for f in decoded if (f.original_width, f.original_height) == (width, height)]
    return (fitting * max(BATCHES))[: max(BATCHES)]


def _timed(expert: InProcessExpert, frames: list[Frame]) -> float:
    """Median of the calls, in milliseconds a picture."""
    times = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        for look in expert.look_at(frames):
            if isinstance(look, Exception):
                raise look
        times.append((time.perf_counter() - begun) * 1000.0 / len(frames))
    return statistics.median(times)


def _level(path: Path, name: str) -> list[Figure]:
    """The first level's wall time beside the sum of what its experts take alone."""
    return asyncio.run(_level_times(path, name))


async def _level_times(path: Path, name: str) -> list[Figure]:
    profile = load_profile(path)
    judge = build_judge(profile)
    await judge.start()
    pictures = [path.read_bytes() for path in sorted(QUERIES.glob("cropped-*.jpg"))[:PICTURES]]
    frames = [decode_picture(picture, profile.pictures) for picture in pictures]
    walls, sums, slowest = [], [], []
    experts = {e.name: e for e in judge.experts if isinstance(e, InProcessExpert)}
    for _ in range(RUNS):
        queries = [
            Query.of(picture, source="bench", seconds=profile.deadline_seconds)
            for picture in pictures
        ]
        levels = [(await judge.judge(query)).trace.levels[0] for query in queries]
        alone = [
            [_timed(experts[expert.name], [frame]) for expert in levels[0].experts]
            for frame in frames
        ]
        walls.append(statistics.median(level.ms for level in levels))
        sums.append(statistics.median(sum(times) for times in alone))
        slowest.append(statistics.median(max(times) for times in alone))
    await judge.close()
    return [
        Figure(f"{name}: first level, experts side by side", tuple(walls), "ms"),
        Figure(f"{name}: its experts alone, summed", tuple(sums), "ms"),
        Figure(f"{name}: its slowest expert alone", tuple(slowest), "ms"),
        Figure(
            f"{name}: level / sum",
            tuple(wall / total for wall, total in zip(walls, sums, strict=True)),
            "ratio",
        ),
    ]
