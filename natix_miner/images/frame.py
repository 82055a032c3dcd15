"""Frame and View: a decoded picture with its geometry, and pieces cut from it for experts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB


class SizeClass(StrEnum):
    """How large a picture came in; decides which views are worth cutting."""

    VALIDATOR_SQUARE = "validator-square"  # 224 x 224, the cropped and letterboxed generations
    FRAME = "frame"  # up to 2.5 megapixels
    LARGE_FRAME = "large-frame"  # more than 2.5 megapixels


@dataclass(frozen=True, slots=True)
class Geometry:
    """What can be measured on a frame before anybody judges it.

    Padding is in pixels of the decoded frame; `tilt_degrees` is the rotation that the black corners
    show (positive is counter-clockwise, 0.0 when there are none); `black_corner_share` and
    `padding_share` are shares of the area in [0, 1]; `brightness` is the mean luma in [0, 1] of the
    picture proper (padding and corners left out); `sharpness` is the variance of the Laplacian of
    the luma in [0, 1], 0 for a uniform picture.
    """

    size_class: SizeClass
    padding_top: int = 0
    padding_bottom: int = 0
    padding_left: int = 0
    padding_right: int = 0
    tilt_degrees: float = 0.0
    black_corner_share: float = 0.0
    padding_share: float = 0.0
    brightness: float = 0.0
    sharpness: float = 0.0
    dark: bool = False
    blurred: bool = False


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Frame:
    """A decoded picture.

    `pixels` may be smaller than the original (`original_width` x `original_height`): large JPEGs
    are decoded at the scale that is needed. `pixels` is read-only: experts share it.
    """

    pixels: Pixels
    original_width: int
    original_height: int
    picture_format: str
    geometry: Geometry

    @property
    def width(self) -> int:
        """Width of `pixels`."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height of `pixels`."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True, slots=True)
class View:
    """A picture cut or scaled from a frame for one expert.

    `box` is (left, top, right, bottom) in pixels of the decoded frame, before any un-tilting;
    `tilt_removed` the degrees by which the view was turned back.
    """

    name: str
    pixels: Pixels
    box: tuple[int, int, int, int]
    tilt_removed: float = 0.0
