"""How an expert looks at a frame: which views are cut, and what is mended on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import PositiveInt

from natix_miner.experts.family import ExpertSettings
from natix_miner.images import Frame, View, crops, enlarged, mirrored, tiles, upright, whole
from natix_miner.images.repair import Repair, repaired

ViewKind = Literal["whole", "upright", "enlarged", "crops", "tiles"]


class LookingSettings(ExpertSettings):
    """`views` are the pictures cut from a frame, their longer side at most `view_size` pixels
    (left out: what suits the family); `tiles` bounds how many tiles are cut of a large frame;
    `mirror` adds every view mirrored; `repair` mends contrast or darkness before anybody looks."""

    views: tuple[ViewKind, ...] = ("whole",)
    view_size: PositiveInt | None = None
    tiles: PositiveInt = 6
    mirror: bool = False
    repair: tuple[Repair, ...] = ()


def cut_views(frame: Frame, settings: LookingSettings, size: int) -> list[View]:
    """The views of a frame, tiles last; `size` holds where the settings name none.

    A frame of which nothing else can be cut (tiles of a small one) gives its `whole` view.
    """
    size = settings.view_size or size
    cut: list[View] = []
    for kind in sorted(settings.views, key=lambda kind: kind == "tiles"):
        if kind == "whole":
            cut.append(whole(frame, size))
        elif kind == "upright":
            cut.append(upright(frame, size))
        elif kind == "enlarged":
            cut.append(enlarged(frame, size))
        elif kind == "crops":
            cut.extend(crops(frame, size))
        else:
            cut.extend(tiles(frame, size, limit=settings.tiles))
    cut = cut or [whole(frame, size)]
    for step in settings.repair:
        cut = [replace(view, pixels=repaired(view.pixels, step)) for view in cut]
    if settings.mirror:
        cut = [view for seen in cut for view in (seen, mirrored(seen))]
    return cut


def is_tile(view: View) -> bool:
    """Whether a view is one of many that cover a large frame."""
    return view.name.startswith("tile-")
