"""The sums of a window against sums over the queries that are in it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.consensus.window import STEP, Said, Window

said = st.builds(
    Said, shift=st.none() | st.floats(-1e6, 1e6) | st.just(1e300), agreed=st.booleans()
)
queries = st.lists(st.dictionaries(st.sampled_from("abz"), said), max_size=60)


@given(queries=queries, size=st.integers(1, 20))
def test_tallies_are_those_of_the_newest_queries_to_the_last_bit(queries, size):
    window = Window(("a", "b"), size)
    for query in queries:
        window.add(query)
    for name in ("a", "b"):
        there = [query[name] for query in queries[-size:] if name in query]
        votes = [one for one in there if one.shift is not None]
        tally = window.tallies[name]
        assert (tally.asked, tally.votes) == (len(there), len(votes))
        assert tally.agreed == sum(one.agreed for one in votes)
        # What came and went leaves nothing behind: the sum is that of a fresh window.
        fresh = Window(("a",), size)
        for one in there:
            fresh.add({"a": one})
        assert fresh.tallies["a"].steps * int(name == "a") == tally.steps * int(name == "a")


def test_shares_by_hand():
    window = Window(("a",), 4)
    for one in (Said(9.0, True), Said(0.5, True), Said(), Said(-1.25, False), Said(1.5, True)):
        window.add({"a": one})
    tally = window.tallies["a"]
    assert tally.shift == pytest.approx((0.5 - 1.25 + 1.5) / 3)
    assert Fraction(tally.steps) * Fraction(STEP) == Fraction(3, 4)
    assert tally.agreement == pytest.approx(2 / 3)
    assert tally.missing == 0.25
