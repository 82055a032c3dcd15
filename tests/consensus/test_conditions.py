"""Conditions of a frame, from its geometry and from the picture of a trace."""

from __future__ import annotations

import numpy as np
import pytest

from natix_miner.cascade.trace import PictureTrace
from natix_miner.consensus import FRAME_CONDITIONS, frame_conditions


def picture(**changes):
    measured = {
        "format": "JPEG",
        "original_width": 224,
        "original_height": 224,
        "width": 224,
        "height": 224,
        "size_class": "validator-square",
        "padding_share": 0.0,
        "black_corner_share": 0.0,
        "tilt_degrees": 0.0,
        "brightness": 0.5,
        "sharpness": 100.0,
        "dark": False,
        "blurred": False,
    }
    return PictureTrace(**{**measured, **changes})


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"dark": True}, "frame-dark", 1.0),
        ({"blurred": True}, "frame-blurred", 1.0),
        ({"tilt_degrees": -3.5}, "frame-tilted", 0.35),
        ({"tilt_degrees": 19.0}, "frame-tilted", 1.0),
        ({"padding_share": 0.44}, "frame-padded", 0.44),
    ],
)
def test_each_condition_by_hand(changes, name, value):
    conditions = frame_conditions(picture(**changes))
    assert tuple(conditions) == FRAME_CONDITIONS
    assert conditions.pop(name) == pytest.approx(value)
    assert set(conditions.values()) == {0.0}


def test_frame_and_trace_of_it_tell_the_same(make_frame):
    """Replay has only the trace."""
    from natix_miner.judge import _picture_trace

    pixels = np.zeros((224, 224, 3), np.uint8)
    pixels[60:160] = np.random.default_rng(1).integers(0, 200, (100, 224, 3), np.uint8)
    frame = make_frame(pixels)
    trace = PictureTrace.model_validate_json(_picture_trace(frame).model_dump_json())
    conditions = frame_conditions(frame.geometry)
    assert frame_conditions(trace) == conditions
    assert conditions["frame-dark"] == 0.0
    assert 0.5 < conditions["frame-padded"] < 0.6
