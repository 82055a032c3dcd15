"""The judge with scripted experts and real pictures: bad bytes, hanging experts, threads."""

from __future__ import annotations

import asyncio
import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from natix_miner.breaker import Breaker
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import Level, Seat
from natix_miner.consensus import LogOddsPool, equal_weights
from natix_miner.errors import BrokenPictureError, NotAPictureError
from natix_miner.experts import Expert, Look
from natix_miner.experts.batching import BatchLimits
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.judge import Judge, JudgeThread
from natix_miner.query import Query
from natix_miner.sections import PictureLimits


class Brightness(InProcessExpert):
    """A double: says how bright the picture is."""

    def load(self):
        self.version = "double"

    def look_at(self, frames):
        return [Look(probability=float(frame.pixels.mean()) / 255.0) for frame in frames]


class Hanging(InProcessExpert):
    """A double whose model never comes back until the test lets it go."""

    def __init__(self, name, limits, release):
        super().__init__(name, limits)
        self.release = release

    def load(self):
        self.version = "double"

    def look_at(self, frames):
        self.release.wait(60)
        return [Look(probability=0.5) for _ in frames]


class Blocking(Expert):
    """A double that breaks the contract: blocks the loop that it is asked on."""

    name, version = "blocking", "double"

    async def look(self, frame, deadline):
        time.sleep(1.5)
        return Look(probability=0.9)


def jpeg(brightness=200, size=(224, 224)) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((*size, 3), brightness, np.uint8)).save(out, "JPEG")
    return out.getvalue()


def build(*experts, timeout=5.0, patience=None):
    """`patience` gives single experts, by name, another time-out."""
    patience = patience or {}
    seats = tuple(Seat(e, patience.get(e.name, timeout), Breaker()) for e in experts)
    cascade = Cascade(
        (Level("only", seats),), LogOddsPool(equal_weights(frozenset(e.name for e in experts)))
    )
    return Judge(cascade, experts, PictureLimits(), {"miner": "test"})


def ask(picture, **more):
    return Query.of(picture, source="test", **more)


@pytest.fixture
def release():
    event = threading.Event()
    yield event
    event.set()


async def test_a_picture_is_decoded_judged_and_traced():
    judge = build(Brightness("brightness", BatchLimits()))
    await judge.start()
    verdict = await judge.judge(ask(jpeg(204)))
    await judge.close()
    assert verdict.probability == pytest.approx(0.8, abs=0.01)
    trace = verdict.trace
    assert trace.picture.original_width == 224
    assert trace.versions["experts"] == {"brightness": "double"}
    assert set(trace.stages_ms) == {"waiting", "decode", "judge", "total"}
    assert trace.stages_ms["total"] >= trace.stages_ms["decode"] + trace.stages_ms["judge"]
    assert not verdict.late


@pytest.mark.parametrize(
    ("picture", "error"),
    [(b"no picture at all", NotAPictureError), (jpeg()[:200], BrokenPictureError)],
)
async def test_bad_bytes_give_no_answer_and_the_error(picture, error):
    judge = build(Brightness("brightness", BatchLimits()))
    await judge.start()
    verdict = await judge.judge(ask(picture))
    await judge.close()
    assert isinstance(verdict.error, error)
    assert verdict.prediction == -1.0
    assert verdict.trace.picture is None
    assert verdict.trace.answer.reason == f"picture: {error.reason}"


async def test_concurrent_queries_share_forward_passes():
    batches = []

    class Counting(Brightness):
        def look_at(self, frames):
            batches.append(len(frames))
            return super().look_at(frames)

    judge = build(Counting("brightness", BatchLimits(size=8, window_seconds=0.2)), timeout=5.0)
    await judge.start()
    values = [20 * n for n in range(1, 9)]
    verdicts = await asyncio.gather(*(judge.judge(ask(jpeg(v))) for v in values))
    await judge.close()
    assert [v.probability for v in verdicts] == pytest.approx([v / 255 for v in values], abs=0.01)
    assert len(batches) < 8


async def test_a_thousand_queries_with_an_expert_that_hangs_are_all_answered_in_time(release):
    """All at once; everyone gets the good expert's answer, none later than its deadline."""
    good = Brightness("brightness", BatchLimits(size=32))
    hanging = Hanging("hangs", BatchLimits(), release)
    judge = build(good, hanging, timeout=0.5, patience={"brightness": 60.0})
    await judge.start()
    picture = jpeg(204)
    verdicts = await asyncio.gather(*(judge.judge(ask(picture)) for _ in range(1000)))
    await judge.close()
    assert all(v.probability == pytest.approx(0.8, abs=0.01) for v in verdicts)
    assert max(v.trace.stages_ms["total"] for v in verdicts) < 8000.0
    statuses = {e.status for v in verdicts for e in v.trace.levels[0].experts if e.name == "hangs"}
    assert statuses <= {"timed-out", "skipped"}


async def test_only_a_hanging_expert_gives_no_answer_with_the_reason(release):
    judge = build(Hanging("hangs", BatchLimits(), release), timeout=0.05)
    await judge.start()
    verdict = await judge.judge(ask(jpeg()))
    await judge.close()
    assert verdict.prediction == -1.0
    assert "hangs timed-out" in verdict.trace.answer.reason


async def test_a_query_that_waited_past_its_deadline_is_not_even_decoded():
    judge = build(Brightness("brightness", BatchLimits()))
    await judge.start()
    verdict = await judge.judge(ask(jpeg(), seconds=1.0, arrived=time.monotonic() - 2.0))
    await judge.close()
    assert verdict.prediction == -1.0
    assert verdict.trace.answer.reason.startswith("deadline")
    assert verdict.trace.stages_ms["waiting"] >= 1000.0
    assert verdict.late


async def test_the_judge_thread_keeps_the_callers_loop_free():
    thread = JudgeThread(build(Blocking(), timeout=5.0))
    await thread.start()
    loop = asyncio.get_running_loop()
    longest, last, stop = 0.0, loop.time(), False

    async def watch():
        nonlocal longest, last
        while not stop:
            await asyncio.sleep(0.005)
            longest, last = max(longest, loop.time() - last), loop.time()

    watcher = asyncio.create_task(watch())
    verdict = await thread.judge(ask(jpeg()))
    stop = True
    await watcher
    await thread.close()
    await thread.close()
    assert verdict.probability == pytest.approx(0.9)
    assert longest < 1.0, "the caller's loop waited for the expert"


async def test_cancelling_the_callers_wait_cancels_the_judging(release):
    thread = JudgeThread(build(Hanging("hangs", BatchLimits(), release), timeout=30.0))
    await thread.start()
    waiting = asyncio.create_task(thread.judge(ask(jpeg())))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await thread.close()
