"""What can be measured on a frame before anybody judges it: padding, tilt, darkness, blur.

Everything is measured on a copy whose longer side is at most `MEASURED_SIDE` pixels, so that the
figures of a large frame and of a validator's square can be compared.
"""

from __future__ import annotations

import cv2
import numpy as np

from natix_miner.images.black_sides import Luma, surroundings
from natix_miner.images.frame import Geometry, Pixels, SizeClass

MEASURED_SIDE = 224
LARGE_MEGAPIXELS = 2.5
#: Mean luma below which a picture counts as dark: dusk and night.
DARK_BELOW = 0.2
#: Sharpness below which a picture counts as blurred.
BLURRED_BELOW = 0.001


def size_class(original_width: int, original_height: int) -> SizeClass:
    """The size class of a picture of this original size in pixels."""
    if (original_width, original_height) == (224, 224):
        return SizeClass.VALIDATOR_SQUARE
    if original_width * original_height > LARGE_MEGAPIXELS * 1e6:
        return SizeClass.LARGE_FRAME
    return SizeClass.FRAME


def measure(pixels: Pixels, original_width: int, original_height: int) -> Geometry:
    """Measure a decoded picture, RGB (H, W, 3); the original size decides the size class only.

    Padding of a tilted picture is counted after the tilt is turned back about the centre. Nothing
    is raised: a picture that shows neither padding nor tilt has zeros there.
    """
    scale = min(1.0, MEASURED_SIDE / max(pixels.shape[:2]))
    luma = _luma(pixels, scale)
    height, width = luma.shape
    around = surroundings(luma)
    top = right = bottom = left = tilt = covered = 0.0
    proper: Luma | None = None
    if around is not None:
        tilt = around.tilt
        top, right, bottom, left = around.padding
        covered = cv2.countNonZero(around.outside) / luma.size
        grown = cv2.dilate(around.outside, np.ones((5, 5), np.uint8))
        proper = np.asarray(cv2.bitwise_not(grown), np.uint8)
    barred = 1 - max(0.0, 1 - (top + bottom) / height) * max(0.0, 1 - (left + right) / width)
    brightness = cv2.mean(luma, proper)[0] / 255
    sharpness = _sharpness(luma, proper)
    return Geometry(
        size_class=size_class(original_width, original_height),
        padding_top=round(top / scale),
        padding_bottom=round(bottom / scale),
        padding_left=round(left / scale),
        padding_right=round(right / scale),
        tilt_degrees=tilt,
        black_corner_share=max(0.0, covered - barred) if tilt else 0.0,
        padding_share=barred,
        brightness=brightness,
        sharpness=sharpness,
        dark=brightness < DARK_BELOW,
        blurred=sharpness < BLURRED_BELOW,
    )


def _luma(pixels: Pixels, scale: float) -> Luma:
    if scale < 1.0:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def _sharpness(luma: Luma, proper: Luma | None) -> float:
    """Variance of the Laplacian of the luma in [0, 1]."""
    deviation = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S), mask=proper)[1]
    return float(deviation[0, 0] / 255) ** 2
