"""The rule that says which queries are worth a person's second."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.consensus import FittedConsensus, Platt
from natix_miner.consensus.fitted import Expected, Pool
from natix_miner.lab.labelling.rule import Signals, parts, reasons, score, signals_of
from tests.lab.labelling.journals import Asked

signals = st.builds(
    Signals,
    probability=st.none() | st.floats(0.0, 1.0),
    disagreement=st.floats(0.0, 14.0),
    novelty=st.none() | st.floats(0.0, 1.0),
    drift=st.none() | st.floats(0.0, 50.0),
    drifted=st.just("network"),
)


def fitted(**expected: Expected) -> FittedConsensus:
    return FittedConsensus(
        calibrations={"network": Platt(slope=2.0, intercept=1.0)},
        pools=(Pool(weights=dict.fromkeys(expected, 1.0)),),
        expected=expected,
    )


def test_the_parts_are_those_of_the_formula() -> None:
    found = parts(Signals(0.3, disagreement=2.5, novelty=0.8, drift=2.5, drifted="network"))
    assert found["unsure"] == pytest.approx(0.6)
    assert found["disagree"] == pytest.approx(0.7 / 2)
    assert found["new"] == pytest.approx(0.5 * 0.6)
    assert found["drifted"] == pytest.approx(0.5 * 0.25)
    assert score(Signals(0.3)) == pytest.approx(0.6)


@given(signals)
def test_the_score_lies_within_its_bounds_and_a_labelled_picture_is_worth_half(
    one: Signals,
) -> None:
    assert 0.0 <= score(one) <= 2.7
    assert score(one, labelled=True) == pytest.approx(score(one) / 2)


@given(signals, st.floats(0.0, 0.5))
def test_nearer_to_one_half_is_worth_more(one: Signals, away: float) -> None:
    near = Signals(0.5 - away / 2, one.disagreement, one.novelty, one.drift, one.drifted)
    far = Signals(0.5 + away, one.disagreement, one.novelty, one.drift, one.drifted)
    assert score(near) >= score(far)


@given(signals)
def test_without_the_opinion_no_reason_tells_the_side(one: Signals) -> None:
    if one.probability is None:
        return
    other = Signals(1 - one.probability, one.disagreement, one.novelty, one.drift, one.drifted)
    if parts(one) == parts(other):  # 1 - p may round
        assert reasons(one) == reasons(other)


@given(signals)
def test_there_is_always_a_reason(one: Signals) -> None:
    assert all(reasons(one))
    assert reasons(one)


def test_reasons_are_told_in_words_the_weightiest_first() -> None:
    one = Signals(0.52, disagreement=3.14, novelty=0.97, drift=3.0, drifted="colour")
    assert reasons(one) == (
        "unsure: p within 0.02 of one half",
        "new: unlike 97 % of the memory",
        "votes disagree by 3.1",
        "colour is 3.0 deviations off its fit",
    )
    assert reasons(one, opinion=True)[0] == "unsure: p = 0.52"
    assert reasons(Signals(None))[0] == "no usable opinion"
    assert reasons(Signals(0.999)) == ("nothing special: asked for completeness",)
    assert reasons(Signals(0.999), labelled=True) == (
        "a second opinion: labelled by somebody else",
    )


def test_signals_are_read_off_the_trace() -> None:
    found = signals_of(Asked(1, probability=0.4, disagreement=1.5, novelty=0.7).trace())
    assert found == Signals(0.4, 1.5, 0.7)
    nothing = signals_of(Asked(1, probability=None, votes={"network": None}).trace())
    assert nothing == Signals(None)


def test_the_vote_that_is_farthest_off_its_fit_counts_after_its_calibration() -> None:
    seat = {"n": 100, "agreement": 0.9, "missing": 0.0}
    fit = fitted(
        network=Expected(mean=0.5, spread=1.5, **seat),
        colour=Expected(mean=0.0, spread=2.0, **seat),
    )
    votes = {"network": 0.9, "colour": 0.6, "unknown": 0.999, "silent": None}
    found = signals_of(Asked(1, votes=votes).trace(), fit)
    raw = math.log(0.9 / 0.1)
    assert found.drifted == "network"
    assert found.drift == pytest.approx((2.0 * raw + 1.0 - 0.5) / 1.5)
    assert signals_of(Asked(1, votes=votes).trace()).drift is None
