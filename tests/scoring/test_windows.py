"""The validator's windows for many streams, against one pair at a time and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, matthews_corrcoef

from natix_miner.scoring import rewards
from natix_miner.scoring.reward import windows_of
from natix_miner.scoring.windows import bands_of

PAIRS = st.lists(
    st.tuples(st.one_of(st.just(-1.0), st.floats(0.0, 1.0)), st.integers(0, 1)),
    min_size=1,
    max_size=130,
)


def some_stream(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    answers = np.clip(0.25 + 0.5 * labels + rng.normal(0, 0.25, n), 0, 1)
    answers[rng.random(n) < 0.07] = -1.0
    return answers, labels


@given(PAIRS)
def test_the_reward_is_that_of_the_window_that_takes_one_pair_at_a_time(pairs):
    answers = np.array([answer for answer, _ in pairs])
    labels = np.array([label for _, label in pairs])
    assert windows_of(answers, labels).reward == pytest.approx(rewards(answers, labels))


def test_the_windows_are_those_that_scikit_learn_finds_in_the_last_hundred_and_ten():
    answers, labels = some_stream(260)
    found = windows_of(answers, labels)
    for place in [*range(1, 14), *range(14, 260, 9)]:
        hundred, ten = (
            (labels[part][answers[part] >= 0], np.round(answers[part][answers[part] >= 0]))
            for part in (slice(max(0, place - 99), place + 1), slice(max(0, place - 9), place + 1))
        )
        assert found.accuracy[place] == pytest.approx(accuracy_score(*ten))
        one_class = len(set(hundred[0])) < 2 or len(set(hundred[1])) < 2
        expected = 0.0 if one_class else max(0.0, matthews_corrcoef(*hundred))
        assert found.mcc[place] == pytest.approx(expected)


def test_many_streams_at_once_are_each_as_alone():
    streams = [some_stream(140, seed) for seed in range(4)]
    together = windows_of(
        np.array([answers for answers, _ in streams]), np.array([labels for _, labels in streams])
    )
    for number, (answers, labels) in enumerate(streams):
        alone = windows_of(answers, labels)
        for name in ("mcc", "accuracy", "reward"):
            assert np.array_equal(getattr(together, name)[number], getattr(alone, name))


def test_a_band_is_where_streams_drawn_anew_lie_also_beyond_the_full_window():
    answers, labels = some_stream(300)
    band = bands_of(answers.tolist(), labels.tolist(), seed=1)["reward"]
    rng = np.random.default_rng(99)
    drawn = rng.integers(300, size=(400, 300))
    seen = np.array([rewards(answers[one], labels[one]) for one in drawn])
    for place in (3, 50, 99, 150, 299):
        low, high = np.quantile(seen[:, place], [0.025, 0.975])
        assert band.low[place] == pytest.approx(low, abs=0.06)
        assert band.high[place] == pytest.approx(high, abs=0.06)
    inside = (seen >= band.low) & (seen <= band.high)
    assert 0.92 <= inside[:, 100:].mean() <= 0.99


def test_bands_are_the_same_for_a_seed_and_as_long_as_the_stream():
    for n in (1, 2, 99, 100, 101, 500):
        answers, labels = some_stream(n)
        one = bands_of(answers.tolist(), labels.tolist(), seed=3, streams=50)
        again = bands_of(answers.tolist(), labels.tolist(), seed=3, streams=50)
        for name in ("mcc", "accuracy", "reward"):
            assert one[name].low.shape == one[name].high.shape == (n,)
            assert np.array_equal(one[name].low, again[name].low)
            assert np.all(one[name].low <= one[name].high)
