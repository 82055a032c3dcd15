"""The cascade against scripted experts, in virtual time (no sleeps, no threads)."""

from __future__ import annotations

import asyncio
import math

import pytest

from natix_miner.breaker import Breaker, BreakerLimits
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import EntryRule, Level, Seat
from natix_miner.clock import Deadline
from natix_miner.consensus import FittedConsensus, LogOddsPool, Pool, equal_weights
from natix_miner.experts import Expert, Look


class ScriptedExpert(Expert):
    """A double: says what it is told, when it is told; counts how often it is asked."""

    def __init__(self, name, says=0.9, seconds=0.0, stubborn=False):
        self.name, self.version = name, "double"
        self.says, self.seconds, self.stubborn, self.asked = says, seconds, stubborn, 0

    async def look(self, frame, deadline):
        self.asked += 1
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
            await asyncio.sleep(1000.0)
        if isinstance(self.says, BaseException):
            raise self.says
        return Look(probability=self.says) if isinstance(self.says, float) else self.says


@pytest.fixture
def build(virtual):
    def build(*levels, rules=(), needs=(), timeout=2.0, failures=3):
        made = tuple(
            Level(
                name=f"level-{index}",
                seats=tuple(
                    Seat(e, timeout, Breaker(BreakerLimits(failures=failures), virtual))
                    for e in experts
                ),
                rule=rules[index] if index < len(rules) else EntryRule(),
                needs_seconds=needs[index] if index < len(needs) else 0.0,
            )
            for index, experts in enumerate(levels)
        )
        names = frozenset(e.name for experts in levels for e in experts)
        return Cascade(made, LogOddsPool(equal_weights(names)), clock=virtual)

    return build


def judge(virtual, cascade, frame, seconds=7.0):
    started = virtual.monotonic()
    outcome = virtual.run(cascade.run(frame, Deadline.after(seconds, virtual)))
    return outcome, virtual.monotonic() - started


def statuses(outcome):
    return {e.name: e.status for level in outcome.levels for e in level.experts}


def test_sure_consensus_leaves_the_later_levels_alone(virtual, build, make_frame):
    first, second = ScriptedExpert("a", 0.99), ScriptedExpert("b", 0.5)
    cascade = build([first], [second], rules=[EntryRule(), EntryRule(unsure_below=2.0)])
    outcome, _ = judge(virtual, cascade, make_frame())
    assert outcome.answer.reason == "sure"
    assert outcome.answer.level == "level-0"
    assert outcome.answer.prediction == pytest.approx(0.99)
    assert second.asked == 0
    assert not outcome.levels[1].entered
    assert "sure" in outcome.levels[1].why


def test_a_sure_no_is_as_sure_as_a_sure_yes(virtual, build, make_frame):
    second = ScriptedExpert("b", 0.5)
    cascade = build(
        [ScriptedExpert("a", 0.01)], [second], rules=[EntryRule(), EntryRule(unsure_below=2.0)]
    )
    outcome, _ = judge(virtual, cascade, make_frame())
    assert second.asked == 0
    assert outcome.answer.prediction == pytest.approx(0.01)


@pytest.mark.parametrize("probability", [0.4, 0.6])
def test_unsure_consensus_enters_the_next_level(virtual, build, make_frame, probability):
    cascade = build(
        [ScriptedExpert("a", probability)],
        [ScriptedExpert("b", 0.9)],
        rules=[EntryRule(), EntryRule(unsure_below=2.0)],
    )
    outcome, _ = judge(virtual, cascade, make_frame())
    assert outcome.levels[1].entered
    assert "unsure" in outcome.levels[1].why
    assert outcome.answer.reason == "all-levels"
    wanted = (math.log(probability / (1 - probability)) + math.log(9)) / 2
    assert outcome.levels[1].log_odds == pytest.approx(wanted)


def test_disagreement_enters_the_next_level_although_the_pool_looks_sure(
    virtual, build, make_frame
):
    rule = EntryRule(unsure_below=0.5, disagreement_above=2.0)
    cascade = build(
        [ScriptedExpert("a", 0.999), ScriptedExpert("b", 0.3)],
        [ScriptedExpert("c", 0.9)],
        rules=[EntryRule(), rule],
    )
    outcome, _ = judge(virtual, cascade, make_frame())
    assert outcome.levels[1].entered
    assert "disagree" in outcome.levels[1].why


@pytest.mark.parametrize(
    ("says", "status"),
    [
        (RuntimeError("no memory"), "failed"),
        (float("nan"), "invalid"),
        (float("inf"), "invalid"),
        (1.5, "invalid"),
        (-0.1, "invalid"),
        (None, "invalid"),
        ("yes", "invalid"),
        (asyncio.CancelledError(), "failed"),
    ],
)
def test_an_expert_that_fails_or_talks_nonsense_is_left_out_and_named(
    virtual, build, make_frame, says, status
):
    cascade = build([ScriptedExpert("good", 0.8), ScriptedExpert("bad", says)])
    outcome, _ = judge(virtual, cascade, make_frame())
    assert statuses(outcome) == {"good": "ok", "bad": status}
    assert outcome.answer.prediction == pytest.approx(0.8)
    bad = next(e for e in outcome.levels[0].experts if e.name == "bad")
    assert bad.weight == 0.0
    assert bad.detail


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_hanging_expert_costs_its_time_limit_and_no_more(virtual, build, make_frame, stubborn):
    hanging = ScriptedExpert("hangs", seconds=500.0, stubborn=stubborn)
    cascade = build([ScriptedExpert("good", 0.8), hanging], timeout=2.0)
    outcome, took = judge(virtual, cascade, make_frame())
    assert took == pytest.approx(2.0)
    assert statuses(outcome)["hangs"] == "timed-out"
    assert outcome.answer.prediction == pytest.approx(0.8)


def test_the_answer_goes_out_at_the_deadline_with_what_is_there(virtual, build, make_frame):
    cascade = build(
        [ScriptedExpert("good", 0.7)], [ScriptedExpert("slow", seconds=60.0)], timeout=30.0
    )
    outcome, took = judge(virtual, cascade, make_frame(), seconds=7.0)
    assert took <= 7.0
    assert outcome.answer.reason == "deadline"
    assert outcome.answer.prediction == pytest.approx(0.7)


def test_a_level_that_would_not_fit_is_skipped_and_the_trace_says_so(virtual, build, make_frame):
    late = ScriptedExpert("late", 0.9)
    cascade = build(
        [ScriptedExpert("slow", 0.6, seconds=1.5)], [late], needs=[0.0, 1.0], timeout=3.0
    )
    outcome, took = judge(virtual, cascade, make_frame(), seconds=2.0)
    assert late.asked == 0
    assert "would not fit" in outcome.levels[1].why
    assert outcome.answer.reason == "deadline"
    assert took == pytest.approx(1.5)


def test_no_usable_opinion_gives_no_answer_with_every_reason(virtual, build, make_frame):
    cascade = build([ScriptedExpert("a", float("nan")), ScriptedExpert("b", OSError("gone"))])
    outcome, _ = judge(virtual, cascade, make_frame())
    assert outcome.answer.prediction == -1.0
    assert outcome.answer.reason.startswith("no-usable-opinion")
    assert "gone" in outcome.answer.reason
    assert "nan" in outcome.answer.reason


def test_a_deadline_already_past_gives_no_answer_at_once(virtual, build, make_frame):
    expert = ScriptedExpert("a", 0.9)
    outcome, took = judge(virtual, build([expert]), make_frame(), seconds=-1.0)
    assert (expert.asked, took) == (0, 0.0)
    assert outcome.answer.prediction == -1.0
    assert outcome.answer.reason.startswith("deadline")


def test_an_expert_that_keeps_hanging_is_no_longer_asked_then_probed_once(
    virtual, build, make_frame
):
    hanging = ScriptedExpert("hangs", seconds=500.0)
    cascade = build([ScriptedExpert("good", 0.8), hanging], failures=3)
    for _ in range(3):
        judge(virtual, cascade, make_frame())
    outcome, took = judge(virtual, cascade, make_frame())
    assert (hanging.asked, took) == (3, 0.0)
    assert statuses(outcome)["hangs"] == "skipped"
    virtual.advance(31.0)

    async def together():
        deadline = Deadline.after(7.0, virtual)
        return await asyncio.gather(*(cascade.run(make_frame(), deadline) for _ in range(5)))

    virtual.run(together())
    assert hanging.asked == 4, "half-open lets one probe through, not five"
    hanging.seconds = 0.0
    virtual.advance(31.0)
    outcome, _ = judge(virtual, cascade, make_frame())
    assert statuses(outcome)["hangs"] == "ok"


def test_a_level_of_experts_without_opinion_does_not_stop_the_next_one(virtual, build, make_frame):
    cascade = build(
        [ScriptedExpert("broken", ValueError("x"))],
        [ScriptedExpert("good", 0.9)],
        rules=[EntryRule(), EntryRule(unsure_below=1.0)],
    )
    outcome, _ = judge(virtual, cascade, make_frame())
    assert outcome.levels[1].why == "nothing usable so far"
    assert outcome.answer.prediction == pytest.approx(0.9)


def test_the_consensus_is_told_the_size_class_of_the_frame(virtual, build, make_frame):
    cascade = build([ScriptedExpert("a", 0.5)])
    pool = Pool(weights={"a": 1.0}, size_bias={"validator-square": 1.0, "frame": -1.0})
    cascade.consensus = LogOddsPool(FittedConsensus(calibrations={}, pools=(pool,)))
    small, _ = judge(virtual, cascade, make_frame(width=224, height=224))
    wide, _ = judge(virtual, cascade, make_frame(width=640, height=360))
    assert small.levels[0].log_odds == pytest.approx(1.0)
    assert wide.levels[0].log_odds == pytest.approx(-1.0)


def test_an_expert_that_is_busy_with_others_is_not_taken_for_broken(virtual, build, make_frame):
    """One at a time, 1 s each, and ten at once with 2.5 s to wait: most time out, all are asked."""

    class OneAtATime(ScriptedExpert):
        turn = asyncio.Lock()

        async def look(self, frame, deadline):
            async with self.turn:
                return await super().look(frame, deadline)

    expert = OneAtATime("busy", 0.9, seconds=1.0)
    cascade = build([expert], timeout=2.5, failures=3)

    async def together():
        deadline = Deadline.after(7.0, virtual)
        return await asyncio.gather(*(cascade.run(make_frame(), deadline) for _ in range(10)))

    outcomes = virtual.run(together())
    assert [statuses(o)["busy"] for o in outcomes] == ["ok"] * 2 + ["timed-out"] * 8
    outcome, _ = judge(virtual, cascade, make_frame())
    assert statuses(outcome)["busy"] == "ok"


def test_short_time_because_of_the_query_is_not_held_against_the_expert(virtual, build, make_frame):
    slow = ScriptedExpert("slow", 0.9, seconds=1.0)
    cascade = build([slow], timeout=2.0, failures=1)
    judge(virtual, cascade, make_frame(), seconds=0.3)
    outcome, _ = judge(virtual, cascade, make_frame())
    assert statuses(outcome)["slow"] == "ok"


def test_an_expert_that_does_not_vote_tells_conditions_to_consensus_and_trace(
    virtual, build, make_frame
):
    voter = ScriptedExpert("a", 0.6)
    teller = ScriptedExpert("sky", Look(None, conditions={"night": 0.5}), seconds=0.2)
    teller.votes = False
    cascade = build([voter, teller])
    cascade.consensus = LogOddsPool(
        FittedConsensus(
            calibrations={},
            pools=(Pool(weights={"a": 1.0}, condition_bias={"night": -2.0, "haze": 5.0}),),
        )
    )
    outcome, _ = judge(virtual, cascade, make_frame())
    level = outcome.levels[0]
    assert level.log_odds == pytest.approx(math.log(0.6 / 0.4) - 1.0)
    told = next(e for e in level.experts if e.name == "sky")
    assert (told.status, told.probability, told.weight) == ("ok", None, 0.0)
    assert told.conditions == {"night": 0.5}
    assert level.slowest == "sky"
    assert level.ms == pytest.approx(200.0)


@pytest.mark.parametrize(
    ("says", "votes"),
    [
        (Look(None), True),
        (Look(0.5), False),
        (Look(None, conditions={"night": 1.5}), False),
        (Look(0.5, conditions={"night": math.nan}), True),
    ],
)
def test_a_missing_vote_a_vote_too_many_and_an_absurd_condition_are_invalid(
    virtual, build, make_frame, says, votes
):
    odd = ScriptedExpert("odd", says)
    odd.votes = votes
    outcome, _ = judge(virtual, build([odd, ScriptedExpert("b", 0.7)]), make_frame())
    assert statuses(outcome) == {"odd": "invalid", "b": "ok"}
    assert outcome.answer.prediction == pytest.approx(0.7)
