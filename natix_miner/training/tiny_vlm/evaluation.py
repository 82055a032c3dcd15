"""Figures of the shipped folder: every question on fresh drawings, roadwork on real pictures."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from natix_miner.errors import ConfigurationError
from natix_miner.images.distortions import distort
from natix_miner.images.generations import apply_geometry, draw_simulation
from natix_miner.scenes import draw_scene
from natix_miner.training import evaluation as ev
from natix_miner.training.samples import Picture
from natix_miner.training.tiny_vlm.questions import NAMES, QUESTIONS
from natix_miner.training.tiny_vlm.reference import Reference
from natix_miner.training.tiny_vlm.truth import UNKNOWN, kind_map, truth_of

GENERATIONS = ("cropped", "letterboxed", "full-frame")
DRAWN_SEED, SIMULATION_SEED = 900_001, 900_003  # those of the embedded network's figures
Say = Callable[[str], None]


def roadwork_figures(
    reference: Reference, pictures: Sequence[Picture], resamples: int
) -> ev.Figures:
    """Accuracy at P(yes) 0.5, MCC and AUC of the roadwork question, with intervals."""
    answers = [reference.probability(p.pixels, QUESTIONS["roadwork"]) for p in pictures]
    return ev.figures(ev.labels_of(pictures), np.array(answers), resamples=resamples)


def question_figures(
    reference: Reference, count: int, generation: str, resamples: int
) -> dict[str, ev.Figures]:
    """The narrower questions on drawn scenes with roadwork, whose truth the drawing tells."""
    answers: dict[str, list[tuple[int, float]]] = {name: [] for name in NAMES[1:]}
    for index in range(count):
        rng = np.random.default_rng((DRAWN_SEED, 7, index))
        scene = draw_scene(rng, 448, 336 if index % 4 < 2 else 256, True)
        height, width = scene.mask.shape
        record = draw_simulation(height, width, generation, rng, scene.keep_point)
        pixels = distort(apply_geometry(scene.pixels, record), record.distortions, rng)
        truth = truth_of(apply_geometry(kind_map(scene), record, nearest=True))
        for name in NAMES[1:]:
            if truth[NAMES.index(name)] != UNKNOWN:
                share = reference.probability(pixels, QUESTIONS[name])
                answers[name].append((int(truth[NAMES.index(name)]), share))
    return {
        name: ev.figures(
            np.array([truth for truth, _ in rows]),
            np.array([share for _, share in rows]),
            resamples=resamples,
        )
        for name, rows in answers.items()
    }


def bundled_queries(folder: Path) -> dict[str, list[Picture]]:
    """The demonstration's pictures by generation.

    Raises `ConfigurationError` when one cannot be read.
    """
    made: dict[str, list[Picture]] = {}
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            pixels = cv2.imread(str(folder / row["file"]), cv2.IMREAD_COLOR)
            if pixels is None:
                raise ConfigurationError(f"cannot read {folder / row['file']}")
            rgb = np.ascontiguousarray(pixels[..., ::-1], np.uint8)
            picture = Picture(rgb, row["label"] == "roadwork", row["file"], "")
            made.setdefault(row["generation"], []).append(picture)
    return made


def all_figures(
    folder: Path,
    queries: Path,
    held: Sequence[Picture],
    second: Sequence[Picture],
    count: int,
    say: Say,
    resamples: int = 500,
) -> dict[str, Any]:
    """Everything the card tells; `held` and `second` are real pictures never trained on."""
    reference = Reference(folder)
    bundled = bundled_queries(queries)
    made: dict[str, Any] = {}
    for generation in GENERATIONS:
        sets = {"drawn": ev.drawn(count, generation, DRAWN_SEED)}
        sets["demo_queries"] = bundled.get(generation, [])
        if held:
            sets["held_out_clips"] = ev.simulated(held, generation, SIMULATION_SEED, 3)
        if second:
            sets["second_look"] = ev.simulated(second, generation, SIMULATION_SEED, 3)
        for name, pictures in sets.items():
            if not pictures:
                continue
            made.setdefault(name, {})[generation] = roadwork_figures(reference, pictures, resamples)
            say(f"{name} {generation}: {made[name][generation]}")
        narrow = question_figures(reference, count // 2, generation, resamples)
        made.setdefault("narrower_questions", {})[generation] = narrow
        say(f"narrower questions {generation}: { {n: f['auc'] for n, f in narrow.items()} }")
    return made
