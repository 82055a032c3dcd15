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
    `focal_pixels` is the camera's focal length in pixels of `pixels`, from EXIF; None where EXIF
    says nothing of it, which is the rule: validators encode anew.
    """

    pixels: Pixels
    original_width: int
    original_height: int
    picture_format: str
    geometry: Geometry
    focal_pixels: float | None = None

    @property
    def width(self) -> int:
        """Width of `pixels`."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height of `pixels`."""
        return int(self.pixels.shape[0])


#: (a, b, c, d, e, f): x' = a x + b y + c, y' = d x + e y + f.
Affine = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class View:
    """A picture cut or scaled from a frame for one expert.

    `box` is (left, top, right, bottom) in pixels of the decoded frame, before any un-tilting;
    `tilt_removed` the degrees by which the view was turned back. `to_frame` maps a place in
    `pixels` (continuous, the upper left corner is 0, 0) to the frame; without it the view is its
    `box` scaled. `mirrored` tells that left and right are exchanged.
    """

    name: str
    pixels: Pixels
    box: tuple[int, int, int, int]
    tilt_removed: float = 0.0
    to_frame: Affine | None = None
    mirrored: bool = False

    def placed(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where points (n, 2) of `pixels` lie in the frame."""
        a, b, c, d, e, f = self.affine
        matrix = np.array(((a, d), (b, e)))
        return np.asarray(points, np.float64) @ matrix + (c, f)

    def placed_boxes(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """The upright boxes (n, 4) in the frame around boxes (left, top, right, bottom) of
        `pixels`."""
        if not len(boxes):
            return np.zeros((0, 4))
        corners = np.asarray(boxes, np.float64)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
        placed = self.placed(corners).reshape(-1, 4, 2)
        return np.concatenate((placed.min(1), placed.max(1)), axis=1)

    @property
    def affine(self) -> Affine:
        """`to_frame`, or what stands for it."""
        if self.to_frame is not None:
            return self.to_frame
        left, top, right, bottom = self.box
        height, width = self.pixels.shape[:2]
        return ((right - left) / width, 0.0, left, 0.0, (bottom - top) / height, top)
