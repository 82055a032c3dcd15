"""The draws of a simulated picture depend on (seed, index, repeat) and on nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from natix_miner.errors import PictureError
from natix_miner.scoring import simulated


@pytest.mark.parametrize("generation", ["full-frame", "as-is"])
def test_these_leave_every_byte_alone(generation, make_picture):
    picture = make_picture(True)
    assert simulated(picture, generation, seed=0, index=0, repeat=0) is picture


@pytest.mark.parametrize("generation", ["cropped", "letterboxed"])
def test_these_give_a_jpeg_of_224_with_the_validators_quality(generation, make_picture):
    made = simulated(make_picture(True), generation, seed=0, index=0, repeat=0)
    with Image.open(io.BytesIO(made)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (224, 224), "RGB")
        found = image.quantization
    reference = io.BytesIO()
    Image.new("RGB", (8, 8)).save(reference, "JPEG", quality=75)
    with Image.open(reference) as image:
        assert found == image.quantization


def test_seed_index_and_repeat_each_change_the_draw(make_picture):
    picture = make_picture(True, size=(320, 240))

    def draws(**changed: int) -> bytes:
        return simulated(picture, "cropped", **{"seed": 0, "index": 0, "repeat": 0, **changed})

    assert draws() == draws()
    for name in ("seed", "index", "repeat"):
        assert len({draws(**{name: value}) for value in range(6)}) >= 5


def test_other_formats_are_taken_as_a_validator_takes_them():
    out = io.BytesIO()
    Image.fromarray(np.full((50, 80, 4), 90, np.uint8)).save(out, "PNG")
    assert simulated(out.getvalue(), "letterboxed", seed=0, index=0, repeat=0)[:2] == b"\xff\xd8"


def test_what_is_no_picture_is_told():
    with pytest.raises(PictureError):
        simulated(b"nothing of the kind", "cropped", seed=0, index=0, repeat=0)
