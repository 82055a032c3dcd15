"""What pictures are compared by: which features, and how they are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from pydantic import Field, model_validator

from natix_miner.experts.colour_shape.features import LOOKED_AT_SIDE
from natix_miner.experts.family import ExpertSettings, Surroundings
from natix_miner.experts.looking import LookingSettings
from natix_miner.experts.weights.features import Features
from natix_miner.experts.weights.runtimes import RuntimeSettings
from natix_miner.images import Frame, Pixels, upright
from natix_miner.sections import Section

#: How vectors are brought to a common scale before distances are taken: every number by mean and
#: spread of the index, or the vector as a whole to length 1 (distances then order like cosines).
Scaling = Literal["standardised", "normalised"]

#: Longer side in pixels of the picture that is described and hashed.
SIDE = LOOKED_AT_SIDE
#: Keys of an expert that say nothing of features.
_OF_EXPERTS = (set(LookingSettings.model_fields) | set(ExpertSettings.model_fields)) - {
    "type",
    "batch",
}


class ColourShapeSection(Section):
    """The 55 numbers of the colour-and-shape expert; `model` is its fitted file."""

    type: Literal["colour-shape"] = "colour-shape"
    model: Path = Path("../models/embedded/colour_shape.json")


class EmbeddedSection(Section):
    """The same and 49 patch scores of the embedded network (`network`), sorted: how much of the
    picture looks how alarming, wherever it is."""

    type: Literal["embedded"] = "embedded"
    model: Path = Path("../models/embedded/colour_shape.json")
    network: Path = Path("../models/embedded/network.onnx")


class BackboneSection(RuntimeSettings):
    """A frozen backbone, in a `folder` or by its `model`; experts that name the same one share its
    weights. `feature` left out is its pooled output, where it has one, else the mean of its
    patches. `batch` bounds how many pictures it sees at once."""

    type: Literal["backbone"] = "backbone"
    feature: Literal["pooler", "cls", "mean"] | None = None

    @model_validator(mode="after")
    def _of_features_only(self) -> BackboneSection:
        if strange := sorted(self.model_fields_set & _OF_EXPERTS):
            raise ValueError(f"features have no {', '.join(strange)}; take that out")
        return self


AnySection = ColourShapeSection | EmbeddedSection | BackboneSection
FeaturesSection = Annotated[AnySection, Field(discriminator="type")]


class ScaledFeatures(Features, Protocol):
    """Features that know how their vectors are to be compared."""

    scaling: Scaling

    def close(self) -> None:
        """Give weights back; may be called twice."""
        ...


def proper(frame: Frame) -> Pixels:
    """The picture that is described and hashed: upright, without padding, at most SIDE pixels."""
    return np.ascontiguousarray(upright(frame, SIDE).pixels)


def load_features(name: str, section: AnySection, surroundings: Surroundings) -> ScaledFeatures:
    """The features of a section, for the expert `name`; raises ModelError."""
    from natix_miner.experts.memory import vectors

    if isinstance(section, BackboneSection):
        return vectors.BackboneVectors.load(name, section, surroundings)
    described = vectors.ColourShapeVectors.load(surroundings.folder / section.model)
    if isinstance(section, EmbeddedSection):
        return vectors.EmbeddedVectors(described, surroundings.folder / section.network)
    return described
