"""Metrics against values worked out by hand, and what they say when the data cannot give them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.scoring.metrics import (
    Confusion,
    expected_calibration_error,
    intervals,
    measure,
    reliability,
)


def test_a_small_set_by_hand():
    found = measure([0.9, 0.8, 0.3, 0.6, 0.2, -1], [1, 1, 1, 0, 0, 0])
    assert found.confusion == Confusion(tp=2, fp=1, tn=1, fn=1)
    assert (found.n, found.answered, found.missing) == (6, 5, 1)
    assert found.accuracy == pytest.approx(3 / 5)
    # (2*1 - 1*1) / sqrt(3 * 3 * 2 * 2) = 1/6
    assert found.mcc == pytest.approx(1 / 6)
    # pairs roadwork above none: 0.9 and 0.8 above both (4), 0.3 above 0.2 only (1): 5 of 6
    assert found.auc == pytest.approx(5 / 6)
    # squares: .01 + .04 + .49 + .36 + .04 = 0.94
    assert found.brier == pytest.approx(0.94 / 5)
    # each in a bin of its own: |.9-1| + |.8-1| + |.3-1| + |.6-0| + |.2-0| = 1.8
    assert found.ece == pytest.approx(1.8 / 5)


def test_bins_are_closed_below_and_one_belongs_to_the_last():
    found = reliability([0.0, 0.1, 1.0, 0.95], [0, 1, 1, 0])
    assert [(one.low, one.count) for one in found] == [(0.0, 1), (0.1, 1), (0.9, 2)]
    assert found[2].share_roadwork == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_gives_none_where_two_are_needed_and_no_warning(label):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure([0.4, 0.7], [label, label])
        assert intervals([0.4, 0.7], [label, label], seed=0) == {}
    assert (found.mcc, found.auc) == (None, None)
    assert found.accuracy == 0.5
    assert found.brier == pytest.approx((0.4**2 + 0.7**2) / 2 if label == 0 else 0.45 / 2)


@pytest.mark.parametrize(("predictions", "labels"), [([], []), ([-1, -1], [0, 1])])
def test_nothing_answered_gives_none_everywhere(predictions, labels):
    found = measure(predictions, labels)
    assert (found.mcc, found.accuracy, found.auc, found.brier, found.ece) == (None,) * 5
    assert found.missing == len(labels)
    assert expected_calibration_error(predictions, labels) is None


def test_perfectly_calibrated_answers_have_no_calibration_error():
    assert expected_calibration_error([0.25] * 4 + [0.75] * 4, [1, 0, 0, 0, 1, 1, 1, 0]) == 0.0


answers = st.lists(
    st.tuples(st.one_of(st.just(-1.0), st.floats(0, 1)), st.integers(0, 1)), max_size=30
)


@given(answers)
def test_every_figure_is_in_its_range_or_none(pairs):
    predictions, labels = [p for p, _ in pairs], [label for _, label in pairs]
    found = measure(predictions, labels)
    for value in (found.accuracy, found.auc, found.brier, found.ece):
        assert value is None or -1e-12 <= value <= 1 + 1e-12
    assert found.mcc is None or -1 <= found.mcc <= 1
    counts = found.confusion
    assert counts.tp + counts.fp + counts.tn + counts.fn == found.answered


def test_intervals_hold_the_figure_and_narrow_with_more_answers():
    rng = np.random.default_rng(0)
    widths = []
    for n in (60, 2000):
        labels = rng.integers(0, 2, n)
        predictions = np.clip(labels * 0.4 + rng.normal(0.3, 0.2, n), 0, 1)
        quality = measure(predictions.tolist(), labels.tolist())
        found = intervals(predictions.tolist(), labels.tolist(), seed=1)
        for name, value in (("mcc", quality.mcc), ("accuracy", quality.accuracy)):
            assert value is not None
            assert found[name].low <= value <= found[name].high
        assert quality.auc is not None
        assert found["auc"].low <= quality.auc <= found["auc"].high
        widths.append(found["mcc"].high - found["mcc"].low)
    assert widths[1] < widths[0] / 3
