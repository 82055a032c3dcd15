"""Votes out of traces: every opinion in its place, and a word for what is left out."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from natix_miner.cascade.trace import (
    Answer,
    ExpertTrace,
    LevelTrace,
    PictureTrace,
    QueryTrace,
    Trace,
)
from natix_miner.errors import FittingError
from natix_miner.fitting.reading import votes_of
from natix_miner.stored import StoredQuery

VERSIONS = {"network": "n1", "colour": "c1", "vlm": "v1", "haze": "h1"}


def expert(name: str, probability: float | None = None, status: str = "ok", **more) -> ExpertTrace:
    return ExpertTrace(
        name=name,
        status=status,
        probability=probability,
        calibrated=None,
        log_odds=None,
        weight=0.0,
        ms=more.pop("ms", 5.0),
        detail="",
        evidence=(),
        **more,
    )


def level(name: str, *experts: ExpertTrace) -> LevelTrace:
    return LevelTrace(
        name=name,
        entered=bool(experts),
        why="",
        experts=experts,
        log_odds=None,
        probability=None,
        disagreement=None,
        ms=1.0,
    )


def picture(**changed) -> PictureTrace:
    values = {
        "format": "JPEG",
        "original_width": 224,
        "original_height": 224,
        "width": 224,
        "height": 224,
        "size_class": "validator-square",
        "padding_share": 0.25,
        "black_corner_share": 0.0,
        "tilt_degrees": 5.0,
        "brightness": 0.5,
        "sharpness": 100.0,
        "dark": True,
        "blurred": False,
    }
    return PictureTrace(**{**values, **changed})


def query(number: int, *levels: LevelTrace, label=None, seen=True, versions=VERSIONS, **more):
    identity = more.pop("id", f"q{number}")
    sha256 = more.pop("sha256", hashlib.sha256(str(number).encode()).hexdigest())
    received = more.pop("received_at", 1_700_000_000.0 + number)
    prediction = more.pop("prediction", 0.75)
    trace = Trace(
        query=QueryTrace(
            id=identity,
            sha256=sha256,
            source="axon",
            asked_by=None,
            received_at=received,
            bytes=10,
            deadline_ms=7000.0,
        ),
        picture=more.pop("picture", picture()) if seen else None,
        levels=levels,
        answer=Answer(prediction=prediction, reason="sure", level=None),
        stages_ms={"total": 20.0},
        versions={"profile": "p:1", "experts": dict(versions)} if versions else {},
    )
    return StoredQuery(
        id=identity,
        sha256=sha256,
        received_at=received,
        prediction=prediction,
        label=label,
        trace=trace,
        total_ms=more.pop("total_ms", 20.0),
        **more,
    )


def glance(network=0.9, colour=0.2) -> LevelTrace:
    return level("glance", expert("network", network), expert("colour", colour))


def test_every_opinion_stands_in_its_place():
    queries = [
        query(0, glance(), level("deep"), label=1, generation="cropped", group="drive"),
        query(
            1,
            level(
                "glance",
                expert("network", None, "timed-out", ms=3000.0),
                expert("colour", 0.4, trust=0.25, reliability=0.5),  # drifting, half of its trust
            ),
            level("deep", expert("vlm", 0.7, ms=900.0)),
            label=0,
            prediction=0.25,
        ),
        query(2, glance(0.1, 0.3), level("deep"), total_ms=None, prediction=-1.0),
    ]
    votes = votes_of(queries)
    assert votes.levels == (("glance", ("network", "colour")), ("deep", ("vlm",)))
    nan = np.nan
    np.testing.assert_array_equal(
        votes.probability, [[0.9, 0.2, nan], [nan, 0.4, 0.7], [0.1, 0.3, nan]]
    )
    np.testing.assert_array_equal(
        votes.asked, [[True, True, False], [True, True, True], [True, True, False]]
    )
    np.testing.assert_array_equal(votes.trust, [[1, 1, 1], [1, 0.5, 1], [1, 1, 1]])
    np.testing.assert_array_equal(votes.ms, [[5, 5, nan], [3000, 5, 900], [5, 5, nan]])
    assert votes.label.tolist() == [1, 0, -1]
    assert votes.prediction.tolist() == [0.75, 0.25, -1.0]
    np.testing.assert_array_equal(votes.total_ms, [20.0, 20.0, nan])
    assert votes.ids == ("q0", "q1", "q2")
    assert votes.generation == ("cropped", "", "")
    assert votes.size_class == ("validator-square",) * 3
    assert (votes.left_out, len(votes)) == ({}, 3)


def test_experts_that_only_tell_conditions_are_conditions():
    queries = [
        query(0, level("glance", expert("network", 0.9), expert("haze", conditions={"haze": 0.3}))),
        query(
            1,
            level("glance", expert("network", 0.8, conditions={"haze": 0.6, "night": 1.0})),
            level("deep", expert("haze", None, "failed")),
        ),
    ]
    votes = votes_of(queries)
    assert votes.experts == ("network",)
    assert votes.levels == (("glance", ("network",)),)
    assert votes.conditions["haze"].tolist() == [0.3, 0.6]
    assert votes.conditions["night"].tolist() == [0.0, 1.0]
    assert votes.conditions["frame-dark"].tolist() == [1.0, 1.0]
    assert votes.conditions["frame-tilted"].tolist() == [0.5, 0.5]
    assert votes.conditions["frame-padded"].tolist() == [0.25, 0.25]
    assert any("no vote of the levels deep" in one for one in votes.remarks)


def test_an_expert_that_never_answered_is_still_a_voter():
    votes = votes_of(
        [query(0, level("glance", expert("network", 0.9), expert("vlm", status="failed")))]
    )
    assert votes.experts == ("network", "vlm")
    assert np.isnan(votes.probability[0, 1])
    assert votes.asked[0, 1]


@pytest.mark.parametrize(
    ("given", "kept"),
    [(1.0, True), (0.0, True), (1.0000001, False), (-0.1, False)],
)
def test_only_what_the_consensus_would_pool_is_a_vote(given, kept):
    votes = votes_of([query(0, glance(network=given))])
    assert np.isfinite(votes.probability[0, 0]) == kept


def test_what_cannot_be_used_is_counted_by_reason():
    same = query(9, glance(), label=1)
    queries = [
        same,
        same,
        query(1, seen=False),
        query(2, level("glance")),
        query(3, glance(), label=0, sha256="aa" * 32),
        query(4, glance(), label=1, sha256="aa" * 32),
        query(5, glance(), sha256="bb" * 32, label=1, received_at=1_600_000_000.0),
        query(6, glance(), sha256="bb" * 32),
    ]
    votes = votes_of(queries)
    assert votes.ids == ("q9", "q5", "q6")
    assert votes.left_out == {
        "duplicates": 1,
        "no picture (refused)": 1,
        "nobody was asked": 1,
        "conflicting labels": 2,
    }
    assert votes.groups[1] == votes.groups[2]
    labelled = votes_of(queries, labelled_only=True)
    assert labelled.ids == ("q9", "q5")
    assert labelled.left_out["no label"] == 3


def test_of_several_profiles_the_newest_says_which_experts_there_are():
    old = {"network": "n0", "colour": "c1", "old": "o1"}
    queries = [
        # The network had other weights then, and `old` is gone; colour is the same to this day.
        query(
            0,
            level("glance", expert("network", 0.9), expert("colour", 0.2), expert("old", 0.6)),
            versions=old,
        ),
        query(1, level("glance", expert("old", 0.5)), versions=old),
        query(2, level("first", expert("colour", 0.5)), versions=old),
        query(3, level("glance", expert("network", 0.3), expert("vlm", 0.7)), level("deep")),
    ]
    votes = votes_of(reversed(queries))
    assert votes.experts == ("network", "vlm", "colour")
    row = votes.ids.index("q0")
    np.testing.assert_array_equal(votes.probability[row], [np.nan, np.nan, 0.2])
    assert votes.asked[row].tolist() == [False, False, True]
    assert set(votes.ids) == {"q0", "q3"}
    assert votes.left_out == {"experts of another profile": 2}
    assert any("old (2)" in one and "network (1)" in one for one in votes.remarks)


def test_the_same_experts_under_another_profile_are_the_same_experts():
    opened = query(0, glance(), level("deep", expert("vlm", 0.9)))
    votes = votes_of([opened, query(1, glance(), level("deep"))])
    assert votes.experts == ("network", "colour", "vlm")
    assert votes.left_out == {}
    assert not any("left aside" in one for one in votes.remarks)


def test_without_versions_the_names_of_the_levels_decide():
    queries = [
        query(0, glance(), versions=None),
        query(1, level("other", expert("network", 0.1)), versions=None),
        query(2, glance(), versions=None),
    ]
    assert votes_of(queries).ids == ("q0", "q2")


def test_two_scored_folders_with_the_same_ids_are_told_apart():
    queries = [query(n, glance(), id="0-0", name=f"{n}.jpg") for n in range(3)]
    votes = votes_of(queries)
    assert len(set(votes.ids)) == 3
    assert votes.ids[0] == "0-0"


def test_draws_of_one_named_picture_stay_together():
    queries = [query(n, glance(), name=f"{n % 2}.jpg") for n in range(4)]
    votes = votes_of(queries)
    assert votes.groups[0] == votes.groups[2] != votes.groups[1] == votes.groups[3]
    assert any("4 of 4 pictures are not there" in one for one in votes.remarks)


@pytest.mark.parametrize(
    ("queries", "word"),
    [
        ([], "none at all"),
        ([query(0, seen=False)], r"no picture \(refused\): 1"),
        (
            [query(n, glance(), label=n, sha256="cc" * 32) for n in (0, 1)],
            "conflicting labels: 2",
        ),
        ([query(0, level("glance", expert("haze", conditions={"haze": 1.0})))], "only tell cond"),
    ],
)
def test_nothing_to_fit_from_is_told(queries, word):
    with pytest.raises(FittingError, match=word):
        votes_of(queries)


def test_a_word_that_is_no_grouping_is_refused_before_anything_is_read():
    def broken():
        raise AssertionError("was read")
        yield

    with pytest.raises(FittingError, match="not known"):
        votes_of(broken(), group_by="moon")
