"""Batches to train on: validators' squares and whole frames, the truth of each question, and
where each patch shows what.

Pictures are drawn scenes, and real ones where a folder of them is given. Every batch follows
from (seed, index) alone; all its pictures have one shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from natix_miner.scenes import draw_scene
from natix_miner.training.cutting import framed, spoil, square
from natix_miner.training.samples import Mixture, Picture
from natix_miner.training.tiny_vlm.architecture import PATCH
from natix_miner.training.tiny_vlm.questions import NAMES
from natix_miner.training.tiny_vlm.teacher import Teacher
from natix_miner.training.tiny_vlm.truth import (
    OTHER,
    UNKNOWN,
    Floats,
    Pixels,
    kind_map,
    patch_truth,
    truth_of,
)

#: Height and width of frames after resizing: 63 to 66 tokens, or 88 to 100.
FRAMES = ((192, 352), (224, 288), (256, 256), (224, 416), (256, 352), (320, 320))
WINDOW = 96
COUNTS = {"window": 48, "square": 16, "frame": 10}


@dataclass(frozen=True, slots=True)
class Batch:
    """`pixels` uint8 (N, H, W, 3), sides multiples of 32; `truth` float32 (N, 4), one column for
    each question: 1 yes, 0 no, -1 unknown; `patches` float32 (N, H / 16, W / 16, 4): how sure
    each patch shows what is asked for, in [0, 1], or -1; `weights` float32 (N,)."""

    pixels: Pixels
    truth: Floats
    patches: Floats
    weights: Floats


def make_windows(seed: int, index: int, mixture: Mixture, shrink: int = 1) -> Batch:
    """Make batch number `index` of windows cut from drawn scenes, mostly around what stands there:
    the cheapest way to teach single patches. Their `truth` is that of the window."""
    rng = np.random.default_rng((seed, index))
    size = max(4, COUNTS["window"] // shrink)
    made: list[tuple[Pixels, Pixels]] = []
    while len(made) < size:
        roadwork = bool(rng.random() < 0.6)
        width, height = ((448, 256), (448, 336), (384, 384))[int(rng.integers(3))]
        scene = draw_scene(rng, width, height, roadwork, _background(rng, mixture))
        kinds = kind_map(scene)
        places = [((left + right) // 2, (top + low) // 2)
                  for _, (left, top, right, low) in scene.objects]  # fmt: skip
        whole = spoil(rng, scene.pixels)
        made += [_window(rng, whole, kinds, places) for _ in range(8)]
        for how in ("cropped", "letterboxed"):
            pixels, seen = square(rng, scene.pixels, kinds, how, scene.keep_point)
            made += [_window(rng, pixels, seen, []) for _ in range(2)]
    order = rng.permutation(len(made))[:size]
    return Batch(
        np.stack([made[at][0] for at in order]),
        np.stack([truth_of(made[at][1]) for at in order]),
        np.stack([patch_truth(made[at][1]) for at in order]),
        np.ones(size, np.float32),
    )


def make_batch(
    seed: int, index: int, mixture: Mixture, teacher: Teacher | None = None, shrink: int = 1
) -> Batch:
    """Make batch number `index` of whole pictures: two of squares, then one of frames.

    `teacher` says where real pictures with roadwork show it; `shrink` divides the number of
    pictures (for a trial).
    """
    rng = np.random.default_rng((seed, index))
    shape = None if index % 3 < 2 else FRAMES[int(rng.integers(len(FRAMES)))]
    size = max(4, COUNTS["square" if shape is None else "frame"] // shrink)
    rows: list[tuple[Pixels, Floats, Floats, float]] = []
    while len(rows) < size:
        if mixture.pictures and rng.random() < mixture.real_share:
            rows.append(_real(rng, mixture, shape, teacher))
        else:
            rows += _drawn(rng, mixture, shape)
    rows = rows[:size]
    return Batch(
        np.stack([row[0] for row in rows]),
        np.stack([row[1] for row in rows]),
        np.stack([row[2] for row in rows]),
        np.array([row[3] for row in rows], np.float32),
    )


def _drawn(
    rng: np.random.Generator, mixture: Mixture, shape: tuple[int, int] | None
) -> list[tuple[Pixels, Floats, Floats, float]]:
    roadwork = bool(rng.random() < 0.5)
    background = _background(rng, mixture)
    if shape is None:
        width, height = ((448, 256), (448, 336), (384, 384))[int(rng.integers(3))]
    else:  # drawn larger than it is shown, as frames are
        width, height = (round(side * float(rng.uniform(1.1, 1.7))) for side in shape[::-1])
    scene = draw_scene(rng, width, height, roadwork, background)
    kinds = kind_map(scene)
    if shape is None:
        cut = [square(rng, scene.pixels, kinds, how, scene.keep_point)
               for how in ("cropped", "letterboxed")]  # fmt: skip
    else:
        cut = [_fitted(spoil(rng, scene.pixels), kinds, shape)]
    made = []
    for pixels, seen in cut:
        truth = truth_of(seen)
        if truth[0] != UNKNOWN:
            made.append((pixels, truth, patch_truth(seen), 1.0))
    return made


def _real(
    rng: np.random.Generator,
    mixture: Mixture,
    shape: tuple[int, int] | None,
    teacher: Teacher | None,
) -> tuple[Pixels, Floats, Floats, float]:
    """A real picture: without roadwork all is known, with it only that there is some."""
    roadwork = bool(rng.random() < 0.5)
    picture = _pick(rng, mixture, roadwork)
    pixels, nothing = picture.pixels, np.zeros(picture.pixels.shape[:2], np.uint8)
    if rng.random() < 0.5:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    if shape is None:
        pixels, nothing = framed(rng, pixels, nothing, (300, 448), 0.8)
        how = "letterboxed" if rng.random() < 0.4 else "cropped"
        least = 0.45 if roadwork else 0.2
        pixels, _ = square(rng, pixels, nothing, how, None, least=least)
    else:
        pixels, _ = framed(rng, pixels, nothing, shape, 0.75)
        pixels = spoil(rng, pixels)
    pixels = _tinted(rng, pixels)
    truth = np.zeros(len(NAMES), np.float32)
    grid = (pixels.shape[0] // PATCH, pixels.shape[1] // PATCH, len(NAMES))
    patches = np.zeros(grid, np.float32)
    if roadwork:
        truth[:], truth[0] = UNKNOWN, 1.0
        patches[:] = UNKNOWN
        if teacher is not None:
            patches[..., 0] = teacher.patches(pixels)
    return pixels, truth, patches, 0.7 if roadwork else 1.0


def _background(rng: np.random.Generator, mixture: Mixture) -> Pixels | None:
    if not mixture.pictures or rng.random() >= mixture.pasted_share:
        return None
    return _pick(rng, mixture, roadwork=False).pixels


def _window(
    rng: np.random.Generator, pixels: Pixels, kinds: Pixels, places: list[tuple[int, int]]
) -> tuple[Pixels, Pixels]:
    """A window, mostly around roadwork where there is any, else around one of the places."""
    height, width = kinds.shape
    rows, columns = np.nonzero((kinds > 0) & (kinds <= OTHER))
    if len(rows) and rng.random() < 0.7:
        at = int(rng.integers(len(rows)))
        y, x = int(rows[at]), int(columns[at])
    elif places and rng.random() < 0.8:
        x, y = places[int(rng.integers(len(places)))]
    else:
        y, x = int(rng.integers(height)), int(rng.integers(width))
    top = int(np.clip(y - rng.integers(WINDOW // 6, WINDOW - WINDOW // 6), 0, height - WINDOW))
    left = int(np.clip(x - rng.integers(WINDOW // 6, WINDOW - WINDOW // 6), 0, width - WINDOW))
    cut = (slice(top, top + WINDOW), slice(left, left + WINDOW))
    return np.ascontiguousarray(pixels[cut]), kinds[cut]


def _pick(rng: np.random.Generator, mixture: Mixture, roadwork: bool) -> Picture:
    """A picture with this label, mostly from the clips that hold both labels (they have a fold):
    otherwise the source would tell the label."""
    choice = [picture for picture in mixture.pictures if picture.roadwork == roadwork]
    both = [picture for picture in choice if picture.fold]
    rest = [picture for picture in choice if not picture.fold]
    pool = both if both and (not rest or rng.random() < 0.67) else rest
    return pool[int(rng.integers(len(pool)))]


def _fitted(pixels: Pixels, kinds: Pixels, shape: tuple[int, int]) -> tuple[Pixels, Pixels]:
    height, width = shape
    return (
        np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8),
        np.asarray(cv2.resize(kinds, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8),
    )


def _tinted(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """A little brighter or darker, warmer or colder: real pictures come again and again."""
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3)
    return np.asarray(np.clip(pixels * gain + rng.uniform(-12, 12), 0, 255), np.uint8)
