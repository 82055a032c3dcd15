"""Figures at the target share of roadwork, against scikit-learn and the validator's own window."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, matthews_corrcoef, roc_auc_score

from natix_miner.fitting.figures import expected_reward, figures_of
from natix_miner.scoring import rewards
from natix_miner.scoring.metrics import expected_calibration_error

RNG = np.random.default_rng(2)
N = 800
LABEL = (RNG.random(N) < 0.25).astype(np.int8)
SAID = np.clip(
    1.0 / (1.0 + np.exp(-(np.where(LABEL == 1, 1.2, -1.2) + 1.2 * RNG.standard_normal(N)))),
    0.001,
    0.999,
)
ROUGH = np.round(SAID, 1).clip(0.1, 0.9)
GROUPS = [f"clip{number // 4}" for number in range(N)]


def figures(answers, label=LABEL, groups=GROUPS, prior=0.5, resamples=60):
    return figures_of(answers, label, groups, prior=prior, seed=0, resamples=resamples)


@pytest.mark.parametrize("prior", [0.5, 0.8])
@pytest.mark.parametrize("said", [SAID, ROUGH], ids=["smooth", "ties"])
def test_figures_are_those_of_scikit_learn_with_weights(said, prior):
    weight = np.where(LABEL == 1, prior / LABEL.mean(), (1 - prior) / (1 - LABEL.mean()))
    found = figures({"one": said}, prior=prior)["one"]
    assert found.mcc == pytest.approx(matthews_corrcoef(LABEL, said > 0.5, sample_weight=weight))
    assert found.auc == pytest.approx(roc_auc_score(LABEL, said, sample_weight=weight))
    assert found.log_loss == pytest.approx(log_loss(LABEL, said, sample_weight=weight))
    assert found.answered == 1.0


def test_calibration_error_is_that_of_scoring_where_labels_are_half_and_half():
    half = np.concatenate([np.flatnonzero(LABEL == 1)[:150], np.flatnonzero(LABEL == 0)[:150]])
    found = figures({"one": SAID[half]}, LABEL[half], [str(n) for n in half])["one"]
    expected = expected_calibration_error(SAID[half].tolist(), LABEL[half].tolist())
    assert found.ece == pytest.approx(expected)


def test_the_reward_is_what_a_validator_would_pay_on_average():
    rng = np.random.default_rng(8)
    paid = []
    for _ in range(60):
        truth = rng.random(1000) < 0.5
        rows = np.where(
            truth,
            rng.choice(np.flatnonzero(LABEL == 1), 1000),
            rng.choice(np.flatnonzero(LABEL == 0), 1000),
        )
        paid.append(rewards(SAID[rows].tolist(), LABEL[rows].tolist()).mean())
    found = expected_reward(SAID, LABEL, prior=0.5, seed=0)
    assert found == pytest.approx(np.mean(paid), abs=4.0 * np.std(paid) / np.sqrt(60))
    assert figures({"one": SAID})["one"].reward == found


def test_silence_earns_nothing_and_is_left_out_of_the_other_figures():
    silent = np.where(np.arange(N) % 4 == 0, -1.0, SAID)
    found = figures({"silent": silent, "all": SAID})
    kept = silent >= 0.0
    weight = np.where(LABEL == 1, 0.5 / LABEL.mean(), 0.5 / (1 - LABEL.mean()))[kept]
    reference = matthews_corrcoef(LABEL[kept], SAID[kept] > 0.5, sample_weight=weight)
    assert found["silent"].mcc == pytest.approx(reference)
    assert found["silent"].reward < 0.85 * found["all"].reward
    assert found["silent"].answered == pytest.approx(0.75, abs=0.03)


def test_intervals_hold_the_figure_and_grow_when_groups_are_large():
    alone = figures({"one": SAID}, groups=[str(n) for n in range(N)], resamples=300)["one"]
    for name in ("mcc", "auc", "log_loss", "reward"):
        low, high = alone.intervals[name]
        assert low < getattr(alone, name) < high
    # Each query eight times: eight times the rows, but no more is known.
    eight = np.tile(np.arange(N), 8)
    copied = figures({"one": SAID[eight]}, LABEL[eight], [str(n) for n in eight], resamples=300)[
        "one"
    ]
    blind = figures(
        {"one": SAID[eight]}, LABEL[eight], [str(n) for n in range(8 * N)], resamples=300
    )["one"]

    def width(one):
        return one.intervals["mcc"][1] - one.intervals["mcc"][0]

    assert width(copied) == pytest.approx(width(alone), rel=0.25)
    assert width(blind) < 0.6 * width(alone)


def test_the_same_answers_are_drawn_alike_so_that_differences_are_paired():
    found = figures({"one": SAID, "same": SAID, "worse": np.where(np.arange(N) % 10, SAID, 0.5)})
    assert np.array_equal(found["one"].drawn_rewards, found["same"].drawn_rewards)
    apart = found["one"].drawn_rewards - found["worse"].drawn_rewards
    assert apart.std() < found["one"].drawn_rewards.std()
    assert (apart > 0.0).mean() > 0.95
