"""Drawn scenes keep their promises about label, keep point, objects and mask."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from natix_miner.errors import ConfigurationError, PictureError
from natix_miner.scenes import ROADWORK_KINDS, Scene, draw_scene

COUNT = 40


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(np.random.default_rng((9, i)), 320, 240, i % 2 == 0) for i in range(COUNT)]


def test_one_seed_draws_one_scene() -> None:
    one = draw_scene(np.random.default_rng(11), 256, 192, True)
    two = draw_scene(np.random.default_rng(11), 256, 192, True)
    other = draw_scene(np.random.default_rng(12), 256, 192, True)
    assert np.array_equal(one.pixels, two.pixels)
    assert one.objects == two.objects
    assert one.keep_point == two.keep_point
    assert not np.array_equal(one.pixels, other.pixels)


def test_only_scenes_with_roadwork_show_roadwork(scenes: list[Scene]) -> None:
    for index, scene in enumerate(scenes):
        assert scene.label is (index % 2 == 0)
        kinds = {kind for kind, _ in scene.objects}
        assert bool(kinds & ROADWORK_KINDS) is scene.label
        assert bool((scene.mask == 255).any()) is scene.label


def test_the_keep_point_lies_in_visible_roadwork(scenes: list[Scene]) -> None:
    for scene in scenes:
        if not scene.label:
            assert scene.keep_point is None
            continue
        assert scene.keep_point is not None
        x, y = scene.keep_point
        inside = [
            kind
            for kind, (left, top, right, low) in scene.objects
            if kind in ROADWORK_KINDS and left <= x <= right and top <= y <= low
        ]
        assert inside
        near = scene.mask[max(0, int(y) - 12) : int(y) + 13, max(0, int(x) - 12) : int(x) + 13]
        assert (near == 255).any()


def test_boxes_and_mask_fit_the_picture(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.pixels.shape == (240, 320, 3)
        assert scene.mask.shape == (240, 320)
        assert set(np.unique(scene.mask)) <= {0, 128, 255}
        for _, (left, top, right, low) in scene.objects:
            assert 0 <= left < right <= 320
            assert 0 <= top < low <= 240


def test_orange_alone_does_not_tell_the_label(scenes: list[Scene]) -> None:
    """Both labels hold scenes with much orange and with hardly any."""

    def orange(scene: Scene) -> float:
        pixels = scene.pixels[::4, ::4].reshape(-1, 3) / 255
        hues = [colorsys.rgb_to_hsv(*pixel) for pixel in pixels.tolist()]
        return float(np.mean([h < 0.1 and s > 0.55 and v > 0.35 for h, s, v in hues]))

    shares = {
        label: [orange(scene) for scene in scenes if scene.label is label]
        for label in (True, False)
    }
    assert min(shares[True]) < np.median(shares[False])
    assert max(shares[False]) > np.median(shares[True])


def test_a_background_stays_visible_under_both_labels() -> None:
    background = np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    background[..., 2] = 255
    for roadwork in (True, False):
        scene = draw_scene(np.random.default_rng(7), 224, 160, roadwork, background)
        assert scene.label is roadwork
        blue = scene.pixels[..., 2].astype(int) - scene.pixels[..., :2].mean(2)
        assert (blue > 30).mean() > 0.25
    assert background.shape == (200, 300, 3)
    assert (background[..., 2] == 255).all()


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (1920, 1080), (64, 64)])
def test_other_sizes_are_drawn_as_asked(width: int, height: int) -> None:
    scene = draw_scene(np.random.default_rng(3), width, height, True)
    assert scene.pixels.shape == (height, width, 3)
    assert (scene.mask == 255).any()


def test_wrong_sizes_and_backgrounds_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 64"):
        draw_scene(np.random.default_rng(0), 63, 100, False)
    with pytest.raises(PictureError, match="background"):
        draw_scene(np.random.default_rng(0), 100, 100, False, np.zeros((9, 9), np.uint8))
