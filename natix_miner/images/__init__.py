"""From bytes to frames and views, and the pictures that validators make."""

from __future__ import annotations

from natix_miner.images.base64_picture import decode_base64
from natix_miner.images.decode import decode_picture
from natix_miner.images.frame import Frame, Geometry, Pixels, SizeClass, View
from natix_miner.images.geometry import measure
from natix_miner.images.views import crops, enlarged, mirrored, shrink, tiles, upright, whole

__all__ = [
    "Frame",
    "Geometry",
    "Pixels",
    "SizeClass",
    "View",
    "crops",
    "decode_base64",
    "decode_picture",
    "enlarged",
    "measure",
    "mirrored",
    "shrink",
    "tiles",
    "upright",
    "whole",
]
