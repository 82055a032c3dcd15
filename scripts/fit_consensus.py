"""Fits the consensus of a profile: a calibration for each expert, a pool for each depth of the
cascade.

    .venv/bin/python scripts/fit_consensus.py --profile configs/embedded.yaml \
        --out models/embedded/consensus.json [--street DIR --held-out 1,...] [--drawn 900]

Every expert looks at every picture, in all three generations of validator pictures; nothing is
trained. Real pictures come from split `train` of a folder with manifest.csv, and only those of the
folds and groups named by --held-out: they must be unseen by every expert. An expert whose shipped
model saw them is stood in for by one fitted without them (--instead NAME=FILE). The figures printed
and stored are cross-validated over clips: a picture is never scored by a fit that saw its clip.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natix_miner import __version__
from natix_miner.assembly import build_judge
from natix_miner.consensus import FittedConsensus, Platt, Pool, save_fitted
from natix_miner.images.generations import encode_jpeg, simulate
from natix_miner.log_odds import logit
from natix_miner.profile import Profile, load_profile
from natix_miner.profile.profile import ConsensusSettings, EntrySettings
from natix_miner.query import Query
from natix_miner.scoring.metrics import measure

GENERATIONS = ("cropped", "letterboxed", "full-frame")
FOLDS = 5
PENALTY = 1e-3  # on squared weights and biases, per weighted picture


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture to fit on: bytes, label, clip it belongs to, "real" or "drawn"."""

    picture: bytes
    label: int
    group: str
    kind: str
    generation: str


def real_pictures(folder: Path, held_out: set[str], seed: int) -> Iterator[Labelled]:
    """Pictures of the held-out folds and groups, in every generation."""
    import cv2

    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        train = [row for row in csv.DictReader(file) if row["split"] == "train"]
    rows = [row for row in train if {row["fold"], row["group"]} & held_out]
    for index, row in enumerate(rows):
        pixels = cv2.cvtColor(cv2.imread(str(folder / row["file"])), cv2.COLOR_BGR2RGB)
        for number, generation in enumerate(GENERATIONS):
            rng = np.random.default_rng([seed, index, number])
            made, _ = simulate(pixels, generation, rng)
            label = int(row["label"] == "roadwork")
            yield Labelled(encode_jpeg(made), label, row["group"], "real", generation)


def drawn_pictures(count: int, seed: int) -> Iterator[Labelled]:
    """Scenes that no training has seen (their seeds begin with a number of their own)."""
    from natix_miner.scenes import draw_scene

    for index in range(count):
        rng = np.random.default_rng([seed, 90_210, index])
        label, generation = index % 2, GENERATIONS[index % 3]
        width, height = (960, 540) if generation == "full-frame" else (640, 400)
        scene = draw_scene(rng, width, height, bool(label))
        made, _ = simulate(scene.pixels, generation, rng, scene.keep_point)
        yield Labelled(encode_jpeg(made), label, f"drawn:{index}", "drawn", generation)


async def opinions(
    profile: Profile, pictures: Sequence[Labelled]
) -> tuple[NDArray[np.float64], list[str]]:
    """Raw log-odds, a row a picture and a column an expert, and the pictures' size classes.

    Exits when an expert has no opinion."""
    open_levels = tuple(
        level.model_copy(update={"enter": EntrySettings()}) for level in profile.levels
    )
    everybody = profile.model_copy(
        update={"levels": open_levels, "consensus": ConsensusSettings(), "deadline_seconds": 60.0}
    )
    judge = build_judge(everybody, wait_for_servers=math.inf)
    names = _names(profile)
    rows, sizes = [], []
    try:
        await judge.start()
        for index, item in enumerate(pictures):
            verdict = await judge.judge(Query.of(item.picture, source="fit", seconds=60.0))
            said = {e.name: e.probability for lv in verdict.trace.levels for e in lv.experts}
            missing = [name for name in names if said.get(name) is None]
            if missing:
                raise SystemExit(f"picture {index}: no opinion of {missing}; nothing can be fitted")
            rows.append([logit(said[name]) for name in names])
            sizes.append(verdict.trace.picture.size_class)
            if index % 200 == 199:
                print(f"{index + 1} of {len(pictures)} pictures", file=sys.stderr, flush=True)
    finally:
        await judge.close()
    return np.array(rows), sizes


def _names(profile: Profile) -> list[str]:
    return [name for level in profile.levels for name in profile.seated_in(level)]


def _weights(pictures: Sequence[Labelled]) -> NDArray[np.float64]:
    """Both labels weigh the same, and both kinds: queries come half and half."""
    keys = [(item.kind, item.label) for item in pictures]
    counts = {key: keys.count(key) for key in set(keys)}
    return np.array([len(keys) / (len(counts) * counts[key]) for key in keys])


def fit(
    profile: Profile,
    x: NDArray[np.float64],
    sizes: Sequence[str],
    y: NDArray[np.int64],
    w: NDArray[np.float64],
) -> FittedConsensus:
    """Platt scaling of each column, then non-negative logistic regression for each depth."""
    names = _names(profile)
    platts = {name: _platt(x[:, i], y, w) for i, name in enumerate(names)}
    calibrated = np.column_stack(
        [platts[name].slope * x[:, i] + platts[name].intercept for i, name in enumerate(names)]
    )
    pools, seated = [], 0
    for level in profile.levels:
        seated += len(profile.seated_in(level))
        pools.append(_pool(names[:seated], calibrated[:, :seated], sizes, y, w))
    pools += [
        _pool([name], calibrated[:, [i]], sizes, y, w)
        for i, name in enumerate(names)
        if len(names) > 1
    ]
    return FittedConsensus(calibrations=platts, pools=tuple(pools), code_version=__version__)


def _platt(x: NDArray[np.float64], y: NDArray[np.int64], w: NDArray[np.float64]) -> Platt:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10.0).fit(x[:, None], y, sample_weight=w)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0.0:
        # An expert that is right less often than wrong is not turned round: its vote says nothing.
        return Platt(slope=1e-3, intercept=0.0)
    return Platt(slope=slope, intercept=intercept)


def _pool(
    names: Sequence[str],
    x: NDArray[np.float64],
    sizes: Sequence[str],
    y: NDArray[np.int64],
    w: NDArray[np.float64],
) -> Pool:
    """Non-negative weights and biases by size class, from penalised logistic regression."""
    from scipy.optimize import minimize

    classes = sorted(set(sizes))
    kinds = np.array([[size == one for one in classes] for size in sizes], np.float64)
    columns = np.column_stack([x, kinds, np.ones(len(y))])

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = columns @ theta
        p = 1.0 / (1.0 + np.exp(-z))
        value = np.average(np.logaddexp(0.0, z) - y * z, weights=w) + PENALTY * theta @ theta
        return float(value), columns.T @ ((w * (p - y)) / w.sum()) + 2.0 * PENALTY * theta

    biases = len(classes) + 1
    start = np.append(np.full(len(names), 1.0 / len(names)), np.zeros(biases))
    bounds = [(0.0, 5.0)] * len(names) + [(-5.0, 5.0)] * biases
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B")
    if not found.success:
        raise SystemExit(f"the pool of {list(names)} did not converge: {found.message}")
    values = [float(value) for value in found.x]
    return Pool(
        weights=dict(zip(names, values, strict=False)),
        size_bias=dict(zip(classes, values[len(names) :], strict=False)),
        bias=values[-1],
    )


def pooled(
    fitted: FittedConsensus,
    names: Sequence[str],
    depth: int,
    x: NDArray[np.float64],
    sizes: Sequence[str],
) -> NDArray[np.float64]:
    """Probabilities of the pool of one depth, as the miner would answer."""
    from natix_miner.consensus import LogOddsPool, answer_from
    from natix_miner.experts import Opinion, Status
    from natix_miner.log_odds import expit

    pool = LogOddsPool(fitted)
    answers = []
    for row, size in zip(x, sizes, strict=True):
        votes = [
            Opinion(name, Status.OK, expit(value))
            for name, value in zip(names[:depth], row[:depth], strict=True)
        ]
        outcome = pool.pool(votes, size)
        answers.append(answer_from(outcome.log_odds) if outcome else 0.5)
    return np.array(answers)


def cross_validated(
    profile: Profile, pictures: Sequence[Labelled], x: NDArray[np.float64], sizes: Sequence[str]
) -> dict[str, Any]:
    """Metrics of every expert and pool on clips that their fit did not see."""
    from sklearn.model_selection import StratifiedGroupKFold

    names = _names(profile)
    y, w = np.array([item.label for item in pictures]), _weights(pictures)
    groups = [item.group for item in pictures]
    depths, seated = {}, 0
    for level in profile.levels:
        seated += len(profile.seated_in(level))
        depths[f"pool to {level.name}"] = seated
    answers = {name: np.zeros(len(y)) for name in [*names, *depths]}
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for inside, outside in splitter.split(x, y, groups):
        fitted = fit(profile, x[inside], [sizes[i] for i in inside], y[inside], w[inside])
        for i, name in enumerate(names):
            platt = fitted.calibrations[name]
            z = platt.slope * x[outside, i] + platt.intercept
            answers[name][outside] = 1.0 / (1.0 + np.exp(-z))
        for name, depth in depths.items():
            answers[name][outside] = pooled(
                fitted, names, depth, x[outside], [sizes[i] for i in outside]
            )
    return {
        f"{name}, {kind}, {generation}": _figures(
            values, y, [(item.kind, item.generation) == (kind, generation) for item in pictures]
        )
        for name, values in answers.items()
        for kind in sorted({item.kind for item in pictures})
        for generation in GENERATIONS
    }


def _figures(
    values: NDArray[np.float64], y: NDArray[np.int64], chosen: Sequence[bool]
) -> dict[str, float | int | None]:
    rows = np.flatnonzero(chosen)
    found = measure(values[rows].tolist(), y[rows].tolist())
    return {
        "n": found.n,
        **{
            name: None if (value := getattr(found, name)) is None else round(float(value), 4)
            for name in ("mcc", "accuracy", "auc", "ece")
        },
    }


def _with_models(profile: Profile, instead: Sequence[str]) -> Profile:
    experts = dict(profile.experts)
    for one in instead:
        name, _, file = one.partition("=")
        if name not in experts or not file:
            raise SystemExit(f"--instead {one}: give NAME=FILE with NAME one of {sorted(experts)}")
        experts[name] = experts[name].model_copy(update={"model": Path(file).resolve()})
    return profile.model_copy(update={"experts": experts})


def main() -> int:
    """Collect opinions, fit, print cross-validated figures, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--street", type=Path, help="folder of real pictures with manifest.csv")
    parser.add_argument("--held-out", help="folds and groups, comma-separated; with --street")
    parser.add_argument(
        "--instead", action="append", default=[], metavar="NAME=FILE", help="another model file"
    )
    parser.add_argument("--drawn", type=int, default=900)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    if options.street and not options.held_out:
        parser.error("--street needs --held-out: folds and groups that no expert was trained on")
    profile = _with_models(load_profile(options.profile), options.instead)
    pictures = list(drawn_pictures(options.drawn, options.seed))
    if options.street:
        pictures += real_pictures(options.street, set(options.held_out.split(",")), options.seed)
    x, sizes = asyncio.run(opinions(profile, pictures))
    y = np.array([item.label for item in pictures])
    metrics = cross_validated(profile, pictures, x, sizes)
    for name, row in metrics.items():
        print(f"{name:42s} " + "  ".join(f"{key} {value}" for key, value in row.items()))
    fitted = fit(profile, x, sizes, y, _weights(pictures)).model_copy(
        update={
            "fitted_on": {
                "profile": profile.name,
                "drawn": options.drawn,
                "real": sum(item.kind == "real" for item in pictures),
                "held_out": options.held_out if options.street else "",
                "stood_in_for": [one.partition("=")[0] for one in options.instead],
                "seed": options.seed,
            },
            "metrics": metrics,
        }
    )
    save_fitted(fitted, options.out)
    print(f"wrote {options.out} ({fitted.digest()})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
