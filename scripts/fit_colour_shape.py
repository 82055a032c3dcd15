"""Fit the colour-and-shape expert on drawn scenes and, where there are any, real street pictures.

Two regressions: regions (is this coloured patch roadwork? told by the masks of drawn scenes, and by
real pictures without roadwork) and pictures. Of the real pictures only clips that hold both labels
count: elsewhere the source tells the label. Regularisation is chosen and figures are told on groups
(clips, scenes) that were held out. Split `dev` of the street pictures is only ever scored, after
everything is settled.

    scripts/fit_colour_shape.py --out models/embedded/colour_shape.json [--street DIR]

Knows nothing of experts' threads, profiles or the consensus.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from natix_miner.errors import NatixMinerError
from natix_miner.experts.colour_shape.features import REGION_FIGURES, features
from natix_miner.experts.colour_shape.model import (
    FORMAT_VERSION,
    NAMES,
    FittedColourShape,
    Logistic,
    pooled,
)
from natix_miner.images.decode import decode_picture
from natix_miner.images.generations import apply_geometry, encode_jpeg, simulate
from natix_miner.scenes import draw_scene
from natix_miner.sections import PictureLimits
from natix_miner.training.samples import ENOUGH_WORK, Picture, load_street

GENERATIONS = ("cropped", "letterboxed", "full-frame")
SIZES = ((448, 252), (448, 252), (448, 336), (400, 400), (640, 360))
BACKGROUND_SHARE = 0.35
FOLDS = 4
STRENGTHS = (0.003, 0.01, 0.03, 0.1)
REGION_STRENGTH = 0.03
REGION_KNOTS, PICTURE_KNOTS = 7, 4
SURE_WORK, SURE_NONE = 0.5, 0.05
LIMITS = PictureLimits()


@dataclass
class Sample:
    """One picture as the expert sees it; `truths` holds 1, 0 or -1 (unknown) for each region."""

    source: str
    generation: str
    group: str
    fold: int
    label: int
    picture: np.ndarray
    regions: np.ndarray
    truths: np.ndarray
    weight: float = 1.0


@dataclass
class Fit:
    """The two fitted regressions."""

    region: Logistic
    picture: Logistic


Scores = list[tuple[Sample, float]]


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 with a message when the street pictures cannot be used."""
    options = _options(arguments)
    try:
        street = load_street(options.street, "train") if options.street else []
        left_out = set(options.leave_out.split(","))
        street = [one for one in street if not {one.fold, one.group} & left_out]
        dev = load_street(options.street, "dev") if options.street else []
        train = drawn_samples(options.scenes, options.seed, street, options.jobs)
        test = drawn_samples(options.scenes // 4, options.seed + 1, [], options.jobs)
        real = street_samples(street, options.repeats, options.seed)
    except NatixMinerError as error:
        print(f"fit_colour_shape: {error}", file=sys.stderr)
        return 2
    print(f"{len(train)} drawn and {len(real)} real samples to fit on, {len(test)} drawn to test")
    balance(train, 1.0)
    balance_real(real, options.real_weight)
    figures: dict[str, Any] = {}
    held = held_out(train, real)
    for strength, (drawn_scores, real_scores) in held.items():
        print(f"C={strength:<6} drawn {told(drawn_scores)}")
        if real_scores:
            print(f"{'':9}street, clips held out {told(real_scores)}")
    strength = min(STRENGTHS, key=lambda one: loss(held[one][0]) + loss(held[one][1]))
    fit = fitted(train + real, [strength])[strength]
    figures["regularisation"] = strength
    counted = sum(sample.weight > 0 for sample in real)
    figures["samples"] = {"drawn": len(train), "street": counted}
    figures["drawn_held_out"] = by_generation(scored(fit, test))
    if real:
        both = [item for item in held[strength][1] if item[0].weight > 0]
        figures["street_clips_of_both_labels_held_out"] = by_generation(both)
        figures["street_train_clips_held_out"] = by_generation(held[strength][1])
        figures["street_dev"] = by_generation(
            scored(fit, street_samples(dev, options.repeats, options.seed + 2))
        )
    print(json.dumps(figures, indent=2))
    model = FittedColourShape(
        format="natix-miner/colour-shape",
        format_version=FORMAT_VERSION,
        region=fit.region,
        picture=fit.picture,
        notes={"seed": options.seed, "scenes": options.scenes, **figures},
    )
    options.out.write_text(model.model_dump_json(indent=1) + "\n")
    print(f"written: {options.out}")
    return 0


def drawn_samples(count: int, seed: int, street: list[Picture], jobs: int) -> list[Sample]:
    """`count` drawn scenes, each in all three generations; some stand on real empty streets."""
    empty = [picture for picture in street if not picture.roadwork]
    tasks = [(seed, index, empty) for index in range(count)]
    if jobs <= 1:
        return [sample for task in tasks for sample in _drawn(task)]
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        made = pool.imap(_drawn, tasks, chunksize=16)
        return [sample for samples in made for sample in samples]


def _drawn(task: tuple[int, int, list[Picture]]) -> list[Sample]:
    seed, index, empty = task
    cv2.setNumThreads(1)
    rng = np.random.default_rng((seed, index))
    roadwork = bool(rng.random() < 0.5)
    background, fold = None, -1
    if empty and rng.random() < BACKGROUND_SHARE:
        # By clip first: a source with many pictures must not become the look of "none".
        groups = sorted({picture.group for picture in empty})
        group = groups[int(rng.integers(len(groups)))]
        choice = [picture for picture in empty if picture.group == group]
        picture = choice[int(rng.integers(len(choice)))]
        background, fold = picture.pixels, fold_of(picture)
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    scene = draw_scene(rng, width, height, roadwork, background)
    samples = []
    for generation in GENERATIONS:
        pixels, drawn = simulate(scene.pixels, generation, rng, scene.keep_point)
        mask = apply_geometry(scene.mask, drawn, nearest=True)
        seen = int(np.count_nonzero(mask == 255))
        if roadwork and seen < ENOUGH_WORK:
            continue
        told_by = ("drawn", generation, f"scene-{index}", fold)
        samples.append(_sample(pixels, told_by, int(roadwork), mask))
    return samples


def street_samples(pictures: list[Picture], repeats: int, seed: int) -> list[Sample]:
    """Real pictures, `repeats` times in each generation."""
    samples = []
    for index, picture in enumerate(pictures):
        rng = np.random.default_rng((seed, index))
        for generation in GENERATIONS:
            for _ in range(repeats if generation != "full-frame" else 1):
                pixels, _ = simulate(picture.pixels, generation, rng)
                mask = None if picture.roadwork else np.zeros(pixels.shape[:2], np.uint8)
                told_by = ("street", generation, picture.group, fold_of(picture))
                samples.append(_sample(pixels, told_by, int(picture.roadwork), mask))
    return samples


def fold_of(picture: Picture) -> int:
    """The fold of the manifest; pictures without one are spread over the folds by their drive."""
    if picture.fold:
        return int(picture.fold)
    return sum(picture.group.encode()) % FOLDS


def _sample(
    pixels: np.ndarray, told_by: tuple[str, str, str, int], label: int, mask: np.ndarray | None
) -> Sample:
    frame = decode_picture(encode_jpeg(np.ascontiguousarray(pixels)), LIMITS)
    seen = features(frame.pixels, frame.geometry)
    truths = np.full(len(seen.boxes), -1, np.int8)
    if mask is not None:
        fill = seen.regions[:, REGION_FIGURES.index("fill")]
        for index, (left, top, right, bottom) in enumerate(seen.boxes):
            part = mask[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
            share = np.mean(part == 255) / fill[index]
            truths[index] = 1 if share >= SURE_WORK else 0 if share <= SURE_NONE else -1
    return Sample(*told_by, label, seen.picture, seen.regions, truths)


def balance(samples: list[Sample], total: float) -> None:
    """Weights: both labels alike in each generation, groups by the root of their size."""
    for generation in GENERATIONS:
        for label in (0, 1):
            chosen = [s for s in samples if s.generation == generation and s.label == label]
            sizes: dict[str, int] = {}
            for sample in chosen:
                sizes[sample.group] = sizes.get(sample.group, 0) + 1
            for sample in chosen:
                sample.weight = sizes[sample.group] ** -0.5
            whole = sum(sample.weight for sample in chosen)
            for sample in chosen:
                sample.weight *= total * 1000 / whole


def balance_real(samples: list[Sample], total: float) -> None:
    """Weights of real samples: only clips that hold both labels count, both alike in each.

    Elsewhere the source tells the label, and a fit would learn to know the source by its colours.
    Clips count by the root of their rarer label.
    """
    clips: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        sample.weight = 0.0
        clips.setdefault((sample.generation, sample.group), []).append(sample)
    for clip in clips.values():
        counts = [sum(sample.label == label for sample in clip) for label in (0, 1)]
        for sample in clip:
            if min(counts):
                sample.weight = min(counts) ** 0.5 / counts[sample.label]
    whole = sum(sample.weight for sample in samples)
    for sample in samples:
        sample.weight *= total * 2000 * len(GENERATIONS) / max(whole, 1e-9)


def fitted(samples: list[Sample], strengths: Sequence[float]) -> dict[float, Fit]:
    """Fit both regressions, the second once for each strength of regularisation.

    The second is fitted on what the first says of samples that it was not fitted on.
    """
    samples = [sample for sample in samples if sample.weight > 0]
    names = sorted({sample.group for sample in samples})
    half = {name: index % 2 for index, name in enumerate(names)}
    parts = [[s for s in samples if half[s.group] == part] for part in (0, 1)]
    regions = [_fit_regions(part) for part in parts]
    rows = np.array([_inputs(regions[1 - half[s.group]], s) for s in samples])
    labels = np.array([sample.label for sample in samples])
    weights = np.array([sample.weight for sample in samples])
    region = _fit_regions(samples)
    return {
        strength: Fit(region, _logistic(NAMES, rows, labels, weights, strength, PICTURE_KNOTS))
        for strength in strengths
    }


def _fit_regions(samples: list[Sample]) -> Logistic:
    rows = np.concatenate([sample.regions for sample in samples]).astype(np.float64)
    truths = np.concatenate([sample.truths for sample in samples])
    weights = np.concatenate([np.full(len(s.truths), s.weight) for s in samples])
    known = truths >= 0
    return _logistic(
        REGION_FIGURES, rows[known], truths[known], weights[known], REGION_STRENGTH, REGION_KNOTS
    )


def _logistic(
    names: tuple[str, ...],
    rows: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    strength: float,
    knots: int,
) -> Logistic:
    from sklearn.linear_model import LogisticRegression

    places = [_knots(rows[:, column], knots) for column in range(len(names))]
    terms = np.hstack([_hats(rows[:, column], at) for column, at in enumerate(places)])
    model = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
    model.fit(terms, labels, sample_weight=weights / weights.mean())
    ends = np.cumsum([len(at) for at in places])[:-1]
    values = np.split(np.round(model.coef_[0].astype(np.float64), 4), ends)
    return Logistic(
        names=names,
        knots=tuple(tuple(at.tolist()) for at in places),
        values=tuple(tuple(part.tolist()) for part in values),
        bias=round(float(model.intercept_[0]), 4),
    )


def _knots(values: np.ndarray, count: int) -> np.ndarray:
    """Quantiles from the 4th to the 96th percentile; fewer where many values are alike."""
    return np.unique(np.quantile(values, np.linspace(0.04, 0.96, count)).round(4))


def _hats(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """How much each value weighs on each knot in linear interpolation; shape (n, knots)."""
    return np.column_stack([np.interp(values, knots, unit) for unit in np.eye(len(knots))]).astype(
        np.float32
    )


def _inputs(region: Logistic, sample: Sample) -> np.ndarray:
    odds = region.log_odds(sample.regions.astype(np.float64))
    return np.concatenate((sample.picture.astype(np.float64), pooled(odds)))


def scored(fit: Fit, samples: list[Sample]) -> Scores:
    """Each sample with its probability."""
    rows = np.array([_inputs(fit.region, sample) for sample in samples])
    chances = 1 / (1 + np.exp(-fit.picture.log_odds(rows)))
    return list(zip(samples, chances.tolist(), strict=True))


def held_out(train: list[Sample], real: list[Sample]) -> dict[float, tuple[Scores, Scores]]:
    """For each strength, scores of drawn and real samples whose scene or clip was left out.

    Drawn scenes that stand on a picture of a clip that is held out are left out with it.
    """
    order = {name: index % FOLDS for index, name in enumerate(sorted({s.group for s in train}))}
    found: dict[float, tuple[Scores, Scores]] = {strength: ([], []) for strength in STRENGTHS}
    for fold in range(FOLDS):
        kept = [
            sample
            for sample in train + real
            if sample.fold != fold and order.get(sample.group, -1) != fold
        ]
        left_out = [sample for sample in train if order[sample.group] == fold]
        left_out_real = [sample for sample in real if sample.fold == fold]
        for strength, fit in fitted(kept, STRENGTHS).items():
            found[strength][0].extend(scored(fit, left_out))
            if left_out_real:
                found[strength][1].extend(scored(fit, left_out_real))
    return found


def loss(scores: Scores) -> float:
    """Weighted mean log-loss; 0 for nothing."""
    if not scores:
        return 0.0
    weights = np.array([sample.weight for sample, _ in scores])
    labels = np.array([sample.label for sample, _ in scores])
    chances = np.clip([chance for _, chance in scores], 1e-4, 1 - 1e-4)
    losses = -np.where(labels == 1, np.log(chances), np.log(1 - chances))
    return float(np.average(losses, weights=weights))


def told(scores: Scores) -> str:
    """Loss and figures on one line."""
    figures = measured(scores)
    return f"loss {loss(scores):.3f} " + " ".join(
        f"{key} {value}" for key, value in figures.items()
    )


def by_generation(scores: Scores) -> dict[str, Any]:
    """Figures of each generation."""
    return {
        generation: measured([item for item in scores if item[0].generation == generation])
        for generation in GENERATIONS
    }


def measured(scores: Scores) -> dict[str, float]:
    """n, AUC, accuracy, MCC and Brier score at the threshold 0.5."""
    from sklearn import metrics

    labels = [sample.label for sample, _ in scores]
    chances = [chance for _, chance in scores]
    if len(set(labels)) < 2:
        return {"n": len(labels)}
    decided = np.array(chances) > 0.5
    return {
        "n": len(labels),
        "auc": round(float(metrics.roc_auc_score(labels, chances)), 3),
        "accuracy": round(float(metrics.accuracy_score(labels, decided)), 3),
        "mcc": round(float(metrics.matthews_corrcoef(labels, decided)), 3),
        "brier": round(float(metrics.brier_score_loss(labels, chances)), 3),
    }


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True, help="model file to write")
    parser.add_argument("--street", type=Path, help="folder with manifest.csv and its pictures")
    parser.add_argument(
        "--leave-out",
        default="-",
        help="folds and groups of the manifest, comma-separated, to keep unseen for other fits",
    )
    parser.add_argument("--scenes", type=int, default=2400, help="drawn scenes to fit on")
    parser.add_argument("--repeats", type=int, default=2, help="draws a real picture, where random")
    parser.add_argument(
        "--real-weight", type=float, default=0.3, help="of all drawn samples' weight"
    )
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
