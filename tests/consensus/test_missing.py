"""Votes that are missing: what the fit knows of them, what it does not, and an expert that never
speaks. All numbers by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.consensus import (
    POOLS,
    FittedConsensus,
    GeometricMeanPool,
    LogOddsPool,
    MajorityPool,
    Pool,
)
from natix_miner.experts import Opinion, Status

LN4, LN9 = math.log(4.0), math.log(9.0)


def made(**pool):
    return FittedConsensus(calibrations={}, pools=(Pool(**pool),))


def said(**probabilities):
    return [Opinion(name, Status.OK, value) for name, value in probabilities.items()]


def lost(*names):
    return [Opinion(name, Status.TIMED_OUT) for name in names]


def weights_of(pooled):
    return {vote.expert: vote.weight for vote in pooled.votes}


def test_a_missing_vote_that_the_fit_knows_adds_its_term_and_scales_nobody():
    fitted = made(weights={"a": 0.6, "b": 0.9}, bias=0.1, missing={"b": -0.35})
    pooled = LogOddsPool(fitted).pool([*said(a=0.8), *lost("b")])
    # 0.1 - 0.35 + 0.6 * ln 4
    assert pooled.log_odds == pytest.approx(-0.25 + 0.6 * LN4)
    assert weights_of(pooled) == {"a": 0.6}
    assert pooled.bias == pytest.approx(-0.25)
    # With both there the term is not added.
    assert LogOddsPool(fitted).pool(said(a=0.8, b=0.5)).bias == pytest.approx(0.1)


def test_one_that_the_fit_knows_and_one_that_it_does_not():
    fitted = made(weights={"a": 0.5, "b": 0.3, "c": 0.2, "d": 1.0}, missing={"d": 0.7})
    pooled = LogOddsPool(fitted).pool([*said(a=0.8, b=0.9), *lost("c", "d")])
    # d is known: 2.0 - 1.0 = 1.0 is due, 0.8 is there, so a and b weigh 1.25 times as much.
    assert weights_of(pooled) == pytest.approx({"a": 0.625, "b": 0.375})
    assert pooled.log_odds == pytest.approx(0.7 + 0.625 * LN4 + 0.375 * LN9)


def test_half_a_vote_is_half_missing():
    votes = [Opinion("a", Status.OK, 0.8), Opinion("b", Status.OK, 0.9, trust=0.25)]
    known = made(weights={"a": 1.0, "b": 0.8}, missing={"b": -0.4})
    pooled = LogOddsPool(known).pool(votes)
    # b: a quarter of its weight, three quarters of its term; a as always.
    assert pooled.log_odds == pytest.approx(LN4 + 0.2 * LN9 - 0.3)
    unknown = made(weights={"a": 1.0, "b": 0.8})
    pooled = LogOddsPool(unknown).pool(votes)
    # 1.8 is due, 1.2 is there: everything 1.5 times as much.
    assert weights_of(pooled) == pytest.approx({"a": 1.5, "b": 0.3})


def test_negative_weights_are_made_up_for_by_their_size():
    fitted = made(weights={"a": 1.0, "b": -0.5, "c": 0.5})
    pooled = LogOddsPool(fitted).pool([*said(a=0.8, b=0.9), *lost("c")])
    assert weights_of(pooled) == pytest.approx({"a": 4 / 3, "b": -2 / 3})
    fitted = made(weights={"a": 1.0, "b": -0.5}, missing={"b": 0.3})
    pooled = LogOddsPool(fitted).pool([*said(a=0.8), *lost("b")])
    assert pooled.log_odds == pytest.approx(LN4 + 0.3)


def test_mean_and_majority_go_by_those_who_speak():
    fitted = made(weights={"a": 1.0, "b": 3.0, "c": 4.0}, missing={"c": 9.0})
    opinions = [*said(a=0.8, b=0.9), *lost("c")]
    mean = GeometricMeanPool(fitted).pool(opinions)
    assert mean.log_odds == pytest.approx(0.25 * LN4 + 0.75 * LN9)
    assert MajorityPool(fitted).pool(opinions).log_odds == pytest.approx(math.log(2.5 / 0.5))


def test_an_expert_that_tells_conditions_and_never_votes_counts_as_nobody():
    """It was asked as well, but no weight set names it: the set of those asked is found still."""
    fitted = FittedConsensus(
        calibrations={},
        pools=(
            Pool(weights={"a": 2.0}, bias=5.0),
            Pool(weights={"a": 1.0, "b": 0.5, "c": 0.5}, missing={"b": 0.25, "c": -0.5}),
        ),
    )
    sky = Opinion("sky", Status.OK, None, conditions={"night": 1.0})
    pooled = LogOddsPool(fitted).pool([*said(b=0.8), *lost("a", "c"), sky])
    # The second set: 2.0 - 0.5 (c is known) is due, b's 0.5 is there: three times as much.
    assert pooled.log_odds == pytest.approx(1.5 * LN4 - 0.5)


NEVER = {
    "log-odds": made(
        weights={"a": 0.7, "b": 0.5, "never": 0.0}, bias=-0.2, missing={"never": 0.15}
    ),
    "geometric-mean": made(weights={"a": 0.5, "b": 0.5, "never": 1 / 3}),
    "majority": made(weights={"a": 1 / 3, "b": 1 / 3, "never": 1 / 3}),
}


@pytest.mark.parametrize("kind", POOLS)
def test_fitted_with_an_expert_that_was_always_missing_it_goes_on_with_the_others(kind):
    """Its weight is 0, or a share that it never used; its term is part of the usual bias."""
    pool = POOLS[kind](NEVER[kind])
    usual = pool.pool([*said(a=0.8, b=0.7), *lost("never")])
    expected = {
        "log-odds": -0.05 + 0.7 * LN4 + 0.5 * math.log(7 / 3),
        "geometric-mean": (LN4 + math.log(7 / 3)) / 2,
        "majority": math.log(2.5 / 0.5),
    }
    assert usual.log_odds == pytest.approx(expected[kind])
    # Not even asked (its level was left out), or gone with others: still an answer near that.
    assert pool.pool(said(a=0.8, b=0.7)).log_odds > 0.5
    assert pool.pool([*said(a=0.8), *lost("b", "never")]).log_odds > 0.5
    # It speaks for the first time: only where it has a share is it heard at all.
    surprised = pool.pool(said(a=0.8, b=0.7, never=0.01)).log_odds
    if kind == "log-odds":
        assert surprised == pytest.approx(usual.log_odds - 0.15)
    else:
        assert -1.0 < surprised < usual.log_odds
    # And when it alone speaks, little is better than nothing.
    alone = pool.pool([*lost("a", "b"), *said(never=0.9)])
    assert alone is not None
    assert alone.log_odds > 0.0


@given(
    trust=st.floats(0.0, 1.0),
    p=st.floats(0.001, 0.999),
    weight=st.floats(-3.0, 3.0),
    term=st.floats(-3.0, 3.0),
)
def test_a_known_vote_fades_into_its_missing_term(trust, p, weight, term):
    """Linear in the trust between the vote and the term, whatever the numbers."""
    fitted = made(weights={"a": 1.0, "b": weight}, missing={"b": term})
    pool = LogOddsPool(fitted)
    vote = pool.pool(said(a=0.6, b=p)).log_odds
    gone = pool.pool([*said(a=0.6), *lost("b")]).log_odds
    between = pool.pool([*said(a=0.6), Opinion("b", Status.OK, p, trust=trust)]).log_odds
    assert between == pytest.approx(trust * vote + (1.0 - trust) * gone, abs=1e-9)
