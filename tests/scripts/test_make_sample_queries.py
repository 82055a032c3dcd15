"""The bundled sample queries are what their manifest says."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "natix_miner" / "demo" / "queries"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (QUERIES / "manifest.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_each_generation_has_24_queries_half_of_them_roadwork(rows: list[dict[str, str]]) -> None:
    counted = Counter((row["generation"], row["label"]) for row in rows)
    assert counted == {
        (generation, label): 12
        for generation in ("cropped", "letterboxed", "full-frame")
        for label in ("roadwork", "none")
    }


def test_files_and_manifest_agree_and_stay_small(rows: list[dict[str, str]]) -> None:
    named = {row["file"] for row in rows}
    there = {path.name for path in QUERIES.glob("*.jpg")}
    assert named == there
    assert len(rows) == len(named)
    assert sum(path.stat().st_size for path in QUERIES.iterdir()) <= 6_000_000


def test_sizes_and_jpeg_quality_are_the_validators(rows: list[dict[str, str]]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(buffer, "JPEG", quality=75)
    expected = Image.open(buffer).quantization  # type: ignore[attr-defined]
    sizes: Counter[tuple[int, int]] = Counter()
    for row in rows:
        with Image.open(QUERIES / row["file"]) as picture:
            assert picture.format == "JPEG"
            assert picture.mode == "RGB"
            assert picture.quantization == expected  # type: ignore[attr-defined]
            if row["generation"] == "full-frame":
                sizes[picture.size] += 1
            else:
                assert picture.size == (224, 224)
    assert set(sizes) == {(1024, 1024), (1920, 1080), (4032, 3024)}
    assert sizes[4032, 3024] == 2


def test_an_odd_number_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location(
        "make_sample_queries", ROOT / "scripts" / "make_sample_queries.py"
    )
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.main(["--out", str(tmp_path / "q"), "--per-generation", "5"]) == 2
    assert "even number" in capsys.readouterr().err
    assert not (tmp_path / "q").exists()
