"""Pools: properties for any input, and numbers worked out by hand."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.consensus import (
    FittedConsensus,
    GeometricMeanPool,
    LogOddsPool,
    Platt,
    Pool,
    answer_from,
    equal_weights,
)
from natix_miner.experts import Opinion, Status

NAMES = ("a", "b", "c", "d")
any_float = st.floats(allow_nan=True, allow_infinity=True)
opinions = st.lists(
    st.builds(
        Opinion,
        expert=st.sampled_from(NAMES),
        status=st.sampled_from(list(Status)),
        probability=st.none() | any_float | st.floats(0.0, 1.0),
        conditions=st.dictionaries(st.sampled_from(NAMES), st.floats(0.0, 1.0)),
    ),
    max_size=6,
)
SIZES = st.sampled_from(["validator-square", "frame", "large-frame"])
platts = st.builds(
    Platt,
    slope=st.floats(0.0, 100.0, exclude_min=True),
    intercept=st.floats(-50.0, 50.0),
)
fits = st.builds(
    FittedConsensus,
    calibrations=st.dictionaries(st.sampled_from(NAMES), platts),
    pools=st.lists(
        st.builds(
            Pool,
            weights=st.dictionaries(st.sampled_from(NAMES), st.floats(0.0, 100.0), max_size=4),
            bias=st.floats(-50.0, 50.0),
            size_bias=st.dictionaries(SIZES, st.floats(-50.0, 50.0)),
            condition_bias=st.dictionaries(st.sampled_from(NAMES), st.floats(-50.0, 50.0)),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
)
POOLS = pytest.mark.parametrize("pool_class", [LogOddsPool, GeometricMeanPool])


def said(**probabilities):
    return [Opinion(name, Status.OK, value) for name, value in probabilities.items()]


@POOLS
@given(fitted=fits, votes=opinions, size=st.none() | SIZES)
def test_any_input_gives_a_finite_answer_in_range_or_none(pool_class, fitted, votes, size):
    pooled = pool_class(fitted).pool(votes, size)
    usable = [
        v
        for v in votes
        if v.status is Status.OK
        and v.probability is not None
        and math.isfinite(v.probability)
        and 0 <= v.probability <= 1
    ]
    assert (pooled is None) == (not usable)
    if pooled is not None:
        assert math.isfinite(pooled.log_odds)
        assert math.isfinite(pooled.disagreement)
        answer = answer_from(pooled.log_odds)
        assert 0.001 <= answer <= 0.999
        assert answer != 0.5


@POOLS
@given(fitted=fits, votes=opinions, seed=st.integers())
def test_the_order_of_opinions_does_not_matter(pool_class, fitted, votes, seed):
    shuffled = list(votes)
    random.Random(seed).shuffle(shuffled)
    assert pool_class(fitted).pool(votes) == pool_class(fitted).pool(shuffled)


@POOLS
@given(value=st.floats(0.01, 0.99), more=st.floats(0.0, 0.5))
def test_a_vote_that_moves_up_never_moves_the_pool_down(pool_class, value, more):
    pool = pool_class(equal_weights(frozenset("ab")))
    low = pool.pool(said(a=value, b=0.4))
    high = pool.pool(said(a=min(0.99, value + more), b=0.4))
    assert high.log_odds >= low.log_odds - 1e-12


@pytest.mark.parametrize("log_odds", [0.0, 1e-12, -1e-12, math.inf, -math.inf, 700.0, -5000.0])
def test_the_answer_is_never_one_half_and_never_certain(log_odds):
    answer = answer_from(log_odds)
    assert 0.001 <= answer <= 0.999
    assert answer != 0.5
    assert round(answer) in (0, 1)


def test_log_odds_pool_by_hand():
    # Calibrated log-odds of a: 2 * ln(0.8/0.2) + 0.5 = 3.2726; of b: ln(0.3/0.7) = -0.8473.
    # Pool: 0.1 + 0.6 * 3.2726 + 0.5 * -0.8473 = 1.63992.
    fitted = FittedConsensus(
        calibrations={"a": Platt(slope=2.0, intercept=0.5)},
        pools=(Pool(weights={"a": 0.6, "b": 0.5}, bias=0.1),),
    )
    pooled = LogOddsPool(fitted).pool(said(a=0.8, b=0.3))
    assert pooled.log_odds == pytest.approx(1.63990, abs=2e-5)
    assert pooled.probability == pytest.approx(0.83752, abs=1e-4)


def test_the_size_class_of_the_frame_shifts_the_pool():
    pool = Pool(weights={"a": 1.0}, bias=0.5, size_bias={"frame": -2.0, "validator-square": 0.25})
    consensus = LogOddsPool(FittedConsensus(calibrations={}, pools=(pool,)))
    shifts = {
        size: consensus.pool(said(a=0.5), size).log_odds
        for size in (None, "validator-square", "frame", "large-frame")
    }
    # A large frame without a bias of its own takes that of frames: 0.5 - 2.0.
    expected = {None: 0.5, "validator-square": 0.75, "frame": -1.5, "large-frame": -1.5}
    assert shifts == pytest.approx(expected)


def test_geometric_mean_is_normalised_over_both_classes():
    # Without normalisation 0.5 and 0.5 stay 0.5 but 0.9 and 0.1 pool to 0.3; rightly it is 0.5.
    pool = GeometricMeanPool(equal_weights(frozenset("ab")))
    assert pool.pool(said(a=0.9, b=0.1)).probability == pytest.approx(0.5)
    # sqrt(.9*.6) / (sqrt(.9*.6) + sqrt(.1*.4)) = 0.734847 / 0.934847
    assert pool.pool(said(a=0.9, b=0.6)).probability == pytest.approx(0.7860611, abs=1e-6)


def test_a_missing_vote_weakens_nobody_elses():
    fitted = FittedConsensus(calibrations={}, pools=(Pool(weights={"a": 0.5, "b": 0.5}),))
    pool = LogOddsPool(fitted)
    alone = pool.pool([*said(a=0.9), Opinion("b", Status.TIMED_OUT)])
    assert alone.log_odds == pytest.approx(math.log(9.0))
    assert [vote.expert for vote in alone.votes] == ["a"]


def test_the_pool_fitted_for_the_experts_at_hand_is_used():
    fitted = FittedConsensus(
        calibrations={},
        pools=(
            Pool(weights={"a": 1.0}, bias=1.0),
            Pool(weights={"a": 0.5, "b": 0.5}, bias=-1.0),
        ),
    )
    pool = LogOddsPool(fitted)
    assert pool.pool(said(a=0.5)).log_odds == pytest.approx(1.0)
    assert pool.pool(said(a=0.5, b=0.5)).log_odds == pytest.approx(-1.0)


def test_only_experts_without_weight_count_equally():
    fitted = FittedConsensus(calibrations={}, pools=(Pool(weights={"a": 1.0}, bias=9.0),))
    pooled = LogOddsPool(fitted).pool(said(x=0.9, y=0.9))
    assert pooled.log_odds == pytest.approx(math.log(9.0))


def test_disagreement_is_the_spread_of_the_log_odds():
    pooled = LogOddsPool(equal_weights(frozenset("ab"))).pool(said(a=0.9, b=0.1))
    assert pooled.disagreement == pytest.approx(math.log(9.0))
    assert LogOddsPool(equal_weights(frozenset("ab"))).pool(said(a=0.9)).disagreement == 0.0


def test_a_weight_too_small_to_scale_up_counts_as_none():
    fitted = FittedConsensus(calibrations={}, pools=(Pool(weights={"a": 2e-311, "b": 1.0}),))
    pooled = LogOddsPool(fitted).pool(said(a=0.8))
    assert pooled.log_odds == pytest.approx(math.log(4.0))
