"""The fitted consensus file: calibrations and pool weights, one versioned JSON document."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from natix_miner.errors import FittedFileError
from natix_miner.log_odds import expit, logit

FITTED_FORMAT: Literal[1] = 1

#: Bounds that no sensible fit comes near; they keep every pooled value finite.
Weight = Annotated[float, Field(ge=0.0, le=100.0)]
Shift = Annotated[float, Field(ge=-50.0, le=50.0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Platt(_Part):
    """Platt scaling: calibrated log-odds = slope * raw log-odds + intercept.

    With intercept 0 it is temperature scaling (temperature = 1 / slope). The slope is positive, so
    that an expert's order of pictures is kept. Source: Platt, "Probabilistic outputs for support
    vector machines", 1999.
    """

    kind: Literal["platt"] = "platt"
    slope: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0
    intercept: Shift = 0.0

    def calibrate(self, probability: float) -> float:
        """Calibrated probability in [0, 1] of a raw one in [0, 1]."""
        return expit(self.slope * logit(probability) + self.intercept)


class Pool(_Part):
    """Weights for one set of experts: log-odds = bias + sum of weight * calibrated log-odds.

    `size_bias` is added for frames of one size class (`natix_miner.images.SizeClass`): the same
    experts raise more false alarms on whole frames than on small squares. `condition_bias` times
    its value in [0, 1] is added for each condition that an expert has told (night, haze).
    """

    weights: dict[str, Weight]
    bias: Shift = 0.0
    size_bias: dict[str, Shift] = {}
    condition_bias: dict[str, Shift] = {}

    def bias_for(
        self, size_class: str | None, conditions: Mapping[str, float] | None = None
    ) -> float:
        """The bias for a frame of this size class and these conditions; what was not fitted has no
        bias of its own, a large frame that of frames."""
        fallback = self.size_bias.get("frame", 0.0) if size_class == "large-frame" else 0.0
        told = conditions or {}
        return (
            self.bias
            + self.size_bias.get(size_class or "", fallback)
            + math.fsum(shift * told.get(name, 0.0) for name, shift in self.condition_bias.items())
        )


class FittedConsensus(_Part):
    """What a fit leaves behind.

    `pools` are fitted on sets of experts that occur together (those of the first level, those of
    the first two, ...); the one that fits the opinions at hand best is used, see `LogOddsPool`.
    `fitted_on` and `metrics` tell where it comes from and are not used in pooling.
    """

    format: Literal[1] = FITTED_FORMAT
    calibrations: dict[str, Platt]
    pools: Annotated[tuple[Pool, ...], Field(min_length=1)]
    fitted_on: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    code_version: str = ""

    def digest(self) -> str:
        """Short digest of the content, for traces."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def experts(self) -> frozenset[str]:
        """The names of the experts that it has weights for."""
        return frozenset(name for pool in self.pools for name in pool.weights)

    def check_experts(self, names: frozenset[str], where: str) -> None:
        """Raise FittedFileError unless it was fitted for exactly these experts."""
        if names == self.experts():
            return
        raise FittedFileError(
            f"{where} was fitted for the experts {sorted(self.experts())}, the profile has "
            f"{sorted(names)}: fit it anew, or leave `fitted` out for equal weights"
        )


def equal_weights(names: frozenset[str]) -> FittedConsensus:
    """No fit at all: raw probabilities, the mean of the log-odds."""
    share = 1.0 / max(1, len(names))
    return FittedConsensus(
        calibrations={}, pools=(Pool(weights=dict.fromkeys(sorted(names), share)),)
    )


def load_fitted(path: Path) -> FittedConsensus:
    """Read a fitted file; raises FittedFileError saying what is wrong in it."""
    try:
        return FittedConsensus.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise FittedFileError(
            f"no fitted consensus at {path}: fit one (scripts/fit_consensus.py), or leave "
            "`fitted` out of the profile for equal weights"
        ) from None
    except (OSError, ValidationError) as error:
        raise FittedFileError(f"{path} is no fitted consensus: {error}") from error


def save_fitted(fitted: FittedConsensus, path: Path) -> None:
    """Write atomically: a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(fitted.model_dump_json(indent=2) + "\n")
    half.replace(path)
