"""The pace of one hotkey: never more than a bucket allows, whatever the rhythm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.neuron.rate import RateLimit


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 50.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@given(
    per_minute=st.floats(1.0, 6000.0),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=120),
)
def test_no_span_of_time_lets_in_more_than_the_bucket_allows(per_minute, burst, pauses):
    clock = Hand()
    limit = RateLimit(per_minute, burst, clock)
    let_in: list[float] = []
    for pause in pauses:
        clock.now += pause
        if limit.take("a") == 0.0:
            let_in.append(clock.now)

    for first, begun in enumerate(let_in):
        for last in range(first, len(let_in)):
            allowed = burst + per_minute / 60.0 * (let_in[last] - begun)
            assert last - first + 1 <= allowed + 1e-6


@given(per_minute=st.floats(1.0, 6000.0), burst=st.integers(1, 50), tries=st.integers(1, 200))
def test_who_waits_as_long_as_he_is_told_is_let_in(per_minute, burst, tries):
    clock = Hand()
    limit = RateLimit(per_minute, burst, clock)
    for _ in range(tries):
        wait = limit.take("a")
        if wait:
            clock.now += wait + 1e-6
            assert limit.take("a") == 0.0


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.floats(0.0, 30.0)), min_size=1, max_size=200
    )
)
def test_forgetting_full_buckets_changes_nothing_for_anybody(steps):
    clock = Hand()
    together = RateLimit(20.0, 3, clock)
    alone = {name: RateLimit(20.0, 3, clock) for name in "abcdefgh"}
    for name, pause in steps:
        clock.now += pause
        assert together.take(name) == alone[name].take(name)


def test_one_hotkey_takes_nothing_from_another():
    clock = Hand()
    limit = RateLimit(60.0, 2, clock)
    assert [limit.take("a"), limit.take("a")] == [0.0, 0.0]
    assert limit.take("a") == pytest.approx(1.0)
    assert limit.take("b") == 0.0


def test_a_clock_that_stands_still_gives_no_tokens():
    limit = RateLimit(600.0, 5, Hand())
    assert sum(limit.take("a") == 0.0 for _ in range(1000)) == 5


def test_hotkeys_that_come_and_go_leave_nothing_behind():
    clock = Hand()
    limit = RateLimit(60.0, 2, clock)
    for number in range(10_000):
        limit.take(f"hotkey-{number}")
        clock.now += 0.1
    assert len(limit) <= 12


def test_nought_switches_it_off():
    limit = RateLimit(0.0, 1, Hand())
    assert all(limit.take("a") == 0.0 for _ in range(100))
    assert len(limit) == 0
