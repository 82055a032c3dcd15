"""The colour-and-shape expert: features of what roadwork wears, and a small fitted model."""

from __future__ import annotations

from natix_miner.experts.colour_shape.features import Features, features
from natix_miner.experts.colour_shape.model import ColourShapeModel

__all__ = ["ColourShapeModel", "Features", "features"]
