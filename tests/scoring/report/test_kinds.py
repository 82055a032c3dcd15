"""Decisions divided by what the pictures are, from what the traces measured and experts told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.scoring import ScoredQuery
from natix_miner.scoring.report.facts import facts_of
from natix_miner.scoring.report.kinds import divisions_of, kind_words, share_interval

LEVELS = [("a", 2.0, {"x": (2.0, 5.0)})]


def lines(divisions, name):
    (found,) = [one for one in divisions if one.name == name]
    return {line.name: line for line in found.lines}


def test_every_property_divides_the_same_queries(make_row):
    kinds = [
        {},
        {"dark": True, "size_class": "frame"},
        {"tilt_degrees": -4.0, "padding_share": 0.25},
        {"tilt_degrees": 12.0, "blurred": True, "size_class": "large-frame"},
    ]
    rows = [
        make_row(n, n % 2, 0.9 if n % 3 else 0.1, LEVELS, picture=kind, generation=generation)
        for n, (kind, generation) in enumerate(
            (kind, generation) for kind in kinds for generation in ("cropped", "full-frame")
        )
    ]
    divisions = divisions_of(facts_of(rows))
    assert [one.name for one in divisions] == [
        "All", "Generation", "Size", "Light", "Tilt", "Bars", "Focus",
    ]  # fmt: skip
    for division in divisions:
        assert sum(line.queries for line in division.lines) == len(rows)
        for field in ("tp", "fp", "tn", "fn"):
            whole = sum(
                row.says_roadwork == (field[1] == "p") and row.wrong == (field[0] == "f")
                for row in rows
            )
            assert sum(getattr(line.confusion, field) for line in division.lines) == whole
    assert list(lines(divisions, "Size")) == ["validator-square", "frame", "large-frame"]
    assert lines(divisions, "Light")["dark"].queries == 2
    assert list(lines(divisions, "Tilt")) == ["upright", "tilted, below 10°", "tilted, from 10°"]
    assert lines(divisions, "Bars")["letterboxed"].queries == 2
    assert lines(divisions, "Focus")["blurred"].queries == 2


def test_night_is_told_by_experts_from_one_half_on(make_row):
    rows = [
        make_row(n, n % 2, 0.9, LEVELS, conditions={"night": night, "haze": 0.1})
        for n, night in enumerate((0.9, 0.5, 0.49, 0.0))
    ]
    told = lines(divisions_of(facts_of(rows)), "Told by experts")
    assert {name: line.queries for name, line in told.items()} == {"night": 2}


def test_what_is_all_of_one_kind_is_not_divided(make_row):
    rows = [make_row(n, n % 2, 0.9, LEVELS, generation="cropped") for n in range(4)]
    divisions = divisions_of(facts_of(rows))
    assert [one.name for one in divisions] == ["All"]
    assert divisions[0].lines[0].name == "all labelled queries (cropped)"


def test_broken_pictures_stand_apart_and_last(make_row):
    rows = [
        ScoredQuery("broken", 1, -1.0, None, "not-a-picture", 0.0),
        make_row(1, 1, 0.9, LEVELS),
        make_row(2, 1, 0.9, LEVELS, picture={"dark": True}),
    ]
    light = lines(divisions_of(facts_of(rows)), "Light")
    assert list(light) == ["day", "dark", "not a picture"]
    assert light["not a picture"].missing == 1
    assert light["not a picture"].accuracy is None


def test_without_labels_there_is_nothing_to_divide(make_row):
    assert divisions_of(facts_of([make_row(0, None, 0.9, LEVELS)])) == []


def test_a_picture_is_told_in_words(make_row):
    picture = {"tilt_degrees": -12.3, "padding_share": 0.25, "dark": True}
    (one,) = facts_of([make_row(0, 1, 0.9, LEVELS, picture, {"haze": 0.7, "night": 0.2})])
    assert kind_words(one) == ["validator-square", "tilted -12°", "25 % bars", "dark", "haze"]


@given(st.integers(1, 400).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_interval_of_a_share_is_wilsons(pair):
    hits, of = pair
    z, p = 1.959963984540054, hits / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * (p * (1 - p) / of + z * z / (4 * of * of)) ** 0.5
    found = share_interval(hits, of)
    assert found is not None
    assert found.low == pytest.approx(middle - half, abs=1e-9)
    assert found.high == pytest.approx(middle + half, abs=1e-9)


def test_of_nothing_there_is_no_interval():
    assert share_interval(0, 0) is None
