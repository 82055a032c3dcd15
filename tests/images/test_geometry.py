"""Tilt, padding, darkness and blur, on pictures made with known ones (and turned by Pillow)."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from natix_miner.images import SizeClass, measure
from natix_miner.images.distortions import distort, draw_distortions
from natix_miner.images.generations import simulate
from natix_miner.scenes import draw_scene

STREET = Path(__file__).parents[3] / "shared" / "data" / "street"
SIDE = 224
Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def scenes() -> list[np.ndarray]:
    """Drawn street scenes in daylight, 16 to 9."""
    rng = np.random.default_rng(11)
    drawn = (draw_scene(rng, 448, 252, bool(index % 2)).pixels for index in range(50))
    return [pixels for pixels in drawn if pixels.mean() > 70][:30]


@pytest.fixture(scope="module")
def street() -> list[np.ndarray]:
    if not STREET.is_dir():
        pytest.skip("no street pictures beside the checkout")
    files = sorted(STREET.glob("*/train_*.jpg"))[::5]
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def jpeg(pixels: np.ndarray) -> np.ndarray:
    """The picture after JPEG quality 75."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))


def square(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))


def letterboxed(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    canvas = Image.new("RGB", (SIDE, SIDE))
    canvas.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return np.asarray(canvas)


def turned(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """Pillow's own rotation: counter-clockwise, same canvas, black corners."""
    return np.asarray(Image.fromarray(pixels).rotate(degrees, Image.Resampling.BILINEAR))


def blurred(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.5)))


def noisy(pixels: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, 11, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def darkened(pixels: np.ndarray) -> np.ndarray:
    return (pixels * 0.725).astype(np.uint8)


def of(pixels: np.ndarray):
    return measure(pixels, pixels.shape[1], pixels.shape[0])


def tilt_errors(
    pictures: list[np.ndarray], make: Change, change: Change, least: float = 0.0
) -> np.ndarray:
    """Errors in degrees for tilts that lie evenly in -20..20, `least` at least."""
    errors = []
    for index, pixels in enumerate(pictures):
        degrees = -20 + 40 * ((index * 0.618) % 1)
        if abs(degrees) < least:
            continue
        picture = jpeg(change(turned(make(pixels), degrees)))
        errors.append(of(picture).tilt_degrees - degrees)
    return np.abs(errors)


@pytest.mark.parametrize("make", [square, letterboxed, lambda pixels: pixels])
def test_tilt_is_found_with_its_sign(scenes: list[np.ndarray], make: Change) -> None:
    errors = tilt_errors(scenes, make, lambda pixels: pixels)
    assert np.mean(errors <= 1.5) >= 0.95
    assert np.median(errors) < 0.3


@pytest.mark.parametrize("change", [blurred, noisy, darkened])
def test_tilt_is_found_in_distorted_pictures(scenes: list[np.ndarray], change: Change) -> None:
    errors = np.concatenate([tilt_errors(scenes, make, change) for make in (square, letterboxed)])
    assert np.mean(errors <= 1.5) >= 0.92
    assert np.median(errors) < 0.5


def test_upright_pictures_show_neither_tilt_nor_padding(scenes: list[np.ndarray]) -> None:
    for pixels in scenes:
        for picture in (pixels, square(pixels), noisy(square(pixels)), blurred(square(pixels))):
            geometry = of(jpeg(picture))
            assert geometry.tilt_degrees == 0.0
            assert geometry.padding_share == 0.0
            assert geometry.black_corner_share == 0.0


@pytest.mark.parametrize("change", [lambda pixels: pixels, blurred, noisy, darkened])
def test_letterbox_padding_is_measured(scenes: list[np.ndarray], change: Change) -> None:
    found = [of(jpeg(change(letterboxed(pixels)))) for pixels in scenes]
    right = [
        abs(geometry.padding_top - 49) <= 2
        and abs(geometry.padding_bottom - 49) <= 2
        and geometry.padding_left == geometry.padding_right == 0
        and geometry.tilt_degrees == 0.0
        for geometry in found
    ]
    assert np.mean(right) >= 0.95
    assert np.median([geometry.padding_share for geometry in found]) == pytest.approx(
        98 / 224, abs=0.02
    )


def test_pillarbox_padding_is_measured(scenes: list[np.ndarray]) -> None:
    upended = np.ascontiguousarray(scenes[0].transpose(1, 0, 2))
    geometry = of(jpeg(letterboxed(upended)))
    assert geometry.padding_left == pytest.approx(49, abs=1)
    assert geometry.padding_right == pytest.approx(49, abs=1)
    assert geometry.padding_top == geometry.padding_bottom == 0


def test_padding_and_tilt_together(scenes: list[np.ndarray]) -> None:
    wrong = 0
    for pixels in scenes:
        geometry = of(jpeg(turned(letterboxed(pixels), 9.0)))
        wrong += abs(geometry.padding_top - 49) > 2 or abs(geometry.tilt_degrees - 9) > 1.5
    assert wrong <= 0.05 * len(scenes)


def test_shares_add_up_to_the_black_there_is() -> None:
    grey = np.full((SIDE, SIDE, 3), 140, np.uint8)
    geometry = of(turned(grey, 12.0))
    assert geometry.padding_share == pytest.approx(0, abs=0.01)
    assert geometry.black_corner_share == pytest.approx(
        float(np.mean(turned(grey, 12.0)[..., 0] < 70)), abs=0.01
    )


def test_tilted_crops_of_the_cropped_generation(scenes: list[np.ndarray]) -> None:
    rng = np.random.default_rng(5)
    invented = found = 0
    errors = []
    for pixels in scenes * 3:
        picture, drawn = simulate(pixels, "cropped", rng)
        geometry = of(jpeg(picture))
        if geometry.tilt_degrees:
            found += 1
            invented += drawn.tilt_degrees == 0.0
            errors.append(abs(geometry.tilt_degrees - drawn.tilt_degrees))
    assert invented == 0
    assert found > 15
    assert np.mean(np.array(errors) <= 1.5) >= 0.9


def night(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Crushed shadows and dim lights: much of it black, with the straight edges of buildings."""
    gamma, light = rng.uniform(1.5, 4), rng.uniform(0.1, 0.8)
    return (255 * light * (pixels / 255) ** gamma).astype(np.uint8)


def test_night_is_neither_padding_nor_corners(scenes: list[np.ndarray]) -> None:
    rng = np.random.default_rng(2)
    for pixels in scenes:
        for picture in (night(pixels, rng), night(square(pixels), rng)):
            geometry = of(jpeg(picture))
            assert geometry.padding_share == 0.0
            assert geometry.tilt_degrees == 0.0
    assert of(jpeg(night(scenes[0], rng))).dark


@pytest.mark.parametrize("value", [0, 1, 6, 20])
def test_a_black_picture_is_dark_and_no_more(value: int) -> None:
    geometry = of(np.full((SIDE, SIDE, 3), value, np.uint8))
    assert geometry.dark
    assert geometry.tilt_degrees == geometry.padding_share == 0.0


def test_a_dark_bonnet_is_no_padding(scenes: list[np.ndarray]) -> None:
    for pixels in scenes:
        picture = square(pixels).copy()
        picture[205:] = 2
        assert of(jpeg(picture)).padding_share == 0.0


def test_brightness_leaves_padding_out() -> None:
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    grey[:60] = grey[-60:] = 0
    assert of(grey).brightness == pytest.approx(128 / 255, abs=0.01)


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    luma = np.random.default_rng(0).integers(60, 200, (SIDE, SIDE)).astype(np.uint8)
    padded = np.pad(luma / 255.0, 1, mode="reflect")
    laplacian = (
        padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    ) - 4 * padded[1:-1, 1:-1]
    geometry = of(np.repeat(luma[..., None], 3, 2))
    assert geometry.sharpness == pytest.approx(laplacian.var(), rel=1e-3)


def test_blur_is_told_from_sharp(scenes: list[np.ndarray]) -> None:
    sharp = np.mean([of(jpeg(square(pixels))).blurred for pixels in scenes])
    soft = np.mean([of(jpeg(blurred(blurred(square(pixels))))).blurred for pixels in scenes])
    assert sharp <= 0.1
    assert soft >= 0.7


def test_a_large_frame_is_measured_as_its_small_copy(scenes: list[np.ndarray]) -> None:
    large = cv2.resize(turned(letterboxed(scenes[1]), 6.0), (896, 896))
    geometry = measure(large, 3584, 3584)
    assert geometry.size_class is SizeClass.LARGE_FRAME
    assert geometry.tilt_degrees == pytest.approx(6.0, abs=1.0)
    assert geometry.padding_top == pytest.approx(4 * 49, abs=10)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((224, 224), SizeClass.VALIDATOR_SQUARE),
        ((223, 224), SizeClass.FRAME),
        ((1920, 1080), SizeClass.FRAME),
        ((2000, 1251), SizeClass.LARGE_FRAME),
        ((4032, 3024), SizeClass.LARGE_FRAME),
    ],
)
def test_size_class_by_original_size(size: tuple[int, int], wanted: SizeClass) -> None:
    assert measure(np.zeros((40, 40, 3), np.uint8), *size).size_class is wanted


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (20, 20), (33, 2000)])
def test_tiny_and_thin_pictures_are_measured(shape: tuple[int, int]) -> None:
    geometry = of(np.full((*shape, 3), 90, np.uint8))
    assert geometry.tilt_degrees == 0.0
    assert np.isfinite(geometry.sharpness)


@pytest.mark.street
def test_real_pictures(street: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)

    def distorted(pixels: np.ndarray) -> np.ndarray:
        return distort(pixels, draw_distortions(3, rng), rng)

    for make in (square, letterboxed):
        assert np.mean(tilt_errors(street, make, lambda pixels: pixels) <= 1.5) >= 0.95
        # Blur and noise hide the slivers that tilts of some two degrees leave.
        assert np.mean(tilt_errors(street, make, distorted, least=4.0) <= 1.5) >= 0.92
        assert np.mean(tilt_errors(street, make, distorted) <= 1.5) >= 0.8
        upright = [of(jpeg(distorted(make(pixels)))).tilt_degrees for pixels in street]
        assert np.mean(np.array(upright) != 0.0) <= 0.01
