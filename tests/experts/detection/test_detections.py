"""The result of all detectors: brought to shape, placed in the frame, worded for the trace."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.experts.detection.detections import Detections, outline_of, unworded, worded
from natix_miner.experts.detection.vocabulary import vocabulary_named
from natix_miner.images import Frame, mirrored, upright, whole
from natix_miner.images.frame import Geometry, SizeClass

BOXES = [[10.0, 20.0, 30.0, 60.0], [0.0, 0.0, 5.0, 5.0], [40.0, 40.0, 80.0, 90.0]]


def three() -> Detections:
    return Detections.of(BOXES, [0.9, 0.2, 0.5], ["Cone", "Bike Lane", "Drum"])


class TestShape:
    def test_rows_without_area_or_with_values_that_are_not_finite_are_left_out(self):
        boxes = [[0, 0, 4, 4], [5, 5, 5, 9], [7, 7, 6, 9], [math.nan, 0, 1, 1], [0, 0, math.inf, 1]]
        found = Detections.of(boxes, [0.5] * 5, list("abcde"))
        assert found.labels == ("a",)
        assert found.boxes.tolist() == [[0, 0, 4, 4]]

    def test_a_score_that_is_no_number_is_left_out_others_are_clipped(self):
        found = Detections.of([[0, 0, 1, 1]] * 3, [1.2, -0.1, math.nan], list("abc"))
        assert found.scores.tolist() == [1.0, 0.0]
        assert found.labels == ("a", "b")

    def test_lengths_that_differ_are_refused(self):
        with pytest.raises(ValueError, match="2 boxes, 1 scores, 1 labels"):
            Detections.of([[0, 0, 1, 1]] * 2, [0.5], ["a"])

    def test_nothing_is_a_result_too(self):
        assert len(Detections.of([], [], [])) == 0
        assert Detections.joined([]).boxes.shape == (0, 4)
        assert len(Detections.joined([Detections.none(), three()])) == 3

    def test_choosing_keeps_rows_together(self):
        found = three().at_least(0.5)
        assert found.labels == ("Cone", "Drum")
        assert found.boxes.tolist() == [BOXES[0], BOXES[2]]
        back = found.chosen(np.array([1, 0]))
        assert back.labels == ("Drum", "Cone")
        assert back.scores.tolist() == [0.5, 0.9]

    def test_only_labels_with_a_meaning_are_known(self):
        assert three().known_to(vocabulary_named("roadwork-19")).labels == ("Cone", "Drum")
        assert len(Detections.none().known_to(vocabulary_named("roadwork-19"))) == 0


class TestPlacing:
    def test_a_shrunk_view_is_scaled_back(self, make_frame):
        frame = make_frame(width=400, height=200)
        placed = three().placed(whole(frame, 100), 400, 200)
        assert placed.boxes[0].tolist() == [40, 80, 120, 200]  # clipped below: 60 x 4 = 240
        assert placed.boxes[1].tolist() == [0, 0, 20, 20]

    def test_what_lies_outside_of_the_frame_is_left_out(self, make_frame):
        found = Detections.of([[-9, -9, -1, -1], [-5, 10, 20, 20]], [0.5, 0.6], ["a", "b"])
        placed = found.placed(whole(make_frame(), 224), 224, 224)
        assert placed.labels == ("b",)
        assert placed.boxes.tolist() == [[0, 10, 20, 20]]

    def test_a_mirrored_view_is_turned_round(self, make_frame):
        frame = make_frame(width=224, height=224)
        line = ((10.0, 20.0), (30.0, 20.0), (30.0, 60.0))
        found = Detections.of(BOXES[:1], [0.9], ["Cone"], [line])
        placed = found.placed(mirrored(whole(frame, 224)), 224, 224)
        assert placed.boxes[0].tolist() == [194, 20, 214, 60]
        assert placed.outlines[0] == ((214, 20), (194, 20), (194, 60))

    def test_a_box_seen_upright_lies_around_the_object_in_the_tilted_frame(self):
        geometry = Geometry(SizeClass.FRAME, tilt_degrees=10.0, black_corner_share=0.1)
        frame = Frame(np.full((300, 300, 3), 90, np.uint8), 300, 300, "JPEG", geometry)
        view = upright(frame)
        high, wide = view.pixels.shape[:2]
        box = [wide / 2 - 10, high / 2 - 30, wide / 2 + 10, high / 2 + 30]
        line = ((box[0], box[1]), (box[2], box[1]), (box[2], box[3]))
        placed = Detections.of([box], [0.8], ["Cone"], [line]).placed(view, 300, 300)
        # By hand: half sides 10 and 30 turned by 10 degrees.
        sine, cosine = math.sin(math.radians(10)), math.cos(math.radians(10))
        half = (10 * cosine + 30 * sine, 10 * sine + 30 * cosine)
        left, top, right, bottom = placed.boxes[0]
        assert (right - left) / 2 == pytest.approx(half[0], abs=0.01)
        assert (bottom - top) / 2 == pytest.approx(half[1], abs=0.01)
        assert (left + right) / 2 == pytest.approx(150, abs=1.0)
        for x, y in placed.outlines[0]:
            assert left - 0.01 <= x <= right + 0.01
            assert top - 0.01 <= y <= bottom + 0.01

    def test_outlines_stay_in_the_frame(self, make_frame):
        found = Detections.of(
            [[0, 0, 50, 50]], [0.5], ["a"], [((-5.0, -5.0), (50.0, 0.0), (9.0, 60.0))]
        )
        placed = found.placed(whole(make_frame(width=40, height=40), 40), 40, 40)
        assert placed.outlines[0] == ((0, 0), (40, 0), (9, 40))


class TestOutlines:
    def test_a_rectangle_has_its_corners(self):
        mask = np.zeros((40, 60), bool)
        mask[10:21, 20:41] = True
        assert set(outline_of(mask)) == {(20.5, 10.5), (40.5, 10.5), (40.5, 20.5), (20.5, 20.5)}

    def test_the_largest_part_counts(self):
        mask = np.zeros((40, 60), bool)
        mask[2:5, 2:5] = True
        mask[20:35, 30:55] = True
        assert min(x for x, _ in outline_of(mask)) == 30.5

    @pytest.mark.parametrize("rows", [0, 1])
    def test_nothing_and_a_line_have_no_outline(self, rows):
        mask = np.zeros((40, 60), bool)
        mask[5 : 5 + rows, 10:30] = True
        assert outline_of(mask) == ()


class TestWords:
    @given(st.text(min_size=1), st.integers(0, 99))
    def test_what_is_worded_can_be_read_again(self, label, percent):
        assert unworded(worded(label, percent / 100)) == (label, percent / 100)

    def test_an_object_of_full_weight_is_named_by_its_label_alone(self):
        assert worded("traffic cone") == "traffic cone"
        assert unworded("traffic cone") == ("traffic cone", 1.0)
        assert worded("cone", 0.25) == "cone (size 0.25)"
