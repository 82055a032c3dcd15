"""What is sent: sizes within a budget of pixels, JPEGs made once and shared."""

from __future__ import annotations

import asyncio
import gc
import math
import threading

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.experts.vlm import pictures
from natix_miner.experts.vlm.pictures import EncodedViews, Sending
from natix_miner.experts.vlm.sizing import sized
from tests.experts.vlm_doubles import ServerDouble, expert, look

WHOLE = Sending("whole", 1024, 65_536, 1, 95)


def decoded(view):
    return cv2.imdecode(np.frombuffer(view.jpeg, np.uint8), cv2.IMREAD_COLOR)


@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    least=st.integers(1, 600_000),
    more=st.integers(0, 600_000),
)
def test_the_size_sent_keeps_to_its_budget_and_to_the_aspect(width, height, least, more):
    most = least + more
    w, h = sized(width, height, least, most)
    assert w >= 1
    assert h >= 1
    assert w * h <= most
    ideal = math.sqrt(min(max(width * height, least), most) / (width * height))
    short = min(width, height) * ideal
    if short >= 2.0:  # below that whole pixels alone cost more
        stretch = abs(math.log((w / h) / (width / height)))
        assert stretch <= max(math.log(1.03), 2.0 / (short - 1.0)) + 1e-9
        # One row and one column of pixels decide between the bounds.
        assert most < least + 2 * (w + h) or w * h >= least


@given(side=st.integers(64, 2000), most=st.integers(64 * 64, 600_000))
def test_squares_are_sent_on_the_grid_of_the_models(side, most):
    w, h = sized(side, side, 1024, most)
    assert w == h
    assert w % 32 == 0
    assert abs(w - min(side, math.sqrt(most))) < 32


@pytest.mark.parametrize(
    ("given_size", "budget", "sent"),
    [
        ((224, 224), (1024, 262_144), (224, 224)),
        ((224, 224), (262_144, 262_144), (512, 512)),
        ((1920, 1080), (1024, 262_144), (672, 384)),  # 682.7 x 384 asked, aspect 1.6 % off
        ((300, 200), (262_144, 262_144), (608, 416)),  # 627.1 x 418.0 asked, 2.6 % off
        ((100, 37), (1024, 262_144), (100, 37)),  # 96 x 32 would be 11 % off
        ((5000, 1), (1, 1024), (1024, 1)),
    ],
)
def test_sizes_worked_by_hand(given_size, budget, sent):
    assert sized(*given_size, *budget) == sent


@pytest.mark.parametrize("kind", ["whole", "upright", "enlarged", "tiles"])
def test_every_kind_of_view_keeps_to_the_budget_on_the_wire(make_frame, kind):
    frame = make_frame(width=1280, height=720)
    sent = Sending(kind, 147_456, 262_144, 6, 95).make(frame)
    assert sent
    for view in sent:
        height, width = decoded(view).shape[:2]
        assert 0.9 * 147_456 <= width * height <= 262_144


def test_people_are_shown_what_is_sent(virtual, make_frame):
    made = expert([ServerDouble()], virtual, max_pixels=65_536)
    (view,) = made.views(make_frame(width=1280, height=720))
    # 341.3 x 192 asked; 320 would be 6 % off and 352 more pixels than allowed.
    assert view.pixels.shape == (192, 341, 3)
    assert view.box == (0, 0, 1280, 720)


def test_colours_arrive_as_they_were(make_frame):
    frame = make_frame(np.full((64, 64, 3), (250, 120, 20), np.uint8))
    (view,) = WHOLE.make(frame)
    assert decoded(view).mean((0, 1)) == pytest.approx((20, 120, 250), abs=4)  # BGR of OpenCV


def test_one_view_is_encoded_once_for_all_questions(virtual, make_frame, monkeypatch):
    calls = []
    real = Sending.make

    def counted(self, frame):
        calls.append(frame)
        return real(self, frame)

    monkeypatch.setattr(Sending, "make", counted)
    views, frame = EncodedViews(), make_frame()

    async def both():
        return await asyncio.gather(views.of(frame, WHOLE), views.of(frame, WHOLE))

    first, second = virtual.run(both())
    assert first is second
    assert len(calls) == 1


def test_an_encoded_view_is_never_taken_for_that_of_another_frame(virtual, make_frame):
    views = EncodedViews()

    async def brightness(value):
        frame = make_frame(np.full((64, 64, 3), value, np.uint8))
        (view,) = await views.of(frame, WHOLE)
        return decoded(view).mean()

    for value in (10, 200, 90, 250):  # freed frames leave their addresses to later ones
        assert virtual.run(brightness(value)) == pytest.approx(value, abs=3)


def test_what_was_made_of_a_frame_goes_with_it(virtual, make_frame):
    views, frame = EncodedViews(), make_frame()
    virtual.run(views.of(frame, WHOLE))
    assert len(views) == 1
    del frame
    gc.collect()
    assert len(views) == 0


def test_views_of_few_frames_are_kept_at_a_time(virtual, make_frame):
    views, frames = EncodedViews(), [make_frame() for _ in range(pictures.KEPT_FRAMES + 3)]
    for frame in frames:
        virtual.run(views.of(frame, WHOLE))
    assert len(views) == pictures.KEPT_FRAMES


@pytest.mark.parametrize(
    ("sending", "size", "apart"),
    [
        (WHOLE, (224, 224), False),
        (WHOLE, (1280, 720), True),
        (Sending("whole", 262_144, 262_144, 1, 95), (224, 224), True),  # small, but enlarged
        (Sending("tiles", 1024, 262_144, 6, 95), (640, 480), True),
    ],
)
async def test_what_takes_long_is_encoded_in_a_thread(
    make_frame, monkeypatch, sending, size, apart
):
    where = []
    real = Sending.make

    def noted(self, frame):
        where.append(threading.current_thread())
        return real(self, frame)

    monkeypatch.setattr(Sending, "make", noted)
    views, frame = EncodedViews(), make_frame(width=size[0], height=size[1])
    first, second = await asyncio.gather(views.of(frame, sending), views.of(frame, sending))
    assert first is second
    assert [thread is not threading.main_thread() for thread in where] == [apart]


async def test_whoever_stops_waiting_leaves_the_work_to_the_others(make_frame, monkeypatch):
    go_on = threading.Event()
    real = Sending.make

    def held(self, frame):
        assert go_on.wait(30)
        return real(self, frame)

    monkeypatch.setattr(Sending, "make", held)
    views, frame = EncodedViews(), make_frame(width=1280, height=720)
    impatient = asyncio.ensure_future(views.of(frame, WHOLE))
    patient = asyncio.ensure_future(views.of(frame, WHOLE))
    await asyncio.sleep(0)
    impatient.cancel()
    go_on.set()
    assert len(await patient) == 1
    with pytest.raises(asyncio.CancelledError):
        await impatient


def test_views_that_are_not_ready_in_time_are_a_time_out(virtual, make_frame, monkeypatch):
    async def never(self, frame, sending):
        await asyncio.sleep(60.0)

    monkeypatch.setattr(EncodedViews, "of", never)
    server = ServerDouble()
    begun = virtual.monotonic()
    with pytest.raises(TimeoutError, match="not cut and encoded in time"):
        look(virtual, expert([server], virtual), make_frame(), seconds=2.0)
    assert virtual.monotonic() - begun == pytest.approx(1.98)
    assert server.asked == []
