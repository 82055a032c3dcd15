"""The worst answers of a run, and small pictures of what the judge saw."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Sequence

import cv2
from PIL import Image

from natix_miner.errors import PictureError
from natix_miner.images.decode import decode_picture
from natix_miner.scoring.row import ScoredQuery
from natix_miner.scoring.runner import ScoreSettings, ordered, prepared_picture
from natix_miner.scoring.sources.base import QuerySource
from natix_miner.sections import PictureLimits

GALLERY_SIZE = 24
THUMBNAIL_SIDE = 240
_LIMITS = PictureLimits(formats=("JPEG", "PNG", "WEBP"), decode_longer_side=THUMBNAIL_SIDE)


def worst(rows: Iterable[ScoredQuery], count: int = GALLERY_SIZE) -> list[ScoredQuery]:
    """The labelled rows with the largest error, worst first; right answers come last.

    Of several draws of one picture only the worst.
    """
    labelled = [row for row in rows if row.label is not None]
    found: dict[str, ScoredQuery] = {}
    for row in sorted(labelled, key=lambda row: (-row.error, row.repeat, row.position)):
        found.setdefault(row.name, row)
    return list(found.values())[:count]


def thumbnail(picture: bytes) -> bytes | None:
    """A JPEG of at most 240 x 240; None for what is not a picture."""
    try:
        pixels = decode_picture(picture, _LIMITS).pixels
    except PictureError:
        return None
    height, width = pixels.shape[:2]
    scale = min(1.0, THUMBNAIL_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1.0 else pixels
    out = io.BytesIO()
    Image.fromarray(small).save(out, "JPEG", quality=80)
    return out.getvalue()


def with_thumbnails(
    rows: Sequence[ScoredQuery],
    source: QuerySource,
    settings: ScoreSettings,
    count: int = GALLERY_SIZE,
) -> list[ScoredQuery]:
    """`rows` with pictures for the worst of them, read (and simulated) once more.

    Nothing is kept in memory while judging, and a resumed run has its whole gallery: the draw of a
    simulated picture depends on its place alone.
    """
    wanted = {(row.repeat, row.position) for row in worst(rows, count)}
    pictures: dict[tuple[int, int], bytes | None] = {}
    places = {position for _, position in wanted}
    for position, saved in enumerate(ordered(source, settings)):
        if position not in places:
            continue
        for repeat in range(settings.repeats):
            if (repeat, position) in wanted:
                try:
                    picture = prepared_picture(saved, settings, repeat)
                except PictureError:
                    continue
                pictures[repeat, position] = thumbnail(picture)
    return [
        dataclasses.replace(row, thumbnail=pictures.get((row.repeat, row.position))) for row in rows
    ]
