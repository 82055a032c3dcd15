"""Cutting frames with their masks to the shapes that training uses, and spoiling them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from natix_miner.images.distortions import distort, draw_distortions
from natix_miner.images.generations import apply_geometry, draw_simulation

Pixels = npt.NDArray[np.uint8]
SIZES = {"window": (96, 96), "square": (224, 224), "wide": (256, 448)}


def window(
    rng: np.random.Generator, pixels: Pixels, mask: Pixels, places: list[tuple[int, int]]
) -> tuple[Pixels, Pixels]:
    """A window, mostly around roadwork where there is any, else around one of the places."""
    high, wide = SIZES["window"]
    rows, columns = np.nonzero(mask == 255)
    if len(rows) and rng.random() < 0.7:
        at = int(rng.integers(len(rows)))
        y, x = int(rows[at]), int(columns[at])
    elif places and rng.random() < 0.8:
        x, y = places[int(rng.integers(len(places)))]
    else:
        y, x = int(rng.integers(mask.shape[0])), int(rng.integers(mask.shape[1]))
    top = int(np.clip(y - rng.integers(high // 6, high - high // 6), 0, mask.shape[0] - high))
    left = int(np.clip(x - rng.integers(wide // 6, wide - wide // 6), 0, mask.shape[1] - wide))
    cut = (slice(top, top + high), slice(left, left + wide))
    return np.ascontiguousarray(pixels[cut]), mask[cut]


def square(
    rng: np.random.Generator,
    pixels: Pixels,
    mask: Pixels,
    how: str,
    keep: tuple[float, float] | None,
    least: float = 0.2,
) -> tuple[Pixels, Pixels]:
    """One of the validator's squares, its crop no smaller than ``least`` of the area."""
    height, width = pixels.shape[:2]
    record = draw_simulation(height, width, how, rng, keep)
    if record.crop is not None:
        for _ in range(8):
            if (record.crop[2] - record.crop[0]) ** 2 >= least * height * width:
                break
            record = draw_simulation(height, width, how, rng, keep)
    square = distort(apply_geometry(pixels, record), record.distortions, rng)
    return _jpeg(rng, square), apply_geometry(mask, record, nearest=True)


def framed(
    rng: np.random.Generator,
    pixels: Pixels,
    mask: Pixels,
    shape: tuple[int, int],
    least: float,
) -> tuple[Pixels, Pixels]:
    """A large random part of the picture in a fixed shape, so that shape says nothing."""
    height, width = pixels.shape[:2]
    part = min(width / shape[1], height / shape[0]) * float(rng.uniform(least, 1.0))
    wide = min(width, int(part * shape[1] * float(rng.uniform(0.93, 1.07))))
    high = min(height, int(part * shape[0]))
    left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
    cut = (slice(top, top + high), slice(left, left + wide))
    how = cv2.INTER_AREA if wide > shape[1] else cv2.INTER_LINEAR
    size = (shape[1], shape[0])
    return (
        np.asarray(
            cv2.resize(np.ascontiguousarray(pixels[cut]), size, interpolation=how), np.uint8
        ),
        np.asarray(
            cv2.resize(np.ascontiguousarray(mask[cut]), size, interpolation=cv2.INTER_NEAREST),
            np.uint8,
        ),
    )


def spoil(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Now and then the validator's distortions, milder, and always a camera's compression."""
    if rng.random() < 0.3:
        pixels = distort(pixels, draw_distortions(2, rng), rng)
    return _jpeg(rng, pixels)


def _jpeg(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    if rng.random() < 0.3:
        return np.ascontiguousarray(pixels)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
    _, coded = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), quality)
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
