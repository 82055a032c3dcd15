"""From boxes to one probability: noisy-or over class-weighted scores with area and position priors.

    s_i = expit(slope * logit(score_i) + intercept)         the detector's score, calibrated
    q_i = weight(class_i) * s_i * area_prior(box_i) * position_prior(box_i)
    P(roadwork) = 1 - (1 - leak) * prod_i (1 - q_i)

Every object is taken for an independent cause of the word "roadwork" (noisy-or: Pearl,
"Probabilistic Reasoning in Intelligent Systems", 1988, 4.3.2); `leak` is the probability with no
object found at all. The parameters stand in a file that scripts/fit_boxes.py fits.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from natix_miner.errors import ModelError
from natix_miner.images import Frame
from natix_miner.log_odds import expit, logit

Box = tuple[float, float, float, float]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AreaPrior(_Part):
    """Factor by a box's share of the picture's area: rises with the root of the share up to 1 at
    `small`, and is `large_factor` above `large` (a "cone" that fills the picture is none)."""

    small: Annotated[float, Field(gt=0.0, le=1.0)] = 0.0004
    large: Share = 0.5
    large_factor: Share = 0.3

    def factor(self, share: float) -> float:
        """In [0, 1], for a share of the area in [0, 1]."""
        if share > self.large:
            return self.large_factor
        return min(1.0, math.sqrt(max(0.0, share) / self.small))


class PositionPrior(_Part):
    """Factor by where a box ends below, as a share of the picture's height from the top: what ends
    above `horizon` hangs in the sky and counts `above_factor`."""

    horizon: Share = 0.3
    above_factor: Share = 0.4

    def factor(self, bottom: float) -> float:
        """In [0, 1], for a lower edge at this share of the height."""
        return self.above_factor if bottom < self.horizon else 1.0


class BoxRule(_Part):
    """The parameters. `weights` by roadwork class: the probability that a street with one certain
    object of it has roadwork; a class that is not named counts nothing. `fitted_on` is None for
    parameters set by hand."""

    format: Literal[1] = 1
    weights: Annotated[dict[str, Share], Field(min_length=1)]
    leak: Annotated[float, Field(gt=0.0, lt=1.0)]
    slope: Annotated[float, Field(gt=0.0, le=20.0)] = 1.0
    intercept: Annotated[float, Field(ge=-20.0, le=20.0)] = 0.0
    area: AreaPrior = AreaPrior()
    position: PositionPrior = PositionPrior()
    fitted_on: dict[str, Any] | None = None
    metrics: dict[str, Any] = {}

    def digest(self) -> str:
        """Short digest of the content, for versions in traces."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Found:
    """One object as the rule sees it: roadwork class, score in [0, 1], share of the picture's area,
    lower edge as a share of its height; `plausible` in [0, 1] scales it (depth)."""

    kind: str
    score: float
    area: float
    bottom: float
    plausible: float = 1.0

    @classmethod
    def within(
        cls, proper: Box, box: Box, kind: str, score: float, plausible: float = 1.0
    ) -> Found:
        """Of a box (left, top, right, bottom) in a frame, of which `proper` is the picture proper.

        Shares are of that: letterboxing is no street. In a tilted frame the box around what was
        seen upright is somewhat larger than the object.
        """
        left, top = proper[:2]
        wide, high = max(1.0, proper[2] - left), max(1.0, proper[3] - top)
        across = min(max(box[2] - left, 0.0), wide) - min(max(box[0] - left, 0.0), wide)
        bottom = min(max(box[3] - top, 0.0), high)
        down = bottom - min(max(box[1] - top, 0.0), high)
        return cls(kind, score, across * down / (wide * high), bottom / high, plausible)


def proper_of(frame: Frame) -> Box:
    """The picture proper of a frame, in its pixels: padding left out."""
    geometry = frame.geometry
    return (
        geometry.padding_left,
        geometry.padding_top,
        frame.width - geometry.padding_right,
        frame.height - geometry.padding_bottom,
    )


def cause(found: Found, rule: BoxRule) -> float:
    """q of one object: the probability that it alone makes the picture one of roadwork."""
    return (
        rule.weights.get(found.kind, 0.0)
        * expit(rule.slope * logit(found.score) + rule.intercept)
        * rule.area.factor(found.area)
        * rule.position.factor(found.bottom)
        * found.plausible
    )


def probability_of(objects: list[Found], rule: BoxRule) -> float:
    """P(roadwork) in [leak, 1] of all objects together, to the bit the same in any order."""
    spared = math.prod(sorted(1.0 - cause(found, rule) for found in objects))
    return min(1.0, rule.leak + (1.0 - rule.leak) * (1.0 - spared))


def load_rule(path: Path) -> BoxRule:
    """Read a rule; raises ModelError saying what is wrong with the file."""
    try:
        return BoxRule.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(
            f"no rule for boxes at {path}; the shipped one is models/detection/rule.json"
        ) from None
    except (OSError, ValidationError) as error:
        raise ModelError(f"{path} is no rule for boxes: {error}") from error
