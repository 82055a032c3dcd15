"""The whole fit: what it comes to, and what it makes of odd votes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from natix_miner.consensus import POOLS, FittedConsensus, load_fitted, save_fitted
from natix_miner.errors import FittingError
from natix_miner.experts import Opinion, Status
from natix_miner.fitting import FitSettings, fit, pool_votes
from natix_miner.fitting.candidates import fit_candidates
from natix_miner.fitting.fit import votes_digest
from natix_miner.fitting.pools import answers_from, pooled_votes
from natix_miner.fitting.settings import POOL_NAMES
from natix_miner.scoring import measure

QUICK = FitSettings(folds=2, inner_folds=2, resamples=50)


@pytest.fixture(scope="module")
def done(simulated):
    return fit(simulated(), QUICK, told={"source": "simulated"})


def one_query(fitted: FittedConsensus, said: dict[str, float | None]) -> float:
    opinions = [
        Opinion(name, Status.FAILED if value is None else Status.OK, value)
        for name, value in said.items()
    ]
    pooled = POOLS[fitted.kind](fitted).pool(opinions)
    assert pooled is not None
    return pooled.log_odds


def test_all_pools_have_figures_on_held_out_groups(done, simulated):
    votes = simulated()
    assert tuple(done.figures) == POOL_NAMES
    fold = done.held_out.fold
    for group in set(votes.groups):
        assert len({int(fold[n]) for n, one in enumerate(votes.groups) if one == group}) == 1
    said = answers_from(done.held_out.log_odds["stacking"])
    assert np.isnan(done.held_out.log_odds["stacking"]).sum() == (said < 0).sum()
    plain = measure(said.tolist(), votes.label.tolist())
    assert done.figures["stacking"].mcc == pytest.approx(plain.mcc, abs=0.01)


def test_each_fold_is_answered_by_a_fit_without_it(done, simulated):
    votes = simulated()
    for number, made in enumerate(done.held_out.fits):
        rows = np.flatnonzero(done.held_out.fold == number)
        again = pool_votes(made.fitted["stacking"], votes.take(rows))
        assert np.array_equal(again, done.held_out.log_odds["stacking"][rows], equal_nan=True)


def test_stacking_beats_hand_weights_and_the_best_single_expert(done):
    figures = done.figures
    assert figures["stacking"].mcc > figures["hand_weights"].mcc + 0.05
    assert figures["stacking"].mcc > figures["best_single"].mcc
    assert figures["stacking"].log_loss < 0.5 * figures["hand_weights"].log_loss
    assert done.choice.name in ("stacking", "log_odds")
    assert done.effective_votes is not None
    assert 1.0 < done.effective_votes < len(done.labelled.experts)


def test_the_file_is_what_was_chosen_and_can_be_read_again(done, simulated, tmp_path):
    path = tmp_path / "fitted.json"
    save_fitted(done.fitted, path)
    read = load_fitted(path)
    assert read == done.fitted
    assert read.method == done.choice.name
    assert read.experts() == frozenset(simulated().experts)
    assert read.metrics["chosen"] == done.choice.name
    assert set(read.metrics["pools"]) == set(POOL_NAMES)
    on = read.fitted_on
    assert on["sha256"] == votes_digest(simulated())
    assert (on["labelled"], on["settings"]["prior"], on["source"]) == (400, 0.5, "simulated")
    assert on["versions"]["scikit-learn"]


def test_the_same_votes_and_seed_give_the_same_file_and_other_votes_another_digest(simulated, done):
    votes = simulated()
    again = fit(votes, QUICK, told={"source": "simulated"})
    assert again.fitted == done.fitted
    changed = replace(votes, label=1 - votes.label)
    assert votes_digest(changed) != votes_digest(votes)


def test_what_to_expect_of_each_expert_is_in_the_file(done, simulated):
    votes = simulated()
    name = votes.experts[0]
    expected = done.fitted.expected[name]
    said = votes.probability[:, 0]
    platt = done.fitted.calibrations[name]
    kept = np.clip(said[~np.isnan(said)], 1e-6, 1.0 - 1e-6)
    values = np.array([platt.shift(np.log(p / (1.0 - p))) for p in kept])
    assert expected.n == 400
    assert expected.missing == pytest.approx(np.isnan(said).mean())
    assert expected.mean == pytest.approx(np.clip(values, -13.8, 13.8).mean(), abs=1e-3)
    assert expected.spread == pytest.approx(np.clip(values, -13.8, 13.8).std(), abs=1e-3)
    pooled = pool_votes(done.fitted, votes)[~np.isnan(said)]
    assert expected.agreement == pytest.approx(((values > 0) == (pooled > 0)).mean())


def test_any_pool_can_be_asked_for(simulated):
    done = fit(simulated(), QUICK.model_copy(update={"force": "majority"}))
    assert (done.fitted.method, done.fitted.kind) == ("majority", "majority")


def test_the_best_single_expert_is_replaced_by_the_next_where_it_is_missing(done):
    fitted = done.candidates["best_single"]
    first, second = (next(iter(pool.weights)) for pool in fitted.pools[:2])
    others = {next(iter(pool.weights)): 0.1 for pool in fitted.pools[2:]}
    alone = fitted.calibrations[second].shift(np.log(4.0))
    assert one_query(fitted, {first: None, second: 0.8, **others}) == pytest.approx(alone)
    best = fitted.calibrations[first].shift(np.log(4.0))
    assert one_query(fitted, {first: 0.8, second: 0.1, **others}) == pytest.approx(best)


def test_the_share_of_roadwork_in_the_data_does_not_move_the_decision(simulated):
    votes = simulated(seed=2, queries=1500, positive=0.85)
    truth = votes.label == 1
    assert truth.mean() > 0.8
    decisions = pool_votes(fit_candidates(votes, QUICK).fitted["stacking"], votes) > 0.0
    assert abs(decisions[~truth].mean() - (~decisions)[truth].mean()) < 0.03


def test_an_expert_that_is_missing_only_at_run_time_makes_answers_weaker_not_wrong(simulated):
    votes = simulated(seed=4, missing=0.0)
    fitted = fit_candidates(votes, QUICK).fitted["stacking"]
    assert not fitted.pools[-1].missing
    whole = pool_votes(fitted, votes)
    for column in range(len(votes.experts)):
        probability = votes.probability.copy()
        probability[:, column] = np.nan
        without = pool_votes(fitted, replace(votes, probability=probability))
        right = ((without > 0) == (votes.label == 1)).mean()
        assert right > ((whole > 0) == (votes.label == 1)).mean() - 0.12
        # The running pool does the same.
        said = dict(zip(votes.experts, probability[0], strict=True))
        told = {name: None if np.isnan(value) else float(value) for name, value in said.items()}
        opinions = [
            Opinion(name, Status.FAILED if value is None else Status.OK, value)
            for name, value in told.items()
        ]
        conditions = {name: float(values[0]) for name, values in votes.conditions.items()}
        pooled = POOLS[fitted.kind](fitted).pool(opinions, votes.size_class[0], conditions)
        assert pooled is not None
        assert pooled.log_odds == pytest.approx(without[0], abs=1e-9)


# Odd votes: each must give a clear word or a fit that works, never a traceback.


def with_column(votes, column, values):
    probability = votes.probability.copy()
    probability[:, column] = values
    return replace(votes, probability=probability)


def test_no_labels_at_all(simulated):
    votes = simulated()
    blank = replace(votes, label=np.full(len(votes), -1, np.int8))
    with pytest.raises(FittingError, match="none of the 400 queries has a label"):
        fit(blank, QUICK)


def test_one_class_only(simulated):
    votes = simulated()
    with pytest.raises(FittingError, match="both labels are needed"):
        fit(votes.take(votes.label == 1), QUICK)


def test_five_rows(simulated):
    with pytest.raises(FittingError, match="5 labelled queries"):
        fit(simulated().take(np.arange(5)), QUICK)


def test_just_enough_rows(votes_by_hand):
    rng = np.random.default_rng(0)
    label = np.array([1] * 10 + [0] * 40)
    said = np.clip(0.5 + 0.3 * np.where(label, 1, -1) + 0.1 * rng.standard_normal(50), 0, 1)
    done = fit(votes_by_hand({"a": said, "b": rng.random(50)}, label), FitSettings(resamples=50))
    assert len(done.labelled) == 50
    assert set(done.figures) == set(POOL_NAMES)


def test_clips_of_one_label_in_two_groups(votes_by_hand):
    label = [1, 0] * 50
    groups = ["a", "b", "c"] * 33 + ["a"]
    with pytest.raises(FittingError, match="too few groups"):
        fit(votes_by_hand({"x": [0.5] * 100}, label, groups=[g[0] for g in groups[:2] * 50]), QUICK)
    assert fit(votes_by_hand({"x": [0.5] * 100}, label, groups=groups), QUICK).choice.name


@pytest.fixture(scope="module")
def odd(simulated):
    """A fit with experts that are constant, always wrong, never asked, and always missing."""
    votes = with_column(simulated(experts=10), 0, 0.7)
    votes = with_column(votes, 1, np.where(votes.label == 1, 0.1, 0.9))
    votes = with_column(with_column(votes, 2, np.nan), 3, np.nan)
    asked = votes.asked.copy()
    asked[:, 2] = False
    return fit(replace(votes, asked=asked), QUICK)


def test_odd_experts_do_not_spoil_the_others(odd):
    assert odd.figures["stacking"].mcc > 0.75
    assert np.isfinite(odd.held_out.log_odds["stacking"]).all()


def test_an_expert_that_was_never_asked(odd):
    name = odd.labelled.experts[2]
    assert f"{name} was never asked: it gets no weight" in odd.remarks
    assert name in odd.fitted.experts()
    assert name not in odd.fitted.expected


def test_an_expert_that_is_always_missing_in_the_fit_does_no_harm_when_it_speaks(odd):
    votes, name = odd.labelled, odd.labelled.experts[3]
    assert f"{name} never had a vote when asked: it gets no weight" in odd.remarks
    speaks = with_column(votes, 3, 0.999)
    for method in ("stacking", "log_odds"):
        fitted = odd.candidates[method]
        assert all(pool.weights.get(name, 0.0) == 0.0 for pool in fitted.pools)
        usual, louder = pooled_votes(fitted, votes), pooled_votes(fitted, speaks)
        alike = usual.pool == louder.pool
        assert alike.mean() > 0.8
        assert np.allclose(usual.log_odds[alike], louder.log_odds[alike])
        changed = (usual.log_odds > 0.0) != (louder.log_odds > 0.0)
        assert changed.mean() < 0.02


def test_an_expert_that_is_constant_or_always_wrong_says_nothing(odd):
    for name in odd.labelled.experts[:2]:
        told = f"{name} is constant or right no more often than wrong: it says nothing"
        assert told in odd.remarks
        assert odd.candidates["best_single"].calibrations[name].slope < 0.01
    last = [next(iter(pool.weights)) for pool in odd.candidates["best_single"].pools[-4:]]
    assert set(last) == set(odd.labelled.experts[:4])


def test_perfect_experts(simulated):
    votes = simulated()
    for column, sure in ((0, 1.0), (1, 0.6)):
        votes = with_column(votes, column, np.where(votes.label == 1, sure, 1.0 - sure))
    done = fit(votes, QUICK)
    assert done.figures["best_single"].mcc == 1.0
    assert done.figures["stacking"].mcc > 0.98
    assert np.isfinite(done.held_out.log_odds["stacking"]).all()


def test_rows_without_one_vote_are_silent_and_told(simulated):
    votes = simulated()
    probability = votes.probability.copy()
    probability[:30] = np.nan
    done = fit(replace(votes, probability=probability), QUICK)
    assert any(one.endswith("every pool is silent there") for one in done.remarks)
    assert done.figures["stacking"].answered == pytest.approx(1.0 - 30 / 400, abs=0.02)


def test_a_level_that_hardly_anybody_reached_gets_no_weight(simulated):
    votes = simulated()
    deep = [votes.experts.index(name) for name in votes.levels[-1][1]]
    probability, asked = votes.probability.copy(), votes.asked.copy()
    probability[6:, deep], asked[6:, deep] = np.nan, False
    done = fit(replace(votes, probability=probability, asked=asked), QUICK)
    assert any(one.startswith(f"level {votes.levels[-1][0]} was reached") for one in done.remarks)
    assert done.candidates["stacking"].experts() == frozenset(votes.experts)


def test_unlabelled_queries_are_only_counted(simulated):
    votes = simulated(seed=1, unlabelled=0.5)
    done = fit(votes, QUICK)
    assert done.n == 400
    assert len(done.labelled) == (votes.label >= 0).sum() < 260
    assert done.fitted.expected[votes.experts[0]].n == 400


def test_given_hand_weights_are_the_default_to_beat(simulated, done):
    own = fit(simulated(), QUICK, hand=done.fitted)
    assert own.candidates["hand_weights"].pools == done.fitted.pools
    assert own.figures["hand_weights"].mcc > done.figures["hand_weights"].mcc + 0.05
    assert own.choice.name == "hand_weights"
