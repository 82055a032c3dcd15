"""Boxes of several views, or of several names, that show one object."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natix_miner.errors import MissingExtraError
from natix_miner.experts.detection.detections import Detections
from natix_miner.experts.detection.merging import distinct, merged

WIDTH, HEIGHT = 1000, 500
LINE = ((1.0, 1.0), (9.0, 1.0), (9.0, 9.0))


def one(box, score, label="cone", line=()):
    return Detections.of([box], [score], [label], [line])


def fused(*several, iou=0.55, **more):
    return merged(several, WIDTH, HEIGHT, iou, **more)


class TestFusion:
    def test_corners_are_the_mean_weighted_by_score(self):
        found = fused(one((100, 100, 200, 200), 0.6), one((110, 100, 210, 204), 0.2))
        # By hand: three quarters of the first, one quarter of the second.
        assert found.boxes[0] == pytest.approx([102.5, 100, 202.5, 201], abs=1e-3)
        assert len(found) == 1

    def test_the_score_is_the_best_one_however_many_views_there_are(self):
        box = (100, 100, 200, 200)
        views = [one(box, 0.6), one(box, 0.3), Detections.none(), one((700, 300, 800, 400), 0.5)]
        found = fused(*views, *[Detections.none()] * 5)
        assert found.scores.tolist() == [0.6, 0.5]

    def test_one_object_in_one_tile_is_as_it_was(self):
        found = fused(Detections.none(), one((3.25, 4.5, 17.75, 40.0), 0.123456789, "cone", LINE))
        assert found.scores.tolist() == [0.123456789]
        assert found.boxes[0] == pytest.approx([3.25, 4.5, 17.75, 40.0], abs=1e-3)
        assert found.outlines == (LINE,)

    def test_doubles_within_one_view_are_one_object_too(self):
        boxes = [(100, 100, 200, 200), (102, 101, 201, 199)]
        assert len(fused(Detections.of(boxes, [0.5, 0.4], ["cone"] * 2))) == 1

    def test_other_labels_and_far_boxes_stay_apart(self):
        box = (100, 100, 200, 200)
        found = fused(one(box, 0.5), one(box, 0.4, "drum"), one((300, 100, 400, 200), 0.3))
        assert list(zip(found.labels, found.scores.tolist(), strict=True)) == [
            ("cone", 0.5),
            ("drum", 0.4),
            ("cone", 0.3),
        ]

    def test_labels_of_one_meaning_are_one_kind_and_the_better_name_stays(self):
        box = (100, 100, 200, 200)
        found = fused(
            one(box, 0.4, "Barricade"),
            one(box, 0.7, "Barrier"),
            kind_of={"Barricade": "barrier", "Barrier": "barrier"}.get,
        )
        assert (found.labels, found.scores.tolist()) == (("Barrier",), [0.7])

    def test_the_outline_is_that_of_the_best(self):
        other = ((2.0, 2.0), (5.0, 2.0), (5.0, 5.0))
        found = fused(
            one((0, 0, 10, 10), 0.3, line=other),
            one((0, 0, 10, 11), 0.8, line=LINE),
            one((500, 0, 510, 10), 0.8, line=other),
        )
        assert {
            box[0] > 250: line for box, line in zip(found.boxes, found.outlines, strict=True)
        } == {
            False: LINE,
            True: other,
        }

    def test_nothing_to_merge_is_nothing(self):
        assert len(fused()) == len(fused(Detections.none())) == 0

    def test_boxes_outside_and_scores_of_zero_do_no_harm(self, capsys):
        views = [
            one((-50, -50, 100, 100), 0.0),
            one((900, 400, 1100, 700), 0.0),
            one((1001, 0, 1010, 10), 0.9),
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = fused(*views)
        assert capsys.readouterr().out == ""
        assert sorted(found.boxes.round(3).tolist()) == [[0, 0, 100, 100], [900, 400, 1000, 500]]
        assert found.scores.tolist() == [0.0, 0.0]

    @settings(deadline=None, max_examples=50)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 90),
                st.integers(0, 40),
                st.integers(1, 20),
                st.integers(1, 20),
                st.floats(0.0, 1.0),
                st.sampled_from(["cone", "drum"]),
                st.integers(0, 2),
            ),
            max_size=12,
        )
    )
    def test_nothing_is_lost_and_nothing_made_up(self, rows):
        views = [
            Detections.of(
                [(x, y, x + w, y + h) for x, y, w, h, _, _, view in rows if view == number],
                [score for *_, score, _, view in rows if view == number],
                [label for *_, label, view in rows if view == number],
            )
            for number in range(3)
        ]
        found = merged(views, 110, 60, 0.55)
        assert len(found) <= len(rows)
        assert set(found.scores.tolist()) <= {row[4] for row in rows}
        for label in ("cone", "drum"):
            scores = [row[4] for row in rows if row[5] == label]
            best = [s for s, name in zip(found.scores, found.labels, strict=True) if name == label]
            assert max(best, default=None) == max(scores, default=None)
        assert (np.diff(found.scores) <= 0).all()

    def test_a_missing_library_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ensemble_boxes", None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[detectors\]"):
            fused(one((0, 0, 1, 1), 0.5))


def kept(boxes, kinds, weights, iou=0.55):
    found = Detections.of(boxes, [0.5] * len(boxes), list(kinds))
    return distinct(found, list(kinds), np.array(weights), iou).tolist()


class TestDistinct:
    def test_one_place_under_two_names_counts_as_the_weightier(self):
        box = (100, 100, 200, 200)
        assert kept([box, (101, 100, 200, 201), (300, 0, 310, 9)], "abc", [0.2, 0.7, 0.1]) == [1, 2]

    def test_a_part_of_an_object_does_not_count_beside_the_whole(self):
        whole, half = (100, 100, 200, 200), (100, 100, 150, 200)
        assert kept([whole, half], "aa", [0.5, 0.4]) == [0]
        assert kept([whole, half], "aa", [0.4, 0.5]) == [1]

    def test_a_helmet_on_a_worker_counts_for_itself(self):
        worker, helmet = (100, 100, 200, 300), (130, 100, 170, 140)
        assert kept([worker, helmet], "wh", [0.5, 0.4]) == [0, 1]

    def test_neighbours_stay(self):
        boxes = [(0, 0, 100, 100), (60, 0, 160, 100), (120, 0, 220, 100)]
        assert kept(boxes, "aaa", [0.1, 0.2, 0.3]) == [0, 1, 2]

    def test_nothing_is_nothing(self):
        assert distinct(Detections.none(), [], np.zeros(0), 0.5).tolist() == []
