"""A pool is preferred only when it clearly pays better; so is a shift of the decision point."""

from __future__ import annotations

import numpy as np
import pytest

from natix_miner.consensus import POOLS, FittedConsensus, Pool
from natix_miner.experts import Opinion, Status
from natix_miner.fitting.choice import choose, decision_shift, with_shift
from natix_miner.fitting.figures import Figures
from natix_miner.fitting.settings import FitSettings

RNG = np.random.default_rng(0)
SETTINGS = FitSettings(resamples=100)


def figures(reward: float, noise: np.ndarray) -> Figures:
    return Figures(0.9, reward, 0.9, 0.1, 0.01, 1.0, {}, reward + noise)


def shared(spread: float = 0.05) -> np.ndarray:
    return np.random.default_rng(1).normal(0.0, spread, 400)


def test_a_pool_that_clearly_pays_more_is_taken():
    choice = choose(
        {
            "stacking": figures(0.85, shared() + RNG.normal(0, 0.01, 400)),
            "hand_weights": figures(0.80, shared()),
        },
        500,
    )
    assert choice.name == "stacking"
    assert choice.gain == pytest.approx(0.05)
    assert choice.interval is not None
    assert choice.interval[0] > 0.0


def test_too_few_data_keep_the_default_and_say_how_many_would_tell():
    noise = RNG.normal(0.0, 0.05, 400)
    choice = choose(
        {"stacking": figures(0.85, shared() + noise), "hand_weights": figures(0.80, shared())}, 500
    )
    assert choice.name == "hand_weights"
    # The interval is about twice as wide as the gain: about four times the queries are needed.
    needed = int(choice.why.split("about ")[1].split()[0])
    assert choice.why.startswith("too few data to prefer stacking over hand_weights")
    assert 1500 < needed < 2600


def test_the_default_stays_where_nothing_pays_more():
    choice = choose(
        {"stacking": figures(0.79, shared()), "hand_weights": figures(0.8, shared())}, 500
    )
    assert choice.name == "hand_weights"
    assert "no pool has a better" in choice.why


def test_a_pool_that_is_asked_for_is_taken_and_the_better_one_named():
    choice = choose(
        {
            "stacking": figures(0.85, shared()),
            "majority": figures(0.7, shared()),
            "hand_weights": figures(0.8, shared()),
        },
        500,
        force="majority",
    )
    assert choice.name == "majority"
    assert "stacking has the best" in choice.why


def evidence(n: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(3)
    label = (rng.random(n) < 0.5).astype(np.int8)
    log_odds = 3.0 * np.where(label == 1, 1.0, -1.0) + 2.0 * rng.standard_normal(n)
    return log_odds, label, np.arange(n) % 5, [str(number) for number in range(n)]


@pytest.mark.parametrize("off", [1.3, -1.3])
def test_a_pool_that_leans_to_one_side_is_shifted_back(off):
    log_odds, label, fold, groups = evidence()
    shift = decision_shift("stacking", log_odds + off, fold, label, groups, SETTINGS)
    assert shift.log_odds == pytest.approx(-off, abs=0.5)
    assert shift.why.startswith("applied")


def test_a_pool_that_is_calibrated_is_left_alone():
    log_odds, label, fold, groups = evidence()
    shift = decision_shift("stacking", log_odds, fold, label, groups, SETTINGS)
    assert shift.log_odds == 0.0
    assert not shift.why.startswith("applied")


def test_hand_weights_are_never_shifted():
    log_odds, label, fold, groups = evidence()
    shift = decision_shift("hand_weights", log_odds + 2.0, fold, label, groups, SETTINGS)
    assert shift.log_odds == 0.0


def test_a_shift_moves_what_the_running_pool_says_by_as_much():
    fitted = FittedConsensus(
        calibrations={}, pools=(Pool(weights={"a": 1.0}), Pool(weights={"a": 0.5, "b": 0.5}))
    )
    opinions = [Opinion("a", Status.OK, 0.8), Opinion("b", Status.OK, 0.6)]
    for some in (opinions, opinions[:1]):
        before = POOLS["log-odds"](fitted).pool(some)
        after = POOLS["log-odds"](with_shift(fitted, -0.7)).pool(some)
        assert before is not None
        assert after is not None
        assert after.log_odds == pytest.approx(before.log_odds - 0.7)
