"""The gallery tells each answer and, folded out, how it came about."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.errors import QuerySourceError
from natix_miner.scoring import ScoredQuery
from natix_miner.scoring.report.cards import bar_of, card_of
from natix_miner.scoring.report.facts import facts_of

STORY = [
    ("a", 0.4, {"x": (2.0, 5.0), "y": ("timed-out", 900.0)}),
    ("b", -1.0, {"z": (-30.0, 9.0)}),
    ("c", None, {}),
]


def test_the_story_has_levels_opinions_and_the_pooled_value(make_row):
    (facts,) = facts_of([make_row(0, 1, 0.27, STORY)])
    card = card_of(facts)
    assert (card.kind, card.truth, card.said) == ("wrong", "roadwork", "0.270")
    assert [level.name for level in card.levels] == ["a", "b", "c"]
    a, b, c = card.levels
    x, y = a.opinions
    assert (x.said, x.log_odds, x.failed) == ("0.881", 2.0, False)
    assert (y.said, y.log_odds, y.bar, y.failed) == ("timed-out", None, None, True)
    assert (a.log_odds, b.log_odds, c.entered) == (0.4, -1.0, False)
    assert card.reach == 8.0  # no further, and what lies beyond is marked
    assert b.opinions[0].bar is not None
    assert b.opinions[0].bar.cut


@given(st.floats(-50, 50), st.sampled_from([3.0, 5.0, 8.0]))
def test_a_bar_begins_at_zero_and_stays_on_the_axis(log_odds, reach):
    bar = bar_of(log_odds, reach)
    assert bar is not None
    assert 0.0 <= bar.left <= 50.0
    assert bar.left + bar.width <= 100.0 + 1e-9
    ends = (50.0, bar.left + bar.width) if log_odds >= 0 else (bar.left, 50.0)
    assert ends[0] <= ends[1] + 1e-9
    if abs(log_odds) <= reach:
        tip = ends[1] if log_odds >= 0 else ends[0]
        assert (tip / 50.0 - 1.0) * reach == pytest.approx(log_odds, abs=1e-6)
    assert bar.side == ("roadwork" if log_odds > 0 else "none")


@pytest.mark.parametrize(
    ("label", "prediction", "kind"),
    [(1, 0.9, "right"), (0, 0.9, "wrong"), (1, -1.0, "silent"), (None, 0.9, "open")],
)
def test_the_kind_says_how_the_answer_stands(label, prediction, kind):
    row = ScoredQuery("x", label, prediction, "a", "sure", 1.0)
    (facts,) = facts_of([row])
    card = card_of(facts)
    assert (card.kind, card.levels, card.picture) == (kind, (), None)


@pytest.mark.parametrize("trace", ["{", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_broken_trace_is_told_in_one_sentence(make_row, trace):
    row = dataclasses.replace(make_row(0, 1, 0.27, STORY), trace=trace)
    with pytest.raises(QuerySourceError, match="the trace of picture-0 cannot be read"):
        facts_of([row])
