"""`natix-miner judge` as an operator types it: a process, the embedded profile, pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "natix_miner" / "demo" / "queries"
SCHEMA = json.loads((ROOT / "docs" / "trace.schema.json").read_text())


@pytest.fixture(scope="module")
def pictures() -> list[Path]:
    return sorted(QUERIES.rglob("*.jpg"))[:3]


def natix_miner(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "natix_miner", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def test_pictures_are_judged_and_the_json_is_a_trace(pictures, tmp_path):
    done = natix_miner("judge", *pictures, "--json", "--save-views", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.pop("file") for line in lines] == [str(p) for p in pictures]
    for line in lines:
        jsonschema.validate(line, SCHEMA)
        assert 0.001 <= line["answer"]["prediction"] <= 0.999
        statuses = {e["name"]: e["status"] for level in line["levels"] for e in level["experts"]}
        assert set(statuses.values()) == {"ok"}
    for picture in pictures:
        assert (tmp_path / f"{picture.stem}.network.whole.png").is_file()
        found = Image.open(tmp_path / f"{picture.stem}.network.found.png")
        assert found.width >= 640


def test_what_is_no_picture_is_told_and_the_others_are_judged(pictures, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8 no more")
    done = natix_miner("judge", bad, tmp_path / "missing.jpg", pictures[0])
    assert done.returncode == 2
    assert "bad.jpg" in done.stderr
    assert "missing.jpg" in done.stderr
    assert "probability" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_profile_that_is_not_there_is_one_clear_line(pictures):
    done = natix_miner("judge", "--profile", "no/such.yaml", pictures[0])
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        == "natix-miner: no profile at no/such.yaml; those shipped lie in configs/"
    )


def test_the_embedded_default_answers_without_torch_or_transformers(pictures):
    program = (
        "import sys; from natix_miner.cli import app\n"
        f"sys.argv = ['natix-miner', 'judge', {str(pictures[0])!r}]\n"
        "try: app()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'transformers', 'bittensor', 'sklearn', 'matplotlib'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
