"""A pinhole camera above a flat road: metres on the ground to pixels in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Camera:
    """Where things on the road appear.

    ``width``, ``height`` and ``focal`` are in pixels, ``horizon`` and ``centre`` are the
    vanishing point's row and column, ``eye`` is the camera's height over the road in
    metres and ``bend`` the road's sideways curvature (metres at 100 m ahead, over 10,000).
    """

    width: int
    height: int
    focal: float
    horizon: float
    centre: float
    eye: float
    bend: float

    def scale(self, ahead: float) -> float:
        """Pixels per metre at this distance ahead (metres, > 0)."""
        return self.focal / ahead

    def ground(self, across: float, ahead: float) -> tuple[float, float]:
        """Pixel (x, y) of the ground point ``across`` metres right and ``ahead`` metres on."""
        scale = self.focal / ahead
        return (
            self.centre + (across + self.bend * ahead * ahead) * scale,
            self.horizon + self.eye * scale,
        )

    def strip(
        self, left: float, right: float, near: float, far: float, steps: int = 10
    ) -> npt.NDArray[np.float64]:
        """Outline, (2 * steps, 2) pixels, of a band of ground between two lateral places."""
        ahead = np.geomspace(max(near, 0.3), far, steps)
        scale = self.focal / ahead
        rows = self.horizon + self.eye * scale
        middle = self.centre + self.bend * ahead * ahead * scale
        ends = [np.stack([middle + side * scale, rows], 1) for side in (left, right)]
        return np.concatenate([ends[0], ends[1][::-1]])

    def nearest(self) -> float:
        """Distance ahead, in metres, of the ground at the picture's lower edge."""
        return max(1.0, self.focal * self.eye / max(1.0, self.height - self.horizon))


@dataclass(frozen=True, slots=True)
class Road:
    """Lateral places in metres, left negative: the carriageway's edges and the walks beyond."""

    left: float
    right: float
    lane: float
    walk: float


def draw_camera(rng: np.random.Generator, width: int, height: int, horizon: float) -> Camera:
    """Draw a camera; ``horizon`` is its row as a share of the picture's height, 0 at the top."""
    return Camera(
        width=width,
        height=height,
        focal=width * float(rng.uniform(0.65, 1.15)),
        horizon=height * horizon,
        centre=width * float(rng.uniform(0.35, 0.65)),
        eye=float(rng.uniform(1.1, 2.2)),
        bend=float(rng.normal(0, 0.0012)) if rng.random() < 0.6 else 0.0,
    )
