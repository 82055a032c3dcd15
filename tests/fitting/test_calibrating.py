"""Calibrations against scikit-learn, and for experts that are constant, perfect or wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from natix_miner.consensus import Isotonic, Platt
from natix_miner.fitting.calibrating import (
    TINY_SLOPE,
    calibrate,
    isotonic,
    log_loss,
    platt,
    temperature,
)
from natix_miner.fitting.folding import class_weights, folds_of
from natix_miner.fitting.pools import expit, logit

RNG = np.random.default_rng(5)
N = 3000
LABEL = (RNG.random(N) < 0.5).astype(np.int8)
TRUE = 1.5 * np.where(LABEL == 1, 1.0, -1.0) + RNG.standard_normal(N) * np.sqrt(1.5)
EVEN = np.ones(N)


def test_platt_scaling_finds_what_least_loss_finds():
    raw = (TRUE * 2.0 - 0.8) / 0.4

    def loss(theta):
        return log_loss(theta[0] * raw + theta[1], LABEL, EVEN)

    best = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12})
    found = platt(raw, LABEL, EVEN, 0.5)
    assert found.slope == pytest.approx(best.x[0], rel=0.01)
    assert found.intercept == pytest.approx(best.x[1], abs=0.02)


def test_platt_scaling_undoes_a_wrong_slope_and_bias():
    # Gaussian evidence of mean 1.5 and variance 1.5 has log-odds of twice its value.
    found = platt(5.0 * TRUE + 3.0, LABEL, EVEN, 0.5)
    assert found.slope == pytest.approx(2.0 / 5.0, rel=0.1)
    assert found.shift(3.0) == pytest.approx(0.0, abs=0.15)


def test_temperature_has_no_intercept():
    assert temperature(4.0 * TRUE, LABEL, EVEN, 0.5).intercept == 0.0
    assert temperature(4.0 * TRUE, LABEL, EVEN, 0.5).slope == pytest.approx(0.5, rel=0.1)


def test_isotonic_knots_are_those_of_scikit_learn():
    raw = np.sign(TRUE) * TRUE**2
    weights = class_weights(LABEL, 0.3)
    found = isotonic(raw, LABEL, weights)
    reference = IsotonicRegression(out_of_bounds="clip").fit(raw, LABEL, sample_weight=weights)
    kept = np.clip(reference.predict(list(found.raw)), 1.0 / (N + 2), 1.0 - 1.0 / (N + 2))
    assert np.allclose(expit(np.array(found.calibrated)), kept, atol=1e-9)


def test_a_share_of_roadwork_that_is_not_the_validators_is_corrected():
    keep = (LABEL == 1) | (RNG.random(N) < 0.1)
    label, raw = LABEL[keep], TRUE[keep]
    assert label.mean() > 0.85
    found = platt(raw, label, class_weights(label, 0.5), 0.5)
    assert found.intercept == pytest.approx(0.0, abs=0.35)
    assert platt(raw, label, np.ones(len(label)), 0.5).intercept > 1.5


@pytest.mark.parametrize("fit", [platt, temperature])
def test_an_expert_that_is_constant_or_mostly_wrong_says_nothing(fit):
    for raw in (np.zeros(N), np.full(N, 2.0) if fit is platt else np.zeros(N), -TRUE):
        assert fit(raw, LABEL, EVEN, 0.5) == Platt(slope=TINY_SLOPE, intercept=0.0)


@pytest.mark.parametrize("extreme", [0.9, 1.0 - 1e-9])
def test_a_perfect_expert_stays_finite(extreme):
    raw = logit(np.where(LABEL == 1, extreme, 1.0 - extreme))
    found = platt(raw, LABEL, EVEN, 0.5)
    assert 0.0 < found.slope <= 100.0
    assert 3.0 < found.shift(float(raw.max())) < 50.0
    assert min(isotonic(raw, LABEL, EVEN).calibrated) > -9.0


def test_isotonic_is_taken_only_with_enough_votes_that_bend(votes_by_hand):
    bent = expit(np.sign(TRUE) * TRUE**2 * 3.0 + 4.0 * (TRUE > 0.5))
    straight = expit(2.0 * TRUE)
    for n, kinds in ((N, (Isotonic, Platt)), (600, (Platt, Platt))):
        votes = votes_by_hand({"bent": bent[:n], "straight": straight[:n]}, LABEL[:n])
        folds = folds_of(votes.label, votes.groups, 3, 0)
        found = calibrate(votes, np.ones(n), folds, 0.5)
        assert isinstance(found.calibrations["bent"], kinds[0])
        assert isinstance(found.calibrations["straight"], kinds[1])


def test_an_expert_that_hardly_voted_is_not_calibrated(votes_by_hand):
    said = np.where(np.arange(N) < 6, 0.9, np.nan)
    votes = votes_by_hand({"rare": said, "often": expit(TRUE)}, LABEL)
    found = calibrate(votes, EVEN, folds_of(votes.label, votes.groups, 3, 0), 0.5)
    assert set(found.calibrations) == {"often"}
    assert np.isnan(found.held_out[:, 0]).all()
    assert not np.isnan(found.held_out[:, 1]).any()
