"""Tiny genuine models, made once a session, and a picture to look at."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from natix_miner.images import Frame, decode_picture
from natix_miner.sections import PictureLimits

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "natix_miner" / "demo" / "queries"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model of scripts/tiny_models by its name."""
    if str(ROOT / "scripts") not in sys.path:
        sys.path.append(str(ROOT / "scripts"))
    folder = tmp_path_factory.mktemp("tiny-models")

    def made(name: str) -> Path:
        import tiny_models

        return tiny_models.make(name, folder)

    return made


def _bundled(generation: str) -> list[Frame]:
    paths = sorted(QUERIES.glob(f"{generation}-*.jpg"))
    return [decode_picture(path.read_bytes(), PictureLimits()) for path in paths]


@pytest.fixture(scope="session")
def squares() -> list[Frame]:
    """Bundled queries of 224 x 224, some tilted."""
    return _bundled("cropped")[:6]


@pytest.fixture(scope="session")
def full_frames() -> list[Frame]:
    """Bundled queries of whole frames, up to 12 megapixels."""
    return _bundled("full-frame")[:3]


@pytest.fixture(scope="session")
def noise() -> list[np.ndarray]:
    """Pictures of coarse noise, different from each other."""
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 256, (4, 14, 14, 3), dtype=np.uint8)
    return [np.kron(block, np.ones((16, 16, 1), np.uint8)) for block in blocks]
