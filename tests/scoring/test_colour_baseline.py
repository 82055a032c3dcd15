"""The colour baseline finds what colour tells and nothing else, in the figures of `score`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "colour_baseline.py"


def baseline(queries: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--queries", str(queries), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def manifest(folder: Path, lines: list[tuple[str, str, str]]) -> None:
    text = "".join(f"{file},{label},{split}\n" for file, label, split in lines)
    (folder / "manifest.csv").write_text("file,label,split\n" + text)


def test_it_separates_by_colour_and_prints_the_figures_of_score(
    picture_folder: Path, make_picture: Callable[..., bytes]
):
    lines = [
        (f"{label}/{n}.jpg", label, "train" if n < 5 else "dev")
        for label in ("none", "roadwork")
        for n in range(8)
    ]
    # Labels that contradict the colours: a model of colour must get exactly these wrong.
    for n, label in ((8, "none"), (9, "roadwork")):
        (picture_folder / label / f"{n}.jpg").write_bytes(make_picture(label == "none", seed=n))
        lines.append((f"{label}/{n}.jpg", label, "dev"))
    manifest(picture_folder, lines)
    done = baseline(picture_folder, "--simulate", "letterboxed", "--repeats", "2")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["confusion"] == {"tp": 6, "fn": 2, "tn": 6, "fp": 2}
    assert found["n"] == 16
    assert found["settings"]["train_split"] == "train"
    assert {"mcc", "accuracy", "auc", "brier", "ece", "reward", "intervals"} <= set(found)


def test_a_split_of_one_label_cannot_be_fitted(picture_folder: Path):
    manifest(picture_folder, [("none/1.jpg", "none", "train"), ("none/2.jpg", "none", "dev")])
    done = baseline(picture_folder)
    assert done.returncode == 2
    assert "holds one label only" in done.stderr
