"""Honest figures: scikit-learn metrics with bootstrap intervals, and a colour-only baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, matthews_corrcoef, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from natix_miner.images.generations import simulate
from natix_miner.images.network_input import network_input
from natix_miner.scenes import draw_scene
from natix_miner.training.network import PatchNetwork
from natix_miner.training.samples import Picture

Floats = npt.NDArray[np.float64]
Figures = dict[str, float | int | list[float] | None]


@dataclass(frozen=True, slots=True)
class Calibration:
    """probability = 1 / (1 + exp(-(slope * logit + offset))), slope positive."""

    slope: float = 1.0
    offset: float = 0.0

    def probability(self, logits: Floats) -> Floats:
        """Calibrated probabilities in (0, 1)."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.slope * logits + self.offset, -30, 30))))


def simulated(
    pictures: Sequence[Picture], generation: str, seed: int, repeats: int = 1
) -> list[Picture]:
    """Every picture ``repeats`` times as the validator of this generation would send it."""
    made = []
    for repeat in range(repeats):
        for index, picture in enumerate(pictures):
            rng = np.random.default_rng((seed, repeat, index))
            pixels, _ = simulate(picture.pixels, generation, rng)
            made.append(Picture(pixels, picture.roadwork, picture.group, picture.fold))
    return made


def drawn(count: int, generation: str, seed: int) -> list[Picture]:
    """Drawn scenes, half with roadwork, in one generation; crops keep the roadwork."""
    made = []
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        roadwork = index % 2 == 0
        scene = draw_scene(rng, 448, 336 if index % 4 < 2 else 256, roadwork)
        pixels, _ = simulate(scene.pixels, generation, rng, scene.keep_point)
        made.append(Picture(pixels, roadwork, f"drawn:{index}", ""))
    return made


def score(network: PatchNetwork, pictures: Sequence[Picture]) -> Floats:
    """The network's picture logits, one at a time as in use."""
    logits = []
    with torch.inference_mode():
        for picture in pictures:
            pixels = torch.from_numpy(network_input(picture.pixels))[None]
            logits.append(float(network(pixels)[0].item()))
    return np.array(logits)


def labels_of(pictures: Sequence[Picture]) -> npt.NDArray[np.int64]:
    """1 with roadwork, 0 without."""
    return np.array([int(picture.roadwork) for picture in pictures])


def calibrate(logits: Floats, labels: npt.NDArray[np.int64], strength: float = 1.0) -> Calibration:
    """Platt scaling with equal weight for both classes (queries are half and half)."""
    model = LogisticRegression(C=strength, class_weight="balanced")
    model.fit(logits[:, None], labels)
    slope = float(model.coef_[0, 0])
    if slope <= 0:
        return Calibration()
    return Calibration(slope, float(model.intercept_[0]))


def calibrated_by_group(logits: Floats, pictures: Sequence[Picture]) -> Floats:
    """Probabilities of each clip with a calibration fitted on the other clips only."""
    labels, groups = labels_of(pictures), np.array([picture.group for picture in pictures])
    made = np.empty(len(logits))
    for group in sorted(set(groups.tolist())):
        inside = groups == group
        rest = labels[~inside]
        fitted = calibrate(logits[~inside], rest) if 0 < rest.sum() < len(rest) else Calibration()
        made[inside] = fitted.probability(logits[inside])
    return made


def figures(
    labels: npt.NDArray[np.int64], probabilities: Floats, seed: int = 0, resamples: int = 500
) -> Figures:
    """Accuracy, MCC and AUC; 95 % bootstrap intervals over pictures for MCC and AUC."""
    decided = (probabilities > 0.5).astype(int)
    both = 0 < labels.sum() < len(labels)
    made: Figures = {
        "n": len(labels),
        "positives": int(labels.sum()),
        "accuracy": round(float(accuracy_score(labels, decided)), 4),
        "mcc": round(float(matthews_corrcoef(labels, decided)), 4),
        "auc": round(float(roc_auc_score(labels, probabilities)), 4) if both else None,
    }
    if both:
        made["mcc_95"] = _interval(matthews_corrcoef, labels, decided, seed, resamples)
        made["auc_95"] = _interval(roc_auc_score, labels, probabilities, seed, resamples)
    return made


class ColourBaseline:
    """Logistic regression on a colour histogram: what colour alone can say about the label."""

    def __init__(self, pictures: Sequence[Picture], seed: int) -> None:
        """Fit on pictures as they are given (simulate the generation first)."""
        self.model = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000, random_state=seed),
        )
        self.model.fit([histogram(p.pixels) for p in pictures], labels_of(pictures))

    def probability(self, pictures: Sequence[Picture]) -> Floats:
        """Probabilities in [0, 1]."""
        return np.asarray(self.model.predict_proba([histogram(p.pixels) for p in pictures])[:, 1])


def histogram(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Square roots of the shares of 12 x 4 x 4 bins of hue, saturation and value."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    bins = cv2.calcHist([hsv], [0, 1, 2], None, [12, 4, 4], [0, 180, 0, 256, 0, 256]).ravel()
    return np.asarray(np.sqrt(bins / bins.sum()), np.float64)


def _interval(
    metric: Callable[..., float],
    labels: npt.NDArray[np.int64],
    values: npt.NDArray,
    seed: int,
    resamples: int,
) -> list[float]:
    rng = np.random.default_rng(seed)
    drawn_values = []
    for _ in range(resamples):
        chosen = rng.integers(len(labels), size=len(labels))
        if 0 < labels[chosen].sum() < len(chosen):
            drawn_values.append(float(metric(labels[chosen], values[chosen])))
    low, high = np.percentile(drawn_values, [2.5, 97.5])
    return [round(float(low), 3), round(float(high), 3)]
