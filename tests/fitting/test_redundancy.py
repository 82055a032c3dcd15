"""How much experts repeat each other, and what each one adds."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, pearsonr

from natix_miner.consensus import FittedConsensus, Pool
from natix_miner.errors import FittingError
from natix_miner.fitting import FitSettings
from natix_miner.fitting.expert_panel import expert_panel
from natix_miner.fitting.leaving_out import LITTLE, PRICE, leave_one_out
from natix_miner.fitting.redundancy import (
    correlations,
    effective_number,
    effective_votes,
    redundancy,
    without,
)
from natix_miner.fitting.routing_reward import exact_reward

NAN = float("nan")
QUICK = FitSettings(folds=3, resamples=100)


def probability(log_odds):
    return 1.0 / (1.0 + np.exp(-np.asarray(log_odds)))


@pytest.fixture
def panel(votes_by_hand):
    """Votes from log-odds by expert; every other query is roadwork."""

    def make(columns, n, **more):
        said = {name: probability(values) for name, values in columns.items()}
        return votes_by_hand(said, (np.arange(n) % 2).tolist(), **more)

    return make


def test_correlations_are_those_of_the_residuals_within_each_label(panel):
    rng = np.random.default_rng(1)
    n = 400
    side = 2.0 * (np.arange(n) % 2) - 1.0
    shared = rng.standard_normal(n)
    a = 3.0 * side + shared + 0.5 * rng.standard_normal(n)
    b = 3.0 * side - 1.0 + shared + 0.5 * rng.standard_normal(n)
    c = 3.0 * side + rng.standard_normal(n)
    votes = panel({"a": a, "b": b, "c": c}, n)

    def residual(values):
        return np.where(
            side > 0, values - values[side > 0].mean(), values - values[side < 0].mean()
        )

    found = correlations(votes)
    assert found[0, 1] == pytest.approx(pearsonr(residual(a), residual(b))[0], abs=1e-9)
    assert found[0, 1] == pytest.approx(0.8, abs=0.05)
    assert abs(found[0, 2]) < 0.12
    assert np.allclose(found, found.T)
    assert np.allclose(np.diag(found), 1.0)


def test_without_labels_shared_truth_counts_as_redundancy_and_is_told(panel):
    rng = np.random.default_rng(2)
    n = 400
    side = 2.0 * (np.arange(n) % 2) - 1.0
    columns = {name: 3.0 * side + rng.standard_normal(n) for name in "ab"}
    votes = panel(columns, n)
    blind = dataclasses.replace(votes, label=np.full(n, -1, np.int8))
    assert redundancy(votes).within_labels
    assert abs(correlations(votes)[0, 1]) < 0.15
    assert not redundancy(blind).within_labels
    assert correlations(blind)[0, 1] == pytest.approx(
        pearsonr(columns["a"], columns["b"])[0], abs=1e-9
    )
    assert correlations(blind)[0, 1] > 0.85


def test_a_pair_is_taken_over_the_queries_on_which_both_voted(panel):
    rng = np.random.default_rng(3)
    n = 300
    shared = rng.standard_normal(n)
    a, b = shared + rng.standard_normal(n), shared + rng.standard_normal(n)
    a[rng.random(n) < 0.3] = NAN
    b[rng.random(n) < 0.3] = NAN
    c = np.where(np.arange(n) < 15, rng.standard_normal(n), NAN)
    votes = panel({"a": a, "b": b, "c": c, "flat": np.full(n, 0.4)}, n)
    blind = dataclasses.replace(votes, label=np.full(n, -1, np.int8))
    found = correlations(blind)
    both = ~np.isnan(a) & ~np.isnan(b)
    assert found[0, 1] == pytest.approx(pearsonr(a[both], b[both])[0], abs=1e-9)
    assert np.isnan(found[2]).all()
    assert np.isnan(found[3]).all()


def test_effective_votes_of_cases_worked_by_hand():
    assert effective_number(np.eye(5)) == pytest.approx(5.0)
    assert effective_number(np.ones((7, 7))) == pytest.approx(1.0)
    even = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    assert effective_number(even) == pytest.approx(4.0 / 2.5)
    # Two pairs of twins: m^2 / sum of correlations = 16 / 8.
    twins = np.kron(np.eye(2), np.ones((2, 2)))
    assert effective_number(twins) == pytest.approx(2.0)
    unknown = even.copy()
    unknown[3], unknown[:, 3] = NAN, NAN
    assert effective_number(unknown) == pytest.approx(3.0 / 2.0)
    assert effective_number(np.ones((1, 1))) == 1.0
    assert np.isnan(effective_number(np.full((3, 3), NAN)))


def test_effective_votes_is_the_variance_of_a_mean(panel):
    """So many independent votes would have a mean as steady as the mean of these."""
    rng = np.random.default_rng(4)
    n, m = 20_000, 6
    said = np.sqrt(0.3) * rng.standard_normal((n, 1)) + np.sqrt(0.7) * rng.standard_normal((n, m))
    votes = panel({f"e{number}": said[:, number] for number in range(m)}, n)
    assert effective_votes(votes) == pytest.approx(1.0 / said.mean(axis=1).var(), rel=0.03)


@given(
    st.integers(2, 6).flatmap(
        lambda m: st.lists(st.floats(-1.0, 1.0), min_size=m * 3, max_size=m * 3)
    )
)
def test_effective_votes_lie_between_one_and_all(values):
    rows = np.array(values).reshape(-1, 3) + 1e-3 * np.eye(len(values) // 3, 3)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    assert 1.0 <= effective_number(unit @ unit.T) <= len(unit) + 1e-9


def test_leaving_an_expert_out_leaves_the_rest_as_it_was(panel):
    votes = panel(
        {"a": [0.1, 0.2], "b": [0.3, NAN], "c": [0.5, 0.6]},
        2,
        levels=(("first", ("a", "b")), ("second", ("c",))),
    )
    kept = without(votes, frozenset({"b"}))
    assert kept.levels == (("first", ("a",)), ("second", ("c",)))
    assert np.allclose(kept.probability, votes.probability[:, [0, 2]])
    assert kept.asked.shape == kept.ms.shape == kept.trust.shape == (2, 2)
    with pytest.raises(FittingError, match="no expert remains"):
        without(votes, frozenset("abc"))


@pytest.fixture(scope="module")
def told(votes_by_hand):
    """A good expert, a second one with errors of its own, a twin of each other, noise, and one that
    is dear and adds next to nothing."""
    rng = np.random.default_rng(5)
    n = 3000
    side = 2.0 * (np.arange(n) % 2) - 1.0
    good = 1.5 * side + rng.standard_normal(n)
    other = 1.5 * side + rng.standard_normal(n)
    twin = other + 0.02 * rng.standard_normal(n)
    noise = 3.0 * rng.standard_normal(n)
    dear = 0.02 * side + rng.standard_normal(n)
    columns = {"good": good, "other": other, "twin": twin, "noise": noise, "dear": dear}
    votes = votes_by_hand(
        {name: probability(values) for name, values in columns.items()},
        (np.arange(n) % 2).tolist(),
        levels=(("glance", ("good", "other", "twin", "noise")), ("study", ("dear",))),
        groups=[f"clip{place // 4}" for place in range(n)],
    )
    ms = np.array([10.0, 10.0, 30.0, 10.0, 940.0]) * np.ones((n, 1))
    return leave_one_out(dataclasses.replace(votes, ms=ms), QUICK)


def test_what_an_expert_adds_is_told_with_its_interval(told):
    added = {one.expert: one for one in told.experts}
    assert added["good"].reward_interval[0] > 0.03
    assert added["good"].log_loss_interval[0] > 0.03
    assert abs(added["twin"].reward) < 0.01
    assert added["noise"].log_loss_interval[1] < 0.002
    for one in told.experts:
        assert one.reward_interval[0] <= one.reward <= one.reward_interval[1]
    # The mean of two independent votes is right as often as a normal one is below 1.5 * sqrt 2.
    right = norm.cdf([1.5 * np.sqrt(2.0)])
    assert told.reward == pytest.approx(exact_reward(right, right)[0, 0], abs=0.02)


def test_times_and_shares_of_an_expert(told):
    added = {one.expert: one for one in told.experts}
    assert added["twin"].ms == pytest.approx(30.0)
    assert added["twin"].level_share == pytest.approx(0.5)
    assert added["twin"].saves_ms == pytest.approx(20.0)
    assert added["good"].saves_ms == pytest.approx(0.0)
    assert added["dear"].cost_share == pytest.approx(0.94)
    assert added["dear"].saves_ms == pytest.approx(940.0)


def test_who_adds_nothing_or_costs_more_is_switched_off_but_never_both_twins(told):
    off = told.switch_off
    assert {"noise", "dear"} <= set(off)
    assert "good" not in off
    assert len({"other", "twin"} & set(off)) == 1
    dear = next(one for one in told.experts if one.expert == "dear")
    assert dear.reward_interval[1] < PRICE * 0.94
    assert "costs more than it adds" in off["dear"]
    assert f"{LITTLE:g}" in told.rule


def test_few_queries_switch_nobody_off(simulated):
    found = leave_one_out(simulated(seed=1, queries=120, experts=5), QUICK)
    assert found.switch_off == {}
    assert found.n == 120
    assert "fewer than 1000 labelled queries" in found.rule


def test_plain_values_go_into_a_document(told, panel):
    document = json.loads(json.dumps(told.as_dict(), allow_nan=False))
    assert document["experts"][0]["expert"] == "good"
    votes = panel({"a": [0.1] * 30, "b": np.linspace(-1, 1, 30)}, 30)
    flat = json.loads(json.dumps(redundancy(votes).as_dict(), allow_nan=False))
    assert flat["effective_votes"] is None or flat["effective_votes"] >= 1.0
    assert flat["correlations"]["matrix"][0][0] is None


def test_without_times_what_is_added_is_still_told(simulated):
    votes = simulated(seed=3, queries=150, experts=4)
    found = leave_one_out(dataclasses.replace(votes, ms=np.full(votes.ms.shape, np.nan)), QUICK)
    assert all(one.ms is None and one.cost_share is None for one in found.experts)


def test_a_single_expert_cannot_be_left_out(panel):
    with pytest.raises(FittingError, match="single expert"):
        leave_one_out(panel({"a": np.tile([-1.0, 1.0], 50)}, 100), QUICK)


def test_the_report_is_told_of_the_experts(panel):
    rng = np.random.default_rng(6)
    shared = rng.standard_normal(200)
    votes = panel({"a": shared, "b": shared, "c": rng.standard_normal(200)}, 200)
    fitted = FittedConsensus(
        calibrations={},
        pools=(Pool(weights={"a": 0.4, "b": 0.1}), Pool(weights={"a": 0.2, "b": 0.7})),
    )
    found = expert_panel(fitted, redundancy(votes))
    assert found.figures["a"].weight == 0.2
    assert found.figures["c"].weight is None
    assert found.figures["a"].correlation == pytest.approx(0.5, abs=0.1)
    assert found.effective_votes == pytest.approx(effective_votes(votes))
