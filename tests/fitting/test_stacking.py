"""Stacking and the simplex pool against independent references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from natix_miner.consensus import FittedConsensus
from natix_miner.fitting.depths import depths_of
from natix_miner.fitting.pools import calibrated_log_odds, expit, pool_votes
from natix_miner.fitting.simplex import PENALTY, simplex_pool
from natix_miner.fitting.stacking import logistic, stacked_pool

N = 1500


def evidence(experts: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = (rng.random(N) < 0.5).astype(np.int8)
    side = np.where(label == 1, 1.0, -1.0)[:, None]
    return side * 0.9 + rng.standard_normal((N, experts)), label


def test_what_is_fitted_is_what_the_pool_pools(votes_by_hand):
    x, label = evidence(3)
    rng = np.random.default_rng(1)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[np.isnan(x).all(axis=1), 0] = 0.0
    size = rng.choice(["frame", "validator-square"], N)
    dark = (rng.random(N) < 0.3).astype(float)
    votes = votes_by_hand(
        dict(zip("abc", expit(x).T, strict=True)),
        label,
        size_class=list(size),
        conditions={"frame-dark": dark},
    )
    log_odds = calibrated_log_odds(votes, {})
    (depth,) = depths_of(votes)
    pool = stacked_pool(votes, log_odds, depth, np.ones(N), None, non_negative=False)
    gone = np.isnan(x)
    design = np.column_stack(
        [np.nan_to_num(x), gone, size == "frame", size == "validator-square", dark]
    )
    reference = LogisticRegression(C=0.3, tol=1e-10, max_iter=1000).fit(design, label)
    pooled = pool_votes(FittedConsensus(calibrations={}, pools=(pool,)), votes)
    assert set(pool.missing) == {"a", "b", "c"}
    assert set(pool.size_bias) == {"frame", "validator-square"}
    assert set(pool.condition_bias) == {"frame-dark"}
    assert np.allclose(pooled, reference.decision_function(design), atol=1e-3)


def test_each_level_has_a_pool_of_the_queries_that_went_so_far(votes_by_hand):
    x, label = evidence(2)
    x[: N // 2, 1] = np.nan
    votes = votes_by_hand(
        {"a": expit(x[:, 0]), "b": expit(x[:, 1])},
        label,
        levels=(("first", ("a",)), ("second", ("b",))),
    )
    votes.asked[: N // 2, 1] = False
    first, second = depths_of(votes)
    assert (first.experts, second.experts) == (("a",), ("a", "b"))
    assert len(first.rows) == N
    assert second.rows.tolist() == list(range(N // 2, N))
    pool = stacked_pool(votes, x, second, np.ones(N), None, non_negative=False)
    assert pool.missing == {}


def test_a_redundant_expert_shares_its_weight_and_a_useless_one_gets_little(votes_by_hand):
    x, label = evidence(2)
    noise = np.random.default_rng(9).standard_normal(N) * 2.0
    votes = votes_by_hand(
        {"a": expit(x[:, 0]), "copy": expit(x[:, 0]), "b": expit(x[:, 1]), "noise": expit(noise)},
        label,
    )
    (depth,) = depths_of(votes)
    pool = stacked_pool(
        votes, calibrated_log_odds(votes, {}), depth, np.ones(N), None, non_negative=False
    )
    weights = pool.weights
    assert weights["a"] == pytest.approx(weights["copy"], rel=1e-3)
    assert weights["a"] + weights["copy"] == pytest.approx(weights["b"], rel=0.25)
    assert abs(weights["noise"]) < 0.15


def test_non_negative_weights_turn_no_expert_round():
    x, label = evidence(2)
    design = np.column_stack([x, -x[:, 0] + np.random.default_rng(3).standard_normal(N)])
    free, _ = logistic(design, label, np.ones(N), 1.0, 0)
    kept, _ = logistic(design, label, np.ones(N), 1.0, 3)
    assert free[2] < 0.0
    assert kept[2] == 0.0
    assert (kept[:2] > 0.0).all()
    alone, _ = logistic(design[:, :2], label, np.ones(N), 1.0, 0)
    assert np.allclose(kept[:2], alone, atol=0.01)


def test_the_expert_that_is_always_missing_gets_no_weight(votes_by_hand):
    x, label = evidence(2)
    votes = votes_by_hand({"a": expit(x[:, 0]), "gone": np.full(N, np.nan)}, label)
    (depth,) = depths_of(votes)
    log_odds = calibrated_log_odds(votes, {})
    for pool in (
        stacked_pool(votes, log_odds, depth, np.ones(N), None, non_negative=False),
        simplex_pool(votes, log_odds, depth, np.ones(N)),
    ):
        assert pool.weights["gone"] == 0.0
        assert pool.missing == {}
        assert pool.weights["a"] > 0.5


def test_the_simplex_pool_has_the_least_loss_of_all_weights_and_exponents(votes_by_hand):
    x, label = evidence(3)
    x[:, 2] = np.random.default_rng(4).standard_normal(N)
    x[:300, 0] = np.nan
    votes = votes_by_hand(dict(zip("abc", expit(x).T, strict=True)), label)
    (depth,) = depths_of(votes)
    log_odds = calibrated_log_odds(votes, {})
    pool = simplex_pool(votes, log_odds, depth, np.ones(N))

    def pooled(theta: np.ndarray) -> np.ndarray:
        shares = np.exp(theta[:3]) / np.exp(theta[:3]).sum() * ~np.isnan(x)
        mean = (shares * np.nan_to_num(x)).sum(axis=1) / shares.sum(axis=1)
        return theta[4] + np.exp(theta[3]) * mean

    def loss(theta: np.ndarray) -> float:
        z = pooled(theta)
        return np.logaddexp(0.0, np.where(label == 1, -z, z)).sum() + PENALTY * theta @ theta

    best = minimize(loss, np.zeros(5), method="BFGS")
    found = pool_votes(FittedConsensus(calibrations={}, pools=(pool,)), votes)
    assert np.allclose(found, pooled(best.x), atol=0.01)
    assert pool.weights["c"] < 0.2 * pool.weights["b"]
    assert sum(pool.weights.values()) > 1.5, "two experts that know different things: extremised"
