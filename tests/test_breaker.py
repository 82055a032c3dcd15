"""The circuit breaker: when it opens, how long it rests, and that only one probe is on its way."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from natix_miner.breaker import JITTER, Admission, Breaker, BreakerLimits, BreakerState


class HandClock:
    """Time that passes by hand."""

    def __init__(self) -> None:
        self.now = 50.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1.7e9 + self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def opened(clock, rng=None, **limits) -> Breaker:
    breaker = Breaker(BreakerLimits(failures=1, **limits), clock, rng)
    breaker.failed()
    assert breaker.state is BreakerState.OPEN
    return breaker


def rest_of(breaker, clock) -> float:
    """How long it really rests, found by trying; the probe fails."""
    began = clock.now
    while not breaker.allows():
        clock.now += 0.01
        assert clock.now - began < 10_000.0
    breaker.failed()
    return clock.now - began


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not(clock):
    breaker = Breaker(BreakerLimits(failures=3), clock)
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.allows()
    for _ in range(3):
        breaker.failed()
    assert not breaker.allows()
    assert breaker.why_not() == "not asked: 3 failures in a row, next try in 30 s"


def test_after_the_rest_there_is_one_probe_and_its_success_closes(clock):
    breaker = opened(clock, rest_seconds=10.0)
    clock.now += 9.99
    assert not breaker.allows()
    clock.now += 0.01
    assert breaker.allows()
    assert not breaker.allows()
    assert "a probe is under way" in breaker.why_not()
    breaker.succeeded()
    assert breaker.allows()
    assert breaker.allows()


def test_without_a_longest_rest_the_rests_stay_the_same(clock):
    breaker = opened(clock, rest_seconds=10.0)
    assert [rest_of(breaker, clock) for _ in range(4)] == pytest.approx([10.0] * 4, abs=0.02)


def test_rests_double_up_to_the_longest_and_a_success_starts_over(clock):
    breaker = opened(clock, rest_seconds=10.0, longest_rest_seconds=60.0)
    rests = [rest_of(breaker, clock) for _ in range(5)]
    assert rests == pytest.approx([10.0, 20.0, 40.0, 60.0, 60.0], abs=0.02)
    clock.now += 60.0
    assert breaker.allows()
    breaker.succeeded()
    breaker.failed()
    assert rest_of(breaker, clock) == pytest.approx(10.0, abs=0.02)


def test_hundreds_of_failed_probes_are_no_trouble(clock):
    breaker = opened(clock, rest_seconds=1.0, longest_rest_seconds=2.0)
    for _ in range(2000):
        clock.now += 2.0
        assert breaker.allows()
        breaker.failed()


def test_jitter_takes_something_off_each_rest_but_never_more_than_said(clock):
    breaker = opened(clock, random.Random(7), rest_seconds=10.0, longest_rest_seconds=10.0)
    rests = [rest_of(breaker, clock) for _ in range(50)]
    assert min(rests) >= 10.0 * (1.0 - JITTER)
    assert max(rests) <= 10.02
    assert max(rests) - min(rests) > 0.5 * JITTER * 10.0


def test_half_of_the_last_requests_failing_opens_it_though_never_in_a_row(clock):
    limits = BreakerLimits(failures=5, failure_rate=0.5, window_seconds=30.0, least_requests=10)
    breaker = Breaker(limits, clock)
    for _ in range(4):
        breaker.succeeded()
        breaker.failed()
    breaker.succeeded()
    assert breaker.allows(), "nine requests are too few to speak of a rate"
    breaker.failed()
    assert not breaker.allows()
    assert "5 of the last 10 requests failed" in breaker.why_not()


def test_failures_that_are_older_than_the_window_do_not_count(clock):
    limits = BreakerLimits(failures=50, failure_rate=0.5, window_seconds=30.0, least_requests=4)
    breaker = Breaker(limits, clock)
    for _ in range(3):
        breaker.failed()
    clock.now += 30.1
    for _ in range(3):
        breaker.succeeded()
    breaker.failed()
    assert breaker.allows(), "one of four"
    breaker.failed()
    breaker.failed()
    assert not breaker.allows(), "three of six"


def test_after_a_probe_the_old_failures_are_forgotten(clock):
    limits = BreakerLimits(failures=50, failure_rate=0.5, least_requests=4, rest_seconds=1.0)
    breaker = Breaker(limits, clock)
    for _ in range(4):
        breaker.failed()
    clock.now += 1.0
    assert breaker.allows()
    breaker.succeeded()
    for _ in range(3):
        breaker.succeeded()
    breaker.failed()
    assert breaker.allows()


def test_failures_beside_successes_count_in_the_rate_only(clock):
    breaker = Breaker(BreakerLimits(failures=2), clock)
    for _ in range(20):
        breaker.failed(in_a_row=False)
    assert breaker.allows()
    rated = Breaker(BreakerLimits(failures=2, failure_rate=0.5, least_requests=10), clock)
    for _ in range(10):
        rated.failed(in_a_row=False)
    assert not rated.allows()


def test_a_probe_without_an_outcome_may_be_sent_again_at_once(clock):
    breaker = opened(clock, rest_seconds=10.0)
    clock.now += 10.0
    assert breaker.allows()
    breaker.undecided()
    assert breaker.allows()
    assert not breaker.allows()


def test_an_answer_to_a_request_from_before_it_opened_is_not_that_of_the_probe(clock):
    breaker = Breaker(BreakerLimits(failures=2, rest_seconds=10.0), clock)
    old, *others = (breaker.admit() for _ in range(4))
    others[0].failed()
    others[1].failed()
    old.succeeded()
    assert breaker.state is BreakerState.OPEN
    clock.now += 10.0
    probe = breaker.admit()
    others[2].failed()
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.admit() is None
    probe.succeeded()
    assert breaker.state is BreakerState.CLOSED


def test_an_admission_is_told_once(clock):
    breaker = Breaker(BreakerLimits(failures=2), clock)
    admission = breaker.admit()
    for _ in range(3):
        admission.failed()
    assert breaker.state is BreakerState.CLOSED
    breaker.admit().failed()
    assert breaker.state is BreakerState.OPEN


def test_reset_forgets_failures_rests_and_whoever_is_under_way(clock):
    breaker = opened(clock, rest_seconds=10.0, longest_rest_seconds=100.0)
    rest_of(breaker, clock)
    clock.now += 20.0
    probe = breaker.admit()
    breaker.reset()
    assert breaker.state is BreakerState.CLOSED
    probe.failed()
    assert breaker.state is BreakerState.CLOSED
    assert not breaker.succeeded_since(0.0)
    breaker.failed()
    assert rest_of(breaker, clock) == pytest.approx(10.0, abs=0.02)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.none()),
        st.tuples(st.just("wait"), st.floats(0.0, 40.0)),
        st.tuples(st.sampled_from(("succeeded", "failed", "undecided")), st.integers(0, 20)),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=STEPS,
    failures=st.integers(1, 6),
    rate=st.none() | st.floats(0.1, 1.0),
    longest=st.none() | st.floats(1.0, 80.0),
    seed=st.none() | st.integers(0, 9),
)
def test_never_two_probes_and_a_success_after_enough_time_closes(
    steps, failures, rate, longest, seed
):
    clock = HandClock()
    rng = None if seed is None else random.Random(seed)
    limits = BreakerLimits(failures, 10.0, rate, 30.0, 4, longest)
    breaker = Breaker(limits, clock, rng)
    under_way: list[tuple[Admission, bool]] = []
    for step, value in steps:
        if step == "ask":
            resting = breaker.state is not BreakerState.CLOSED
            admission = breaker.admit()
            if admission is not None:
                under_way.append((admission, resting))
        elif step == "wait":
            clock.now += value
        elif under_way:
            admission, _ = under_way.pop(value % len(under_way))
            getattr(admission, step)()
        probes = [admission for admission, probe in under_way if probe]
        assert len(probes) <= 1
        assert (len(probes) == 1) == (breaker.state is BreakerState.HALF_OPEN)
        if breaker.state is not BreakerState.CLOSED and probes:
            assert breaker.admit() is None
    for admission, _ in under_way:
        admission.undecided()
    clock.now += max(10.0, longest or 0.0)
    last = breaker.admit()
    assert last is not None
    last.succeeded()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.admit() is not None
