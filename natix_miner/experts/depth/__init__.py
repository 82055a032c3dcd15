"""How far away things are, and so how large: a check on what detectors say they found."""

from natix_miner.experts.depth.model import DepthMap, DepthModel, DepthSource, load_depth_model
from natix_miner.experts.depth.pinhole import focal_of, real_height
from natix_miner.experts.depth.sizes import SIZES, factor

__all__ = [
    "SIZES",
    "DepthMap",
    "DepthModel",
    "DepthSource",
    "factor",
    "focal_of",
    "load_depth_model",
    "real_height",
]
