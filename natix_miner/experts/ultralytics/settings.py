"""What a profile says of a model of the ultralytics family."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from natix_miner.experts.detection.settings import DetectionSettings


class UltralyticsSettings(DetectionSettings):
    """`file` is a checkpoint (.pt), counted from the profile; `sha256` its digest, checked before
    it is opened (versions of the package that cannot open files safely need it). `task` says what
    it is for: `detect` (segmenting ones as well, their masks become outlines) or `classify`, where
    the classes `classify_positive` mean roadwork and of several views the average log-odds count
    (`combine: mean`) or the most alarming (`max`). `image_size` is the side in pixels at which the
    network sees a view (left out: the one it was trained at).

    Open-vocabulary checkpoints (YOLOE, YOLO-World) look for the phrases in the file
    `phrase_embeddings` (see experts/ultralytics/phrases.py). `phrases` gives each the roadwork
    class it stands for, and leaves out all others; without it the `vocabulary` says what the
    phrases mean.

    `precision` fp16 needs a GPU; the package has no bf16.
    """

    licence: ClassVar[str] = "AGPL-3.0"

    type: Literal["ultralytics"] = "ultralytics"
    file: Path
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    task: Literal["detect", "classify"] = "detect"
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")] = "cpu"
    precision: str = "fp32"
    image_size: Annotated[int, Field(ge=32, le=4096, multiple_of=32)] | None = None
    classify_positive: Annotated[tuple[str, ...], Field(min_length=1)] = ("Roadwork",)
    combine: Literal["mean", "max"] = "mean"
    phrases: dict[str, str] = Field(default_factory=dict)
    phrase_embeddings: Path | None = None

    @field_validator("precision")
    @classmethod
    def _known(cls, precision: str) -> str:
        if precision not in ("fp32", "fp16"):
            raise ValueError(
                f"precision {precision!r}: ultralytics runs in fp32, on a GPU in fp16 as well"
            )
        return precision

    @model_validator(mode="after")
    def _sound(self) -> UltralyticsSettings:
        if self.precision == "fp16" and self.device == "cpu":
            raise ValueError("precision fp16 needs a GPU; on the cpu take fp32")
        if self.phrases and self.phrase_embeddings is None:
            raise ValueError(
                "phrases alone would download a text model; give `phrase_embeddings`, a file made "
                "of them once"
            )
        if self.phrases and self.vocabulary is not None:
            raise ValueError("give either `phrases` or a `vocabulary`, not both")
        if self.task == "classify" and self.phrase_embeddings is not None:
            raise ValueError("a classifier takes no phrases; take `phrase_embeddings` out")
        return self
