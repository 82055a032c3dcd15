"""The few words of an EXIF block that matter here, read without trusting them.

A damaged or hostile block is no reason to refuse a picture that decodes: nothing here raises, and
the work is bounded (two directories of at most 200 entries).

Sources: TIFF 6.0 section 2, CIPA DC-008 (EXIF) 4.6.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

#: Diagonal of a 35 mm film frame of 36 x 24 mm.
FILM_DIAGONAL = math.hypot(36.0, 24.0)
#: A lens for streets has a focal length between these, in millimetres for 35 mm film. Below the
#: first a picture is a fisheye's, which no pinhole describes.
FOCAL_LENGTHS = (8.0, 1200.0)

_MOST_ENTRIES = 200
_ORIENTATION, _EXIF_DIRECTORY = 0x0112, 0x8769
_FOCAL_LENGTH_35MM, _WIDTH, _HEIGHT = 0xA405, 0xA002, 0xA003
_SHORT, _LONG = 3, 4
#: Sides told in EXIF and those of the picture may differ by so much in aspect, by rounding.
_SAME_ASPECT = 0.02


def exif_orientation(tiff: bytes) -> int:
    """The orientation (1-8) in the first directory of an EXIF block; 1 when absent or unreadable.

    `tiff` begins with its byte-order mark.
    """
    for tag, kind, value in _entries(tiff, _first_directory(tiff)):
        if tag == _ORIENTATION:
            return value if kind == _SHORT and 1 <= value <= 8 else 1
    return 1


def exif_focal_length(tiff: bytes, width: int, height: int) -> float | None:
    """The focal length in millimetres, as if on 35 mm film, of a stored picture of these pixels.

    That is FocalLengthIn35mmFilm; by CIPA's convention the picture's diagonal stands for the
    film's. None when EXIF does not tell it (0 means unknown), when it is absurd, or when the sides
    in EXIF have another shape than the picture: then something was cut off after it was taken.
    """
    first = _first_directory(tiff)
    inner = next((v for tag, kind, v in _entries(tiff, first) if tag == _EXIF_DIRECTORY), None)
    if inner is None:
        return None
    said = {tag: v for tag, kind, v in _entries(tiff, inner) if kind in (_SHORT, _LONG)}
    focal = float(said.get(_FOCAL_LENGTH_35MM, 0))
    if not FOCAL_LENGTHS[0] <= focal <= FOCAL_LENGTHS[1]:
        return None
    wide, high = said.get(_WIDTH, 0), said.get(_HEIGHT, 0)
    if wide and high and not _same_shape((wide, high), (width, height)):
        return None
    return focal


def focal_in_pixels(focal_length: float, width: int, height: int) -> float:
    """A focal length in millimetres on 35 mm film in pixels of a picture of this size."""
    return focal_length * math.hypot(width, height) / FILM_DIAGONAL


def _same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have one aspect, either way up: turning a file may leave EXIF as it was."""
    aspects = [max(size) / min(size) for size in (one, other)]
    return abs(aspects[0] / aspects[1] - 1.0) <= _SAME_ASPECT


def _first_directory(tiff: bytes) -> int | None:
    order = _order(tiff)
    if order is None or len(tiff) < 8:
        return None
    (offset,) = struct.unpack_from(order + "I", tiff, 4)
    return int(offset)


def _order(tiff: bytes) -> str | None:
    return {b"II": "<", b"MM": ">"}.get(tiff[:2])


def _entries(tiff: bytes, directory: int | None) -> Iterator[tuple[int, int, int]]:
    """Tag, type and first value of each entry of a directory that holds one whole number."""
    order = _order(tiff)
    if order is None or directory is None:
        return
    try:
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(min(entries, _MOST_ENTRIES)):
            place = directory + 2 + 12 * entry
            tag, kind = struct.unpack_from(order + "HH", tiff, place)
            (value,) = struct.unpack_from(order + ("I" if kind == _LONG else "H"), tiff, place + 8)
            yield tag, kind, value
    except struct.error:
        return
