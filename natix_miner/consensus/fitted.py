"""The fitted consensus file: calibrations and pool weights, one versioned JSON document."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from natix_miner.atomic import write_whole
from natix_miner.consensus.calibration import Calibration, Part, Platt, Shift
from natix_miner.errors import FittedFileError
from natix_miner.sections import faults

#: Format 1 had no `missing`, `after`, `kind`, `method` and `expected`; it is still read.
FITTED_FORMAT: Literal[2] = 2

Weight = Annotated[float, Field(ge=-100.0, le=100.0)]
PoolKind = Literal["log-odds", "geometric-mean", "majority"]


class Pool(Part):
    """Weights for one set of experts: log-odds = bias + sum of weight * calibrated log-odds.

    `missing` holds what is added when an expert of the set has no vote; for a missing expert that
    has no entry there (it was hardly ever missing in the fit) the other weights are scaled up
    instead. `size_bias` is added for frames of one size class (`natix_miner.images.SizeClass`): the
    same experts raise more false alarms on whole frames than on small squares. `condition_bias`
    times its value in [0, 1] is added for each condition of the frame (`frame_conditions`, and
    those that experts tell: night, haze). `after` calibrates what a geometric mean or a majority
    comes to; a log-odds pool has that in its weights and bias.
    """

    weights: dict[str, Weight]
    bias: Shift = 0.0
    size_bias: dict[str, Shift] = Field(default_factory=dict)
    condition_bias: dict[str, Shift] = Field(default_factory=dict)
    missing: dict[str, Shift] = Field(default_factory=dict)
    after: Platt | None = None

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


class Expected(Part):
    """How an expert behaved in the data of the fit, for noticing when it drifts.

    `mean` and `spread` (standard deviation) of its calibrated log-odds, `agreement` the share of
    its votes on the pool's side, `missing` the share without a vote, `n` how often it was asked.
    """

    n: Annotated[int, Field(ge=0)]
    mean: float
    spread: Annotated[float, Field(ge=0.0)]
    agreement: Annotated[float, Field(ge=0.0, le=1.0)]
    missing: Annotated[float, Field(ge=0.0, le=1.0)]


class FittedConsensus(Part):
    """What a fit leaves behind.

    `pools` are fitted on sets of experts that occur together (those of the first level, those of
    the first two, ...); the one that fits the opinions at hand best is used, see `choose_pool`.
    `kind` is how it is pooled when the profile does not say otherwise, `method` the fit it came
    out of ("stacking", "best-single", ...), `expected` how each expert behaved. `fitted_on` and
    `metrics` tell where it comes from; like `method` they are not used in pooling.
    """

    format: Literal[1, 2] = FITTED_FORMAT
    kind: PoolKind = "log-odds"
    method: str = ""
    calibrations: dict[str, Calibration]
    pools: Annotated[tuple[Pool, ...], Field(min_length=1)]
    expected: dict[str, Expected] = Field(default_factory=dict)
    fitted_on: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    code_version: str = ""

    def digest(self) -> str:
        """Short digest of the content, for traces.

        Fields at their defaults leave no mark in it, so that one that a later release adds changes
        no digest of a file that does not have it.
        """
        said = self.model_dump_json(exclude_defaults=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

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
        calibrations={},
        pools=(Pool(weights=dict.fromkeys(sorted(names), share)),),
        method="equal-weights",
    )


def load_fitted(path: Path) -> FittedConsensus:
    """Read a fitted file; raises FittedFileError saying what is wrong in it."""
    try:
        return FittedConsensus.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise FittedFileError(
            f"no fitted consensus at {path}: fit one (natix-miner fit), or leave "
            "`fitted` out of the profile for equal weights"
        ) from None
    except OSError as error:
        raise FittedFileError(f"{path} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise FittedFileError(
            f"{path} is no fitted consensus that this release reads (formats 1 and 2): "
            f"{'; '.join(faults(error, 'the file'))}; fit it anew (natix-miner fit), or use the "
            "release that wrote it"
        ) from error


def save_fitted(fitted: FittedConsensus, path: Path) -> None:
    """Write the file, whole or not at all. Raises FittedFileError."""
    try:
        write_whole(path, fitted.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise FittedFileError(
            f"the fitted consensus cannot be written to {path} ({error.strerror}); what was there "
            "is untouched"
        ) from error
