"""The three generations of pictures that validators have sent, remade from their description.

Source of every number: the validator of NATIX StreetVision as published until May 2026,
as described in the project's own notes; nothing of its code is used here.

``cropped``      224 x 224; level 0 is the centre square, levels 1-3 tilt and cut tightly.
``letterboxed``  224 x 224; the whole frame on a black square, levels 1-3 tilt that square.
``full-frame``   the frame itself, nothing is done to it.
``as-is``        the same pixels; the caller's word for "do not simulate anything".

Every level has probability 0.25; levels 2 and 3 add distortions. Pictures are never
flipped. Randomness comes in as a seeded ``numpy.random.Generator`` only.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from natix_miner.errors import ConfigurationError, PictureError
from natix_miner.images.distortions import distort, draw_distortions

Pixels = npt.NDArray[np.uint8]

GENERATIONS = ("cropped", "letterboxed", "full-frame", "as-is")
LEVELS = 4
SIDE = 224
TILT_DEGREES = 20.0
CROP_AREA = (0.2, 1.0)
CROP_ATTEMPTS = 10
JPEG_QUALITY = 75


@dataclass(frozen=True, slots=True)
class Simulated:
    """What was drawn for one picture.

    ``level`` is 0-3 (None where nothing is done), ``tilt_degrees`` lies in [-20, 20] and
    is counter-clockwise, ``crop`` is (left, top, right, bottom) in pixels of the tilted
    frame or None, ``distortions`` are (name, strength level 1 or 2) in the order applied.
    """

    generation: str
    level: int | None = None
    tilt_degrees: float = 0.0
    crop: tuple[int, int, int, int] | None = None
    distortions: tuple[tuple[str, int], ...] = ()


def simulate(
    pixels: Pixels,
    generation: str,
    rng: np.random.Generator,
    keep: tuple[float, float] | None = None,
) -> tuple[Pixels, Simulated]:
    """Make a validator's picture of one generation from a frame.

    ``pixels`` is RGB uint8 (H, W, 3). ``keep`` is a point (x, y) in pixels of the frame
    that a crop of the ``cropped`` generation must contain (it is moved there; a point that
    the tilt turns out of the canvas counts as the nearest point of the canvas).
    Returns the picture, RGB uint8, and the record of what was drawn.

    Raises ``ConfigurationError`` for an unknown generation and ``PictureError`` for pixels
    of another kind.
    """
    _check(pixels)
    height, width = pixels.shape[:2]
    record = draw_simulation(height, width, generation, rng, keep)
    if record.level is None:
        return pixels, record
    picture = apply_geometry(pixels, record)
    return distort(picture, record.distortions, rng), record


def draw_simulation(
    height: int,
    width: int,
    generation: str,
    rng: np.random.Generator,
    keep: tuple[float, float] | None = None,
) -> Simulated:
    """Draw level, tilt, crop and distortions for a frame of this size, touching no pixel."""
    if generation not in GENERATIONS:
        raise ConfigurationError(
            f"unknown generation {generation!r}: use one of {', '.join(GENERATIONS)}"
        )
    if generation in ("full-frame", "as-is"):
        return Simulated(generation)
    level = int(rng.integers(LEVELS))
    tilt = float(rng.uniform(-TILT_DEGREES, TILT_DEGREES)) if level else 0.0
    crop = None
    if generation == "cropped":
        point = None if keep is None else tilted_point(keep, height, width, tilt)
        crop = _draw_crop(height, width, rng, point, whole=level == 0)
    return Simulated(generation, level, tilt, crop, draw_distortions(level, rng))


def apply_geometry(pixels: Pixels, record: Simulated, nearest: bool = False) -> Pixels:
    """Apply the recorded tilt, crop or padding (no distortion) to a picture or a mask.

    ``pixels`` is uint8 (H, W, 3) or (H, W) of the size the record was drawn for; the
    result is 224 x 224, or ``pixels`` itself for the generations that do nothing.
    ``nearest`` keeps the values of a mask instead of mixing neighbours.
    """
    if record.level is None:
        return pixels
    if record.generation == "letterboxed":
        return tilt_picture(letterbox(pixels, nearest), record.tilt_degrees, nearest)
    picture = tilt_picture(pixels, record.tilt_degrees, nearest)
    if record.crop is not None:
        left, top, right, bottom = record.crop
        picture = picture[top:bottom, left:right]
    return _resize(picture, SIDE, SIDE, nearest)


def letterbox(pixels: Pixels, nearest: bool = False) -> Pixels:
    """Scale a frame to fit 224 x 224, centred on black."""
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    inner_h, inner_w = max(1, round(height * scale)), max(1, round(width * scale))
    square = np.zeros((SIDE, SIDE, *pixels.shape[2:]), np.uint8)
    top, left = (SIDE - inner_h) // 2, (SIDE - inner_w) // 2
    square[top : top + inner_h, left : left + inner_w] = _resize(pixels, inner_h, inner_w, nearest)
    return square


def tilt_picture(pixels: Pixels, degrees: float, nearest: bool = False) -> Pixels:
    """Rotate about the centre on the same canvas, bilinear, black corners.

    Positive ``degrees`` turn counter-clockwise.
    """
    if degrees == 0.0:
        return pixels
    height, width = pixels.shape[:2]
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(
        cv2.warpAffine(pixels, _rotation(height, width, degrees), (width, height), flags=flags),
        np.uint8,
    )


def tilted_point(
    point: tuple[float, float], height: int, width: int, degrees: float
) -> tuple[float, float]:
    """Where ``tilt_picture`` takes a point (x, y), clamped to the canvas."""
    x, y = _rotation(height, width, degrees) @ np.array([point[0], point[1], 1.0])
    return float(np.clip(x, 0, width - 1)), float(np.clip(y, 0, height - 1))


def encode_jpeg(pixels: Pixels) -> bytes:
    """Encode RGB uint8 (H, W, 3) as the validator does: Pillow JPEG, quality 75."""
    _check(pixels)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _draw_crop(
    height: int,
    width: int,
    rng: np.random.Generator,
    point: tuple[float, float] | None,
    whole: bool,
) -> tuple[int, int, int, int]:
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    if not whole:
        for _ in range(CROP_ATTEMPTS):
            drawn = round(float(np.sqrt(rng.uniform(*CROP_AREA) * height * width)))
            if 0 < drawn <= side:
                side = drawn
                left = int(rng.integers(width - side + 1))
                top = int(rng.integers(height - side + 1))
                break
    if point is not None:
        left = _shift(left, side, width, point[0])
        top = _shift(top, side, height, point[1])
    return left, top, left + side, top + side


def _shift(start: int, side: int, limit: int, point: float) -> int:
    """Move an interval as little as possible so that it holds the point and stays inside."""
    place = int(point)
    moved = min(max(start, place - side + 1), place)
    return min(max(moved, 0), limit - side)


def _rotation(height: int, width: int, degrees: float) -> npt.NDArray[np.float64]:
    centre = ((width - 1) / 2, (height - 1) / 2)
    return np.asarray(cv2.getRotationMatrix2D(centre, degrees, 1.0), np.float64)


def _resize(pixels: Pixels, height: int, width: int, nearest: bool) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = pixels.shape[0] > height
    smooth = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    how = cv2.INTER_NEAREST if nearest else smooth
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


def _check(pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise PictureError(f"need RGB uint8 of shape (H, W, 3), got {pixels.dtype} {pixels.shape}")
