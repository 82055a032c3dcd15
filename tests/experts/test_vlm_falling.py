"""Falling over from server to server, in time, and telling of it in the trace."""

from __future__ import annotations

import asyncio

import pytest

from natix_miner.breaker import Breaker
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import Level, Seat
from natix_miner.clock import Deadline
from natix_miner.consensus import LogOddsPool, equal_weights
from natix_miner.errors import ServerAnswerError, UnavailableError
from tests.experts.vlm_doubles import MOSTLY_YES, ServerDouble, expert, look

RESTS = UnavailableError("breaker open, next try in 12 s")


def cascade_of(made, virtual, breaker=None):
    seat = Seat(made, 2.0, breaker or Breaker(clock=virtual))
    pool = LogOddsPool(equal_weights(frozenset({"vlm"})))
    return Cascade((Level("language", (seat,)),), pool, clock=virtual)


def test_a_server_that_is_down_gives_way_at_once(virtual, make_frame):
    down, fast = ServerDouble("precision", error=RESTS), ServerDouble("fast", seconds=0.2)
    begun = virtual.monotonic()
    said = look(virtual, expert([down, fast], virtual), make_frame())
    assert said.by == "fast"
    assert said.detail == "precision: breaker open, next try in 12 s"
    assert virtual.monotonic() - begun == pytest.approx(0.2)
    assert fast.limits == [pytest.approx(2.98)]  # the last one has all the time there is


def test_a_server_that_answers_nonsense_gives_way(virtual, make_frame):
    wrong = ServerDouble("power", error=ServerAnswerError("no `choices`", 200))
    said = look(virtual, expert([wrong, ServerDouble("fast")], virtual), make_frame())
    assert said.by == "fast"
    assert said.detail == "power: no `choices`"


def test_a_slow_server_gets_its_share_of_the_time_and_no_more(virtual, make_frame):
    slow, fast = ServerDouble("power", seconds=60.0), ServerDouble("fast", seconds=0.2)
    begun = virtual.monotonic()
    said = look(virtual, expert([slow, fast], virtual), make_frame(), seconds=3.0)
    assert said.by == "fast"
    assert said.detail == "power: no answer within 1.79 s"  # 60 % of 3 s less the margin
    assert virtual.monotonic() - begun == pytest.approx(0.6 * 2.98 + 0.2, abs=0.01)


def test_of_three_each_gets_its_share_of_what_is_left(virtual, make_frame):
    servers = [ServerDouble(name, seconds=60.0) for name in ("precision", "power", "fast")]
    with pytest.raises(TimeoutError) as raised:
        look(virtual, expert(servers, virtual), make_frame(), seconds=10.02)
    # 60 % of 10 s, 60 % of the 4 s after that, all of the 1.6 s after that.
    assert [server.limits for server in servers] == [
        [pytest.approx(6.0)],
        [pytest.approx(2.4)],
        [pytest.approx(1.6)],
    ]
    assert str(raised.value) == (
        "precision: no answer within 6.00 s; power: no answer within 2.40 s; "
        "fast: no answer within 1.60 s"
    )


def test_without_time_left_nobody_is_asked(virtual, make_frame):
    server = ServerDouble()
    with pytest.raises(TimeoutError, match="fast: no time left"):
        look(virtual, expert([server], virtual), make_frame(), seconds=0.04)
    assert server.asked == []


def test_without_any_server_the_expert_was_not_asked(virtual, make_frame):
    servers = [ServerDouble(name, error=UnavailableError("starting")) for name in ("a", "b")]
    with pytest.raises(UnavailableError, match="a: starting; b: starting"):
        look(virtual, expert(servers, virtual), make_frame())


def test_a_server_that_was_asked_in_vain_is_not_hidden_behind_one_that_is_down(virtual, make_frame):
    wrong = ServerDouble("power", error=ServerAnswerError("garbage", 502))
    down = ServerDouble("fast", error=RESTS)
    with pytest.raises(ServerAnswerError, match=r"power: garbage; fast: breaker open") as raised:
        look(virtual, expert([wrong, down], virtual), make_frame())
    assert raised.value.status == 502


def test_it_gives_up_by_itself_before_the_deadline(virtual, make_frame):
    begun = virtual.monotonic()
    with pytest.raises(TimeoutError, match=r"fast: no answer within 1\.98 s"):
        look(virtual, expert([ServerDouble(seconds=60.0)], virtual), make_frame(), 2.0)
    assert virtual.monotonic() - begun == pytest.approx(1.98)


def test_each_tile_falls_over_by_itself_and_both_servers_are_named(virtual, make_frame):
    answers = (RESTS, *MOSTLY_YES)
    mixed, fast = ServerDouble("power", answers=answers), ServerDouble("fast")
    made = expert([mixed, fast], virtual, views=("tiles",), max_pixels=128 * 128, tiles=4)
    said = look(virtual, made, make_frame(width=512, height=256))
    assert set(said.by.split()) == {"power", "fast"}
    assert said.detail == "power: breaker open, next try in 12 s"
    assert (len(mixed.asked), len(fast.asked)) == (4, 2)


def test_the_trace_names_the_server_that_answered_and_why_not_the_first(virtual, make_frame):
    down = ServerDouble("precision", error=UnavailableError("down: it was killed"))
    made = expert([down, ServerDouble("fast")], virtual)
    outcome = virtual.run(cascade_of(made, virtual).run(make_frame(), Deadline.after(5.0, virtual)))
    told = outcome.levels[0].experts[0]
    assert (told.status, told.by) == ("ok", "fast")
    assert told.detail == "precision: down: it was killed"


def test_the_trace_of_a_late_server_says_what_it_was_given(virtual, make_frame):
    made = expert([ServerDouble(seconds=60.0)], virtual)
    outcome = virtual.run(cascade_of(made, virtual).run(make_frame(), Deadline.after(5.0, virtual)))
    told = outcome.levels[0].experts[0]
    assert (told.status, told.detail) == ("timed-out", "fast: no answer within 1.98 s")


def test_a_level_whose_servers_are_all_down_is_skipped_and_not_held_against_the_expert(
    virtual, make_frame
):
    made = expert([ServerDouble("fast", error=UnavailableError("off"))], virtual)
    cascade = cascade_of(made, virtual)
    for _ in range(5):
        outcome = virtual.run(cascade.run(make_frame(), Deadline.after(5.0, virtual)))
        told = outcome.levels[0].experts[0]
        assert (told.status, told.detail) == ("skipped", "not asked: fast: off")


def test_the_trace_tells_when_each_server_was_asked_and_how_that_ended(virtual, make_frame):
    down = ServerDouble("resting", error=RESTS)
    slow, fast = ServerDouble("precision", seconds=5.0), ServerDouble("fast", seconds=0.2)
    cascade = cascade_of(expert([down, slow, fast], virtual), virtual)
    outcome = virtual.run(cascade.run(make_frame(), Deadline.after(7.0, virtual)))
    (vlm,) = outcome.levels[0].experts
    first, second = vlm.calls
    assert (first.server, first.outcome) == ("precision", "timed-out")
    assert (second.server, second.outcome) == ("fast", "ok")
    assert first.after_ms == pytest.approx(0.0)
    assert second.after_ms == pytest.approx(first.ms)
    assert second.ms == pytest.approx(200.0)
    assert second.after_ms + second.ms <= vlm.ms + 1e-6


def test_a_call_that_outlives_its_expert_is_cut_off(virtual, make_frame):
    class Patient(ServerDouble):
        """Does not mind that its time is up."""

        async def ask(self, question, deadline):
            while virtual.monotonic() < 1100.0:
                try:
                    return await super().ask(question, deadline)
                except asyncio.CancelledError:
                    continue

    cascade = cascade_of(expert([Patient("deaf", seconds=50.0)], virtual), virtual)
    outcome = virtual.run(cascade.run(make_frame(), Deadline.after(7.0, virtual)))
    (vlm,) = outcome.levels[0].experts
    assert vlm.status == "timed-out"
    assert [(call.server, call.outcome) for call in vlm.calls] == [("deaf", "cut-off")]
    assert vlm.calls[0].ms == pytest.approx(2000.0, abs=30.0)
