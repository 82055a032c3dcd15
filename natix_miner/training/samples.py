"""Training samples: drawn scenes and real pictures cut to fixed shapes, with patch targets.

Three kinds of batch. Windows (96 x 96) are parts of drawn scenes in any generation, mostly
around things that stand there: the cheapest way to teach single patches. Squares
(224 x 224) are whole pictures of the cropped and letterboxed generations, wides (256 x 448)
whole frames; both hold real pictures too.
Every batch follows from (seed, index) alone.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from natix_miner.errors import ConfigurationError
from natix_miner.scenes import draw_scene
from natix_miner.training.cutting import SIZES, framed, spoil, square, window

Pixels = npt.NDArray[np.uint8]
CELL = 8
KINDS = ("window", "window", "square", "window", "window", "wide")
COUNTS = {"window": 48, "square": 12, "wide": 6}
IGNORE = -1
ENOUGH_WORK = 30  # pixels of roadwork that must be seen to call it roadwork


@dataclass(frozen=True, slots=True)
class Picture:
    """A real picture: pixels RGB, label, drive or clip, fold ('' where there is none)."""

    pixels: Pixels
    roadwork: bool
    group: str
    fold: str


@dataclass(frozen=True, slots=True)
class Batch:
    """``pixels`` uint8 (N, H, W, 3), ``labels`` and ``weights`` float32 (N,), ``targets`` int8
    (N, H / 8, W / 8): 1 roadwork, 0 none, -1 unknown."""

    pixels: Pixels
    labels: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Real pictures to train on (none: drawn scenes alone) and how often they come.

    ``real_share`` of the samples are real pictures as they are; ``pasted_share`` of the drawn
    scenes stand on a real picture without roadwork.
    """

    pictures: tuple[Picture, ...] = ()
    real_share: float = 0.3
    pasted_share: float = 0.4


#: Whole drives beside the fold that are never trained on: cameras that show no roadwork at all.
HELD_GROUPS = ("bianka:RS_290", "bianka:DF_251")


def held_out(pictures: list[Picture], fold: str) -> tuple[list[Picture], list[Picture]]:
    """Pictures to train on, and those held out: the clips of `fold` and the held drives; none is
    held out where `fold` is empty."""
    held = [bool(fold) and (p.fold == fold or p.group in HELD_GROUPS) for p in pictures]
    return (
        [picture for picture, out in zip(pictures, held, strict=True) if not out],
        [picture for picture, out in zip(pictures, held, strict=True) if out],
    )


def load_street(folder: Path, split: str) -> list[Picture]:
    """Read the pictures of one split from a folder with ``manifest.csv``.

    Columns used: file, label (roadwork or none), split, group, fold.
    Raises ``ConfigurationError`` when the manifest is missing or names an unreadable file.
    """
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise ConfigurationError(f"no manifest.csv in {folder}")
    with manifest.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == split]
    pictures = []
    for row in rows:
        pixels = cv2.imread(str(folder / row["file"]), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ConfigurationError(f"cannot read {folder / row['file']}")
        rgb = np.ascontiguousarray(pixels[..., ::-1], np.uint8)
        pictures.append(Picture(rgb, row["label"] == "roadwork", row["group"], row["fold"]))
    return pictures


def make_batch(seed: int, index: int, mixture: Mixture, shrink: int = 1) -> Batch:
    """Make batch number ``index``; its kind is ``KINDS[index % 6]``.

    ``shrink`` divides the number of samples (for a quick trial).
    """
    rng = np.random.default_rng((seed, index))
    kind = KINDS[index % len(KINDS)]
    size = max(2, COUNTS[kind] // shrink)
    samples: list[tuple[Pixels, Pixels, float, float]] = []
    while len(samples) < size:
        if kind != "window" and mixture.pictures and rng.random() < mixture.real_share:
            samples += _real(rng, mixture, kind)
        else:
            samples += _drawn(rng, mixture, kind)
    samples = samples[:size]
    return Batch(
        np.stack([sample[0] for sample in samples]),
        np.array([sample[2] for sample in samples], np.float32),
        np.array([sample[3] for sample in samples], np.float32),
        np.stack([patch_targets(sample[1]) for sample in samples]),
    )


def patch_targets(mask: Pixels) -> npt.NDArray[np.int8]:
    """Cells of 8 x 8 pixels: 1 where a fifth shows roadwork, 0 where nothing does, else -1."""
    rows, columns = mask.shape[0] // CELL, mask.shape[1] // CELL
    cells = mask.reshape(rows, CELL, columns, CELL)
    work = (cells == 255).mean((1, 3))
    unsure = (cells == 128).mean((1, 3))
    targets = np.zeros((rows, columns), np.int8)
    targets[(work > 0) | (unsure > 0)] = IGNORE
    targets[work >= 0.2] = 1
    return targets


def _drawn(
    rng: np.random.Generator, mixture: Mixture, kind: str
) -> list[tuple[Pixels, Pixels, float, float]]:
    roadwork = bool(rng.random() < 0.5)
    background = None
    empty = [picture for picture in mixture.pictures if not picture.roadwork]
    if empty and rng.random() < mixture.pasted_share:
        background = _by_source(rng, empty).pixels
    if kind == "wide":
        height, width = SIZES["wide"]
        scene = draw_scene(rng, width, height, roadwork, background)
        return [(spoil(rng, scene.pixels), scene.mask, float(roadwork), 1.0)]
    width, height = ((448, 256), (448, 336), (384, 384))[int(rng.integers(3))]
    scene = draw_scene(rng, width, height, roadwork, background)
    frames = []
    for how in ("cropped", "letterboxed"):
        frames.append(square(rng, scene.pixels, scene.mask, how, scene.keep_point))
    if kind == "window":
        whole = spoil(rng, scene.pixels), scene.mask
        places = [((box[0] + box[2]) // 2, (box[1] + box[3]) // 2) for _, box in scene.objects]
        windows = [window(rng, *whole, places) for _ in range(10)]
        frames = windows + [window(rng, *frame, []) for frame in frames]
    made = []
    for pixels, mask in frames:
        seen = int((mask == 255).sum())
        if roadwork and 0 < seen < ENOUGH_WORK:
            continue
        made.append((pixels, mask, float(seen > 0), 1.0))
    return made


def _real(
    rng: np.random.Generator, mixture: Mixture, kind: str
) -> list[tuple[Pixels, Pixels, float, float]]:
    roadwork = bool(rng.random() < 0.5)
    choice = [picture for picture in mixture.pictures if picture.roadwork == roadwork]
    if not choice:
        return []
    picture = _by_source(rng, choice)
    pixels = picture.pixels
    height, width = pixels.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    if roadwork:  # where it stands is unknown, only that it hardly ever hangs in the sky
        mask[height // 4 :] = 128
    if rng.random() < 0.5:
        pixels, mask = pixels[:, ::-1], mask[:, ::-1]
    weight = 0.6 if roadwork else 1.0
    if kind == "wide":
        pixels, mask = framed(rng, pixels, mask, SIZES["wide"], 0.75)
        return [(spoil(rng, pixels), mask, float(roadwork), weight)]
    pixels, mask = framed(rng, pixels, mask, (300, 448), 0.8)
    how = "letterboxed" if rng.random() < 0.4 else "cropped"
    pixels, mask = square(rng, pixels, mask, how, None, least=0.45 if roadwork else 0.2)
    return [(pixels, mask, float(roadwork), weight)]


def _by_source(rng: np.random.Generator, choice: list[Picture]) -> Picture:
    """Draw a source first, then a picture, so that no source stands for one label.

    The clips that hold both labels (``mi3``) are drawn two times in three.
    """
    both = [picture for picture in choice if picture.fold != ""]
    rest = [picture for picture in choice if picture.fold == ""]
    pool = both if both and (not rest or rng.random() < 0.67) else rest
    return pool[int(rng.integers(len(pool)))]
