"""What a profile says of a detector, whichever library runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, ValidationError, field_validator, model_validator

from natix_miner.experts.looking import LookingSettings
from natix_miner.experts.weights.settings import ModelSettings, Precision
from natix_miner.sections import Section

Score = Annotated[float, Field(ge=0.0, le=1.0)]


class DepthSettings(Section):
    """Whether boxes are checked against the depth of the picture, and by which model.

    `folder` or `model` (catalogue, `revision`) name a metric depth model, `loader` what it is; it
    runs on `device` at `precision`. The focal length comes from the picture's EXIF, or from
    `horizontal_degrees`, the camera's horizontal field of view; with neither nothing is checked.
    `size_classes` are those of pictures that are checked: squares of validators are cut and scaled.
    """

    loader: Literal["depth-anything-v2", "depth-anything-3"] = "depth-anything-v2"
    folder: Path | None = None
    model: str | None = None
    revision: str | None = None
    device: str = "cpu"
    precision: Precision = "fp32"
    compile: bool = False
    horizontal_degrees: Annotated[float, Field(ge=10.0, le=170.0)] | None = None
    size_classes: Annotated[tuple[Literal["frame", "large-frame"], ...], Field(min_length=1)] = (
        "frame",
        "large-frame",
    )

    @property
    def weights(self) -> ModelSettings:
        """Place, device and precision, as the settings of any other model."""
        shared = ("folder", "model", "revision", "device", "precision", "compile")
        return ModelSettings(type="depth", **{key: getattr(self, key) for key in shared})

    @model_validator(mode="after")
    def _sound(self) -> DepthSettings:
        try:
            weights = self.weights
        except ValidationError as error:
            raise ValueError("; ".join(str(fault["msg"]) for fault in error.errors())) from None
        if self.loader == "depth-anything-3" and (weights.precision != "fp32" or weights.compile):
            raise ValueError(
                "depth-anything-3 picks its number format by itself; leave `precision` and "
                "`compile` out"
            )
        return self


class DetectionSettings(LookingSettings):
    """`threshold` is the least score of a box that counts; `vocabulary` names what the labels mean
    (left out: the one that fits the model's labels best); `rule` is the file by which boxes become
    a probability. Tiles of a large frame are looked at when the picture as a whole left it unsure
    (below `sure_at`) and the time suffices. Boxes of several views that overlap by `merge_iou` are
    one object. `depth` scales boxes of full frames by how plausible their size is."""

    threshold: Score = 0.05
    vocabulary: str | None = None
    rule: Path = Path("../models/detection/rule.json")
    sure_at: Score = 0.9
    merge_iou: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.55
    most_boxes: PositiveInt = 100
    depth: DepthSettings | None = None


class DetectorSettings(ModelSettings, DetectionSettings):
    """A detector with a folder or a catalogue key of its own."""


class PromptedSettings(DetectorSettings):
    """An open-vocabulary detector: `phrases` is what it is asked for, each with the roadwork class
    it stands for; left out: those shipped with the package."""

    phrases: dict[str, str] = Field(default_factory=dict)

    @field_validator("phrases")
    @classmethod
    def _said(cls, phrases: dict[str, str]) -> dict[str, str]:
        if empty := [phrase for phrase in phrases if not phrase.strip()]:
            raise ValueError(f"a phrase says nothing: {empty}")
        return phrases
