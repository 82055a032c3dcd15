"""One street scene with its label: the generator's only entry."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from natix_miner.errors import ConfigurationError, PictureError
from natix_miner.scenes.backdrop import draw_backdrop
from natix_miner.scenes.camera import Camera, Road, draw_camera
from natix_miner.scenes.canvas import NEUTRAL, WORK, Box, Canvas
from natix_miner.scenes.layout import Placed, street_life, work_zone
from natix_miner.scenes.mood import Mood, draw_mood
from natix_miner.scenes.palette import EARTH, pick, scaled
from natix_miner.scenes.weather import lens, weather

SMALLEST = 64
PLAIN_SHARE = 0.25
ROADWORK_KINDS = frozenset({
    "cone", "drum", "tube", "panel", "barricade", "barrier", "work-sign", "fence", "excavator",
    "loader", "roller", "work-truck", "arrow-board", "message-board", "worker", "earth-heap",
    "dug-ground",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn scene.

    ``pixels`` is RGB uint8 (H, W, 3). ``label`` is True with roadwork. ``keep_point`` is the
    pixel (x, y) a crop must hold to show it, None without. ``objects`` are (kind, (left, top,
    right, bottom)) of what stands in it, far to near. ``mask`` is uint8 (H, W): 255 where
    roadwork is visible, 128 where something is that says nothing, 0 elsewhere.
    """

    pixels: npt.NDArray[np.uint8]
    label: bool
    keep_point: tuple[float, float] | None
    objects: tuple[tuple[str, Box], ...]
    mask: npt.NDArray[np.uint8]


def draw_scene(
    rng: np.random.Generator,
    width: int,
    height: int,
    roadwork: bool,
    background: npt.NDArray[np.uint8] | None = None,
) -> Scene:
    """Draw a street scene of this size in pixels (each side at least 64).

    Every random choice comes from ``rng``. ``background``, a real picture without roadwork
    (RGB uint8, any size), takes the place of the drawn street: it is cut to the scene's
    aspect, and things are stood on it whether there is roadwork or not, so that pasting
    carries no label. Roadwork is visible in every scene that claims it.

    Raises ``ConfigurationError`` for a size that is too small and ``PictureError`` for a
    background of another kind.
    """
    if min(width, height) < SMALLEST:
        raise ConfigurationError(
            f"a scene is at least {SMALLEST} pixels wide and high, got {width} x {height}"
        )
    mood = draw_mood(rng)
    horizon = float(rng.uniform(0.3, 0.6) if rng.random() < 0.85 else rng.uniform(0.05, 0.3))
    camera = draw_camera(rng, width, height, horizon)
    if background is None:
        canvas, road = draw_backdrop(rng, camera, mood)
    else:
        canvas = Canvas(_cut(rng, background, width, height))
        half = float(rng.uniform(3, 7))
        road = Road(-half, half, 3.3, 2.0)
    plain = bool(rng.random() < PLAIN_SHARE)
    loud = float(rng.choice([0.05, 0.35, 0.7])) if roadwork else float(rng.choice([0.1, 0.45, 0.8]))
    things = street_life(rng, road, mood, loud)
    if background is not None:
        things = [thing for thing in things if rng.random() < 0.35]
    work = work_zone(rng, road, plain, camera.nearest()) if roadwork else []
    if roadwork and rng.random() < 0.22:
        _dig(rng, canvas, camera, road)
    if roadwork and rng.random() < 0.85:  # traffic rarely hides the whole zone
        nearest = min(thing.ahead for thing in work)
        things = [thing for thing in things if thing.ahead > nearest or abs(thing.across) > 4]
    for thing in sorted(things + work, key=lambda thing: -thing.ahead):
        _stand(rng, canvas, camera, mood, thing)
    keep = _keep(rng, canvas) if roadwork else None
    if roadwork and keep is None:
        keep = _rescue(rng, canvas, camera, mood, plain)
    if background is None or rng.random() < 0.4:
        weather(rng, canvas, camera, mood)
    lens(rng, canvas)
    if roadwork and not (canvas.mask == WORK).any():
        canvas.mask[int(keep[1]), int(keep[0])] = WORK  # type: ignore[index]
    return Scene(canvas.pixels, roadwork, keep, tuple(canvas.boxes), canvas.mask)


def _stand(
    rng: np.random.Generator, canvas: Canvas, camera: Camera, mood: Mood, thing: Placed
) -> None:
    foot = camera.ground(thing.across, thing.ahead)
    height = thing.shape.metres * camera.scale(thing.ahead)
    if mood.sunny or mood.weather == "cloudy":
        wide = height * thing.shape.aspect / 2
        if 3 < height < canvas.height * 2:
            reach = float(rng.uniform(0.6, 1.4)) if mood.sunny else 0.2
            low = min(height * 0.12, wide * 0.5)
            corners = [(foot[0] - wide, foot[1] - low), (foot[0] + wide, foot[1] + low * 0.4),
                       (foot[0] + wide * (1 + reach), foot[1] + low * 0.2),
                       (foot[0] + wide * reach * 0.6, foot[1] - low)]  # fmt: skip
            canvas.shade(corners, 0.42 if mood.sunny else 0.25)
    red, green, blue = mood.light
    turn = float(rng.uniform(0.72, 1.12))
    canvas.put(
        thing.shape, foot, height, thing.mask, (red * turn, green * turn, blue * turn),
        thing.degrees, thing.mirror,
    )  # fmt: skip


def _dig(rng: np.random.Generator, canvas: Canvas, camera: Camera, road: Road) -> None:
    """Dug-up or milled ground with a broken edge."""
    ahead = camera.nearest() * float(rng.uniform(1.1, 3))
    across = float(rng.uniform(max(road.left, -0.4 * ahead), min(road.right, 0.4 * ahead)))
    outline = camera.strip(
        across, across + float(rng.uniform(1, 4)), ahead, ahead * float(rng.uniform(1.4, 3))
    )
    outline = outline + rng.normal(0, 0.006 * camera.width, outline.shape)
    earth = pick(rng, EARTH, 12)
    canvas.poly(outline, earth)
    for _ in range(60):
        spot = (
            outline[int(rng.integers(len(outline)))] * 0.5
            + outline[int(rng.integers(len(outline)))] * 0.5
        )
        size = camera.width * float(rng.uniform(0.002, 0.008))
        stone = spot + rng.normal(0, size, (5, 2))
        canvas.poly(stone, scaled(earth, float(rng.uniform(0.6, 1.4))))
    canvas.mark(outline, NEUTRAL)


def _keep(rng: np.random.Generator, canvas: Canvas) -> tuple[float, float] | None:
    """The middle of a piece of roadwork that can be seen, or None."""
    least = max(12.0, (canvas.width * 0.012) ** 2)
    seen = []
    for kind, (left, top, right, low) in canvas.boxes:
        if kind in ROADWORK_KINDS:
            part = canvas.mask[top:low, left:right] == WORK
            if part.sum() >= least:
                rows, columns = np.nonzero(part)
                seen.append(
                    (left + float(np.median(columns)), top + float(np.median(rows)), part.sum())
                )
    if not seen:
        return None
    weights = np.sqrt([area for _, _, area in seen])
    x, y, _ = seen[int(rng.choice(len(seen), p=weights / weights.sum()))]
    return x, y


def _rescue(
    rng: np.random.Generator, canvas: Canvas, camera: Camera, mood: Mood, plain: bool
) -> tuple[float, float]:
    """Stand one device plainly in front when everything else is hidden or out of the picture."""
    from natix_miner.scenes.devices import barricade, cone, drum

    maker = (cone, drum, barricade)[int(rng.integers(3))]
    ahead = camera.nearest() * float(rng.uniform(1.3, 2.2))
    sides = 0.3 * camera.width / camera.scale(ahead)
    shift = (camera.width / 2 - camera.centre) / camera.scale(ahead) - camera.bend * ahead * ahead
    place = Placed(maker(rng, plain), shift + float(rng.uniform(-sides, sides)), ahead, WORK)
    _stand(rng, canvas, camera, mood, place)
    keep = _keep(rng, canvas)
    if keep is not None:
        return keep
    x, y = camera.ground(place.across, ahead)
    return float(np.clip(x, 0, camera.width - 1)), float(np.clip(y, 0, camera.height - 1))


def _cut(
    rng: np.random.Generator, background: npt.NDArray[np.uint8], width: int, height: int
) -> npt.NDArray[np.uint8]:
    """A part of the background with the scene's aspect, scaled to its size."""
    if (
        background.dtype != np.uint8
        or background.ndim != 3
        or background.shape[2] != 3
        or min(background.shape) == 0
    ):
        raise PictureError(
            f"a background is RGB uint8 (H, W, 3), got {background.dtype} {background.shape}"
        )
    rows, columns = background.shape[:2]
    part = min(columns / width, rows / height) * float(rng.uniform(0.8, 1.0))
    wide, high = max(1, int(part * width)), max(1, int(part * height))
    left, top = int(rng.integers(columns - wide + 1)), int(rng.integers(rows - high + 1))
    piece = background[top : top + high, left : left + wide]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    how = cv2.INTER_AREA if wide > width else cv2.INTER_LINEAR
    return np.ascontiguousarray(
        cv2.resize(np.ascontiguousarray(piece), (width, height), interpolation=how)
    )
