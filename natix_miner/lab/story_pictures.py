"""The pictures of a story: the frame with what was seen on it, and what each expert looked at."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from natix_miner.cascade.trace import EvidenceTrace, ExpertTrace, Trace
from natix_miner.errors import PictureError
from natix_miner.experts import Expert
from natix_miner.images import Frame, View, decode_picture
from natix_miner.sections import PictureLimits
from natix_miner.stored.query import StoredQuery

FRAME_SIDE, VIEW_SIDE = 960, 400
#: Views shown of one expert: tiles may be a dozen.
MOST_VIEWS = 8
_ANY = PictureLimits(formats=("JPEG", "PNG", "WEBP"), max_megapixels=200.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that an expert saw: `number` in the list beneath, `points` the corners in pixels of
    the picture that it is drawn on, `outline` that of a mask (or empty)."""

    number: int
    words: str
    points: tuple[tuple[float, float], ...]
    outline: tuple[tuple[float, float], ...] = ()

    @property
    def box(self) -> str:
        """The corners as SVG wants them."""
        return _svg(self.points)

    @property
    def mask(self) -> str:
        """The outline as SVG wants it."""
        return _svg(self.outline)

    @property
    def corner(self) -> tuple[float, float]:
        """Where its number goes."""
        return min(x for x, _ in self.points), min(y for _, y in self.points)


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture of the page: `source` a data URI, or "" for the frame that the page holds once;
    `width` and `height` span the coordinates of its marks."""

    title: str
    width: int
    height: int
    marks: tuple[Mark, ...]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one expert looked at, and what it found there."""

    expert: str
    pictures: tuple[Shown, ...]
    more: int = 0  # views that are not shown


@dataclass(frozen=True, slots=True)
class Pictures:
    """`frame` is a data URI, "" with the reason in `missing`; `width` and `height` are those of
    the decoded frame, which boxes are told in."""

    frame: str
    width: int
    height: int
    seen: tuple[Seen, ...]
    missing: str = ""
    note: str = ""


def pictures_of(
    query: StoredQuery,
    *,
    experts: Iterable[Expert] = (),
    limits: PictureLimits | None = None,
    note: str = "",
) -> Pictures:
    """The pictures of a query; with `experts` (not started) also the views that they would cut.

    `limits` are those of the profile, so that the frame is decoded as it was; `note` is a remark
    on the views.
    """
    trace = query.trace
    if trace.picture is None:
        return Pictures("", 0, 0, (), missing="no picture could be decoded from these bytes")
    width, height = trace.picture.width, trace.picture.height
    encoded = query.picture()
    if encoded is None:
        return Pictures("", width, height, (), missing="the picture was not kept")
    try:
        frame = decode_picture(encoded, limits or _ANY)
    except PictureError as error:
        return Pictures("", width, height, (), missing=f"the kept picture is refused: {error}")
    views = {expert.name: expert.views(frame) for expert in experts}
    seen = tuple(
        found
        for level in trace.levels
        for one in level.experts
        if (found := _seen(one, frame, views, (width, height))) is not None
    )
    return Pictures(_uri(frame.pixels, FRAME_SIDE), width, height, seen, note=note)


def all_marks(trace: Trace) -> tuple[Mark, ...]:
    """Every place that any expert named, numbered through, in pixels of the frame."""
    placed = [
        (one.name, seen) for level in trace.levels for one in level.experts for seen in one.evidence
    ]
    return tuple(
        _mark(number, seen, f"{name}: {seen.what} {seen.score:.2f}")
        for number, (name, seen) in enumerate(
            ((name, seen) for name, seen in placed if seen.box is not None), start=1
        )
    )


def _seen(
    one: ExpertTrace, frame: Frame, views: Mapping[str, list[View]], size: tuple[int, int]
) -> Seen | None:
    placed = [seen for seen in one.evidence if seen.box is not None]
    marks = tuple(
        _mark(number, seen, f"{seen.what} {seen.score:.2f}")
        for number, seen in enumerate(placed, start=1)
    )
    # The frame may be decoded at another scale than it was then.
    scale = frame.width / size[0], frame.height / size[1]
    cut = views.get(one.name, [])
    shown = [_view(view, marks, scale) for view in cut[:MOST_VIEWS]]
    if not shown and marks:
        shown = [Shown("frame", *size, marks)]
    return Seen(one.name, tuple(shown), len(cut) - len(shown) if cut else 0) if shown else None


def _mark(number: int, seen: EvidenceTrace, words: str) -> Mark:
    left, top, right, bottom = seen.box or (0.0, 0.0, 0.0, 0.0)
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Mark(number, words, corners, seen.outline)


def _view(view: View, marks: tuple[Mark, ...], scale: tuple[float, float]) -> Shown:
    height, width = view.pixels.shape[:2]
    moved = []
    for mark in marks:
        points = _into(view, np.array(mark.points) * scale)
        inside = (points.max(0) > 0).all() and (points.min(0) < (width, height)).all()
        if inside:
            outline = _into(view, np.array(mark.outline) * scale) if mark.outline else ()
            moved.append(Mark(mark.number, mark.words, _pairs(points), _pairs(outline)))
    return Shown(view.name, width, height, tuple(moved), _uri(view.pixels, VIEW_SIDE))


def _into(view: View, points: Floats) -> Floats:
    """Places of the frame (n, 2) as places of the view."""
    a, b, c, d, e, f = view.affine
    return np.asarray(np.linalg.solve(np.array(((a, b), (d, e))), (points - (c, f)).T).T)


def _pairs(points: Iterable[Iterable[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


def _svg(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _uri(pixels: NDArray[np.uint8], side: int) -> str:
    """A JPEG as data URI, its longer side at most `side`."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1.0 else pixels
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(small)).save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
