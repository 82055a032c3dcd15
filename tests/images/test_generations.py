"""The three generations of validator pictures, from frames whose content is known."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from natix_miner.errors import ConfigurationError, PictureError
from natix_miner.images.distortions import distort, draw_distortions
from natix_miner.images.generations import (
    Simulated,
    apply_geometry,
    draw_simulation,
    encode_jpeg,
    simulate,
    tilt_picture,
    tilted_point,
)


@pytest.fixture
def frame() -> np.ndarray:
    return np.random.default_rng(5).integers(30, 256, (180, 320, 3), dtype=np.uint8)


def test_one_seed_gives_one_picture_and_another_seed_another(frame: np.ndarray) -> None:
    for generation in ("cropped", "letterboxed"):
        first, drawn = simulate(frame, generation, np.random.default_rng(3))
        again, drawn_again = simulate(frame, generation, np.random.default_rng(3))
        assert drawn == drawn_again
        assert np.array_equal(first, again)
        other, _ = simulate(frame, generation, np.random.default_rng(4))
        assert not np.array_equal(first, other)


@pytest.mark.parametrize("generation", ["full-frame", "as-is"])
def test_nothing_is_done_to_a_full_frame(frame: np.ndarray, generation: str) -> None:
    picture, drawn = simulate(frame, generation, np.random.default_rng(0))
    assert np.array_equal(picture, frame)
    assert drawn == Simulated(generation)


@pytest.mark.parametrize("generation", ["cropped", "letterboxed"])
def test_small_generations_are_224_square(frame: np.ndarray, generation: str) -> None:
    for seed in range(12):
        picture, _ = simulate(frame, generation, np.random.default_rng(seed))
        assert picture.shape == (224, 224, 3)
        assert picture.dtype == np.uint8


def test_level_zero_of_cropped_is_the_centre_square() -> None:
    frame = np.zeros((100, 300, 3), np.uint8)
    frame[:, 100:200] = 200
    picture = apply_geometry(frame, Simulated("cropped", 0, crop=(100, 0, 200, 100)))
    assert (picture == 200).all()
    levels = (draw_simulation(100, 300, "cropped", np.random.default_rng(s)) for s in range(40))
    centred = [drawn.crop for drawn in levels if drawn.level == 0]
    assert centred
    assert set(centred) == {(100, 0, 200, 100)}


def test_letterboxing_keeps_the_whole_frame_between_black_bars() -> None:
    frame = np.full((100, 200, 3), 180, np.uint8)
    picture = apply_geometry(frame, Simulated("letterboxed", 0))
    assert (picture[:56] == 0).all()
    assert (picture[-56:] == 0).all()
    assert (picture[56:168] == 180).all()


def test_levels_and_tilts_have_the_published_distribution() -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_simulation(180, 320, "cropped", rng) for _ in range(4000)]
    levels = np.bincount([one.level or 0 for one in drawn], minlength=4) / len(drawn)
    assert np.abs(levels - 0.25).max() < 0.03
    tilts = np.array([one.tilt_degrees for one in drawn if one.level])
    assert np.abs(tilts).max() <= 20
    assert abs(np.std(tilts) - 40 / np.sqrt(12)) < 0.5
    assert all(one.tilt_degrees == 0 for one in drawn if one.level == 0)


def test_crops_cover_between_a_fifth_and_all_of_the_frame() -> None:
    rng = np.random.default_rng(2)
    sides = []
    for _ in range(2000):
        drawn = draw_simulation(200, 200, "cropped", rng)
        assert drawn.crop is not None
        left, top, right, low = drawn.crop
        assert 0 <= left < right <= 200
        assert 0 <= top < low <= 200
        assert right - left == low - top
        if drawn.level:
            sides.append((right - left) ** 2 / 200**2)
    assert 0.19 < min(sides) < 0.25
    assert max(sides) > 0.97
    assert abs(np.mean(sides) - 0.6) < 0.03


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    x=st.floats(0, 319),
    y=st.floats(0, 179),
)
def test_a_crop_holds_the_point_to_keep(seed: int, x: float, y: float) -> None:
    drawn = draw_simulation(180, 320, "cropped", np.random.default_rng(seed), (x, y))
    assert drawn.crop is not None
    left, top, right, low = drawn.crop
    at_x, at_y = tilted_point((x, y), 180, 320, drawn.tilt_degrees)
    assert left <= at_x < right + 1
    assert top <= at_y < low + 1
    assert 0 <= left < right <= 320
    assert 0 <= top < low <= 180


def test_a_tilt_moves_a_spot_to_where_the_formula_says() -> None:
    frame = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(frame, (220, 80), 3, (255, 255, 255), -1)
    turned = tilt_picture(frame, 15.0)
    rows, columns = np.nonzero(turned[..., 0] > 128)
    angle = np.deg2rad(15.0)
    dx, dy = 220 - 149.5, 80 - 99.5
    assert columns.mean() == pytest.approx(149.5 + dx * np.cos(angle) + dy * np.sin(angle), abs=0.6)
    assert rows.mean() == pytest.approx(99.5 - dx * np.sin(angle) + dy * np.cos(angle), abs=0.6)


def test_tilting_leaves_black_corners_on_the_same_canvas() -> None:
    turned = tilt_picture(np.full((150, 150, 3), 255, np.uint8), 20.0)
    assert turned.shape == (150, 150, 3)
    for corner in (turned[0, 0], turned[0, -1], turned[-1, 0], turned[-1, -1]):
        assert (corner == 0).all()
    assert (turned[75, 75] == 255).all()


def test_a_mask_goes_the_same_way_without_new_values(frame: np.ndarray) -> None:
    mask = np.zeros(frame.shape[:2], np.uint8)
    mask[60:120, 100:200] = 255
    record = draw_simulation(180, 320, "cropped", np.random.default_rng(8))
    warped = apply_geometry(mask, record, nearest=True)
    assert warped.shape == (224, 224)
    assert set(np.unique(warped)) <= {0, 255}


def test_only_levels_two_and_three_are_distorted() -> None:
    rng = np.random.default_rng(0)
    assert draw_distortions(0, rng) == draw_distortions(1, rng) == ()
    second = {pair for _ in range(200) for pair in draw_distortions(2, rng)}
    assert second == {("saturation", 1), ("contrast", 1), ("jpeg", 1)}
    third = {pair for _ in range(400) for pair in draw_distortions(3, rng)}
    names = ("saturation", "contrast", "jpeg", "noise", "blur")
    assert third == {(name, strength) for name in names for strength in (1, 2)}


def test_distortions_have_the_published_strengths() -> None:
    rng = np.random.default_rng(0)
    grey = np.full((64, 64, 3), 100, np.uint8)
    for strength, factor in ((1, 0.85), (2, 0.725)):
        assert abs(distort(grey, [("contrast", strength)], rng).mean() - 100 * factor) <= 1
    loud = np.tile(np.array([200, 90, 60], np.uint8), (64, 64, 1))
    before = cv2.cvtColor(loud, cv2.COLOR_RGB2YCrCb)[0, 0].astype(int)
    for strength, factor in ((1, 0.4), (2, 0.3)):
        changed = distort(loud, [("saturation", strength)], rng)
        after = cv2.cvtColor(changed, cv2.COLOR_RGB2YCrCb)[0, 0].astype(int)
        assert after[1] - 128 == pytest.approx((before[1] - 128) * factor, abs=2)
        assert after[0] == pytest.approx(before[0], abs=2)
    for strength, variance in ((1, 0.001), (2, 0.002)):
        noisy = distort(np.full((256, 256, 3), 128, np.uint8), [("noise", strength)], rng)
        luma = cv2.cvtColor(noisy, cv2.COLOR_RGB2YCrCb)[..., 0] / 255
        assert luma.var() == pytest.approx(variance, rel=0.25)


def test_the_jpeg_of_a_picture_is_what_pillow_makes_by_default(frame: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG")
    assert encode_jpeg(frame) == buffer.getvalue()


def test_wrong_input_is_refused_with_a_typed_error(frame: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigurationError, match="unknown generation 'sideways'"):
        simulate(frame, "sideways", rng)
    for wrong in (frame[..., 0], frame.astype(np.float32), frame[:0]):
        with pytest.raises(PictureError, match="need RGB uint8"):
            simulate(wrong, "cropped", rng)
