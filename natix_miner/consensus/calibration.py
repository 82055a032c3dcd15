"""Calibrations: from what an expert says to what it means, each a map of log-odds to log-odds."""

from __future__ import annotations

from bisect import bisect_right
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from natix_miner.log_odds import expit, logit

#: Bounds that no sensible fit comes near; they keep every pooled value finite.
Shift = Annotated[float, Field(ge=-50.0, le=50.0)]


class Part(BaseModel):
    """A part of a fitted file: frozen, finite, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Platt(Part):
    """Platt scaling: calibrated log-odds = slope * raw log-odds + intercept.

    With intercept 0 it is temperature scaling (temperature = 1 / slope). The slope is positive, so
    that an expert's order of pictures is kept. Source: Platt, "Probabilistic outputs for support
    vector machines", 1999; Guo et al., "On calibration of modern neural networks", 2017.
    """

    kind: Literal["platt"] = "platt"
    slope: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0
    intercept: Shift = 0.0

    def shift(self, log_odds: float) -> float:
        """Calibrated log-odds of raw ones."""
        return self.slope * log_odds + self.intercept

    def calibrate(self, probability: float) -> float:
        """Calibrated probability in [0, 1] of a raw one in [0, 1]."""
        return expit(self.shift(logit(probability)))


class Isotonic(Part):
    """Isotonic regression: linear between knots of (raw, calibrated) log-odds, constant outside.

    `raw` rises strictly, `calibrated` never falls. Source: Zadrozny and Elkan, "Transforming
    classifier scores into accurate multiclass probability estimates", 2002.
    """

    kind: Literal["isotonic"] = "isotonic"
    raw: Annotated[tuple[Shift, ...], Field(min_length=1)]
    calibrated: Annotated[tuple[Shift, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _rises(self) -> Isotonic:
        if len(self.raw) != len(self.calibrated):
            raise ValueError(f"{len(self.raw)} raw knots but {len(self.calibrated)} calibrated")
        if any(b <= a for a, b in zip(self.raw, self.raw[1:], strict=False)):
            raise ValueError("raw knots must rise strictly")
        if any(b < a for a, b in zip(self.calibrated, self.calibrated[1:], strict=False)):
            raise ValueError("calibrated knots must not fall")
        return self

    def shift(self, log_odds: float) -> float:
        """Calibrated log-odds of raw ones."""
        place = bisect_right(self.raw, log_odds)
        if place == 0:
            return self.calibrated[0]
        if place == len(self.raw):
            return self.calibrated[-1]
        left, right = self.raw[place - 1], self.raw[place]
        low, high = self.calibrated[place - 1], self.calibrated[place]
        return low + (high - low) * ((log_odds - left) / (right - left))

    def calibrate(self, probability: float) -> float:
        """Calibrated probability in [0, 1] of a raw one in [0, 1]."""
        return expit(self.shift(logit(probability)))


def _kind(value: object) -> str:
    """A file of format 1 may leave the kind out: there was only Platt scaling."""
    if isinstance(value, dict):
        return str(value.get("kind", "platt"))
    return str(getattr(value, "kind", ""))


Calibration = Annotated[
    Annotated[Platt, Tag("platt")] | Annotated[Isotonic, Tag("isotonic")], Discriminator(_kind)
]
