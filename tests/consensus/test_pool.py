"""Pools: properties for any input, and numbers worked out by hand (missing votes: next file)."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.consensus import (
    FittedConsensus,
    GeometricMeanPool,
    Isotonic,
    LogOddsPool,
    MajorityPool,
    Platt,
    Pool,
    answer_from,
    equal_weights,
    load_fitted,
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
        trust=st.just(1.0) | st.floats(0.0, 1.0) | any_float,
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
steps = st.lists(
    st.tuples(st.floats(-50.0, 50.0), st.floats(-50.0, 50.0)),
    min_size=1,
    max_size=5,
    unique_by=lambda knot: knot[0],
).map(
    lambda knots: Isotonic(
        raw=tuple(sorted(raw for raw, _ in knots)), calibrated=tuple(sorted(c for _, c in knots))
    )
)
fits = st.builds(
    FittedConsensus,
    calibrations=st.dictionaries(st.sampled_from(NAMES), platts | steps),
    pools=st.lists(
        st.builds(
            Pool,
            weights=st.dictionaries(st.sampled_from(NAMES), st.floats(-100.0, 100.0), max_size=4),
            missing=st.dictionaries(st.sampled_from(NAMES), st.floats(-50.0, 50.0), max_size=4),
            after=st.none() | platts,
            bias=st.floats(-50.0, 50.0),
            size_bias=st.dictionaries(SIZES, st.floats(-50.0, 50.0)),
            condition_bias=st.dictionaries(st.sampled_from(NAMES), st.floats(-50.0, 50.0)),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
)
POOLS = pytest.mark.parametrize("pool_class", [LogOddsPool, GeometricMeanPool, MajorityPool])
EMBEDDED = Path(__file__).parents[2] / "models" / "embedded" / "consensus.json"


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
        assert math.isfinite(pooled.bias)
        assert 0.0 <= pooled.probability <= 1.0
        assert {vote.expert for vote in pooled.votes} == {vote.expert for vote in usable}
        assert all(math.isfinite(vote.weight) for vote in pooled.votes)
        answer = answer_from(pooled.log_odds)
        assert 0.001 <= answer <= 0.999
        assert answer != 0.5


@POOLS
@given(fitted=fits, votes=opinions, seed=st.integers())
def test_the_order_of_opinions_does_not_matter(pool_class, fitted, votes, seed):
    shuffled = list(votes)
    random.Random(seed).shuffle(shuffled)
    pool = pool_class(fitted)
    first = pool.pool(votes)
    assert pool.pool(shuffled) == first
    assert pool.pool(votes) == first  # what is kept worked out gives the same bits
    assert pool_class(fitted).pool(iter(shuffled)) == first


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


def test_negative_weights_turn_a_vote_round_and_stay_out_of_the_geometric_mean():
    fitted = FittedConsensus(calibrations={}, pools=(Pool(weights={"a": 1.5, "b": -0.5}),))
    pooled = LogOddsPool(fitted).pool(said(a=0.8, b=0.9))
    # 1.5 * ln 4 - 0.5 * ln 9
    assert pooled.log_odds == pytest.approx(math.log(8.0) - math.log(3.0))
    assert [vote.weight for vote in pooled.votes] == [1.5, -0.5]
    mean = GeometricMeanPool(fitted).pool(said(a=0.8, b=0.9))
    assert mean.log_odds == pytest.approx(math.log(4.0))
    # Only the negative one spoke: it counts as it is, there is nothing else.
    assert GeometricMeanPool(fitted).pool(said(b=0.9)).log_odds == pytest.approx(math.log(9.0))


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ({"a": 0.9, "b": 0.6, "c": 0.2}, math.log(2.5 / 1.5)),
        ({"a": 0.51, "b": 0.51, "c": 0.51}, math.log(3.5 / 0.5)),
        ({"a": 0.5}, math.log(0.5 / 1.5)),  # no better than none says none
    ],
)
def test_majority_counts_heads_whatever_their_weights(votes, expected):
    weights = {"a": 5.0, "b": 0.1, "c": 0.0}
    fitted = FittedConsensus(calibrations={}, pools=(Pool(weights=weights, bias=9.0),))
    pooled = MajorityPool(fitted).pool(said(**votes))
    assert pooled.log_odds == pytest.approx(expected)
    assert [vote.weight for vote in pooled.votes] == pytest.approx([1 / len(votes)] * len(votes))


def test_majority_counts_calibrated_votes_by_their_trust():
    # Calibrated, a says no. yes = 1 + 1/4, no = 1/2: ln((1.25 + 0.5) / (0.5 + 0.5)) = ln 1.75
    fitted = FittedConsensus(
        calibrations={"a": Platt(intercept=-1.0)},
        pools=(Pool(weights={"a": 1.0, "b": 1.0, "c": 1.0}),),
    )
    votes = [
        Opinion("a", Status.OK, 0.6, trust=0.5),
        Opinion("b", Status.OK, 0.6),
        Opinion("c", Status.OK, 0.9, trust=0.25),
    ]
    pooled = MajorityPool(fitted).pool(votes)
    assert pooled.log_odds == pytest.approx(math.log(1.75))
    untrusted = MajorityPool(fitted).pool([Opinion("b", Status.OK, 0.9, trust=0.0)])
    assert untrusted.log_odds == pytest.approx(math.log(1.5 / 0.5))


@pytest.mark.parametrize(
    ("pool_class", "before"),
    [
        (GeometricMeanPool, (math.log(9.0) + math.log(1.5)) / 2),
        (MajorityPool, math.log(2.5 / 0.5)),
    ],
)
def test_after_calibrates_what_a_mean_or_a_majority_comes_to(pool_class, before):
    pool = Pool(weights={"a": 1.0, "b": 1.0}, after=Platt(slope=1.5, intercept=-0.4))
    pooled = pool_class(FittedConsensus(calibrations={}, pools=(pool,))).pool(said(a=0.9, b=0.6))
    assert pooled.log_odds == pytest.approx(1.5 * before - 0.4)
    assert pooled.probability == pytest.approx(1 / (1 + math.exp(0.4 - 1.5 * before)))


def test_after_is_left_alone_by_the_log_odds_pool():
    pool = Pool(weights={"a": 1.0}, after=Platt(slope=9.0))
    pooled = LogOddsPool(FittedConsensus(calibrations={}, pools=(pool,))).pool(said(a=0.8))
    assert pooled.log_odds == pytest.approx(math.log(4.0))


def test_conditions_of_frame_and_experts_shift_the_pool_by_their_worth():
    pool = Pool(weights={"a": 1.0}, condition_bias={"night": -2.0, "frame-dark": -1.0, "haze": 7.0})
    consensus = LogOddsPool(FittedConsensus(calibrations={}, pools=(pool,)))
    sky = Opinion("sky", Status.OK, None, conditions={"night": 0.25})
    moon = Opinion("moon", Status.OK, None, conditions={"night": 0.75})
    pooled = consensus.pool([*said(a=0.5), sky, moon], None, {"frame-dark": 1.0, "night": 0.5})
    # The strongest word on the night counts: -2 * 0.75 - 1.
    assert pooled.log_odds == pytest.approx(-2.5)
    assert pooled.bias == pytest.approx(-2.5)


def test_the_shipped_file_pools_to_the_very_bits_that_journals_hold():
    """Taken from the first release that read it: replay compares bit by bit."""
    pool = LogOddsPool(load_fitted(EMBEDDED))
    glance = pool.pool(said(network=0.91, colour=0.35), "validator-square")
    assert glance.log_odds.hex() == "0x1.5f4b508a662fap+0"
    assert glance.disagreement.hex() == "0x1.2c95417ed3349p+0"
    votes = {"network": 0.52, "colour": 0.61, "closer-network": 0.2}
    closer = pool.pool(said(**votes), "validator-square")
    assert closer.log_odds.hex() == "-0x1.64bd38214d5c0p-7"
    del votes["colour"]
    late = pool.pool([*said(**votes), Opinion("colour", Status.TIMED_OUT)], "large-frame")
    assert late.log_odds.hex() == "-0x1.b868fb976b2b4p+0"
