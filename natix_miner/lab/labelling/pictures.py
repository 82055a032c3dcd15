"""Pictures in the size that a screen shows: one of twelve megapixels takes a browser long to paint,
and keys must not wait for that."""

from __future__ import annotations

import io

from natix_miner.errors import PictureError

SMALLEST_SIDE, LARGEST_SIDE = 320, 4096
#: Pictures up to this much larger than asked for are sent as they are.
TOLERANCE = 1.3
_TYPES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"RIFF", "image/webp"),
)


def media_type(picture: bytes) -> str:
    """The media type of encoded bytes; `application/octet-stream` for what no query may be."""
    for start, name in _TYPES:
        if picture.startswith(start):
            return name
    return "application/octet-stream"


def scaled(picture: bytes, side: int) -> bytes:
    """The picture as it is, or as a JPEG whose longer side is `side` pixels if it is much larger.

    What cannot be decoded is given back as it is: the browser shall say what it thinks of it.
    """
    import cv2
    from PIL import Image

    from natix_miner.images import decode_picture
    from natix_miner.sections import PictureLimits

    side = min(max(side, SMALLEST_SIDE), LARGEST_SIDE)
    limits = PictureLimits(
        formats=("JPEG", "PNG", "WEBP"), max_megapixels=200.0, decode_longer_side=side
    )
    try:
        frame = decode_picture(picture, limits)
    except PictureError:
        return picture
    if max(frame.original_width, frame.original_height) <= TOLERANCE * side:
        return picture
    height, width = frame.pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
    out = io.BytesIO()
    Image.fromarray(small).save(out, "JPEG", quality=90)
    return out.getvalue()
