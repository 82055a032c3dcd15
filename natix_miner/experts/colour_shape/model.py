"""The fitted part of the colour-and-shape expert: two additive logistic regressions in a JSON file.

The first says of each coloured region how probably it is roadwork; what it says of the best and of
all regions joins the picture's own features, on which the second decides. Nothing but numpy is
needed; `scripts/fit_colour_shape.py` makes the file.
"""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from natix_miner.errors import ModelError
from natix_miner.experts.colour_shape.features import (
    PICTURE_FEATURES,
    REGION_FIGURES,
    Features,
    features,
)
from natix_miner.experts.opinion import Evidence, Look
from natix_miner.images import Frame

FORMAT_VERSION: Literal[1] = 1

#: What the regions add to the picture's own features, in order.
POOLED_FEATURES = ("best", "second", "third", "log_expected", "any", "none_found")
_NOTHING = -5.0  # log-odds where there is no such region
_FARTHEST = 6.0
_EVIDENCE = 3


class Logistic(BaseModel):
    """One additive logistic regression: each feature's part is a broken line of its value.

    `knots` are the values of each feature where its line bends (increasing), `values` the log-odds
    it gives there; below the first and above the last knot the part stays what it is there, so
    that nothing is extrapolated. `bias` is added to the sum of all parts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    names: tuple[str, ...] = Field(min_length=1)
    knots: tuple[tuple[float, ...], ...]
    values: tuple[tuple[float, ...], ...]
    bias: float

    @model_validator(mode="after")
    def _fits_together(self) -> Logistic:
        if len(self.knots) != len(self.names) or len(self.values) != len(self.names):
            raise ValueError("there must be as many knots and values as names")
        for name, knots, values in zip(self.names, self.knots, self.values, strict=True):
            if not knots or len(knots) != len(values):
                raise ValueError(f"{name}: as many values as knots are needed, at least one")
            if any(second <= first for first, second in pairwise(knots)):
                raise ValueError(f"{name}: the knots must increase")
        return self

    def log_odds(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds of each row of features, within [-30, 30]."""
        total = np.full(len(rows), self.bias)
        for column, (knots, values) in enumerate(zip(self.knots, self.values, strict=True)):
            total += np.interp(rows[:, column], knots, values)
        return np.clip(total, -30, 30)


class FittedColourShape(BaseModel):
    """The model file. `notes` holds figures and settings of the fit, for people."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal["natix-miner/colour-shape"]
    format_version: Literal[1]
    region: Logistic
    picture: Logistic
    notes: dict[str, object] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _of_our_features(self) -> FittedColourShape:
        wanted = (("region", self.region, REGION_FIGURES), ("picture", self.picture, NAMES))
        for what, logistic, names in wanted:
            if logistic.names != names:
                raise ValueError(f"the features of {what!r} are not those of this version")
        return self


#: Names of the features of the second regression.
NAMES = (*PICTURE_FEATURES, *POOLED_FEATURES)


def pooled(region_log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """POOLED_FEATURES from the log-odds of the regions of one picture, in any order."""
    odds = np.clip(np.sort(region_log_odds)[::-1], -_FARTHEST, _FARTHEST)
    best = [float(odds[index]) if index < len(odds) else _NOTHING for index in range(3)]
    chances = 1 / (1 + np.exp(-odds))
    none_of_them = float(np.log1p(-np.minimum(chances, 0.999)).sum())
    expected = math.log(float(chances.sum()) + 0.02)
    return np.array([*best, expected, 1 - math.exp(none_of_them), float(len(odds) == 0)])


class ColourShapeModel:
    """Looks at frames; synchronous, without state, usable from any number of threads."""

    def __init__(self, fitted: FittedColourShape, version: str) -> None:
        self.version = version
        self._region = fitted.region
        self._picture = fitted.picture

    @classmethod
    def load(cls, path: Path) -> ColourShapeModel:
        """Read a model file; raises ModelError with what to do about it."""
        try:
            text = path.read_bytes()
        except OSError as error:
            raise ModelError(
                f"cannot read the colour-shape model {path}: {error.strerror}; correct the path or"
                " make it with scripts/fit_colour_shape.py"
            ) from error
        try:
            fitted = FittedColourShape.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ModelError(
                f"{path} is no colour-shape model of version {FORMAT_VERSION}: {where}:"
                f" {first['msg']}; make it anew with scripts/fit_colour_shape.py"
            ) from None
        return cls(fitted, hashlib.sha256(text).hexdigest()[:16])

    def look(self, frame: Frame) -> Look:
        """Probability of roadwork, and the regions that spoke for it most (score: probability)."""
        seen = features(frame.pixels, frame.geometry)
        odds = self.region_log_odds(seen)
        inputs = np.concatenate((seen.picture.astype(np.float64), pooled(odds)))
        probability = 1 / (1 + math.exp(-self._picture.log_odds(inputs[None]).item()))
        chances = 1 / (1 + np.exp(-odds))
        best = np.argsort(-chances, kind="stable")[:_EVIDENCE].tolist()
        evidence = tuple(
            Evidence(
                what="warm region" if seen.regions[index, 0] else "lime region",
                score=float(chances[index]),
                box=seen.boxes[index],
            )
            for index in best
        )
        return Look(probability=probability, evidence=evidence)

    def region_log_odds(self, seen: Features) -> NDArray[np.float64]:
        """Log-odds that each region is roadwork, in the order of `seen.regions`."""
        return self._region.log_odds(seen.regions.astype(np.float64))
