"""Routing learned from votes: replayed as the cascade runs, chosen on some, told of others."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from natix_miner.breaker import Breaker, BreakerLimits
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import EntryRule, Level, Seat
from natix_miner.clock import Deadline
from natix_miner.consensus import FittedConsensus, LogOddsPool, Platt, Pool
from natix_miner.errors import FittingError
from natix_miner.experts import Expert, Look
from natix_miner.experts.opinion import Opinion, Status
from natix_miner.fitting import FitSettings
from natix_miner.fitting.fit import fit
from natix_miner.fitting.pools import answers_from
from natix_miner.fitting.routing import learn_routing, route
from natix_miner.fitting.routing_patch import profile_patch
from natix_miner.fitting.routing_replay import ALWAYS, replay, worth
from natix_miner.fitting.routing_reward import Quality, exact_reward, long_run_reward
from natix_miner.fitting.routing_search import NEVER, believed_reward, search
from natix_miner.fitting.routing_settings import RoutingSettings
from natix_miner.fitting.routing_stage import all_asked, held_out_stage, level_times
from natix_miner.profile import load_profile
from natix_miner.scoring.reward import rewards

NAN = float("nan")
PROFILE = Path(__file__).parents[2] / "configs" / "embedded.yaml"
LEVELS = (("glance", ("a", "b")), ("look", ("c",)), ("study", ("d", "e")))
FITTED = FittedConsensus(
    calibrations={"a": Platt(slope=0.8, intercept=0.3), "d": Platt(slope=1.7, intercept=-0.2)},
    pools=(
        Pool(weights={"a": 0.7, "b": 0.4}, missing={"a": 0.2}),
        Pool(weights={"a": 0.5, "b": 0.3, "c": 0.9}, bias=0.1, missing={"c": -0.4}),
        Pool(weights={"a": 0.4, "b": 0.2, "c": 0.6, "d": 1.1, "e": -0.1}, missing={"d": 0.3}),
    ),
)


@pytest.fixture
def drawn_votes(votes_by_hand):
    """Votes of three levels, a fifth of them missing, with times of 10, 100 and 1000 ms."""

    def make(seed: int, n: int = 60, missing: float = 0.2):
        rng = np.random.default_rng(seed)
        label = np.arange(n) % 2
        columns = {}
        for name in "abcde":
            said = 1.0 / (1.0 + np.exp(-(2.0 * label - 1.0 + 1.5 * rng.standard_normal(n))))
            columns[name] = np.where(rng.random(n) < missing, NAN, said)
        votes = votes_by_hand(columns, label.tolist(), levels=LEVELS)
        ms = np.array([10.0, 20.0, 100.0, 1000.0, 500.0]) * np.ones((n, 1))
        return dataclasses.replace(votes, ms=ms)

    return make


def stage_of(votes, limit_ms=1e9, needs_ms=None, prior=0.5):
    fold = np.zeros(len(votes), np.int_)
    return held_out_stage(votes, fold, [FITTED], limit_ms=limit_ms, needs_ms=needs_ms, prior=prior)


class Stored(Expert):
    """A double that says what is stored, after the time that is stored."""

    def __init__(self, name, probability, ms):
        self.name, self.version = name, "stored"
        self.probability, self.ms = probability, ms

    async def look(self, frame, deadline):
        await asyncio.sleep(self.ms / 1000.0)
        if np.isnan(self.probability):
            raise RuntimeError("no vote")
        return Look(probability=float(self.probability))


def run_cascade(virtual, frame, votes, row, rules, needs, seconds):
    """What the real cascade does with the stored votes of one query."""
    place = {name: column for column, name in enumerate(votes.experts)}
    levels = tuple(
        Level(
            name=name,
            seats=tuple(
                Seat(
                    Stored(one, votes.probability[row, place[one]], votes.ms[row, place[one]]),
                    60.0,
                    Breaker(BreakerLimits(failures=3), virtual),
                )
                for one in experts
            ),
            rule=rule,
            needs_seconds=need,
        )
        for (name, experts), rule, need in zip(votes.levels, (ALWAYS, *rules), needs, strict=True)
    )
    cascade = Cascade(levels, LogOddsPool(FITTED), reserve_seconds=0.0, clock=virtual)
    return virtual.run(cascade.run(frame, Deadline.after(seconds, virtual)))


@pytest.mark.parametrize(
    ("rules", "seconds"),
    [
        ((EntryRule(unsure_below=1.0), EntryRule(unsure_below=0.7)), 60.0),
        ((EntryRule(disagreement_above=1.1), EntryRule(0.5, 1.3)), 60.0),
        ((EntryRule(unsure_below=0.4), ALWAYS), 60.0),
        ((EntryRule(unsure_below=NEVER), EntryRule(0.9, 2.0)), 60.0),
        ((EntryRule(1.5, 0.8), EntryRule(2.0, 0.9)), 1.05),
    ],
)
def test_a_replay_goes_as_the_cascade_goes(virtual, make_frame, drawn_votes, rules, seconds):
    votes = drawn_votes(1, n=40, missing=0.35)
    needs = (0.0, 0.15, 1.0)
    stage = stage_of(votes, 1000.0 * seconds, [1000.0 * need for need in needs])
    found = replay(stage, rules)
    frame = make_frame()
    entered = set()
    for row in range(len(votes)):
        outcome = run_cascade(virtual, frame, votes, row, rules, needs, seconds)
        mask = sum(1 << place for place, level in enumerate(outcome.levels) if level.entered)
        asked = [expert.ms for level in outcome.levels for expert in level.experts]
        assert found.entered[row] == mask
        assert found.cost_ms[row] == pytest.approx(sum(asked), abs=0.5)
        assert found.time_ms[row] == pytest.approx(sum(one.ms for one in outcome.levels), abs=0.5)
        if np.isnan(found.log_odds[row]):
            assert outcome.answer.prediction == -1.0
        else:
            last = [level for level in outcome.levels if level.entered][-1]
            assert found.log_odds[row] == pytest.approx(last.log_odds, abs=1e-9)
            assert answers_from(found.log_odds[[row]])[0] == pytest.approx(
                outcome.answer.prediction, abs=1e-9
            )
        entered.add(mask)
    assert len(entered) > 1


thresholds = st.one_of(st.none(), st.floats(0.01, 4.0))
entry = st.builds(EntryRule, unsure_below=thresholds, disagreement_above=thresholds)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=entry, second=entry, seed=st.integers(0, 5))
def test_a_level_is_entered_when_the_rule_says_so_of_the_pool(drawn_votes, first, second, seed):
    votes = drawn_votes(seed, n=12, missing=0.4)
    found = replay(stage_of(votes), (first, second))
    pool = LogOddsPool(FITTED)
    for row in range(len(votes)):
        opinions, mask = [], 0
        for place, rule in enumerate((ALWAYS, first, second)):
            if rule.decide(pool.pool(opinions))[0]:
                mask |= 1 << place
                for name in votes.levels[place][1]:
                    said = votes.probability[row, votes.experts.index(name)]
                    known = not np.isnan(said)
                    status = Status.OK if known else Status.FAILED
                    opinions.append(Opinion(name, status, float(said) if known else None))
        assert found.entered[row] == mask


def test_the_table_of_rewards_is_what_a_validator_pays_in_the_long_run():
    rng = np.random.default_rng(3)
    label = (rng.random(60_000) < 0.5).astype(int)
    right = np.where(label == 1, rng.random(label.size) < 0.93, rng.random(label.size) < 0.97)
    said = np.where(right, label, 1 - label).astype(float)
    paid = rewards(said.tolist(), label.tolist())[100:].mean()
    told = long_run_reward(Quality(np.array([0.93]), np.array([0.97]), np.array([0.0])))
    assert told[0] == pytest.approx(paid, abs=0.006)


def test_rewards_at_the_ends_and_between_the_places_of_the_table():
    ends = exact_reward(np.array([1.0, 0.0]), np.array([1.0, 0.0]))
    assert ends[0, 0] == pytest.approx(1.0)
    assert ends[1, 1] == pytest.approx(0.0)
    shares = np.array([0.80123, 0.9317, 0.98765, 0.5555])
    exact = np.diag(exact_reward(shares, shares[::-1]))
    told = long_run_reward(Quality(shares, shares[::-1], np.zeros(4)))
    assert told == pytest.approx(exact, abs=2e-4)
    silent = long_run_reward(Quality(shares, shares[::-1], np.full(4, 0.25)))
    assert silent == pytest.approx(0.75 * told)


def test_the_search_tells_of_every_combination_what_a_replay_tells(drawn_votes):
    stage = stage_of(drawn_votes(2, n=400), limit_ms=1115.0)
    tried = search(stage)
    assert tried.cost_ms.size > 10_000
    places = np.random.default_rng(0).integers(tried.cost_ms.size, size=60)
    for place in (*places, 0, tried.cost_ms.size - 1):
        found = replay(stage, tried.rules(int(place)))
        assert tried.cost_ms.ravel()[place] == pytest.approx(stage.weight @ found.cost_ms)
        assert tried.reward.ravel()[place] == pytest.approx(
            believed_reward(stage, found.log_odds), abs=1e-9
        )
    everybody = replay(stage, (ALWAYS, ALWAYS))
    assert tried.all_reward == pytest.approx(believed_reward(stage, everybody.log_odds))


def test_the_cheapest_and_the_best_are_those_of_all_combinations(drawn_votes):
    stage = stage_of(drawn_votes(4, n=300))
    tried = search(stage)
    least = tried.all_reward - 0.05
    found = replay(stage, tried.cheapest(least))
    assert believed_reward(stage, found.log_odds) >= least - 1e-9
    cost = stage.weight @ found.cost_ms
    assert cost == pytest.approx(tried.cost_ms[tried.reward >= least].min())
    best = replay(stage, tried.best(cost))
    assert stage.weight @ best.cost_ms <= cost * (1.0 + 1e-6)
    assert believed_reward(stage, best.log_odds) == pytest.approx(
        tried.reward[tried.cost_ms <= cost * (1.0 + 1e-9)].max()
    )


def test_a_level_that_would_not_be_done_in_time_is_not_entered(drawn_votes):
    votes = drawn_votes(5)
    everybody = (ALWAYS, ALWAYS)
    # First level 20 ms, second 100, third 1000.
    assert np.all(replay(stage_of(votes, 1120.0), everybody).entered == 0b111)
    assert np.all(replay(stage_of(votes, 1119.0), everybody).entered == 0b011)
    assert np.all(replay(stage_of(votes, 119.0), everybody).entered == 0b001)
    # The second is passed over when it needs more than is left; the third then has time.
    needs = [0.0, 1101.0, 0.0]
    assert np.all(replay(stage_of(votes, 1120.0, needs), everybody).entered == 0b101)


def test_cost_is_the_sum_of_experts_and_time_that_of_the_slowest(drawn_votes):
    cost, time = level_times(drawn_votes(6))
    assert cost[:, 0].tolist() == [30.0, 100.0, 1500.0]
    assert time[:, 0].tolist() == [20.0, 100.0, 1000.0]


def test_an_unknown_time_is_the_mean_one_and_no_time_at_all_is_refused(drawn_votes):
    votes = drawn_votes(6)
    ms = votes.ms.copy()
    ms[0, 2], ms[1, 2] = NAN, 300.0
    cost, _ = level_times(dataclasses.replace(votes, ms=ms))
    assert cost[1, 0] == pytest.approx((58 * 100.0 + 300.0) / 59)
    ms[:, 4] = NAN
    with pytest.raises(FittingError, match=r"no time is told for the experts \['e'\]"):
        level_times(dataclasses.replace(votes, ms=ms))


def test_both_labels_count_by_the_share_that_validators_ask(votes_by_hand):
    # 90 of roadwork that level 1 gets right, 10 of none that it gets wrong.
    label = [1] * 90 + [0] * 10
    votes = votes_by_hand(
        {"a": [0.9] * 100, "b": [0.9] * 100, "c": [0.9] * 90 + [0.001] * 10},
        label,
        levels=(("glance", ("a", "b")), ("look", ("c",))),
    )
    fitted = FittedConsensus(
        calibrations={},
        pools=(Pool(weights={"a": 0.5, "b": 0.5}), Pool(weights={"a": 0.1, "b": 0.1, "c": 0.8})),
    )
    stage = held_out_stage(votes, np.zeros(100, np.int_), [fitted], limit_ms=1e9)
    first = worth(stage, replay(stage, (EntryRule(unsure_below=NEVER),)))
    assert first.reward == pytest.approx(exact_reward(np.ones(1), np.zeros(1))[0, 0])
    wanted = worth(stage, replay(stage, (EntryRule(unsure_below=9.0),)))
    assert wanted.reward == pytest.approx(1.0)
    # Nobody is asked on roadwork but on all that is none: half of a validator's queries.
    sure_of_yes = dataclasses.replace(stage, log_odds=stage.log_odds.copy())
    sure_of_yes.log_odds[1] = np.where(stage.label == 1, 9.0, 0.1)
    told = worth(sure_of_yes, replay(sure_of_yes, (EntryRule(unsure_below=1.0),)))
    assert told.entered[1] == pytest.approx(0.5)


@pytest.fixture
def telling_stage(votes_by_hand):
    """Level 1 is sure and right on most queries and knows when it is not (`telling`), or is wrong
    as often but just as sure; level 2 is right on all and fifty times as dear."""

    def make(telling: bool, n: int = 1500):
        rng = np.random.default_rng(8)
        label = rng.integers(0, 2, n)
        side = 2.0 * label - 1.0
        hard = rng.random(n) < 0.12
        wrong = hard & (rng.random(n) < 0.5)
        strength = np.where(hard, 0.3, 4.0) if telling else np.full(n, 3.0)
        said = np.where(wrong, -side, side) * strength + 0.05 * rng.standard_normal(n)
        deep = side * 5.0
        votes = votes_by_hand(
            {"quick": 1 / (1 + np.exp(-said)), "slow": 1 / (1 + np.exp(-deep))},
            label.tolist(),
            levels=(("glance", ("quick",)), ("look", ("slow",))),
            groups=[f"clip{place // 3}" for place in range(n)],
        )
        votes = dataclasses.replace(votes, ms=np.array([10.0, 500.0]) * np.ones((n, 1)))
        fitted = FittedConsensus(
            calibrations={},
            pools=(Pool(weights={"quick": 1.0}), Pool(weights={"quick": 0.1, "slow": 1.0})),
        )
        fold = np.array([int(group[4:]) % 5 for group in votes.groups])
        return held_out_stage(votes, fold, [fitted] * 5, limit_ms=6950.0), fold, votes.groups

    return make


def test_where_doubt_tells_the_goal_is_reached(telling_stage):
    stage, fold, groups = telling_stage(telling=True)
    found = route(stage, fold, groups, RoutingSettings())
    assert found.reached
    assert found.chosen.reward_loss <= 0.005
    # A tenth of 510 ms for the first level and the hard queries (12 %) in the second.
    assert found.chosen.cost_share == pytest.approx((10.0 + 0.12 * 500.0) / 510.0, abs=0.02)
    assert 0.3 < found.chosen.rules["look"].unsure_below < 4.2
    assert found.first_level_only.reward < 0.9 < found.all.reward
    low, high = found.interval["cost_share"]
    assert low < found.chosen.cost_share < high
    assert not [remark for remark in found.remarks if "goal is not reached" in remark]


def test_where_doubt_tells_nothing_the_shortfall_is_told(telling_stage):
    stage, fold, groups = telling_stage(telling=False)
    found = route(stage, fold, groups, RoutingSettings())
    assert not found.reached
    assert found.chosen.cost_share > 0.5
    assert "the goal is not reached" in found.remarks[0]


def test_a_first_level_that_is_too_dear_is_told(telling_stage):
    stage, fold, groups = telling_stage(telling=True)
    dear = dataclasses.replace(stage, cost_ms=np.array([[200.0], [500.0]]) * np.ones(len(stage)))
    found = route(dear, fold, groups, RoutingSettings())
    assert not found.reached
    assert any("first level alone is 28.6 %" in remark for remark in found.remarks)


def test_more_may_be_lost_for_less_time(telling_stage):
    stage, fold, groups = telling_stage(telling=True)
    strict = route(stage, fold, groups, RoutingSettings(within=0.0))
    easy = route(stage, fold, groups, RoutingSettings(within=0.2))
    assert easy.chosen.cost_ms < strict.chosen.cost_ms
    assert easy.chosen.reward < strict.chosen.reward


def test_the_curve_rises_from_the_first_level_to_all_experts(telling_stage):
    stage, fold, groups = telling_stage(telling=True)
    found = route(stage, fold, groups, RoutingSettings())
    costs = [point.cost_ms for point in found.curve]
    front = [point for point in found.curve if point.front]
    assert costs == sorted(costs)
    assert [point.reward for point in front] == sorted(point.reward for point in front)
    assert front[0].reward == pytest.approx(found.first_level_only.reward, abs=0.01)
    assert front[-1].reward == pytest.approx(found.all.reward, abs=0.005)


def test_thresholds_are_judged_on_queries_that_they_were_not_chosen_on(telling_stage):
    """In one fold the first level speaks thirty times as loud. The other folds do not know,
    so their threshold leaves its hard queries alone; one chosen on all folds would not."""
    stage, fold, groups = telling_stage(telling=True)
    loud = stage.log_odds.copy()
    loud[1] = np.where(fold == 0, 30.0 * loud[1], loud[1])
    stage = dataclasses.replace(stage, log_odds=loud)
    found = route(stage, fold, groups, RoutingSettings())
    on_all = worth(stage, replay(stage, tuple(found.chosen.rules.values())))
    assert on_all.reward > found.all.reward - 0.01
    wrong = (fold == 0) & (np.abs(loud[1]) < 60.0) & ((loud[1] > 0.0) != (stage.label == 1))
    right = [1.0 - float(np.mean(wrong[stage.label == one])) for one in (1, 0)]
    paid = exact_reward(np.array([right[0]]), np.array([right[1]]))[0, 0]
    assert found.chosen.reward == pytest.approx(paid, abs=0.01)
    assert found.chosen.reward < on_all.reward - 0.03


@pytest.fixture(scope="module")
def quick_fit(simulated):
    return fit(simulated(seed=2, queries=600, experts=6), FitSettings(folds=3, resamples=50))


def test_a_simulated_panel_is_routed_from_a_fit(quick_fit):
    found = learn_routing(quick_fit, RoutingSettings(within=0.03))
    assert found.n == 600
    assert found.all.cost_ms > 10.0 * found.first_level_only.cost_ms
    assert found.chosen.cost_ms < 0.6 * found.all.cost_ms
    assert found.chosen.reward > found.first_level_only.reward
    document = found.as_dict()
    assert set(document) >= {"all", "first_level_only", "chosen", "curve", "goal", "remarks"}
    assert set(document["chosen"]["interval"]) == {"reward", "reward_loss", "cost_share"}


def test_without_every_level_asked_there_is_no_routing(quick_fit):
    votes = quick_fit.labelled
    asked = votes.asked.copy()
    asked[30:, -1] = False
    asked[30:, -2] = False
    some = dataclasses.replace(quick_fit, labelled=dataclasses.replace(votes, asked=asked))
    with pytest.raises(FittingError, match=r"30 of 600 labelled queries .* --all-levels"):
        learn_routing(some)
    asked[30:250] = True
    some = dataclasses.replace(quick_fit, labelled=dataclasses.replace(votes, asked=asked))
    assert all_asked(some.labelled).sum() == 250
    with pytest.raises(FittingError, match="those are the unsure ones"):
        learn_routing(some)
    asked[250:500] = True
    some = dataclasses.replace(quick_fit, labelled=dataclasses.replace(votes, asked=asked))
    assert "500 of 600" in learn_routing(some).remarks[0]


def test_one_level_cannot_be_routed(votes_by_hand):
    votes = votes_by_hand({"a": [0.2, 0.9] * 30}, [0, 1] * 30)
    with pytest.raises(FittingError, match="nothing to route"):
        stage_of(votes)


def test_one_label_cannot_be_routed(drawn_votes):
    votes = dataclasses.replace(drawn_votes(1), label=np.ones(60, np.int8))
    with pytest.raises(FittingError, match="both labels are needed"):
        stage_of(votes)


def test_the_patch_is_taken_by_the_profile(tmp_path, quick_fit):
    profile = load_profile(PROFILE)
    routing = learn_routing(quick_fit)
    rules = {"closer": EntryRule(unsure_below=1.25, disagreement_above=3.5)}
    chosen = dataclasses.replace(routing.chosen, rules=rules)
    patch = profile_patch(dataclasses.replace(routing, chosen=chosen), quick_fit.labelled, profile)
    document = yaml.safe_load(PROFILE.read_text())
    document |= yaml.safe_load(patch)
    document["consensus"] = {}
    for name in ("network", "closer-network", "colour"):
        document["experts"][name]["model"] = str(
            (PROFILE.parent / document["experts"][name]["model"]).resolve()
        )
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(document))
    levels = load_profile(changed).levels
    assert [level.name for level in levels] == [level.name for level in profile.levels]
    assert [level.experts for level in levels] == [level.experts for level in profile.levels]
    assert (levels[1].enter.unsure_below, levels[1].enter.disagreement_above) == (1.25, 3.5)
    assert levels[1].needs_seconds == profile.levels[1].needs_seconds


def test_without_a_profile_the_patch_names_experts(quick_fit):
    routing = learn_routing(quick_fit)
    always = dataclasses.replace(routing.chosen, rules=dict.fromkeys(("look", "study"), ALWAYS))
    patch = profile_patch(dataclasses.replace(routing, chosen=always), quick_fit.labelled)
    levels = yaml.safe_load(patch)["levels"]
    assert [level["name"] for level in levels] == ["glance", "look", "study"]
    assert [tuple(level["experts"]) for level in levels] == [
        experts for _, experts in quick_fit.labelled.levels
    ]
    assert not any("enter" in level for level in levels)


def test_settings_take_the_times_of_a_profile():
    profile = load_profile(PROFILE)
    told = RoutingSettings.of(profile, within=0.01)
    assert told.seconds == pytest.approx(profile.deadline_seconds - profile.reserve_seconds)
    assert told.needs_seconds["closer"] == profile.levels[1].needs_seconds
    assert RoutingSettings.of(profile, deadline_seconds=2.0).seconds == pytest.approx(1.95)
