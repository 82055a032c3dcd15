"""Evidence drawn onto the picture: where it lies, in which colour, readable at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from natix_miner.cascade.trace import EvidenceTrace, ExpertTrace
from natix_miner.cli.drawing import COLOURS, drawn

RED = tuple(int(COLOURS[0][i : i + 2], 16) for i in (1, 3, 5))


def expert(*evidence: EvidenceTrace) -> ExpertTrace:
    return ExpertTrace(
        name="detector",
        status="ok",
        probability=0.8,
        calibrated=0.8,
        log_odds=1.4,
        weight=1.0,
        ms=5.0,
        detail="",
        evidence=evidence,
    )


def test_a_box_is_drawn_where_it_lies_at_the_scale_of_the_picture(make_frame):
    frame = make_frame(width=320, height=200)
    picture = drawn(frame, expert(EvidenceTrace(what="cone", score=0.9, box=(50, 80, 90, 160))))
    assert picture.size == (640, 400)
    red = np.argwhere((np.asarray(picture) == RED).all(2))
    box = red[red[:, 0] >= 160]  # below the words
    assert box.min(0) == pytest.approx((160, 100), abs=2)
    assert box.max(0) == pytest.approx((320, 180), abs=2)


def test_an_outline_is_drawn_within_its_box(make_frame):
    frame = make_frame(width=640, height=400)
    plain = EvidenceTrace(what="cone", score=0.9, box=(100, 100, 200, 300))
    outlined = plain.model_copy(update={"outline": ((150, 100), (200, 300), (100, 300))})
    more = np.asarray(drawn(frame, expert(outlined))) != np.asarray(drawn(frame, expert(plain)))
    rows, columns = np.nonzero(more.any(2))
    assert rows.size > 100
    assert (rows.min(), columns.min()) >= (97, 97)
    assert rows.max() <= 302


@pytest.mark.parametrize("box", [(-5, -5, 30, 20), (600, 380, 700, 450), (0, 0, 640, 400)])
def test_boxes_at_the_edges_keep_their_words_on_the_picture(make_frame, box):
    frame = make_frame(width=640, height=400)
    picture = np.asarray(drawn(frame, expert(EvidenceTrace(what="drum", score=0.5, box=box))))
    assert (picture == 0).all(2).sum() > 200, "the words' black ground is to be seen"


def test_an_expert_without_a_place_draws_nothing(make_frame):
    assert drawn(make_frame(), expert()) is None
    assert drawn(make_frame(), expert(EvidenceTrace(what="night", score=0.5, box=None))) is None
