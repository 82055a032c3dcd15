"""From bytes to frames: what each kind of file becomes, against Pillow's own reading."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import threading
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from natix_miner.errors import (
    BrokenPictureError,
    EmptyPictureError,
    NotAPictureError,
    NotBase64Error,
    PictureError,
    PictureFormatError,
    PictureTooLargeError,
)
from natix_miner.images import decode_base64, decode_picture
from natix_miner.images.headers import MAX_SCANS, exif_orientation
from natix_miner.sections import PictureLimits

LIMITS = PictureLimits()
ALL = PictureLimits(formats=("JPEG", "PNG", "WEBP"))


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """A smooth picture with a distinct corner, so that turns and colours show."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack((60 + 180 * x, 50 + 120 * y, 200 - 150 * x), 2).astype(np.uint8)
    pixels[: height // 4, : width // 4] = (240, 90, 20)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, picture_format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, picture_format, **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def resized_header(data: bytes, width: int, height: int) -> bytes:
    """The same JPEG announcing another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


class TestBase64:
    @pytest.mark.parametrize("length", [1, 2, 3, 1000])
    def test_gives_back_what_was_encoded(self, length: int) -> None:
        data = bytes(range(256)) * 4
        assert decode_base64(base64.b64encode(data[:length]).decode()) == data[:length]

    def test_tolerates_blanks_and_line_breaks(self) -> None:
        data = bytes(range(200))
        assert decode_base64(base64.encodebytes(data).decode()) == data
        assert decode_base64("\r\n  " + base64.b64encode(data).decode() + "\t") == data

    @pytest.mark.parametrize("text", ["", "  \n"])
    def test_nothing_is_empty(self, text: str) -> None:
        with pytest.raises(EmptyPictureError):
            decode_base64(text)

    @pytest.mark.parametrize(
        "text",
        [
            "abc",
            "ab=c",
            "abcd=",
            "abcd====",
            "a-_b",
            "data:image/jpeg;base64,abcd",
            "äöü=",
            "\ud800",
            "=",
        ],
    )
    def test_anything_else_is_refused_without_quoting_it(self, text: str) -> None:
        with pytest.raises(NotBase64Error) as caught:
            decode_base64(text)
        assert text not in str(caught.value) or text == "="

    @given(st.text(max_size=60) | st.text("abcd+/= \n", max_size=20))
    @settings(max_examples=200, derandomize=True)
    def test_no_text_raises_anything_else(self, text: str) -> None:
        with contextlib.suppress(NotBase64Error, EmptyPictureError):
            assert base64.b64encode(decode_base64(text)).decode() == "".join(text.split())


class TestColours:
    def test_rgb_is_pillows_to_the_bit(self) -> None:
        data = encoded(scene())
        frame = decode_picture(data, LIMITS)
        assert np.array_equal(frame.pixels, by_pillow(data))
        assert (frame.original_width, frame.original_height) == (96, 64)
        assert frame.picture_format == "JPEG"

    def test_pixels_are_read_only_and_contiguous(self) -> None:
        pixels = decode_picture(encoded(scene()), LIMITS).pixels
        assert not pixels.flags.writeable
        assert pixels.flags.c_contiguous
        assert pixels.dtype == np.uint8

    def test_progressive_is_as_good(self) -> None:
        data = encoded(scene(), progressive=True)
        assert np.array_equal(decode_picture(data, LIMITS).pixels, by_pillow(data))

    def test_grey_becomes_rgb(self) -> None:
        grey = scene().convert("L")
        pixels = decode_picture(encoded(grey), LIMITS).pixels
        assert pixels.shape == (64, 96, 3)
        assert np.abs(pixels.astype(int) - np.asarray(grey)[..., None]).max() <= 6

    def test_cmyk_keeps_its_colours(self) -> None:
        data = encoded(scene().convert("CMYK"), quality=95)
        assert b"Adobe" in data
        difference = decode_picture(data, LIMITS).pixels.astype(int) - np.asarray(scene())
        assert np.abs(difference).mean() < 4

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
    def test_png_of_every_mode(self, mode: str) -> None:
        if mode == "I;16":
            grey = np.asarray(scene().convert("L")).astype(np.uint16) * 257
            image, want = Image.fromarray(grey), scene().convert("L").convert("RGB")
        else:
            image = scene().convert(mode)
            want = image.convert("RGB")
        pixels = decode_picture(encoded(image, "PNG"), ALL).pixels
        assert np.array_equal(pixels, np.asarray(want))

    def test_transparency_is_left_aside(self) -> None:
        image = scene()
        image.putalpha(0)
        assert np.array_equal(
            decode_picture(encoded(image, "PNG"), ALL).pixels, np.asarray(scene())
        )
        palette = scene().convert("P")
        data = encoded(palette, "PNG", transparency=bytes(range(200)))
        want = np.asarray(palette.convert("RGB"))
        assert np.array_equal(decode_picture(data, ALL).pixels, want)

    @pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 80}])
    def test_webp(self, options: dict[str, object]) -> None:
        data = encoded(scene(), "WEBP", **options)
        assert np.array_equal(decode_picture(data, ALL).pixels, by_pillow(data))
        with_alpha = scene()
        with_alpha.putalpha(128)
        frame = decode_picture(encoded(with_alpha, "WEBP", exif=b"", **options), ALL)
        assert (frame.width, frame.height) == (96, 64)

    def test_animations_give_their_first_picture(self) -> None:
        pictures = [scene().rotate(180)]
        data = encoded(scene(), "WEBP", save_all=True, append_images=pictures, lossless=True)
        assert np.array_equal(decode_picture(data, ALL).pixels, np.asarray(scene()))
        data = encoded(scene(), "PNG", save_all=True, append_images=pictures)
        assert np.array_equal(decode_picture(data, ALL).pixels, np.asarray(scene()))

    def test_mpo_gives_its_first_picture(self) -> None:
        data = encoded(scene(), "MPO", save_all=True, append_images=[scene().rotate(180)])
        assert Image.open(io.BytesIO(data)).format == "MPO"
        assert np.array_equal(decode_picture(data, LIMITS).pixels, by_pillow(data))


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_is_applied(self, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(scene(), exif=exif)
        frame = decode_picture(data, LIMITS)
        want = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        assert np.array_equal(frame.pixels, np.asarray(want))
        assert (frame.original_width, frame.original_height) == want.size
        assert frame.pixels.flags.c_contiguous

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_is_read_in_both_byte_orders(self, order: str) -> None:
        mark = b"II" if order == "<" else b"MM"
        entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0)
        tiff = mark + struct.pack(order + "HIH", 42, 8, 1) + entry
        assert exif_orientation(tiff) == 6

    @pytest.mark.parametrize("tiff", [b"", b"II", b"MM\0*\0\0\0\xff", b"II*\0\x08\0\0\0\xff\xff"])
    def test_damaged_exif_is_no_orientation(self, tiff: bytes) -> None:
        assert exif_orientation(tiff) == 1

    @given(st.binary(max_size=80))
    def test_no_exif_raises(self, tail: bytes) -> None:
        assert 1 <= exif_orientation(b"II*\x00" + tail) <= 8


class TestScale:
    @pytest.mark.parametrize(
        ("size", "wanted", "decoded"),
        [
            ((2559, 100), 1280, (2559, 100)),
            ((2560, 100), 1280, (1280, 50)),
            ((2561, 99), 1280, (1281, 50)),
            ((1800, 7), 224, (225, 1)),
            ((900, 1796), 224, (113, 225)),
        ],
    )
    def test_smallest_scale_not_below_the_wanted_side(
        self, size: tuple[int, int], wanted: int, decoded: tuple[int, int]
    ) -> None:
        frame = decode_picture(encoded(scene(*size)), PictureLimits(decode_longer_side=wanted))
        assert (frame.original_width, frame.original_height) == size
        assert max(frame.width, frame.height) >= wanted
        if size != (1800, 7):  # a strip that low is decoded at a larger scale
            assert (frame.width, frame.height) == decoded

    def test_a_scaled_picture_looks_like_the_whole(self) -> None:
        data = encoded(scene(2048, 1024), quality=95)
        frame = decode_picture(data, PictureLimits(decode_longer_side=512))
        want = np.asarray(scene(2048, 1024).resize((512, 256), Image.Resampling.BOX))
        assert np.abs(frame.pixels.astype(int) - want).mean() < 2

    def test_other_formats_are_scaled_alike(self) -> None:
        limits = PictureLimits(formats=("PNG",), decode_longer_side=256)
        frame = decode_picture(encoded(scene(1024, 512), "PNG"), limits)
        assert (frame.width, frame.height) == (256, 128)
        assert frame.original_width == 1024


class TestRefusals:
    def test_nothing(self) -> None:
        with pytest.raises(EmptyPictureError):
            decode_picture(b"", LIMITS)

    @pytest.mark.parametrize("data", [b"\x00" * 64, b"<html>", b"\xff\xd8", b"\xff\xd8\x00\x00"])
    def test_not_a_picture(self, data: bytes) -> None:
        with pytest.raises(NotAPictureError):
            decode_picture(data, ALL)

    @pytest.mark.parametrize("picture_format", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
    def test_formats_that_are_off(self, picture_format: str) -> None:
        with pytest.raises(PictureFormatError):
            decode_picture(encoded(scene(), picture_format), LIMITS)

    def test_odd_jpegs_are_of_no_known_format(self) -> None:
        data = encoded(scene())
        at = data.index(b"\xff\xc0") + 4
        with pytest.raises(PictureFormatError, match="12 bits"):
            decode_picture(data[:at] + b"\x0c" + data[at + 1 :], LIMITS)
        with pytest.raises(PictureFormatError, match="2 components"):
            decode_picture(data[: at + 5] + b"\x02" + data[at + 6 :], LIMITS)

    @pytest.mark.parametrize("size", [(65500, 65500), (8000, 5001)])
    def test_too_many_pixels_are_refused_by_the_header(self, size: tuple[int, int]) -> None:
        with pytest.raises(PictureTooLargeError, match=str(size[0])):
            decode_picture(resized_header(encoded(scene()), *size), LIMITS)

    def test_too_large_png_and_webp(self) -> None:
        small = PictureLimits(formats=("JPEG", "PNG", "WEBP"), max_megapixels=0.006)
        for picture_format in ("JPEG", "PNG", "WEBP"):
            with pytest.raises(PictureTooLargeError):
                decode_picture(encoded(scene(), picture_format), small)

    @pytest.mark.parametrize("size", [(0, 0), (0, 64), (96, 0)])
    def test_no_pixels(self, size: tuple[int, int]) -> None:
        with pytest.raises(BrokenPictureError):
            decode_picture(resized_header(encoded(scene()), *size), LIMITS)

    @pytest.mark.parametrize("size", [(6000, 6000), (1500, 1500)])
    def test_more_pixels_announced_than_there_are(self, size: tuple[int, int]) -> None:
        with pytest.raises(BrokenPictureError):
            decode_picture(resized_header(encoded(scene()), *size), LIMITS)

    @pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP"])
    @pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.98])
    def test_truncated(self, picture_format: str, share: float) -> None:
        noise = np.random.default_rng(1).integers(0, 255, (64, 96, 3), np.uint8)
        data = encoded(Image.fromarray(noise), picture_format)
        with pytest.raises(BrokenPictureError):
            decode_picture(data[: int(share * len(data))], ALL)

    @pytest.mark.parametrize("missing", [1, 2, 3, 300])
    def test_truncated_even_where_the_process_lets_pillow_fill_in_grey(
        self, missing: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        with pytest.raises(BrokenPictureError):
            decode_picture(encoded(scene())[:-missing], LIMITS)

    def test_truncated_progressive_and_scaled(self) -> None:
        data = encoded(scene(1024, 512), progressive=True)
        with pytest.raises(BrokenPictureError):
            decode_picture(data[: len(data) // 2], PictureLimits(decode_longer_side=256))

    def test_a_picture_of_endless_scans(self) -> None:
        data = encoded(scene(), progressive=True)
        scan = data[data.rindex(b"\xff\xda") : -2]
        with pytest.raises(BrokenPictureError, match="scans"):
            decode_picture(data[:-2] + scan * MAX_SCANS + data[-2:], LIMITS)

    def test_png_text_bombs_are_not_even_looked_at(self) -> None:
        data = encoded(scene(), "PNG")
        chunk = struct.pack(">I4s", 4, b"zTXt") + b"abcd" + b"\0\0\0\0"
        frame = decode_picture(data[:33] + chunk * 1000 + data[33:], ALL)
        assert np.array_equal(frame.pixels, np.asarray(scene()))


class TestManners:
    def test_nothing_global_changes_and_nothing_warns(self) -> None:
        before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
        exif = b"Exif\x00\x00II*\x00\xff\xff\xff\xff"
        large = PictureLimits(max_megapixels=200, decode_longer_side=1280)
        huge = resized_header(encoded(scene()), 12000, 9000)  # beyond Pillow's warning limit
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            decode_picture(encoded(scene(), exif=exif), LIMITS)
            with pytest.raises(BrokenPictureError):
                decode_picture(huge, large)
            decode_picture(encoded(scene().convert("P"), "PNG", transparency=b"\0\1"), ALL)
        assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)

    def test_many_threads_see_the_same(self) -> None:
        files = [encoded(scene(64 + 16 * index, 64)) for index in range(8)]
        wanted = [by_pillow(data) for data in files]
        wrong: list[int] = []

        def work(index: int) -> None:
            for _ in range(20):
                if not np.array_equal(decode_picture(files[index], LIMITS).pixels, wanted[index]):
                    wrong.append(index)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


SEEDS = [
    encoded(scene()),
    encoded(scene(), progressive=True),
    encoded(scene().convert("CMYK")),
    encoded(scene().convert("L"), exif=Image.Exif().tobytes()),
    encoded(scene(), "PNG"),
    encoded(scene().convert("P"), "PNG", transparency=b"\0\1\2"),
    encoded(scene(), "WEBP"),
    encoded(scene(), "WEBP", lossless=True),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A picture file with some bytes changed, cut out, put in, or its end cut off."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1) | st.integers(0, min(700, len(data) - 1)))
        what = draw(st.sampled_from(("change", "cut", "put", "end")))
        if what == "change":
            data[at] = draw(st.integers(0, 255))
        elif what == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif what == "put":
            data[at:at] = draw(st.binary(min_size=1, max_size=20))
        else:
            del data[max(at, 1) :]
        if not data:
            data = bytearray(b"\xff")
    return bytes(data)


@settings(
    max_examples=600, deadline=5000, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(damaged() | st.binary(max_size=200))
@example(b"\xff\xd8\xff")
@example(b"\xff\xd8\xff" + b"\xff" * 50)
@example(b"\x89PNG\r\n\x1a\n")
@example(b"RIFF\0\0\0\0WEBP")
@example(b"RIFF\0\0\0\0WEBPVP8X")
def test_damaged_files_raise_nothing_but_picture_errors(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(PictureError):
            assert decode_picture(data, ALL).pixels.shape[2] == 3
