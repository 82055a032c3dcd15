"""The focal length in a JPEG's EXIF, written by Pillow or by hand, as pixels of the frame."""

from __future__ import annotations

import io
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from natix_miner.images import Frame, decode_picture
from natix_miner.images.exif import exif_focal_length, exif_orientation
from natix_miner.sections import PictureLimits

DIRECTORY = ExifTags.IFD.Exif
FOCAL_35MM = ExifTags.Base.FocalLengthIn35mmFilm
WIDTH, HEIGHT = ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight
ORIENTATION = ExifTags.Base.Orientation


def jpeg(size: tuple[int, int], orientation: int | None = None, **said: int) -> bytes:
    """A grey picture with these words in its EXIF directory, by Pillow."""
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    names = {"focal": FOCAL_35MM, "width": WIDTH, "height": HEIGHT}
    for name, value in said.items():
        exif.get_ifd(DIRECTORY)[names[name]] = value
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", exif=exif.tobytes())
    return buffer.getvalue()


def frame_of(data: bytes, longer_side: int = 1280) -> Frame:
    return decode_picture(data, PictureLimits(decode_longer_side=longer_side))


class TestFocalLength:
    def test_of_a_full_frame_camera_is_its_lens_over_the_pixels_pitch(self) -> None:
        """36 x 24 mm on 720 x 480 pixels are 20 pixels a millimetre, so 50 mm are 1000 pixels."""
        assert frame_of(jpeg((720, 480), focal=50)).focal_pixels == pytest.approx(1000.0, rel=1e-9)

    def test_of_another_shape_goes_by_the_diagonal(self) -> None:
        """4:3 with a lens of the film's diagonal sees 2 atan(1/2) = 53.13 degrees across it."""
        focal = frame_of(jpeg((640, 480), focal=43)).focal_pixels
        assert focal is not None
        across = 2 * math.degrees(math.atan(400 / focal))  # the half diagonal is 400
        assert across == pytest.approx(2 * math.degrees(math.atan(0.5 * 43.2666 / 43)), rel=1e-4)

    @pytest.mark.parametrize(("longer_side", "width"), [(1280, 1000), (500, 500), (250, 250)])
    def test_is_in_pixels_of_the_scale_it_was_decoded_at(
        self, longer_side: int, width: int
    ) -> None:
        data = jpeg((1000, 600), focal=28)
        frame = frame_of(data, longer_side)
        assert frame.width == width
        whole = frame_of(data).focal_pixels
        assert whole is not None
        assert frame.focal_pixels == pytest.approx(whole * width / 1000, rel=1e-3)

    def test_of_a_turned_picture_is_the_same(self) -> None:
        straight = frame_of(jpeg((720, 480), focal=35, width=720, height=480))
        turned = frame_of(jpeg((720, 480), orientation=6, focal=35, width=720, height=480))
        assert (turned.width, turned.height) == (480, 720)
        assert turned.focal_pixels == straight.focal_pixels is not None

    @pytest.mark.parametrize("focal", [0, 1, 7, 1201, 65535])
    def test_unknown_or_absurd_is_none(self, focal: int) -> None:
        assert frame_of(jpeg((72, 48), focal=focal)).focal_pixels is None

    def test_nothing_said_is_none(self) -> None:
        assert frame_of(jpeg((72, 48))).focal_pixels is None
        assert frame_of(jpeg((72, 48), orientation=3)).focal_pixels is None
        assert frame_of(jpeg((72, 48), width=72, height=48)).focal_pixels is None

    @pytest.mark.parametrize("said", [(1440, 960), (960, 1440), (721, 480)])
    def test_a_picture_made_smaller_keeps_it(self, said: tuple[int, int]) -> None:
        data = jpeg((720, 480), focal=50, width=said[0], height=said[1])
        assert frame_of(data).focal_pixels == pytest.approx(1000.0)

    def test_a_picture_that_was_cropped_since_has_none(self) -> None:
        assert frame_of(jpeg((480, 480), focal=50, width=720, height=480)).focal_pixels is None


def tiff(order: str, focal_type: int = 3, inner: int = 26) -> bytes:
    """By hand: a first directory that points to a second one with a focal length of 30 mm."""
    mark = b"II" if order == "<" else b"MM"
    first = struct.pack(order + "HHHII", 1, 0x8769, 4, 1, inner)
    value = struct.pack(order + ("HH" if focal_type == 3 else "I"), *([30, 0][: 5 - focal_type]))
    second = struct.pack(order + "HHHI", 1, 0xA405, focal_type, 1) + value
    return mark + struct.pack(order + "HI", 42, 8) + first + b"\0\0\0\0" + second


class TestHostileExif:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("kind", [3, 4])
    def test_both_byte_orders_and_widths_are_read(self, order: str, kind: int) -> None:
        assert exif_focal_length(tiff(order, kind), 720, 480) == 30.0

    @pytest.mark.parametrize("inner", [8, 0, 27, 10_000, 0xFFFFFFFF])
    def test_a_pointer_to_nowhere_or_to_itself_is_none(self, inner: int) -> None:
        assert exif_focal_length(tiff("<", inner=inner), 720, 480) is None

    def test_cut_anywhere_it_raises_nothing(self) -> None:
        whole = tiff(">")
        said = [exif_focal_length(whole[:end], 720, 480) for end in range(len(whole) + 1)]
        assert said[-1] == 30.0
        assert set(said[:-2]) <= {None, 30.0}
        assert said[: len(whole) - 4] == [None] * (len(whole) - 4)

    def test_another_type_of_value_is_none(self) -> None:
        assert exif_focal_length(tiff("<").replace(b"\x05\xa4\x03", b"\x05\xa4\x02"), 9, 6) is None

    @given(st.binary(max_size=120))
    def test_no_block_raises(self, tail: bytes) -> None:
        for mark in (b"II*\x00", b"MM\x00*", b""):
            focal = exif_focal_length(mark + tail, 720, 480)
            assert focal is None or 8.0 <= focal <= 1200.0
            assert 1 <= exif_orientation(mark + tail) <= 8

    @given(st.integers(0, 40), st.integers(0, 255))
    @settings(max_examples=200)
    def test_no_changed_byte_raises(self, place: int, value: int) -> None:
        block = bytearray(tiff("<"))
        block[place % len(block)] = value
        focal = exif_focal_length(bytes(block), 720, 480)
        assert focal is None or 8.0 <= focal <= 1200.0

    def test_a_picture_with_a_broken_block_decodes(self) -> None:
        data = jpeg((72, 48), focal=50)
        at = data.index(b"Exif\0\0") + 6
        broken = data[: at + 4] + b"\xff\xff\xff\x7f" + data[at + 8 :]
        frame = frame_of(broken)
        assert frame.focal_pixels is None
        assert (frame.pixels == frame_of(data).pixels).all()
