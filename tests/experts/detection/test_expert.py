"""What all detectors do with their boxes: views, tiles in the time there is, evidence, remarks."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from natix_miner.clock import Deadline
from natix_miner.errors import ModelError
from natix_miner.experts.detection.detections import Detections
from natix_miner.experts.detection.expert import TRACED
from natix_miner.experts.detection.rule import BoxRule, Found, load_rule, probability_of
from natix_miner.experts.detection.vocabulary import vocabulary_named

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (120, 120, 120)


def street(width=2000, height=1200, cones=(), drums=()):
    """A grey picture with red and blue squares at (left, top, side)."""
    pixels = np.full((height, width, 3), GREY, np.uint8)
    for colour, places in ((RED, cones), (BLUE, drums)):
        for left, top, side in places:
            pixels[top : top + side, left : left + side] = colour
    return pixels


def sharp(picture):
    """As a detector that sees nothing below 30 x 30 pixels."""
    rows, columns = np.nonzero((picture[..., 0] > 200) & (picture[..., 1] < 60))
    if len(rows) < 900:
        return Detections.none()
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return Detections.of([box], [0.6], ["Cone"])


def in_time(detector, frame, seconds):
    return detector.look_within([frame], [Deadline.after(seconds, detector._clock)])[0]


class TestProbability:
    def test_it_is_what_the_rule_says_of_the_objects(self, told, make_frame):
        detector = told()
        look = detector.look_at([make_frame(street(400, 300, cones=[(100, 200, 40)]))])[0]
        rule = load_rule(detector._rule_file)
        found = Found("cone", 0.6, area=1600 / 120_000, bottom=240 / 300)
        assert look.probability == pytest.approx(probability_of([found], rule))
        assert [(e.what, e.score, e.box) for e in look.evidence] == [
            ("Cone", pytest.approx(0.6), pytest.approx((100, 200, 140, 240)))
        ]
        assert look.detail == ""

    def test_boxes_below_the_threshold_do_not_count(self, told, make_frame):
        frame = make_frame(street(400, 300, cones=[(100, 200, 40)]))
        assert told(threshold=0.7).look_at([frame])[0].evidence == ()

    def test_labels_that_mean_nothing_here_are_no_evidence(self, told, make_frame):
        detector = told(lambda _: Detections.of([[0, 0, 50, 50]], [0.9], ["Bike Lane"]))
        look = detector.look_at([make_frame()])[0]
        assert look.evidence == ()
        assert look.probability == pytest.approx(load_rule(detector._rule_file).leak)

    def test_shares_of_a_letterboxed_picture_are_those_of_the_picture_in_it(self, told, make_frame):
        rng = np.random.default_rng(2)
        pixels = np.zeros((224, 224, 3), np.uint8)
        pixels[56:168] = rng.integers(90, 170, (112, 224, 3))
        pixels[100:140, 50:90] = RED
        frame = make_frame(pixels)
        assert frame.geometry.padding_top == pytest.approx(56, abs=2)
        detector = told()
        rule = load_rule(detector._rule_file)
        look = detector.look_at([frame])[0]
        found = Found("cone", 0.6, area=1600 / (224 * 112), bottom=(140 - 56) / 112)
        assert look.probability == pytest.approx(probability_of([found], rule), abs=0.01)

    def test_two_names_for_one_place_count_once(self, told, make_frame):
        box = [50, 150, 90, 200]
        both = told(lambda _: Detections.of([box, box], [0.6, 0.6], ["Drum", "Cone"]))
        alone = told(lambda _: Detections.of([box], [0.6], ["Cone"]))
        frame = make_frame()
        look = both.look_at([frame])[0]
        assert look.probability == alone.look_at([frame])[0].probability
        assert [e.what for e in look.evidence] == ["Cone"]

    def test_a_batch_says_the_same_as_one_by_one(self, told, make_frame):
        frames = [
            make_frame(street(2000, 1200, cones=[(300 * n, 700, 60)])) for n in range(1, 4)
        ] + [make_frame(street(300, 200))]
        detector = told(views=("whole", "tiles"), view_size=640, batch=2)
        together = detector.look_at(frames)
        assert together == [detector.look_at([frame])[0] for frame in frames]


class TestViews:
    @pytest.mark.parametrize("views", ["whole", "upright", "enlarged", "whole upright"])
    @pytest.mark.parametrize("mirror", [False, True])
    def test_every_view_places_an_object_where_it_is(self, told, make_frame, views, mirror):
        frame = make_frame(street(400, 300, cones=[(260, 200, 40)]))
        look = told(views=tuple(views.split()), mirror=mirror).look_at([frame])[0]
        assert len(look.evidence) == 1, "one object in several views is one object"
        assert look.evidence[0].box == pytest.approx((260, 200, 300, 240), abs=2.5)

    def test_what_only_a_tile_can_see_is_found(self, told, make_frame):
        frame = make_frame(street(cones=[(1500, 900, 40)]))
        assert told(sharp, view_size=640).look_at([frame])[0].evidence == ()
        look = told(sharp, view_size=640, views=("whole", "tiles")).look_at([frame])[0]
        assert [e.score for e in look.evidence] == [0.6], "no less for being in one tile only"
        assert look.evidence[0].box == pytest.approx((1500, 900, 1540, 940), abs=2.5)

    def test_the_half_that_a_tile_has_of_an_object_is_not_a_second_one(self, told, make_frame):
        detector = told(views=("whole", "tiles"), view_size=640)
        frame = make_frame(street())
        edge = min(v.box[2] for v in detector.views(frame) if v.name.startswith("tile"))
        frame = make_frame(street(cones=[(edge - 50, 700, 100)]))
        look = detector.look_at([frame])[0]
        assert len(look.evidence) == 1
        assert look.evidence[0].box == pytest.approx((edge - 50, 700, edge + 50, 800), abs=4)


#: Six tiles of a picture of 2000 x 1200.
TILED = {"views": ("whole", "tiles"), "view_size": 640, "tiles": 6}


class TestTime:
    """A detector that takes a second a view, on a picture of several tiles."""

    @pytest.fixture
    def frame(self, make_frame):
        return make_frame(street())

    def tiles_of(self, detector, frame):
        return sum(view.name.startswith("tile") for view in detector.views(frame))

    def test_with_time_all_tiles_are_looked_at(self, told, frame):
        detector = told(seconds=1.0, **TILED)
        tiles = self.tiles_of(detector, frame)
        look = in_time(detector, frame, 60.0)
        assert sum(map(len, detector.calls)) == 1 + tiles
        assert look.detail == ""

    def test_tiles_that_do_not_fit_are_dropped_and_told(self, told, frame, clock):
        detector = told(seconds=1.0, **TILED)
        tiles = self.tiles_of(detector, frame)
        due = Deadline.after(3.5, clock)
        look = detector.look_within([frame], [due])[0]
        assert sum(map(len, detector.calls)) == 1 + 2
        assert look.detail == f"no time for {tiles - 2} of {tiles} tiles"
        assert not due.expired()

    def test_with_no_time_left_the_picture_as_a_whole_has_to_do(self, told, frame):
        detector = told(seconds=1.0, **TILED)
        tiles = self.tiles_of(detector, frame)
        look = in_time(detector, frame, 1.2)
        assert len(detector.calls) == 1
        assert look.detail == f"no time for {tiles} of {tiles} tiles"
        assert look.probability is not None

    def test_only_tiles_are_cut_short_too(self, told, frame):
        detector = told(seconds=1.0, **{**TILED, "views": ("tiles",)})
        tiles = self.tiles_of(detector, frame)
        look = in_time(detector, frame, 2.5)
        assert sum(map(len, detector.calls)) == 2
        assert look.detail == f"no time for {tiles - 2} of {tiles - 1} tiles"

    def test_time_is_asked_again_between_batches(self, told, frame):
        detector = told(seconds=1.0, batch=1, **TILED)
        detector.seconds = 2.0  # slower than it was at load
        in_time(detector, frame, 7.1)
        assert sum(map(len, detector.calls)) == 3

    def test_the_first_slow_look_at_load_is_not_held_against_it(self, told, frame):
        detector = told(seconds=0.1, first=30.0, **TILED)
        assert in_time(detector, frame, 2.0).detail == ""

    def test_the_frames_of_a_batch_share_the_time(self, told, frame, clock):
        detector = told(seconds=1.0, **TILED)
        tiles = self.tiles_of(detector, frame)
        due = Deadline.after(2.5 + tiles, clock)
        first, second = detector.look_within([frame, frame], [due, due])
        assert first.detail == ""
        assert second.detail == f"no time for {tiles} of {tiles} tiles"

    def test_a_sure_first_look_needs_no_tiles(self, told, make_frame):
        cones = [(200 * n, 800, 90) for n in range(1, 9)]
        detector = told(seconds=1.0, **TILED)
        look = in_time(detector, make_frame(street(cones=cones)), 60.0)
        assert look.probability >= 0.9
        assert len(detector.calls) == 1

    def test_a_small_frame_has_no_tiles_and_nothing_to_tell(self, told, make_frame):
        assert in_time(told(**TILED), make_frame(street(600, 400)), 0.0).detail == ""

    def test_no_more_views_at_once_than_the_batch(self, told, frame):
        detector = told(batch=4, **TILED)
        detector.look_at([frame] * 3)
        assert max(map(len, detector.calls)) <= 4


class TestTrace:
    def test_the_objects_that_weigh_most_come_first_and_the_rest_is_counted(self, told, make_frame):
        boxes = [[20 * n, 150, 20 * n + 10, 200] for n in range(11)]
        scores = np.linspace(0.2, 0.9, 11)
        detector = told(lambda _: Detections.of(boxes, scores, ["Cone"] * 11))
        look = detector.look_at([make_frame()])[0]
        assert [e.score for e in look.evidence] == sorted(scores, reverse=True)[:TRACED]
        assert look.detail == f"{11 - TRACED} more objects count"

    def test_no_more_than_the_most_boxes_count(self, told, make_frame):
        boxes = [[20 * n, 150, 20 * n + 10, 200] for n in range(6)]
        detector = told(lambda _: Detections.of(boxes, [0.5] * 6, ["Cone"] * 6), most_boxes=4)
        look = detector.look_at([make_frame()])[0]
        assert len(look.evidence) == 4
        assert look.detail == "2 objects beyond `most_boxes` do not count"

    def test_a_model_that_knows_no_roadwork_says_so(self, told, make_frame):
        sees = lambda _: Detections.of([[10, 100, 60, 200]], [0.9], ["truck"])  # noqa: E731
        look = told(sees, vocabulary_named("coco-80")).look_at([make_frame()])[0]
        assert look.detail.startswith("weak evidence")
        assert look.probability < 0.2

    def test_a_model_that_knows_no_roadwork_and_finds_nothing_does_not_vote(self, told, make_frame):
        def nothing(picture):
            return Detections.none()

        frame = make_frame()
        weak = told(nothing, vocabulary_named("coco-80")).look_at([frame])[0]
        assert weak.trust == 0.0
        assert "nothing found, no vote" in weak.detail
        strong = told(nothing).look_at([frame])[0]
        assert strong.trust == 1.0
        assert strong.probability == pytest.approx(0.12)

    def test_doubtful_sizes_count_less_and_are_told(self, told, make_frame, monkeypatch):
        detector = told(lambda _: Detections.of([[10, 100, 60, 200]], [0.9], ["Cone"]))
        before = detector.look_at([make_frame()])[0].probability
        monkeypatch.setattr(
            detector, "plausibility", lambda frame, found, due=None: (np.array([0.25]), "odd sizes")
        )
        look = detector.look_at([make_frame()])[0]
        assert look.probability < before
        assert look.evidence[0].what == "Cone (size 0.25)"
        assert look.detail == "odd sizes"

    def test_the_version_tells_weights_rule_and_meaning_apart(self, told, tmp_path):
        one = told().version
        assert one == told().version
        assert told(meaning=vocabulary_named("lvis")).version != one
        rule = tmp_path / "rule.json"
        rule.write_text(BoxRule(weights={"cone": 0.5}, leak=0.1).model_dump_json())
        assert told(rule=rule).version != one


class TestLife:
    def test_it_answers_as_an_expert(self, told, make_frame):
        async def run():
            detector = told()
            await detector.start()
            try:
                frame = make_frame(street(400, 300, cones=[(100, 200, 40)]))
                return await detector.look(frame, Deadline(math.inf, detector._clock))
            finally:
                await detector.close()
                await detector.close()

        assert asyncio.run(run()).probability > 0.3

    def test_a_missing_rule_is_a_model_error(self, told, tmp_path):
        with pytest.raises(ModelError, match="no rule for boxes"):
            told(rule=tmp_path / "none.json")
