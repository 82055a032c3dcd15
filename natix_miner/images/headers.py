"""What the first bytes of a picture file say, read without decoding and without trusting them.

Pillow would read headers too, but it also parses EXIF, ICC, MPO, Photoshop and APNG parts, warns
about odd ones, and checks sizes only against a limit that is global to the process. So the header
is walked here, and `essential` holds the file without the parts no pixel depends on.

Sources: ITU-T T.81 annex B (JPEG), W3C PNG 3rd edition section 5, RFC 9649 (WebP).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from natix_miner.errors import (
    BrokenPictureError,
    EmptyPictureError,
    NotAPictureError,
    PictureFormatError,
)
from natix_miner.images.exif import exif_focal_length, exif_orientation

#: Progressive JPEGs have some ten scans. Each costs a walk over all blocks, however few bytes it
#: is, so that a small file of many thousand scans would keep the decoder busy for hours.
MAX_SCANS = 100

_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # TEM, RST0-7, SOI: no length follows
_FRAME_STARTS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn without DHT, JPG, DAC
_DISPENSABLE = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))  # APPn but JFIF and Adobe; comments
_OTHER_FORMATS = (
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (4, b"ftyp", "HEIF or AVIF"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says of a picture.

    Width and height are in pixels as stored, before any turn. `orientation` is that of EXIF, 1-8,
    read in JPEGs only; so is `focal_length`, in millimetres as if on 35 mm film, None where nobody
    tells it. `plausible` is False when the file has no end or cannot possibly hold so many pixels.
    """

    picture_format: str
    width: int
    height: int
    essential: bytes
    orientation: int = 1
    plausible: bool = True
    focal_length: float | None = None


def sniff(data: bytes) -> str:
    """The format by the magic bytes: "JPEG", "PNG" or "WEBP".

    Raises EmptyPictureError, PictureFormatError (a format never judged, such as GIF) or
    NotAPictureError.
    """
    if not data:
        raise EmptyPictureError("the picture has no bytes; send an encoded picture")
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    for offset, magic, name in _OTHER_FORMATS:
        if data.startswith(magic, offset):
            raise PictureFormatError(f"the picture is {name}, which is never judged; send a JPEG")
    raise NotAPictureError(f"{len(data)} bytes of no known picture format; send a JPEG")


def read_header(data: bytes, picture_format: str) -> Header:
    """Walk the header of a file of this format; raises BrokenPictureError, PictureFormatError."""
    try:
        header = _READERS[picture_format](data)
    except (struct.error, IndexError):
        raise BrokenPictureError(
            f"the {picture_format} header ends early ({len(data)} bytes); send the whole file"
        ) from None
    if header.width < 1 or header.height < 1:
        raise BrokenPictureError(
            f"the {picture_format} header says {header.width} x {header.height} pixels"
        )
    return header


def _jpeg(data: bytes) -> Header:
    position, size, orientation, arithmetic = 2, (0, 0), 1, False
    exif = b""
    kept: list[bytes] = []
    kept_from = 0
    while True:
        if data[position] != 0xFF:
            raise BrokenPictureError(f"no JPEG marker at byte {position}; the header is damaged")
        while data[position] == 0xFF:  # fill bytes
            position += 1
        marker = data[position]
        start, position = position - 1, position + 1
        if marker in _STANDALONE:
            continue
        if marker in (0x00, 0xD9):
            raise BrokenPictureError(f"the JPEG ends at byte {start} without a picture")
        (length,) = struct.unpack_from(">H", data, position)
        end = position + length
        if length < 2 or end > len(data):
            raise BrokenPictureError(f"a JPEG segment at byte {start} does not fit into the file")
        if marker == 0xDA:
            break
        if marker in _FRAME_STARTS:
            size = _jpeg_size(data, position)
            arithmetic = marker > 0xC8
        elif marker in _DISPENSABLE:
            if marker == 0xE1 and data.startswith(b"Exif\0\0", position + 2):
                exif = data[position + 8 : end]
                orientation = exif_orientation(exif)
            kept.append(data[kept_from:start])
            kept_from = end
        position = end
    scans = data.count(b"\xff\xda", start)
    if scans > MAX_SCANS:
        raise BrokenPictureError(f"a JPEG of {scans} scans; at most {MAX_SCANS} are decoded")
    # Each block of 8 x 8 pixels needs a Huffman code, and that at least one bit.
    blocks = -(-size[0] // 8) * -(-size[1] // 8)
    plausible = arithmetic or blocks <= 8 * (len(data) - end)
    # Pillow refuses files without an end, unless somebody in the process told it not to.
    plausible = plausible and data.rfind(b"\xff\xd9", end) >= 0
    essential = b"".join((*kept, data[kept_from:])) if kept else data
    # The size may stand after the EXIF block.
    focal = exif_focal_length(exif, *size) if min(size) > 0 else None
    return Header("JPEG", size[0], size[1], essential, orientation, plausible, focal)


def _jpeg_size(data: bytes, position: int) -> tuple[int, int]:
    bits, height, width, components = struct.unpack_from(">BHHB", data, position + 2)
    if bits != 8 or components not in (1, 3, 4):
        raise PictureFormatError(
            f"a JPEG of {components} components at {bits} bits; 1, 3 or 4 at 8 bits are judged"
        )
    return width, height


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise BrokenPictureError("the PNG does not begin with its header chunk")
    width, height = struct.unpack_from(">II", data, 16)
    kept = [data[:8]]
    position = 8
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            kept.append(data[position:end])
        position = end
        if kind == b"IEND":
            break
    return Header("PNG", width, height, b"".join(kept))


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        size = (low_w + (high_w << 16) + 1, low_h + (high_h << 16) + 1)
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        size = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    elif kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        size = (width & 0x3FFF, height & 0x3FFF)
    else:
        raise BrokenPictureError("the WebP file begins with no picture chunk")
    return Header("WEBP", size[0], size[1], data)


_READERS = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp}
