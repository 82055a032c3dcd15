"""Calibrations against numpy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.isotonic import IsotonicRegression

from natix_miner.consensus import Isotonic, Platt

knots = st.lists(
    st.tuples(st.integers(-5000, 5000), st.floats(-50.0, 50.0)),
    min_size=1,
    max_size=12,
    unique_by=lambda knot: knot[0],
).map(lambda pairs: (sorted(x / 100 for x, _ in pairs), sorted(y for _, y in pairs)))


@given(knots=knots, at=st.floats(-60.0, 60.0))
def test_isotonic_is_the_interpolation_of_numpy(knots, at):
    raw, calibrated = knots
    shifted = Isotonic(raw=tuple(raw), calibrated=tuple(calibrated)).shift(at)
    assert shifted == pytest.approx(np.interp(at, raw, calibrated), abs=1e-9)


@given(knots=knots)
def test_at_its_knots_it_says_what_they_say(knots):
    raw, calibrated = knots
    isotonic = Isotonic(raw=tuple(raw), calibrated=tuple(calibrated))
    assert [isotonic.shift(x) for x in raw] == pytest.approx(calibrated, abs=1e-9)


def test_it_says_what_the_isotonic_regression_it_was_made_from_predicts():
    rng = np.random.default_rng(3)
    raw = rng.normal(0.0, 3.0, 400)
    label = rng.random(400) < 1 / (1 + np.exp(1.0 - 0.6 * raw))
    model = IsotonicRegression(y_min=0.01, y_max=0.99, out_of_bounds="clip").fit(raw, label)
    x, y = model.X_thresholds_, model.y_thresholds_
    isotonic = Isotonic(raw=tuple(map(float, x)), calibrated=tuple(map(float, y)))
    asked = np.linspace(-12.0, 12.0, 301)
    shifted = [isotonic.shift(float(value)) for value in asked]
    assert shifted == pytest.approx(model.predict(asked), abs=1e-9)


def test_calibrated_probabilities_by_hand():
    # Half way between the knots 0 -> -1 and 2 -> 2: log-odds 1 becomes 0.5.
    isotonic = Isotonic(raw=(0.0, 2.0), calibrated=(-1.0, 2.0))
    assert isotonic.calibrate(1 / (1 + math.exp(-1.0))) == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert isotonic.calibrate(0.0) == pytest.approx(1 / (1 + math.exp(1.0)))
    assert isotonic.calibrate(1.0) == pytest.approx(1 / (1 + math.exp(-2.0)))
    # 2 * ln(0.2 / 0.8) + 1
    expected = 1 / (1 + math.exp(2 * math.log(4.0) - 1.0))
    assert Platt(slope=2.0, intercept=1.0).calibrate(0.2) == pytest.approx(expected)


@given(knots=knots, low=st.floats(0.0, 1.0), high=st.floats(0.0, 1.0))
def test_the_order_of_pictures_is_kept(knots, low, high):
    isotonic = Isotonic(raw=tuple(knots[0]), calibrated=tuple(knots[1]))
    low, high = sorted((low, high))
    assert isotonic.calibrate(low) <= isotonic.calibrate(high) + 1e-12


@pytest.mark.parametrize(
    ("raw", "calibrated", "word"),
    [
        ((0.0, 0.0), (0.0, 1.0), "rise strictly"),
        ((1.0, 0.0), (0.0, 1.0), "rise strictly"),
        ((0.0, 1.0), (1.0, 0.0), "must not fall"),
        ((0.0, 1.0), (1.0,), "2 raw knots but 1"),
        ((), (), "at least 1"),
        ((math.nan,), (0.0,), "finite"),
        ((0.0,), (51.0,), "less than or equal to 50"),
    ],
)
def test_knots_that_make_no_curve_are_refused(raw, calibrated, word):
    with pytest.raises(ValidationError, match=word):
        Isotonic(raw=raw, calibrated=calibrated)
