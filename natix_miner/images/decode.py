"""From encoded bytes to a frame.

| what comes                              | what happens                                           |
| --------------------------------------- | ------------------------------------------------------ |
| no bytes                                | EmptyPictureError                                      |
| no known magic bytes                    | NotAPictureError                                       |
| GIF, TIFF ...; PNG, WebP if switched off | PictureFormatError                                    |
| JPEG of 12 bits or of 2 components      | PictureFormatError                                     |
| more pixels announced than allowed      | PictureTooLargeError; nothing was decoded              |
| 0 x 0, damaged or cut header            | BrokenPictureError                                     |
| pixel data cut off                      | BrokenPictureError                                     |
| more pixels announced than the bytes of | BrokenPictureError                                     |
| a JPEG can possibly hold                |                                                        |
| pixel data damaged in the middle        | libjpeg's best effort, or BrokenPictureError           |
| more than 100 JPEG scans                | BrokenPictureError (a small file could take hours)     |
| grey, CMYK, YCCK (Adobe inverted)       | RGB; the profile (ICC) is left aside                   |
| EXIF orientation in a JPEG              | applied; width and height are those of the turned one  |
| EXIF focal length in a JPEG             | told in pixels of the frame; nonsense counts as none   |
| MPO, animated PNG or WebP               | the first picture                                      |
| PNG of 16 bits, palette, grey           | RGB of 8 bits                                          |
| transparency                            | left aside: the stored colours are taken               |

Pillow's plug-ins are called directly: `Image.open` warns about large pictures through a global
limit, and tries all formats. Nothing global is read or set, so any number of threads may decode.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from natix_miner.errors import BrokenPictureError, PictureFormatError, PictureTooLargeError
from natix_miner.images.exif import focal_in_pixels
from natix_miner.images.frame import Frame, Pixels
from natix_miner.images.geometry import measure
from natix_miner.images.headers import Header, read_header, sniff

if TYPE_CHECKING:
    from natix_miner.sections import PictureLimits

_DECODERS: dict[str, type[ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
}
#: What Pillow raises for damaged files; zlib and struct errors come through from PNG chunks.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    EOFError,
    OverflowError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)


def decode_picture(data: bytes, limits: PictureLimits) -> Frame:
    """Decode a picture to a frame with its geometry.

    A picture whose longer side is at least twice `limits.decode_longer_side` is decoded at 1/2, 1/4
    or 1/8, the smallest whose longer side is not below it (a JPEG while decoding, which saves most
    of the time; others afterwards). The pixels are RGB, contiguous and read-only.

    Raises EmptyPictureError, NotAPictureError, PictureFormatError, PictureTooLargeError or
    BrokenPictureError; see the table above.
    """
    picture_format = sniff(data)
    if picture_format not in limits.formats:
        raise PictureFormatError(
            f"the picture is {picture_format}, this miner takes {', '.join(limits.formats)};"
            " allow it in the profile under pictures.formats"
        )
    header = read_header(data, picture_format)
    megapixels = header.width * header.height / 1e6
    if megapixels > limits.max_megapixels:
        raise PictureTooLargeError(
            f"the picture is {header.width} x {header.height} ({megapixels:.1f} megapixels),"
            f" {limits.max_megapixels:g} are allowed; see pictures.max_megapixels in the profile"
        )
    if not header.plausible:
        raise BrokenPictureError(
            f"{len(data)} bytes do not hold the {header.width} x {header.height} pixels that the"
            " header announces, or the end is missing; send the whole file"
        )
    divisor = _divisor(max(header.width, header.height), limits.decode_longer_side)
    pixels = _turned(_decode(header, divisor), header.orientation)
    pixels.flags.writeable = False
    width, height = header.width, header.height
    if header.orientation >= 5:
        width, height = height, width
    return Frame(
        pixels=pixels,
        original_width=width,
        original_height=height,
        picture_format=picture_format,
        geometry=measure(pixels, width, height),
        focal_pixels=_focal_pixels(header, pixels),
    )


def _focal_pixels(header: Header, pixels: Pixels) -> float | None:
    """The focal length at the scale the picture was decoded at."""
    if header.focal_length is None:
        return None
    return focal_in_pixels(header.focal_length, pixels.shape[1], pixels.shape[0])


def _divisor(longer_side: int, wanted: int) -> int:
    return max(scale for scale in (1, 2, 4, 8) if scale == 1 or longer_side >= wanted * scale)


def _decode(header: Header, divisor: int) -> Pixels:
    try:
        with _DECODERS[header.picture_format](io.BytesIO(header.essential)) as image:
            if image.size != (header.width, header.height):
                raise BrokenPictureError(f"the headers of the {header.picture_format} disagree")
            if divisor > 1 and header.picture_format == "JPEG":
                image.draft(None, _at_least_one(header, divisor))
            image.load()
            pixels = _rgb(image)
    except _DAMAGE as error:
        raise BrokenPictureError(
            f"the {header.picture_format} of {header.width} x {header.height} pixels"
            f" ({len(header.essential)} bytes) does not decode: {error}"
        ) from None
    if divisor > 1 and header.picture_format != "JPEG":
        size = _at_least_one(header, divisor)
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return pixels


def _at_least_one(header: Header, divisor: int) -> tuple[int, int]:
    return max(1, header.width // divisor), max(1, header.height // divisor)


def _rgb(image: ImageFile) -> Pixels:
    if image.mode == "RGB":
        return np.asarray(image)
    if image.mode == "L":
        return np.asarray(cv2.cvtColor(np.asarray(image), cv2.COLOR_GRAY2RGB), np.uint8)
    if image.mode.startswith("I"):  # 16 bits of grey
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    return np.asarray(image.convert("RGB"))


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation: 2 and 4 are mirrored, 3 upside down, 5 to 8 lie on a side."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
