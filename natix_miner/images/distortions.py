"""The distortions that validators add at levels 2 and 3.

Source of the strengths: the validator of NATIX StreetVision as published until May 2026.
Strength level 0 leaves a picture alone; level 2 of a query draws from {0, 1}, level 3
from {0, 1, 2}, each uniformly and each distortion for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

CHROMA = (1.0, 0.4, 0.3)
CONTRAST = (1.0, 0.85, 0.725)
SHRINK = (1, 2, 3)
NOISE_VARIANCE = (0.0, 0.001, 0.002)
BLUR_KERNEL = (1, 7, 9)


def draw_distortions(level: int, rng: np.random.Generator) -> tuple[tuple[str, int], ...]:
    """Draw (name, strength) pairs for a query of this level (0-3); strength 0 is left out."""
    if level < 2:
        return ()
    names = ("saturation", "contrast", "jpeg") if level == 2 else tuple(_DISTORTIONS)
    drawn = [(name, int(rng.integers(level))) for name in names]
    return tuple((name, strength) for name, strength in drawn if strength)


def distort(
    pixels: Pixels, distortions: Sequence[tuple[str, int]], rng: np.random.Generator
) -> Pixels:
    """Apply distortions in order to RGB uint8 (H, W, 3); strengths are 1 or 2."""
    for name, strength in distortions:
        pixels = _DISTORTIONS[name](pixels, strength, rng)
    return pixels


def _saturation(pixels: Pixels, strength: int, _: np.random.Generator) -> Pixels:
    """Scale chroma about its centre in YCbCr."""
    ycc = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    ycc[..., 1:] = 128.0 + (ycc[..., 1:] - 128.0) * CHROMA[strength]
    return _rgb(ycc)


def _contrast(pixels: Pixels, strength: int, _: np.random.Generator) -> Pixels:
    """Multiply the pixel values, which darkens."""
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=CONTRAST[strength]), np.uint8)


def _jpeg(pixels: Pixels, strength: int, _: np.random.Generator) -> Pixels:
    """Shrink and enlarge again; the validator calls it JPEG though nothing is encoded."""
    height, width = pixels.shape[:2]
    factor = SHRINK[strength]
    small = cv2.resize(
        pixels, (max(1, width // factor), max(1, height // factor)), interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _noise(pixels: Pixels, strength: int, rng: np.random.Generator) -> Pixels:
    """Gaussian noise of this variance, in YCbCr scaled to [0, 1]."""
    ycc = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    ycc += rng.standard_normal(ycc.shape, np.float32) * (255.0 * NOISE_VARIANCE[strength] ** 0.5)
    return _rgb(ycc)


def _blur(pixels: Pixels, strength: int, _: np.random.Generator) -> Pixels:
    """Gaussian blur, sigma a sixth of the kernel size."""
    size = BLUR_KERNEL[strength]
    return np.asarray(cv2.GaussianBlur(pixels, (size, size), size / 6), np.uint8)


def _rgb(ycc: npt.NDArray[np.float32]) -> Pixels:
    clipped = np.clip(np.rint(ycc), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(clipped, cv2.COLOR_YCrCb2RGB), np.uint8)


_DISTORTIONS: dict[str, Callable[[Pixels, int, np.random.Generator], Pixels]] = {
    "saturation": _saturation,
    "contrast": _contrast,
    "jpeg": _jpeg,
    "noise": _noise,
    "blur": _blur,
}
