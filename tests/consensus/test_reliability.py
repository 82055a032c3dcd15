"""Drift: what is held against an expert, what is not, and how little it may weigh."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from natix_miner.consensus import DriftSettings, DriftWatch, Expected
from natix_miner.consensus.pooled import Pooled, Vote
from natix_miner.experts import Opinion, Status
from natix_miner.log_odds import expit, logit

PLAIN = Expected(n=100_000, mean=0.0, spread=2.0, agreement=0.9, missing=0.1)
TWELVE = {
    f"e{i}": skill for i, skill in enumerate((0.5, 0.8, 1, 1, 1.2, 1.5, 1.5, 2, 2, 2, 2.5, 3))
}


def query(**log_odds):
    """Opinions and what they pool to, a sure yes; None stands for a vote that is missing."""
    opinions = [
        Opinion(name, Status.TIMED_OUT) if value is None else Opinion(name, Status.OK, expit(value))
        for name, value in log_odds.items()
    ]
    votes = tuple(
        Vote(name, expit(value), value, 1.0)
        for name, value in log_odds.items()
        if value is not None
    )
    return opinions, Pooled.of(votes, 3.0) if votes else None


def watch(expected, told=None, levels=None, **settings):
    told = [] if told is None else told
    return DriftWatch(expected, levels or [list(expected)], DriftSettings(**settings), told.append)


def feed(one, count, **log_odds):
    for _ in range(count):
        one.observe(*query(**log_odds))


def moved(opinion, by):
    """The same opinion, its log-odds moved."""
    if opinion.probability is None:
        return opinion
    return replace(opinion, probability=expit(logit(opinion.probability) + by))


def follow(one, stream, queries, change=lambda opinion: opinion):
    """Let the watch see a stream; the largest score of each expert."""
    top = dict.fromkeys(one.standings, 0.0)
    for opinions in queries:
        changed = [change(opinion) for opinion in opinions]
        one.observe(changed, stream.pool.pool(changed))
        for name, standing in one.standings.items():
            top[name] = max(top[name], standing.score)
    return top


def test_nothing_is_said_before_there_is_enough():
    told = []
    one = watch({"a": PLAIN, "b": PLAIN}, told, minimum=100)
    feed(one, 99, a=9.0, b=0.1)
    assert one.factors() == {}
    assert told == []
    assert one.standings["a"].agreement is None
    feed(one, 1, a=9.0, b=0.1)
    assert one.factors() == {"a": 0.5}
    assert [standing.expert for standing in told] == ["a"]


@pytest.mark.parametrize(
    ("log_odds", "reliability"),
    [(0.9, 1.0), (1.0, 1.0), (1.4, 0.8), (-1.4, 0.8), (2.0, 0.5), (8.0, 0.5)],
)
def test_a_shift_by_hand(log_odds, reliability):
    """Spread 2, limit 0.5 spreads: 1.4 is 0.7 spreads, 1.4 limits, so 1 - 0.5 * 0.4."""
    expected = PLAIN.model_copy(update={"agreement": 0.0})
    one = watch({"a": expected, "b": expected})
    feed(one, 500, a=log_odds, b=1e-9)
    standing = one.standings["a"]
    assert standing.reliability == pytest.approx(reliability, abs=1e-5)
    assert standing.shift == pytest.approx(log_odds / 2, abs=1e-5)
    assert one.standings["b"].reliability == 1.0, "it stands where it stood"


def test_few_votes_have_to_move_farther():
    """4 * sqrt(1/100 + 1/400) = 0.447 spreads; with a limit of 0.2 that is what counts."""
    expected = PLAIN.model_copy(update={"n": 500, "missing": 0.2, "agreement": 0.0})
    one = watch({"a": expected, "b": expected}, window=100, shift=0.2)
    feed(one, 100, a=0.8, b=1e-9)
    assert one.standings["a"].score == pytest.approx(0.4 / 0.4472136, rel=1e-5)


def test_a_drop_of_agreement_by_hand():
    """0.9 expected, 0.74 seen; the other lost 0.02 as well: 0.14 is 1.4 limits."""
    one = watch({"a": PLAIN, "b": PLAIN})
    for number in range(500):
        # The pool says yes; their means stay near the fit's.
        one.observe(
            *query(a=0.1 if number % 50 < 37 else -0.1, b=0.1 if number % 50 < 44 else -0.1)
        )
    standing = one.standings["a"]
    assert standing.agreement == pytest.approx(0.74)
    assert standing.score == pytest.approx(1.4, abs=1e-6)
    assert standing.cause == "agreement"
    assert standing.reliability == pytest.approx(0.8, abs=1e-6)
    assert one.standings["b"].reliability == 1.0


def test_votes_that_go_missing_are_reported_and_cost_no_weight():
    told = []
    one = watch({"a": PLAIN, "b": PLAIN}, told)
    for number in range(500):
        one.observe(*query(a=None if number % 2 else 0.1, b=0.1))
    standing = one.standings["a"]
    assert (standing.drifted, standing.cause, standing.reliability) == (True, "missing", 1.0)
    assert standing.missing == 0.5
    assert standing.score == pytest.approx(4.0, abs=1e-6)  # 0.4 more than in the fit
    assert [one.expert for one in told] == ["a"]


def test_one_that_never_answers_is_told_of_and_disturbs_nobody():
    one = watch({"a": PLAIN, "b": PLAIN, "c": PLAIN})
    feed(one, 300, a=None, b=0.1, c=0.1)
    assert one.standings["a"].cause == "missing"
    assert one.standings["a"].agreement is None
    assert one.factors() == {}
    feed(one, 600, a=None, b=None, c=None)
    assert one.factors() == {}
    assert not any(standing.drifted for standing in one.standings.values()), "all are lost alike"


def test_night_that_moves_everybody_is_nobodys_drift():
    told = []
    one = watch(dict.fromkeys("abcd", PLAIN), told)
    feed(one, 600, a=-3.0, b=-2.5, c=-3.0, d=-3.5)
    # d has moved farthest, but not by half a spread more than the others.
    assert told == []
    assert one.factors() == {}
    assert one.standings["d"].shift == pytest.approx(-1.75, abs=1e-4)


def test_one_that_stays_while_all_others_move_is_not_blamed_either():
    one = watch(dict.fromkeys("abcd", PLAIN))
    feed(one, 600, a=3.0, b=3.0, c=3.0, d=1e-9)
    assert one.standings["d"].reliability == 1.0


def test_without_anybody_to_compare_with_nothing_is_held_against_an_expert():
    one = watch({"a": PLAIN})
    feed(one, 600, a=9.0)
    assert one.factors() == {}
    feed(one, 500, a=None)
    assert one.standings["a"].drifted, "that it is missing can be told all the same"


def test_it_recovers_and_every_change_is_told_once():
    told = []
    one = watch({"a": PLAIN, "b": PLAIN}, told, window=200, minimum=50)
    feed(one, 200, a=0.1, b=0.1)
    factors = []
    for log_odds in (3.0, 0.1):
        for _ in range(200):
            feed(one, 1, a=log_odds, b=0.1)
            factors.append(one.factors().get("a", 1.0))
    assert min(factors) == 0.5
    assert factors[-1] == 1.0
    assert [(standing.expert, standing.drifted) for standing in told] == [("a", True), ("a", False)]
    # Smooth: a single query of two hundred never moves it by much.
    assert max(abs(b - a) for a, b in itertools.pairwise(factors)) < 0.02


def test_about_the_limit_it_is_not_told_over_and_over():
    told = []
    one = watch({"a": PLAIN, "b": PLAIN}, told, window=100, minimum=50)
    for number in range(3000):
        # The mean of the window goes to and fro about half a spread.
        feed(one, 1, a=1.0 + 0.2 * math.sin(number / 40), b=1e-9)
    assert len(told) == 1


def test_experts_that_the_fit_hardly_knows_are_left_alone():
    expected = {
        "a": PLAIN,
        "b": PLAIN,
        "never": Expected(n=500, mean=0.0, spread=0.0, agreement=0.0, missing=1.0),
        "unasked": Expected(n=0, mean=0.0, spread=0.0, agreement=0.0, missing=0.0),
    }
    one = watch(expected)
    feed(one, 600, a=0.1, b=0.1, never=9.0, unasked=9.0, unknown=9.0)
    assert one.factors() == {}
    assert set(one.standings) == {"a", "b", "never"}


@pytest.mark.parametrize("skills", [TWELVE, {"a": 1.0, "b": 2.0}], ids=["twelve", "two"])
@pytest.mark.parametrize("positives", [0.5, 0.8])
def test_a_stream_like_the_fit_gives_no_alarm_whatever_its_share_of_roadwork(
    stream, skills, positives
):
    made = stream(skills, seed=5, missing=0.1)
    told = []
    one = watch(made.expected, told)
    top = follow(one, made, made.queries(1500, positives))
    assert told == []
    assert max(top.values()) < 0.9


def test_in_twelve_the_two_that_broke_are_found_and_nobody_else(stream):
    made = stream(TWELVE, seed=6, missing=0.1)
    told = []
    one = watch(made.expected, told)

    def broken(opinion):
        if opinion.expert == "e11" and opinion.probability is not None:
            return replace(opinion, probability=1.0 - opinion.probability)  # takes no for yes
        return moved(opinion, -3.0) if opinion.expert == "e5" else opinion

    follow(one, made, made.queries(800), broken)
    assert {standing.expert: standing.cause for standing in told} == {
        "e5": "shift",
        "e11": "agreement",
    }
    assert one.factors()["e11"] == 0.5


def test_one_that_carries_the_pool_is_found_by_its_mean_and_the_others_are_not_blamed(stream):
    made = stream({"a": 1.5, "b": 1.5, "strong": 4.0}, seed=7)
    one = watch(made.expected)
    follow(
        one,
        made,
        made.queries(800),
        lambda opinion: moved(opinion, -9.0) if opinion.expert == "strong" else opinion,
    )
    assert one.standings["a"].agreement < made.expected["a"].agreement - 0.1
    assert set(one.factors()) == {"strong"}


def test_a_level_that_sees_only_what_the_first_was_unsure_of_is_not_taken_for_drifting(stream):
    made = stream(TWELVE, seed=8, missing=0.1)
    names = list(TWELVE)
    levels = [names[::2], names[1::2]]

    def in_levels(queries):
        for opinions in queries:
            first = [opinion for opinion in opinions if opinion.expert in levels[0]]
            pooled = made.pool.pool(first)
            yield first if pooled and abs(pooled.log_odds) > 1.5 else opinions

    told = []
    one = watch(made.expected, told, levels=levels)
    follow(one, made, in_levels(made.queries(1500)))
    assert told == []
    late = {name: one.standings[name] for name in levels[1]}
    assert 300 < late["e1"].votes < 480
    drops = [made.expected[name].agreement - late[name].agreement for name in late]
    assert max(drops) > 0.1, "the hard ones: by itself that would look like drift"
    follow(
        one,
        made,
        in_levels(made.queries(1000)),
        lambda opinion: moved(opinion, 4.0) if opinion.expert == "e9" else opinion,
    )
    assert set(one.factors()) == {"e9"}


def test_weighing_down_an_expert_that_broke_costs_fewer_errors(stream):
    made = stream({"a": 1.2, "b": 1.2, "c": 1.2, "d": 2.0}, seed=9)
    one = watch(made.expected)
    errors = {True: 0, False: 0}
    for opinions in made.queries(1500):
        truth = made.pool.pool(opinions).log_odds > 0.0
        stuck = [replace(o, probability=0.995) if o.expert == "d" else o for o in opinions]
        factors = one.factors()
        weighed = [replace(o, trust=factors.get(o.expert, 1.0)) for o in stuck]
        for with_watch, asked in ((True, weighed), (False, stuck)):
            errors[with_watch] += (made.pool.pool(asked).log_odds > 0.0) != truth
        one.observe(stuck, made.pool.pool(stuck))
    assert one.factors() == {"d": 0.5}
    assert errors[True] < 0.8 * errors[False]


def test_the_same_opinions_give_the_same_factors_in_any_order_within_a_query(stream):
    made = stream(TWELVE, seed=10, missing=0.2)
    queries = [[moved(o, 2.0) if o.expert == "e3" else o for o in q] for q in made.queries(300)]
    ones = [watch(made.expected), watch(made.expected)]
    for opinions in queries:
        ones[0].observe(opinions, made.pool.pool(opinions))
        ones[1].observe(opinions[::-1], made.pool.pool(opinions[::-1]))
    assert ones[0].factors() == ones[1].factors() != {}
    assert ones[0].standings == ones[1].standings


log_odds = st.none() | st.floats(-13.0, 13.0)


@given(
    said=st.lists(st.fixed_dictionaries(dict.fromkeys("abc", log_odds)), min_size=12, max_size=30),
    floor=st.floats(0.01, 1.0),
    mean=st.floats(-1e300, 1e300),
    spread=st.floats(0.0, 1e300),
    share=st.floats(0.0, 1.0),
    n=st.integers(0, 10_000),
)
def test_whatever_is_said_and_expected_the_factor_keeps_to_its_bounds(
    said, floor, mean, spread, share, n
):
    odd = Expected(n=n, mean=mean, spread=spread, agreement=share, missing=1.0 - share)
    one = watch({"a": odd, "b": PLAIN, "c": odd}, floor=floor, window=20, minimum=10)
    for opinions in said:
        one.observe(*query(**opinions))
        for standing in one.standings.values():
            assert floor <= standing.reliability <= 1.0
            assert math.isfinite(standing.score)
            assert standing.score >= 0.0


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"minimum": 600}, "minimum 600 is more than the window of 500"),
        ({"floor": 0.0}, "floor"),
        ({"floor": 1.5}, "floor"),
        ({"window": 5}, "window"),
        ({"shift": -1.0}, "shift"),
        ({"half_life": 3}, "half_life"),
    ],
)
def test_settings_without_sense_are_refused(settings, word):
    with pytest.raises(ValidationError, match=word):
        DriftSettings(**settings)
