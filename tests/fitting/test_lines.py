"""JSON lines of votes: what they mean, and what is told of lines that are wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from natix_miner.errors import FittingError
from natix_miner.fitting.lines import votes_from_lines

HEADER = '{"levels": [["glance", ["a", "b"]], ["look", ["c"]]]}'


def line(number: int, opinions: dict, label: int | None = 1, **more: object) -> str:
    return json.dumps({"id": f"q{number}", "label": label, "opinions": opinions, **more})


def test_an_absent_expert_was_not_asked_and_null_is_a_missing_vote():
    votes = votes_from_lines([HEADER, line(1, {"a": 0.9, "b": None}), line(2, {"a": 0.1, "c": 0})])
    assert votes.levels == (("glance", ("a", "b")), ("look", ("c",)))
    assert votes.asked.tolist() == [[True, True, False], [True, False, True]]
    assert np.isnan(votes.probability).tolist() == [[False, True, True], [False, True, False]]
    assert votes.probability[1, 2] == 0.0


def test_everything_a_line_may_say_arrives():
    said = line(
        1,
        {"a": 0.9, "b": 0.2},
        0,
        group="clip",
        trust={"a": 0.5},
        ms={"b": 12.5},
        size_class="frame",
        conditions={"night": 0.3},
        generation="cropped",
        received_at=1e9,
        prediction=-1,
        total_ms=40,
    )
    votes = votes_from_lines([said, line(2, {"a": 0.9}, None)])
    assert votes.label.tolist() == [0, -1]
    assert votes.groups == ("clip", "q2")
    assert votes.trust.tolist() == [[0.5, 1.0], [1.0, 1.0]]
    assert votes.ms[0, 1] == 12.5
    assert np.isnan(votes.ms[0, 0])
    assert votes.size_class == ("frame", None)
    assert votes.conditions["night"].tolist() == [0.3, 0.0]
    assert votes.generation == ("cropped", "")
    assert (votes.received_at[0], votes.prediction[0], votes.total_ms[0]) == (1e9, -1.0, 40.0)


def test_without_a_header_all_experts_are_one_level():
    votes = votes_from_lines([line(1, {"a": 0.5}).encode(), b"", line(2, {"b": 0.5}).encode()])
    assert votes.levels == (("all", ("a", "b")),)


def test_opinions_that_are_no_probability_count_as_missing_and_are_told():
    votes = votes_from_lines(
        [
            '{"id": "1", "label": 1, "opinions": {"a": NaN, "b": 0.5}}',
            '{"id": "2", "label": 0, "opinions": {"a": Infinity, "b": 1.5}}',
            '{"id": "3", "label": 0, "opinions": {"a": 0.4, "b": -0.1}}',
        ]
    )
    assert np.isnan(votes.probability).tolist() == [[True, False], [True, True], [False, True]]
    assert votes.asked.all()
    assert votes.remarks == (
        "4 opinions are no probability in [0, 1] and count as missing: a 2, b 2",
    )


def test_exact_duplicates_are_kept_once():
    votes = votes_from_lines([line(1, {"a": 0.5}), line(2, {"a": 0.6}), line(1, {"a": 0.5})])
    assert votes.ids == ("q1", "q2")
    assert votes.left_out == {"duplicates": 1}


@pytest.mark.parametrize("by", ["id", "sha256"])
def test_conflicting_labels_are_left_out(by):
    more = [{}, {}] if by == "id" else [{"sha256": "f00"}, {"sha256": "f00"}]
    numbers = (1, 1) if by == "id" else (1, 2)
    votes = votes_from_lines(
        [
            line(numbers[0], {"a": 0.5}, 1, **more[0]),
            line(numbers[1], {"a": 0.6}, 0, **more[1]),
            line(3, {"a": 0.7}, 1),
        ]
    )
    assert votes.ids == ("q3",)
    assert votes.left_out == {"conflicting labels": 2}


def test_an_expert_that_no_line_names_is_still_there():
    votes = votes_from_lines([HEADER, line(1, {"a": 0.9})])
    assert votes.experts == ("a", "b", "c")
    assert not votes.asked[:, 1:].any()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "not one line"),
        ([HEADER], "not one line"),
        (["nonsense"], "line 1 of the votes is not JSON"),
        ([b'{"id": "\xff"}'], "line 1 of the votes is not JSON"),
        (["[1]"], "line 1 of the votes is a list"),
        ([line(1, {}), line(2, {})], "names an expert under `opinions`"),
        ([line(1, {"a": 0.5}), "", '{"id": "q"}'], "line 3 of the votes: opinions"),
        ([line(1, {"a": 0.5}, 2)], "line 1 of the votes: label"),
        ([line(1, {"a": "yes"})], r"line 1 of the votes: opinions\.a"),
        ([line(1, {"a": True})], r"line 1 of the votes: opinions\.a"),
        ([line(1, {"a": 0.5}, color="red")], "line 1 of the votes: color"),
        ([line(1, {"a": 0.5}, trust={"a": 2.0})], "line 1 of the votes: trust.a"),
        ([line(1, {"a": 0.5}, trust={"b": 1.0})], "line 1 of the votes names .*'b'"),
        ([HEADER, line(1, {"z": 0.5})], "line 2 of the votes names .*'z'"),
        (['{"levels": [["x", ["a"]], ["y", ["a"]]]}'], "more than one level"),
        (['{"levels": []}'], "line 1 of the votes: levels"),
        (['{"levels": [["x", []]]}'], "no level has an expert"),
        ([line(1, {"a": 0.5}, 1), line(1, {"a": 0.5}, 0)], "nothing is left"),
    ],
)
def test_bad_lines_are_refused_with_their_number(lines, message):
    with pytest.raises(FittingError, match=message):
        votes_from_lines(lines)
