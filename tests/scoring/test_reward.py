"""The reward against values worked out by hand, and against a slow one written another way."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, matthews_corrcoef

from natix_miner.errors import ConfigurationError
from natix_miner.scoring import RewardWindow, reward_interval, rewards


def sklearn_mcc(truth: list[int], said: list[float]) -> float:
    return float(matthews_corrcoef(truth, said))


def pearson_mcc(truth: list[int], said: list[float]) -> float:
    """For two classes Matthews' correlation is Pearson's; scikit-learn, which is slow, for more."""
    if {*said} <= {0.0, 1.0}:
        return float(np.corrcoef(truth, said)[0, 1])
    return sklearn_mcc(truth, said)


def slow_reward(
    predictions: list[float], labels: list[int], mcc: Callable[..., float] = pearson_mcc
) -> float:
    """The reward of the last answer: lists cut anew every time, no running counts."""
    windows = []
    for size in (100, 10):
        pairs = list(zip(predictions, labels, strict=True))[-size:]
        kept = [(round(p), label) for p, label in pairs if p != -1]
        windows.append(([p for p, _ in kept], [label for _, label in kept]))
    (said, truth), (said10, truth10) = windows
    if predictions[-1] == -1 or not 0 <= predictions[-1] <= 1:
        return 0.0
    correlation = 0.0
    if len(set(truth)) > 1 and len(set(said)) > 1:
        correlation = max(0.0, mcc(truth, said))
    if mcc is sklearn_mcc:
        accuracy = accuracy_score(truth10, said10)
    else:
        accuracy = sum(a == b for a, b in zip(said10, truth10, strict=True)) / len(said10)
    return float((0.5 * correlation + 0.5 * accuracy) ** 3)


def test_first_answer_earns_an_eighth_when_right_and_nothing_when_wrong():
    # One class only: mcc 0. Right: accuracy 1, (0.5 * 0 + 0.5 * 1) ** 3 = 0.125. Wrong: 0 ** 3.
    assert rewards([0.9], [1]).tolist() == [0.125]
    assert rewards([0.1], [1]).tolist() == [0.0]


def test_two_right_answers_of_two_classes_earn_everything():
    # mcc of [[1, 0], [0, 1]] is 1, accuracy 1: (0.5 + 0.5) ** 3 = 1.
    assert rewards([0.9, 0.1], [1, 0]).tolist() == [0.125, 1.0]


def test_a_worked_example_with_one_false_alarm():
    # said 1 0 1 1, truth 1 0 1 0: tp 2, tn 1, fp 1, fn 0.
    # mcc = (2*1 - 1*0) / sqrt((2+1)(2+0)(1+1)(1+0)) = 2 / sqrt(12) = 0.577350269189626
    # accuracy = 3/4. reward = (0.288675134594813 + 0.375) ** 3 = 0.292323...
    paid = rewards([0.9, 0.1, 0.8, 0.7], [1, 0, 1, 0])
    assert paid[3] == pytest.approx((1 / math.sqrt(12) + 0.375) ** 3, abs=1e-15)
    assert paid[3] == pytest.approx(0.29232, abs=1e-5)


def test_one_half_counts_as_none():
    # numpy.round(0.5) is 0.
    assert rewards([0.5], [0]).tolist() == [0.125]
    assert rewards([0.5], [1]).tolist() == [0.0]


def test_a_correlation_below_zero_counts_as_zero():
    # said 1 0 0, truth 0 1 0: mcc = (0*1 - 1*1)/sqrt(1*1*2*2) = -0.5 -> 0; accuracy 1/3.
    assert rewards([0.9, 0.1, 0.2], [0, 1, 0])[2] == pytest.approx((1 / 6) ** 3, abs=1e-15)


def test_silence_earns_nothing_and_is_left_out_of_the_windows():
    # After [right 1, silence, right 0] the window holds two right answers of two classes.
    assert rewards([0.9, -1, 0.1], [1, 0, 0]).tolist() == [0.125, 0.0, 1.0]


def test_silence_keeps_its_place_in_the_short_window():
    # 1 wrong, 1 right, then 9 silent, then right: the last ten pairs hold the nine silent and the
    # new one, so accuracy is 1 of 1. Were silence not to take places, it would be 2 of 3.
    paid = rewards([0.9, 0.1] + [-1] * 9 + [0.1], [0, 0] + [1] * 9 + [0])
    # mcc over all: truth has one class only, 0.
    assert paid[-1] == 0.125


def test_the_short_window_forgets_after_ten_and_the_long_one_after_a_hundred():
    wrong_then_right = [0.9] + [0.9, 0.1] * 60
    truth = [0] + [1, 0] * 60
    paid = rewards(wrong_then_right, truth)
    assert paid[9] < paid[10] < 1.0  # at [10] only the short window has forgotten the error
    assert paid[99] < 1.0
    assert paid[100] == 1.0  # pair 0 has left the window of a hundred


@pytest.mark.parametrize("outside", [1.2, 2.0, -0.2, -3.0, math.inf, -math.inf, math.nan])
def test_an_answer_outside_the_range_earns_nothing(outside):
    window = RewardWindow()
    window.push(0.9, 1)
    window.push(0.1, 0)
    assert window.push(outside, 1) == 0.0


def test_an_answer_that_is_not_finite_spoils_both_windows_until_it_has_left_them():
    stream = [math.nan] + [0.9, 0.1] * 60
    truth = [1] + [1, 0] * 60
    paid = rewards(stream, truth)
    assert paid[:10].tolist() == [0.0] * 10
    assert paid[10:100].tolist() == [0.125] * 90  # accuracy is back, correlation is not
    assert paid[100] == 1.0


def test_a_label_that_is_unknown_is_refused():
    with pytest.raises(ConfigurationError, match="-1"):
        RewardWindow().push(0.5, -1)


def _history(rng: np.random.Generator) -> tuple[list[float], list[int]]:
    length = int(rng.integers(1, 14))
    labels = (rng.random(length) < rng.random()).astype(int).tolist()
    skill = rng.random()
    scores = np.where(rng.random(length) < skill, labels, rng.random(length))
    scores = np.where(rng.random(length) < 0.1, 0.5, scores)
    scores = np.where(rng.random(length) < rng.random() * 0.4, -1.0, scores)
    if rng.random() < 0.15:
        scores = np.where(rng.random(length) < 0.2, rng.uniform(-2, 3, length).round(2), scores)
    return scores.tolist(), labels


def _long_history(rng: np.random.Generator) -> tuple[list[float], list[int]]:
    predictions, labels = _history(rng)
    for _ in range(int(rng.integers(8, 24))):
        more, truth = _history(rng)
        predictions, labels = predictions + more, labels + truth
    return predictions, labels


def test_ten_thousand_random_histories_agree_with_the_slow_way():
    """Every fortieth one is long enough to forget; the last reward of each is compared."""
    rng = np.random.default_rng(72)
    worst, forgot, silent, paid = 0.0, 0, 0, 0
    for number in range(10_000):
        predictions, labels = _long_history(rng) if number % 40 == 0 else _history(rng)
        fast = float(rewards(predictions, labels)[-1])
        worst = max(worst, abs(fast - slow_reward(predictions, labels)))
        forgot += len(labels) > 100
        silent += -1.0 in predictions
        paid += 0.0 < fast < 1.0
    assert worst <= 1e-12
    assert min(forgot, silent, paid) > 100  # the histories do reach these cases


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_histories_agree_with_scikit_learn():
    rng = np.random.default_rng(73)
    for number in range(600):
        predictions, labels = _long_history(rng) if number % 5 == 0 else _history(rng)
        fast = float(rewards(predictions, labels)[-1])
        assert abs(fast - slow_reward(predictions, labels, sklearn_mcc)) <= 1e-12


def test_a_long_history_agrees_at_every_step():
    rng = np.random.default_rng(74)
    labels = rng.integers(0, 2, 330).tolist()
    noise = np.clip(np.array(labels) * 0.5 + rng.normal(0.25, 0.3, 330), 0, 1)
    predictions = np.where(rng.random(330) < 0.1, -1.0, noise).tolist()
    fast = rewards(predictions, labels)
    slow = [slow_reward(predictions[: n + 1], labels[: n + 1]) for n in range(330)]
    assert np.abs(fast - slow).max() <= 1e-12


def test_the_interval_holds_the_mean_and_is_the_same_for_the_same_seed():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 300).tolist()
    predictions = np.clip(np.array(labels) * 0.5 + rng.normal(0.25, 0.25, 300), 0.01, 0.99).tolist()
    found = reward_interval(predictions, labels, seed=1, resamples=300)
    assert found is not None
    assert 0.0 <= found.low < found.mean < found.high <= 1.0
    assert found.mean == rewards(predictions, labels).mean()
    assert found == reward_interval(predictions, labels, seed=1, resamples=300)
    assert found != reward_interval(predictions, labels, seed=2, resamples=300)


@pytest.mark.parametrize("dirty", [False, True])
def test_the_interval_is_that_of_streams_drawn_one_by_one(dirty):
    """The many-streams arithmetic against the single stream, silence included."""
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 2, 130)
    predictions = np.where(rng.random(130) < 0.1, -1.0, rng.random(130))
    if dirty:
        predictions[3] = 1.7
    found = reward_interval(predictions.tolist(), labels.tolist(), seed=9, resamples=40)
    draws = np.random.default_rng(9).integers(130, size=(40, 130))
    means = [rewards(predictions[d].tolist(), labels[d].tolist()).mean() for d in draws]
    low, high = np.quantile(means, [0.025, 0.975])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


def test_no_labels_no_interval():
    assert reward_interval([], [], seed=0) is None
