"""What a profile says of a model that runs in the miner's process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, model_validator

from natix_miner.experts.looking import LookingSettings

Precision = Literal["fp32", "bf16", "fp16"]


class ModelSettings(LookingSettings):
    """`folder` holds a saved model, counted from the profile; or `model` is a key of the catalogue
    or a repository of the model hub, the latter at `revision` (a commit, so that nobody can change
    the weights behind our back) unless the catalogue pins one.

    `device` is cpu, cuda or cuda:N; `precision` that of weights and arithmetic; `compile` runs the
    model through torch.compile (a minute at start, faster afterwards on a GPU); `threads` bounds
    the threads of runtimes that keep their own, 0 takes all cores.
    """

    folder: Path | None = None
    model: str | None = None
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")] = "cpu"
    precision: Precision = "fp32"
    compile: bool = False
    threads: NonNegativeInt = 0

    @model_validator(mode="after")
    def _one_place(self) -> ModelSettings:
        if (self.folder is None) == (self.model is None):
            raise ValueError(
                "give either `folder` (a saved model) or `model` (a key of the catalogue or a hub "
                "id), not both"
            )
        if self.folder is not None and self.revision is not None:
            raise ValueError("a folder has no revision; take it out")
        if self.precision == "fp16" and self.device == "cpu":
            raise ValueError("precision fp16 needs a GPU; on the cpu take bf16 or fp32")
        return self
