"""The answers worth a look, and small pictures of what the judge saw."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Iterator, Sequence

import cv2
from PIL import Image

from natix_miner.errors import PictureError
from natix_miner.images.decode import decode_picture
from natix_miner.scoring.row import ScoredQuery
from natix_miner.scoring.runner import ScoreSettings, ordered, prepared_picture
from natix_miner.scoring.sources.base import QuerySource, SavedQuery
from natix_miner.sections import PictureLimits

GALLERY_SIZE = 24
UNSURE_SIZE = 12
THUMBNAIL_SIDE = 240
_LIMITS = PictureLimits(formats=("JPEG", "PNG", "WEBP"), decode_longer_side=THUMBNAIL_SIDE)


def worst(rows: Iterable[ScoredQuery], count: int = GALLERY_SIZE) -> list[ScoredQuery]:
    """The labelled rows that are wrong or without an answer, by their error, the worst first.

    Of several draws of one picture only the worst.
    """
    found: dict[str, ScoredQuery] = {}
    errors = [row for row in rows if row.label is not None and (row.wrong or not row.answered)]
    for row in sorted(errors, key=lambda row: (-row.error, row.repeat, row.position)):
        found.setdefault(row.name, row)
    return list(found.values())[:count]


def least_sure(rows: Iterable[ScoredQuery], count: int = UNSURE_SIZE) -> list[ScoredQuery]:
    """The answers nearest to one half, the nearest first, right or wrong, labelled or not.

    Of several draws of one picture only the least sure.
    """
    found: dict[str, ScoredQuery] = {}
    answered = [row for row in rows if row.answered]
    for row in sorted(answered, key=_sureness):
        found.setdefault(row.name, row)
    return list(found.values())[:count]


def _sureness(row: ScoredQuery) -> tuple[float, int, int]:
    return abs(row.prediction - 0.5), row.repeat, row.position


def gallery_of(
    rows: Sequence[ScoredQuery], errors: int = GALLERY_SIZE, unsure: int = UNSURE_SIZE
) -> tuple[list[ScoredQuery], list[ScoredQuery]]:
    """The errors and the least sure answers of a gallery; none is in both."""
    bad = worst(rows, errors)
    shown = {row.name for row in bad}
    return bad, least_sure([row for row in rows if row.name not in shown], unsure)


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
    errors: int = GALLERY_SIZE,
    unsure: int = UNSURE_SIZE,
) -> list[ScoredQuery]:
    """`rows` with pictures for those of the gallery, read (and simulated) once more.

    Nothing is kept in memory while judging, and a resumed run has its whole gallery: the draw of a
    simulated picture depends on its place alone.
    """
    shown = gallery_of(rows, errors, unsure)
    wanted = {(row.repeat, row.position) for part in shown for row in part}
    pictures: dict[tuple[int, int], bytes | None] = {}
    places = {position for _, position in wanted}
    for position, saved in _placed(source, settings, places):
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


def _placed(
    source: QuerySource, settings: ScoreSettings, places: set[int]
) -> Iterator[tuple[int, SavedQuery]]:
    """The saved queries at these places of a pass; where the source can, no other is read."""
    if source.can_pick and (source.has_order or settings.keep_order):
        at = sorted(places)
        yield from zip(at, source.picked(at), strict=True)
        return
    for position, saved in enumerate(ordered(source, settings)):
        if position in places:
            yield position, saved
