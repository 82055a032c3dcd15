"""The colour-and-shape expert: cones, drums and signs by hue, form and place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from natix_miner.errors import ModelError
from natix_miner.experts.colour_shape.model import ColourShapeModel
from natix_miner.experts.family import ExpertSettings, Family, Surroundings
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.experts.opinion import Look
from natix_miner.images import Frame, View, whole


class ColourShapeSettings(ExpertSettings):
    """`model` is the fitted file (scripts/fit_colour_shape.py writes it)."""

    type: Literal["colour-shape"] = "colour-shape"
    model: Path


class ColourShape(InProcessExpert):
    """One opinion a frame from the features of its coloured blobs."""

    def __init__(
        self, name: str, settings: ColourShapeSettings, surroundings: Surroundings
    ) -> None:
        super().__init__(name, settings.batch_limits())
        self._path = surroundings.folder / settings.model
        self._model: ColourShapeModel | None = None

    def load(self) -> None:
        self._model = ColourShapeModel.load(self._path)
        self.version = self._model.version

    def views(self, frame: Frame) -> list[View]:
        return [whole(frame, max(frame.width, frame.height))]

    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        if self._model is None:
            raise ModelError(f"expert {self.name!r} was asked before it was loaded")
        return [self._model.look(frame) for frame in frames]


FAMILY = Family(type="colour-shape", settings=ColourShapeSettings, build=ColourShape)
