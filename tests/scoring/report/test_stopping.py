"""What stopping early would have earned and cost, from traces whose story is known."""

from __future__ import annotations

import numpy as np
import pytest

from natix_miner.log_odds import expit
from natix_miner.scoring import ScoredQuery, summarise
from natix_miner.scoring.report.facts import facts_of
from natix_miner.scoring.report.stopping import stops_of


def test_each_stop_has_the_answers_that_stood_then(make_row):
    rows = [
        # Wrong after the first level, put right by the second.
        make_row(
            0, 1, expit(2.0), [("a", -1.0, {"x": (-1.0, 10.0)}), ("b", 2.0, {"y": (3.0, 100.0)})]
        ),
        # Sure at once: the second level was left alone.
        make_row(1, 0, expit(-3.0), [("a", -3.0, {"x": (-3.0, 20.0)}), ("b", None, {})]),
        # Nothing usable at first.
        make_row(
            2,
            0,
            expit(-1.0),
            [("a", None, {"x": ("failed", 6.0)}), ("b", -1.0, {"y": (-1.0, 50.0)})],
        ),
        make_row(3, 1, expit(1.0), [("a", 1.0, {"x": (1.0, 4.0)}), ("b", 1.0, {"y": (1.0, 10.0)})]),
    ]
    first, second = stops_of(facts_of(rows), seed=0, resamples=50)
    assert (first.name, first.entered, first.ended) == ("a", 1.0, 0.25)
    assert (second.name, second.entered, second.ended) == ("b", 0.75, 0.75)
    assert first.expert_ms == pytest.approx((10 + 20 + 6 + 4) / 4)
    assert second.expert_ms == pytest.approx((110 + 20 + 56 + 14) / 4)
    early = first.quality
    assert (early.answered, early.missing) == (3, 1)
    assert (early.confusion.tp, early.confusion.fn, early.confusion.tn) == (1, 1, 1)
    assert second.quality.mcc == 1.0
    # By hand: no correlation before both classes were right, accuracy 0, 1/2, -, 2/3.
    assert first.reward is not None
    assert first.reward.mean == pytest.approx((0.0 + 0.25**3 + 0.0 + (0.25 + 1 / 3) ** 3) / 4)


def test_experts_of_one_level_cost_together_and_take_the_time_of_the_slowest(make_row):
    votes = {"x": (1.0, 10.0), "y": (1.0, 30.0)}
    rows = [make_row(n, n % 2, 0.7, [("a", 1.0, votes)]) for n in range(4)]
    (stop,) = stops_of(facts_of(rows), seed=0, resamples=10)
    assert (stop.expert_ms, stop.level_ms) == (40.0, 30.0)


def test_the_last_stop_is_what_was_answered(make_row):
    rng = np.random.default_rng(0)
    rows = []
    for n in range(60):
        label, first, second = int(rng.integers(2)), rng.normal(), rng.normal()
        levels = [("a", first, {"x": (first, 5.0)}), ("b", second, {"y": (second, 9.0)})]
        rows.append(make_row(n, label, -1.0 if n == 7 else expit(second), levels))
    summary = summarise(rows, resamples=80, seed=4)
    last = stops_of(facts_of(rows), seed=4, resamples=80)[-1]
    assert last.reward == summary.reward
    assert last.quality == summary.quality


def test_pictures_that_nobody_could_look_at_count_as_silence_and_others_without_traces_do_not(
    make_row,
):
    broken = ScoredQuery("broken", 1, -1.0, None, "not-a-picture", 0.0)
    old = ScoredQuery("old", 1, 0.9, "a", "sure", 3.0)
    rows = [make_row(0, 1, 0.9, [("a", 2.2, {"x": (2.2, 5.0)})]), broken, old]
    (stop,) = stops_of(facts_of(rows), seed=0, resamples=10)
    assert (stop.quality.n, stop.quality.missing) == (2, 1)
    assert stop.expert_ms == 2.5
    assert stops_of(facts_of([old]), seed=0, resamples=10) == []
    unlabelled = make_row(0, None, 0.9, [("a", 2.2, {"x": (2.2, 5.0)})])
    assert stops_of(facts_of([unlabelled]), seed=0, resamples=10) == []
