"""How far colour alone gets: a colour histogram and logistic regression, fitted and scored.

Fits on one split, scores another with the same simulation, and prints the figures of
`natix-miner score --json`, so that they can stand beside those of a profile. A network that is not
clearly better than this has learnt colours. Knows nothing of profiles, experts or judges.

    scripts/colour_baseline.py --queries DIR --train-split train --split dev --simulate cropped
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import NatixMinerError, QuerySourceError
from natix_miner.images.decode import decode_picture
from natix_miner.scoring import (
    GENERATIONS,
    ScoredQuery,
    ScoreSettings,
    open_source,
    summarise,
)
from natix_miner.scoring.runner import ordered, prepared_picture
from natix_miner.sections import PictureLimits

BINS = 8
SIDE = 224
_LIMITS = PictureLimits(formats=("JPEG", "PNG", "WEBP"), decode_longer_side=SIDE)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 with a message when the queries cannot be used."""
    options = _options(arguments)
    try:
        summary = baseline(
            options.queries,
            ScoreSettings(simulate=options.simulate, seed=options.seed, repeats=options.repeats),
            train_split=options.train_split,
            split=options.split,
        )
    except NatixMinerError as error:
        print(f"colour_baseline: {error}", file=sys.stderr)
        return 2
    print(json.dumps(summary, indent=2))
    return 0


def baseline(
    queries: Path, settings: ScoreSettings, *, train_split: str, split: str
) -> dict[str, object]:
    """The figures on `split` of a model fitted on `train_split`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    seen = [row for row in _histograms(queries, train_split, settings) if row[0].label is not None]
    labels = [row.label for row, _ in seen]
    if len(set(labels)) < 2:
        raise QuerySourceError(
            f"split {train_split!r} of {queries} holds one label only; nothing can be fitted on it"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    model.fit(np.stack([histogram for _, histogram in seen]), labels)
    rows = []
    for row, histogram in _histograms(queries, split, settings):
        probability = float(model.predict_proba(histogram[None])[0, 1])
        rows.append(_answered(row, probability))
    summary = summarise(
        rows,
        settings={
            "profile": "colour-histogram",
            "simulate": settings.simulate,
            "seed": settings.seed,
            "repeats": settings.repeats,
            "split": split,
            "train_split": train_split,
        },
        seed=settings.seed,
    )
    return summary.as_dict()


def histogram_of(picture: bytes) -> NDArray[np.float64]:
    """Shares of an 8 x 8 x 8 HSV histogram; shape (512,).

    Of the whole picture on a 224 x 224 square, so that size and shape, which tell the source of a
    picture, leave no trace.
    """
    square = cv2.resize(
        decode_picture(picture, _LIMITS).pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA
    )
    hsv = cv2.cvtColor(square, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, [BINS] * 3, [0, 180, 0, 256, 0, 256])
    return counts.ravel().astype(np.float64) / (SIDE * SIDE)


def _histograms(
    queries: Path, split: str, settings: ScoreSettings
) -> list[tuple[ScoredQuery, NDArray[np.float64]]]:
    source = open_source(queries, split)
    found = []
    for repeat in range(settings.repeats):
        for position, saved in enumerate(ordered(source, settings)):
            row = ScoredQuery(
                name=saved.name,
                label=saved.label,
                prediction=-1.0,
                level=None,
                reason="",
                total_ms=0.0,
                group=saved.group,
                position=position,
                repeat=repeat,
            )
            found.append((row, histogram_of(prepared_picture(saved, settings, repeat))))
    return found


def _answered(row: ScoredQuery, probability: float) -> ScoredQuery:
    return ScoredQuery(
        name=row.name,
        label=row.label,
        prediction=probability,
        level="colour-histogram",
        reason="all-levels",
        total_ms=0.0,
        group=row.group,
        position=row.position,
        repeat=row.repeat,
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--queries", type=Path, required=True, help="folder with a manifest.csv")
    parser.add_argument("--train-split", default="train")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--simulate", choices=GENERATIONS, default="as-is")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
