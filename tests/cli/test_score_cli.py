"""`natix-miner score` from the outside: documents, exit codes, interruption."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from natix_miner.cli import app

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "configs" / "embedded.yaml"
COMMAND = (sys.executable, "-m", "natix_miner")


def natix_miner(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures in two folders, and a seventh that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for label in ("none", "roadwork"):
        (folder / label).mkdir()
        for number in range(3):
            pixels = rng.integers(80, 140, (120, 160, 3)).astype(np.uint8)
            if label == "roadwork":
                pixels[40:100, 60:90] = (250, 120, 10)
            out = io.BytesIO()
            Image.fromarray(pixels).save(out, "JPEG")
            (folder / label / f"{number}.jpg").write_bytes(out.getvalue())
    (folder / "none" / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def scored(pictures: Path, tmp_path_factory: pytest.TempPathFactory):
    """One run with everything, shared by the tests that look at its parts."""
    report = tmp_path_factory.mktemp("report") / "out"
    arguments = ("score", "--profile", PROFILE, "--queries", pictures, "--simulate", "letterboxed")
    done = natix_miner(*arguments, "--repeats", 2, "--report", report, "--json")
    return arguments, report, done


def test_json_is_one_document_and_nothing_else(scored):
    _, _, done = scored
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["n"], found["labelled"], found["answered"]) == (14, 14, 12)
    assert found["missing"] == {"not-a-picture": 2}
    assert set(found) == {
        *("n", "labelled", "answered", "missing", "late", "mcc", "accuracy", "auc", "brier", "ece"),
        *("intervals", "confusion", "reward", "levels", "expert_ms_per_query", "latency_ms"),
        *("rate_per_second", "settings"),
    }
    assert found["settings"] == {
        "profile": "embedded",
        "simulate": "letterboxed",
        "seed": 0,
        "repeats": 2,
        "split": None,
    }
    assert sum(found["confusion"].values()) == 12
    assert found["expert_ms_per_query"]


def test_the_report_folder_holds_page_figures_and_rows(scored):
    _, report, done = scored
    assert json.loads((report / "summary.json").read_text()) == json.loads(done.stdout)
    assert "<svg" in (report / "report.html").read_text()
    assert len((report / "results.jsonl").read_text().splitlines()) == 15


def test_the_same_command_again_judges_nothing_anew(scored):
    arguments, report, first = scored
    again = natix_miner(*arguments, "--repeats", 2, "--report", report, "--json")
    assert again.returncode == 0, again.stderr
    assert "going on: 14 results" in again.stderr
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    assert two.pop("rate_per_second") is None
    one.pop("rate_per_second")
    assert one == two


def test_other_settings_on_the_same_results_are_refused(scored):
    arguments, report, _ = scored
    done = natix_miner(*arguments, "--seed", 5, "--resume", report / "results.jsonl", "--json")
    assert done.returncode == 2
    assert "seed was 0, is 5" in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_without_a_terminal_the_figures_are_plain_lines(pictures):
    done = natix_miner("score", "--profile", PROFILE, "--queries", pictures, "--limit", 3)
    assert done.returncode == 0, done.stderr
    lines = dict(line.split("\t") for line in done.stdout.splitlines())
    assert lines["queries"] == "3 (3 labelled)"
    assert done.stderr == ""


def test_on_a_terminal_there_is_a_table(pictures):
    ours, theirs = pty.openpty()
    command = [*COMMAND, "score", "--profile", str(PROFILE), "--queries", str(pictures)]
    running = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, close_fds=True
    )
    os.close(theirs)
    told = b""
    try:
        while chunk := os.read(ours, 65536):
            told += chunk
    except OSError as error:
        if error.errno != errno.EIO:  # how a pseudo-terminal on Linux says that it is over
            raise
    finally:
        os.close(ours)
    assert running.wait(60) == 0
    text = told.decode()
    assert "MCC" in text
    assert "│" in text
    assert "scoring" in text  # the progress bar


@pytest.mark.parametrize(
    "arguments",
    [
        ("--queries", "no/such/folder"),
        ("--queries", ".", "--split", "dev"),
        ("--queries", ".", "--profile", "no/such/profile.yaml"),
        ("--queries", ".", "--simulate", "sideways"),
        ("--queries", ".", "--repeats", "0"),
        (),
    ],
)
def test_bad_input_ends_with_two_and_a_word_on_stderr(arguments):
    done = CliRunner().invoke(app, ["score", *arguments])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_an_interrupt_ends_with_130_and_can_be_taken_up(pictures, tmp_path):
    state = tmp_path / "results.jsonl"
    arguments = ["score", "--profile", PROFILE, "--queries", pictures, "--resume", state, "--json"]
    command = [*COMMAND, *map(str, arguments), "--repeats", "100000"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        # A shell starts what runs in its background with SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        until = time.monotonic() + 40
        while not state.is_file() or state.stat().st_size < 8000:
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        os.kill(running.pid, signal.SIGINT)
        out, errors = running.communicate(timeout=20)
    finally:
        if running.poll() is None:
            running.kill()
            running.communicate()
    assert running.returncode == 130
    assert out == ""
    assert "interrupted" in errors
    assert "Traceback" not in errors
    rows = [json.loads(line) for line in state.read_text().splitlines()][1:]
    assert len(rows) > 10
    done = natix_miner(*arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 7
