"""Drift and exchange of the consensus in a running cascade, on scripted experts in virtual time."""

from __future__ import annotations

import asyncio
import math

import pytest

from natix_miner.breaker import Breaker
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import EntryRule, Level, Seat
from natix_miner.cascade.trace import LevelTrace
from natix_miner.clock import Deadline
from natix_miner.consensus import (
    DriftSettings,
    DriftWatch,
    Expected,
    FittedConsensus,
    LogOddsPool,
    Pool,
    frame_conditions,
)
from natix_miner.experts import Expert, Look, Opinion, Status

AS_FITTED = Expected(n=10_000, mean=0.0, spread=1.0, agreement=1.0, missing=0.0)
SETTINGS = DriftSettings(window=20, minimum=10, floor=0.5)


class Says(Expert):
    """A double: says what it is told, after so many seconds."""

    def __init__(self, name, says, seconds=0.0, trust=1.0):
        self.name, self.version = name, "double"
        self.says, self.seconds, self.trust = says, seconds, trust

    async def look(self, frame, deadline):
        await asyncio.sleep(self.seconds)
        return Look(probability=self.says, trust=self.trust)


def fitted(bias=0.0, **weights):
    return FittedConsensus(calibrations={}, pools=(Pool(weights=weights, bias=bias),))


@pytest.fixture
def build(virtual):
    def build(*levels, consensus, told=None, **expected):
        made = tuple(
            Level(
                name=f"level-{index}",
                seats=tuple(Seat(e, 5.0, Breaker(clock=virtual)) for e in experts),
                rule=EntryRule() if index == 0 else EntryRule(unsure_below=3.0),
            )
            for index, experts in enumerate(levels)
        )
        names = [[e.name for e in experts] for experts in levels]
        expected = {**{name: AS_FITTED for one in names for name in one}, **expected}
        watch = DriftWatch(expected, names, SETTINGS, ([] if told is None else told).append)
        return Cascade(made, consensus, drift=watch, clock=virtual)

    return build


def judge(virtual, cascade, frame, **more):
    return virtual.run(cascade.run(frame, Deadline.after(7.0, virtual), **more))


def expert(outcome, name):
    return next(e for level in outcome.levels for e in level.experts if e.name == name)


def test_an_expert_that_drifts_weighs_less_and_the_trace_says_so(virtual, build, make_frame):
    consensus = LogOddsPool(fitted(a=1.0, b=1.0))
    told = []
    odd = Says("b", 0.99, trust=0.8)
    cascade = build([Says("a", 0.5001), odd], consensus=consensus, told=told)
    for _ in range(10):
        outcome = judge(virtual, cascade, make_frame())
        assert (expert(outcome, "b").trust, expert(outcome, "b").reliability) == (0.8, 1.0)
    assert [(one.expert, one.drifted) for one in told] == [("b", True)]
    outcome = judge(virtual, cascade, make_frame())
    weighed = expert(outcome, "b")
    assert weighed.reliability == 0.5
    assert weighed.trust == pytest.approx(0.4)
    assert expert(outcome, "a").reliability == 1.0
    # 2 is due, 1 + 0.4 is there.
    assert weighed.weight == pytest.approx(0.4 * 2 / 1.4)
    assert outcome.levels[0].log_odds == pytest.approx(0.4 * 2 / 1.4 * math.log(99), abs=1e-3)
    odd.says = 0.5001
    for _ in range(20):
        outcome = judge(virtual, cascade, make_frame())
    assert expert(judge(virtual, cascade, make_frame()), "b").reliability == 1.0
    assert [one.drifted for one in told] == [True, False]


def test_the_levels_of_a_trace_pool_again_to_the_same_bits(virtual, build, make_frame):
    """From what is stored alone: trust holds the factor."""
    consensus = LogOddsPool(fitted(a=0.7, b=0.9, c=0.3, bias=-0.1))
    cascade = build(
        [Says("a", 0.52), Says("b", 0.83, trust=0.7)], [Says("c", 0.61)], consensus=consensus
    )
    frame = make_frame()
    for _ in range(25):
        outcome = judge(virtual, cascade, frame)
        opinions: list[Opinion] = []
        for level in outcome.levels:
            stored = LevelTrace.model_validate_json(level.model_dump_json())
            opinions += [
                Opinion(one.name, Status(one.status), one.probability, trust=one.trust)
                for one in stored.experts
            ]
            size, conditions = frame.geometry.size_class.value, frame_conditions(frame.geometry)
            pooled = consensus.pool(opinions, size, conditions)
            assert (pooled.log_odds, pooled.disagreement) == (stored.log_odds, stored.disagreement)
    assert expert(outcome, "b").reliability < 1.0
    assert outcome.levels[1].entered


def test_what_is_noticed_does_not_depend_on_what_was_done_about_it(virtual, build, make_frame):
    """The sides are those of the pool as the fit would have it, without any factor."""
    consensus = LogOddsPool(fitted(a=1.2, b=1.0))
    contrary = AS_FITTED.model_copy(update={"agreement": 0.0})
    cascade = build([Says("a", 0.292), Says("b", 0.86)], consensus=consensus, a=contrary)
    for _ in range(30):
        outcome = judge(virtual, cascade, make_frame())
    assert (expert(outcome, "a").reliability, expert(outcome, "b").reliability) == (1.0, 0.5)
    assert outcome.levels[0].log_odds < 0.0, "weighed down, b no longer carries the pool"
    assert cascade.drift.standings["b"].agreement == 1.0
    assert cascade.drift.standings["a"].agreement == 0.0


def test_a_rehearsal_leaves_no_mark(virtual, build, make_frame):
    cascade = build([Says("a", 0.5), Says("b", 0.99)], consensus=LogOddsPool(fitted(a=1.0, b=1.0)))
    for _ in range(30):
        judge(virtual, cascade, make_frame(), counts=False)
    assert cascade.drift.standings["b"].votes == 0


def test_a_query_that_nobody_was_asked_about_counts_for_nobody(virtual, build, make_frame):
    cascade = build([Says("a", 0.5), Says("b", 0.9)], consensus=LogOddsPool(fitted(a=1.0, b=1.0)))
    late = Deadline.after(-1.0, virtual)
    for _ in range(30):
        virtual.run(cascade.run(make_frame(), late))
    assert not any(standing.drifted for standing in cascade.drift.standings.values())


def test_a_query_ends_with_the_consensus_that_it_began_with(virtual, build, make_frame):
    old, new = LogOddsPool(fitted(a=1.0, b=1.0)), LogOddsPool(fitted(a=1.0, b=1.0, bias=3.0))
    cascade = build([Says("a", 0.5, seconds=1.0)], [Says("b", 0.6, seconds=1.0)], consensus=old)
    first_watch = cascade.drift

    async def swapped_meanwhile():
        running = asyncio.ensure_future(cascade.run(make_frame(), Deadline.after(7.0, virtual)))
        await asyncio.sleep(0.5)
        cascade.consensus, cascade.drift = new, None
        later = await cascade.run(make_frame(), Deadline.after(7.0, virtual))
        return await running, later

    begun_before, begun_after = virtual.run(swapped_meanwhile())
    assert begun_before.consensus == old.version != new.version
    assert begun_before.levels[1].log_odds == pytest.approx(math.log(1.5))
    assert first_watch.standings["b"].votes == 1
    assert begun_after.consensus == new.version
    assert begun_after.levels[0].log_odds == pytest.approx(3.0)
