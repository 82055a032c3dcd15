"""Small pictures with known content, and the real judge around one simple expert."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from natix_miner.clock import Deadline
from natix_miner.experts import Expert
from natix_miner.experts.opinion import Look
from natix_miner.images import Frame

ORANGE, GREY = (250, 120, 10), (110, 115, 120)


class OrangeShare(Expert):
    """A real, very simple expert: roadwork is where enough of the middle is orange."""

    name = "orange-share"
    version = "1"

    async def look(self, frame: Frame, deadline: Deadline) -> Look:
        pixels = frame.pixels.astype(int)
        orange = (pixels[..., 0] > 180) & (pixels[..., 1] > 60) & (pixels[..., 2] < 90)
        return Look(probability=float(np.clip(0.05 + 2.4 * orange.mean(), 0.05, 0.95)))


@pytest.fixture
def make_judge() -> Callable[..., object]:
    """A real judge of one level with one expert."""
    from natix_miner.breaker import Breaker, BreakerLimits
    from natix_miner.cascade.cascade import Cascade
    from natix_miner.cascade.level import EntryRule, Level, Seat
    from natix_miner.clock import SYSTEM_CLOCK
    from natix_miner.consensus import POOLS, equal_weights
    from natix_miner.judge import Judge
    from natix_miner.sections import PictureLimits

    def make(expert: Expert | None = None) -> Judge:
        expert = expert or OrangeShare()
        breaker = Breaker(BreakerLimits(failures=1000, rest_seconds=1.0), SYSTEM_CLOCK)
        seat = Seat(expert=expert, timeout_seconds=5.0, breaker=breaker)
        rule = EntryRule(unsure_below=None, disagreement_above=None)
        level = Level(name="glance", seats=(seat,), rule=rule, needs_seconds=0.0)
        pool = POOLS["log-odds"](equal_weights(frozenset({expert.name})))
        return Judge(Cascade((level,), pool), (expert,), PictureLimits(), {"miner": "test"})

    return make


@pytest.fixture
def make_picture() -> Callable[..., bytes]:
    """An encoded picture: a grey road, with an orange block when there is roadwork."""

    def make(roadwork: bool, seed: int = 0, size: tuple[int, int] = (96, 64)) -> bytes:
        width, height = size
        noise = np.random.default_rng(seed).integers(-12, 13, (height, width, 1))
        pixels = np.full((height, width, 3), GREY) + noise
        if roadwork:
            pixels[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = ORANGE
        out = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(out, "JPEG")
        return out.getvalue()

    return make


@pytest.fixture
def picture_folder(tmp_path: Path, make_picture: Callable[..., bytes]) -> Path:
    """`none/` and `roadwork/` with eight pictures each, every one different."""
    folder = tmp_path / "pictures"
    for label in ("none", "roadwork"):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            picture = make_picture(label == "roadwork", seed=number)
            (folder / label / f"{number}.jpg").write_bytes(picture)
    return folder
