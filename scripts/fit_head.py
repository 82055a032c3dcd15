"""Fit a head on a frozen backbone's features of labelled pictures.

The pictures are a CSV with the columns file (counted from the CSV), label and group, or a folder
with a folder a label. Pictures of one group (a drive, a clip, a camera) are never on both sides of
a split: neighbours in a clip look alike, and a head that knows the clip knows the label. The
strength of regularisation is chosen by the log-loss of held-out groups; the figures told are of
groups that took no part in that choice either.

    scripts/fit_head.py --backbone DIR --pictures manifest.csv --where split=train --out head

Knows nothing of experts, profiles or the consensus.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from natix_miner.errors import ConfigurationError, NatixMinerError
from natix_miner.experts.family import Surroundings
from natix_miner.experts.weights.backbone import Backbone
from natix_miner.experts.weights.head import Feature, Head
from natix_miner.experts.weights.settings import ModelSettings
from natix_miner.images.decode import decode_picture
from natix_miner.images.generations import GENERATIONS, encode_jpeg, simulate
from natix_miner.sections import PictureLimits

STRENGTHS = {"linear": (0.001, 0.01, 0.1, 1.0), "attentive": (0.1,)}
LEAST_STD = 1e-4
ATTENTIVE_BATCH, ATTENTIVE_RATE = 256, 0.02
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
LIMITS = PictureLimits(formats=("JPEG", "PNG", "WEBP"))


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture's file, whether it shows roadwork, and what it must not be parted from."""

    path: Path
    roadwork: bool
    group: str


@dataclass(frozen=True, slots=True)
class Samples:
    """Features (n, d) or tokens (n, t, d) with labels (n,) and groups (n,)."""

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def at(self, chosen: np.ndarray) -> Samples:
        """Those of some indices."""
        return Samples(self.features[chosen], self.labels[chosen], self.groups[chosen])


#: Weight, bias and query (or None) of a head.
Parts = tuple[np.ndarray, np.ndarray, np.ndarray | None]


@dataclass(frozen=True, slots=True)
class Task:
    """What is fitted: on which feature of which backbone (digest), and how."""

    kind: Literal["linear", "attentive"]
    feature: Feature
    backbone: str
    strengths: tuple[float, ...]
    folds: int
    seed: int
    heads: int
    steps: int

    def fit(self, samples: Samples, strength: float) -> Head:
        """A head; `strength` is scikit-learn's C."""
        mean, std = spread(samples.features)
        normal = (samples.features - mean) / std
        made = fit_linear if self.kind == "linear" else fit_attentive
        weight, bias, query = made(self, normal, samples.labels, strength)
        return Head(self.kind, self.feature, self.backbone, mean, std, weight, bias, query)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 with a message when backbone or pictures cannot be used."""
    options = _options(arguments)
    try:
        pictures = listed(options.pictures, options.positive, options.where)
        check(pictures)
        if not options.out.parent.is_dir():
            raise ConfigurationError(f"no folder {options.out.parent} to write {options.out} in")
        backbone = _backbone(options)
        samples = seen(pictures, backbone, options)
    except (NatixMinerError, ValidationError) as error:
        print(f"fit_head: {error}", file=sys.stderr)
        return 2
    print(
        f"{len(samples.labels)} samples of {len(pictures)} pictures in "
        f"{len(set(samples.groups.tolist()))} groups; {backbone.feature} of {options.backbone}"
    )
    task = Task(
        options.kind,
        backbone.feature,
        backbone.digest,
        tuple(options.strength or STRENGTHS[options.kind]),
        options.folds,
        options.seed,
        options.heads,
        options.steps,
    )
    backbone.close()
    figures = measured(samples.labels, held_out(task, samples))
    print("groups held out: " + " ".join(f"{key} {value}" for key, value in figures.items()))
    strength = best(task, samples)
    notes = {"strength": strength, "samples": len(samples.labels), "held_out": figures}
    told = {key: json.dumps(value) for key, value in notes.items()}
    replace(task.fit(samples, strength), notes=told).save(options.out)
    print(f"written: {options.out} ({options.kind}, C={strength})")
    return 0


def listed(source: Path, positive: str, where: list[tuple[str, str]]) -> list[Labelled]:
    """The labelled pictures of a CSV or a folder; ConfigurationError when it is neither."""
    if source.is_dir():
        found = [
            Labelled(path, path.parent.name == positive, path.name)
            for path in sorted(source.glob("*/*"))
            if path.suffix.lower() in SUFFIXES
        ]
        print("no groups are known: figures are too good where pictures resemble each other")
        return found
    if not source.is_file():
        raise ConfigurationError(f"no CSV and no folder at {source}")
    with source.open(newline="") as lines:
        rows = csv.DictReader(lines)
        needed = {"file", "label", "group", *(column for column, _ in where)}
        lacking = sorted(needed - set(rows.fieldnames or ()))
        if lacking:
            raise ConfigurationError(f"{source} has no column {', '.join(lacking)}")
        return [
            Labelled(source.parent / row["file"], row["label"] == positive, row["group"])
            for row in rows
            if all(row[column] == value for column, value in where)
        ]


def check(pictures: list[Labelled]) -> None:
    """Raises ConfigurationError when nothing can be fitted or held out."""
    for roadwork in (True, False):
        groups = {picture.group for picture in pictures if picture.roadwork == roadwork}
        if len(groups) < 2:
            raise ConfigurationError(
                f"{len(groups)} groups have pictures {'with' if roadwork else 'without'} roadwork; "
                "two are the least, one to fit on and one to hold out (is --positive right?)"
            )
    if not all(picture.group for picture in pictures):
        raise ConfigurationError("some pictures have no group; name their clip or camera")


def seen(pictures: list[Labelled], backbone: Backbone, options: argparse.Namespace) -> Samples:
    """Features of every picture, in each of the generations asked for."""
    features, labels, groups = [], [], []
    for index, picture in enumerate(pictures):
        try:
            pixels = decode_picture(picture.path.read_bytes(), LIMITS).pixels
        except (OSError, NatixMinerError) as error:
            raise ConfigurationError(f"cannot use {picture.path}: {error}") from error
        views = []
        rng = np.random.default_rng((options.seed, index))
        for generation in options.generation or ["as-is"]:
            drawn, _ = simulate(pixels, generation, rng)
            if generation != "as-is":
                drawn = decode_picture(encode_jpeg(np.ascontiguousarray(drawn)), LIMITS).pixels
            views += [drawn, drawn[:, ::-1]] if options.mirror else [drawn]
        features.append(backbone.of(views))
        labels += [int(picture.roadwork)] * len(views)
        groups += [picture.group] * len(views)
    return Samples(np.concatenate(features), np.array(labels), np.array(groups))


def fit_linear(task: Task, normal: np.ndarray, labels: np.ndarray, strength: float) -> Parts:
    """Logistic regression, both labels alike in weight."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
    model.fit(normal, labels)
    return model.coef_.astype(np.float32), model.intercept_.astype(np.float32), None


def fit_attentive(task: Task, normal: np.ndarray, labels: np.ndarray, strength: float) -> Parts:
    """The same loss on attention-pooled tokens, the squares of weight and query held down alike.

    The formula is that of natix_miner/experts/weights/head.py.
    """
    import torch

    tokens, truth = torch.from_numpy(normal), torch.from_numpy(labels).float()
    share, (count, _, width) = truth.mean(), tokens.shape
    weights = torch.where(truth == 1, 0.5 / share, 0.5 / (1 - share))
    generator = torch.Generator().manual_seed(task.seed)
    query = torch.randn((task.heads, width), generator=generator).requires_grad_()
    weight = torch.zeros((1, task.heads * width), requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam([query, weight, bias], lr=ATTENTIVE_RATE)
    for _ in range(task.steps):
        part = torch.randperm(count, generator=generator)[:ATTENTIVE_BATCH]
        shares = (tokens[part] @ query.T / width**0.5).softmax(dim=1)
        pooled = torch.einsum("nth,ntd->nhd", shares, tokens[part]).flatten(1)
        odds = (pooled @ weight.T + bias)[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            odds, truth[part], weights[part]
        ) + (weight.square().sum() + query.square().sum()) / (2 * strength * count)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return weight.detach().numpy(), bias.detach().numpy(), query.detach().numpy()


def spread(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each number of the features, float32."""
    rows = features.reshape(-1, features.shape[-1])
    std = np.maximum(rows.std(axis=0, dtype=np.float64), LEAST_STD)
    return rows.mean(axis=0, dtype=np.float64).astype(np.float32), std.astype(np.float32)


def held_out(task: Task, samples: Samples) -> np.ndarray:
    """The probability of each sample by a fit without its group, strength chosen without it; NaN
    where the rest has one label only."""
    chances = np.full(len(samples.labels), np.nan)
    for kept, left_out in _splits(task, samples):
        rest = samples.at(kept)
        head = task.fit(rest, best(task, rest))
        chances[left_out] = _chances(head, samples.features[left_out])
    return chances


def best(task: Task, samples: Samples) -> float:
    """The strength with the least log-loss on groups held out."""
    if len(task.strengths) == 1:
        return task.strengths[0]
    losses = dict.fromkeys(task.strengths, 0.0)
    for kept, left_out in _splits(task, samples):
        for strength in task.strengths:
            head = task.fit(samples.at(kept), strength)
            told = np.clip(_chances(head, samples.features[left_out]), 1e-4, 1 - 1e-4)
            right = np.where(samples.labels[left_out] == 1, told, 1 - told)
            losses[strength] -= float(np.log(right).sum())
    return min(task.strengths, key=lambda strength: losses[strength])


def _splits(task: Task, samples: Samples) -> list[tuple[np.ndarray, np.ndarray]]:
    """Splits by group; those that leave one label only to fit on are left out."""
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = min(len(set(samples.groups[samples.labels == label].tolist())) for label in (0, 1))
    folds = max(2, min(task.folds, fewest))
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=task.seed)
    found = splitter.split(np.zeros(len(samples.labels)), samples.labels, samples.groups)
    return [split for split in found if len(set(samples.labels[split[0]].tolist())) == 2]


def _chances(head: Head, features: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-head.log_odds(features).astype(np.float64)))


def measured(labels: np.ndarray, chances: np.ndarray) -> dict[str, float]:
    """n, AUC, and at the threshold 0.5 MCC and accuracy, of samples that were held out."""
    from sklearn import metrics

    told = np.isfinite(chances)
    labels, chances = labels[told], chances[told]
    if len(set(labels.tolist())) < 2:
        return {"n": len(labels)}
    decided = chances > 0.5
    return {
        "n": len(labels),
        "auc": round(float(metrics.roc_auc_score(labels, chances)), 3),
        "mcc": round(float(metrics.matthews_corrcoef(labels, decided)), 3),
        "accuracy": round(float(metrics.accuracy_score(labels, decided)), 3),
    }


def _backbone(options: argparse.Namespace) -> Backbone:
    settings = ModelSettings(
        type="backbone-head",
        folder=options.backbone.resolve(),
        device=options.device,
        precision=options.precision,
    )
    feature = "tokens" if options.kind == "attentive" else options.feature
    return Backbone.load("fit_head", settings, Surroundings(Path()), feature)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--backbone", type=Path, required=True, help="folder of the saved backbone")
    add("--pictures", type=Path, required=True, help="CSV (file, label, group), or folder")
    add("--out", type=Path, required=True, help="head file to write")
    add("--positive", default="roadwork", help="the label that means roadwork")
    add("--where", action="append", default=[], type=_condition, metavar="COLUMN=VALUE",
        help="only rows of the CSV where this holds; may be given again")  # fmt: skip
    add("--kind", choices=("linear", "attentive"), default="linear")
    add("--feature", choices=("pooler", "cls", "mean"), help="of a linear head (else: pooler)")
    add("--generation", action="append", choices=GENERATIONS,
        help="fit on pictures as the validator of it sends them; may be given again")  # fmt: skip
    add("--mirror", action="store_true", help="every picture mirrored as well")
    add("--strength", type=float, action="append", help="C to try; may be given again")
    add("--folds", type=int, default=5)
    add("--heads", type=int, default=1, help="attention heads of an attentive head")
    add("--steps", type=int, default=300, help="optimiser steps of an attentive head")
    add("--seed", type=int, default=0)
    add("--device", default="cpu", help="cpu, cuda or cuda:N")
    add("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    return parser.parse_args(arguments)


def _condition(text: str) -> tuple[str, str]:
    column, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not COLUMN=VALUE")
    return column, value


if __name__ == "__main__":
    sys.exit(main())
