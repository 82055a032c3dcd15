"""Pooling of arrays equals the pools of the running miner, query by query."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natix_miner.consensus import POOLS, FittedConsensus, Isotonic, Platt, Pool, answer_from
from natix_miner.experts import Opinion, Status
from natix_miner.fitting.depths import up_to
from natix_miner.fitting.pools import answers_from, pooled_votes
from natix_miner.fitting.votes import Votes

NAMES = ("a", "b", "c", "d")
SIZES = ("frame", "large-frame", "validator-square", None)
shift = st.floats(-5.0, 5.0)
weight = st.one_of(st.just(0.0), st.floats(-3.0, 3.0))
probability = st.one_of(
    st.none(), st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.0, 1.0, allow_nan=False)
)
trust = st.one_of(st.just(1.0), st.just(0.0), st.floats(0.0, 1.0))


@st.composite
def calibrations(draw) -> Platt | Isotonic:
    if draw(st.booleans()):
        return Platt(slope=draw(st.floats(0.01, 5.0)), intercept=draw(shift))
    knots = sorted(draw(st.sets(st.integers(-20, 20), min_size=1, max_size=5)))
    values = sorted(draw(st.lists(shift, min_size=len(knots), max_size=len(knots))))
    return Isotonic(raw=tuple(knot / 2.0 for knot in knots), calibrated=tuple(values))


@st.composite
def pools(draw) -> Pool:
    names = st.sampled_from((*NAMES, "unknown"))
    return Pool(
        weights=draw(st.dictionaries(names, weight, min_size=1, max_size=5)),
        bias=draw(shift),
        missing=draw(st.dictionaries(names, shift, max_size=3)),
        size_bias=draw(st.dictionaries(st.sampled_from(SIZES[:3]), shift, max_size=2)),
        condition_bias=draw(st.dictionaries(st.sampled_from(["night", "fog"]), shift, max_size=2)),
        after=draw(
            st.one_of(st.none(), st.builds(Platt, slope=st.floats(0.1, 3), intercept=shift))
        ),
    )


@st.composite
def rows(draw) -> dict:
    asked = draw(st.lists(st.booleans(), min_size=4, max_size=4))
    return {
        "asked": asked,
        "said": [draw(probability) if one else None for one in asked],
        "trust": [draw(trust) for _ in NAMES],
        "size": draw(st.sampled_from(SIZES)),
        "night": draw(st.floats(0.0, 1.0)),
    }


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(POOLS)),
    made=st.lists(pools(), min_size=1, max_size=4),
    maps=st.dictionaries(st.sampled_from(NAMES), calibrations(), max_size=4),
    queries=st.lists(rows(), min_size=1, max_size=6),
)
def test_arrays_are_pooled_as_the_miner_pools_each_query(kind, made, maps, queries):
    fitted = FittedConsensus(kind=kind, calibrations=maps, pools=tuple(made))
    found = pooled_votes(fitted, _votes(queries))
    pool = POOLS[kind](fitted)
    for number, query in enumerate(queries):
        opinions = [
            Opinion(
                name,
                Status.FAILED if said is None else Status.OK,
                said,
                trust=one,
                conditions={},
            )
            for name, asked, said, one in zip(
                NAMES, query["asked"], query["said"], query["trust"], strict=True
            )
            if asked
        ]
        expected = pool.pool(opinions, query["size"], {"night": query["night"]})
        if expected is None:
            assert math.isnan(found.log_odds[number])
            assert math.isnan(found.disagreement[number])
            continue
        # A vote is clamped to |log-odds| < 14; scaled weights multiply its rounding.
        close = 1e-9 * max(1.0, math.fsum(abs(vote.weight) for vote in expected.votes))
        assert found.log_odds[number] == pytest.approx(expected.log_odds, rel=1e-9, abs=close)
        assert found.disagreement[number] == pytest.approx(
            expected.disagreement, rel=1e-6, abs=1e-6
        )
        assert answers_from(found.log_odds)[number] == pytest.approx(
            answer_from(expected.log_odds), abs=1e-9
        )


def test_a_query_nobody_voted_on_has_no_answer():
    fitted = FittedConsensus(calibrations={}, pools=(Pool(weights={"a": 1.0}),))
    silent = {"asked": [True] * 4, "said": [None] * 4, "trust": [1.0] * 4, "size": None, "night": 0}
    assert answers_from(pooled_votes(fitted, _votes([silent])).log_odds).tolist() == [-1.0]


def test_a_shallower_cascade_uses_the_pool_of_its_depth(simulated):
    votes = simulated()
    first = votes.levels[0][1]
    fitted = FittedConsensus(
        calibrations={},
        pools=(
            Pool(weights=dict.fromkeys(first, 0.5)),
            Pool(weights=dict.fromkeys(votes.experts, 0.5)),
        ),
    )
    assert set(pooled_votes(fitted, up_to(votes, 1)).pool[:50]) == {0}
    assert 1 in pooled_votes(fitted, votes).pool


def test_twenty_thousand_queries_are_pooled_in_a_second(simulated):
    votes = simulated(seed=3, queries=400, experts=12)
    many = votes.take(np.arange(20_000) % len(votes))
    names = votes.experts
    fitted = FittedConsensus(
        calibrations={name: Platt(slope=0.7, intercept=0.1) for name in names},
        pools=tuple(
            Pool(
                weights=dict.fromkeys(names[:depth], 0.3), missing=dict.fromkeys(names[:depth], 0.1)
            )
            for depth in (4, 8, 12)
        ),
    )
    pooled_votes(fitted, votes)
    started = time.process_time()
    pooled_votes(fitted, many)
    assert time.process_time() - started < 1.0


def _votes(queries: list[dict]) -> Votes:
    n = len(queries)
    said = [[np.nan if value is None else value for value in query["said"]] for query in queries]
    return Votes(
        ids=tuple(map(str, range(n))),
        levels=(("first", NAMES[:2]), ("second", NAMES[2:])),
        probability=np.array(said, np.float64),
        asked=np.array([query["asked"] for query in queries]),
        trust=np.array([query["trust"] for query in queries], np.float64),
        ms=np.zeros((n, 4)),
        label=np.zeros(n, np.int8),
        groups=("",) * n,
        size_class=tuple(query["size"] for query in queries),
        conditions={"night": np.array([query["night"] for query in queries], np.float64)},
        generation=("",) * n,
        prediction=np.zeros(n),
        total_ms=np.zeros(n),
        received_at=np.zeros(n),
        left_out={},
    )
