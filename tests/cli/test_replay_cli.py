"""`natix-miner replay` from the outside: documents, files, exit codes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from natix_miner.cli import app

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "configs" / "embedded.yaml"
FITTED = ROOT / "models" / "embedded" / "consensus.json"
QUERIES = ROOT / "natix_miner" / "demo" / "queries"


def replay(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results of `natix-miner score`."""
    folder = tmp_path_factory.mktemp("scored") / "out"
    arguments = ["score", "--profile", PROFILE, "--queries", QUERIES, "--limit", 16]
    done = CliRunner().invoke(
        app, [str(one) for one in (*arguments, "--resume", folder / "results.jsonl")]
    )
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def other_fit(tmp_path: Path) -> Path:
    """The shipped fit with its biases moved far towards roadwork."""
    fit = json.loads(FITTED.read_text())
    for pool in fit["pools"]:
        pool["bias"] += 4.0
    path = tmp_path / "other.json"
    path.write_text(json.dumps(fit))
    return path


def test_the_stored_fit_makes_no_difference(scored):
    done = replay(scored, "--repool", FITTED, "--json", "--fail-on-difference")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert set(found) == {
        *("source", "kind", "skipped", "mode", "n", "left_out", "labelled", "stored", "given"),
        *("differences", "before", "after", "flips", "not_entered", "seconds"),
        *("rate_per_second", "remarks"),
    }
    assert (found["kind"], found["mode"], found["n"]) == ("results", "repool", 16)
    assert found["differences"] == {
        "queries": 0,
        "answers": 0,
        "levels": {},
        "decisions": 0,
        "largest": 0.0,
        "tolerance": 0.0,
    }
    assert found["flips"] == []
    assert list(found["stored"]) == found["given"]
    assert found["before"] == found["after"]


def test_without_options_the_consensus_of_the_profile_pools(scored):
    found = json.loads(replay(scored, "--profile", PROFILE, "--json").stdout)
    assert found["differences"]["queries"] == 0
    assert list(found["stored"]) == found["given"]


def test_another_fit_is_listed_told_and_written(scored, other_fit, tmp_path):
    out = tmp_path / "new" / "different.jsonl"
    done = replay(scored, "--repool", other_fit, "--json", "--out", out, "--fail-on-difference")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["differences"]["queries"] == 16
    assert found["differences"]["levels"]["glance"] == 16
    assert found["flips"]
    for flip in found["flips"]:
        assert flip["before"] < 0.5 < flip["after"]
    assert any("--rejudge" in one for one in found["remarks"])
    assert found["after"]["accuracy"] < found["before"]["accuracy"]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 16
    assert {line["id"] for line in lines} >= {flip["id"] for flip in found["flips"]}


def test_without_a_terminal_there_are_plain_lines_and_notes_on_stderr(scored, other_fit):
    done = replay(scored, "--repool", other_fit)
    assert done.exit_code == 0
    table, flips = done.stdout.split("id\tlabel\tthen\tnow\tname\n")
    lines = dict(line.split("\t") for line in table.splitlines())
    assert lines["queries"] == "16 (16 labelled)"
    assert lines["queries that differ"] == "16"
    assert lines["reward then / now"].count("/") == 1
    assert len(flips.splitlines()) == int(lines["decided otherwise"])
    assert "note: the stored verdicts were pooled by" in done.stderr


def test_judging_again_says_the_same(scored):
    done = replay(scored, "--rejudge", PROFILE, "--limit", 6, "--tolerance", 1e-4, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["mode"], found["n"], found["left_out"]) == ("rejudge", 6, {})
    assert found["differences"]["queries"] == 0
    assert found["flips"] == []


def test_a_limit_stands(scored):
    assert json.loads(replay(scored, "--limit", 3, "--json").stdout)["n"] == 3


def test_bad_input_ends_with_two_and_one_word_on_stderr(scored, tmp_path):
    half = tmp_path / "half.json"
    half.write_text(FITTED.read_text()[:200])
    newer = tmp_path / "newer.sqlite3"
    connection = sqlite3.connect(newer)
    connection.execute(f"PRAGMA application_id = {int.from_bytes(b'NX72', 'big')}")
    connection.execute("PRAGMA user_version = 99")
    connection.execute("CREATE TABLE queries (id)")
    connection.close()
    others = tmp_path / "others.json"
    others.write_text('{"calibrations": {}, "pools": [{"weights": {"somebody": 1.0}}]}')
    taken = tmp_path / "taken"
    taken.write_text("")
    for arguments, word in (
        (("no/such/journal.sqlite3",), "there is nothing at"),
        ((tmp_path,), "holds no results.jsonl"),
        ((newer,), "schema 99"),
        ((scored, "--repool", "no.json"), "no fitted consensus at"),
        ((scored, "--repool", half), "is no fitted consensus"),
        ((scored, "--repool", others), "somebody"),
        ((scored, "--repool", FITTED, "--rejudge", PROFILE), "give one of them"),
        ((scored, "--rejudge", "no.yaml"), "no profile at"),
        ((scored, "--out", taken / "x.jsonl"), "cannot be written"),
        ((scored, "--limit", 0), "limit"),
    ):
        done = replay(*arguments)
        assert (done.exit_code, done.stdout) == (2, ""), (arguments, done.output)
        assert word in " ".join(done.stderr.split()), (arguments, done.stderr)
        assert "Traceback" not in done.stderr


def test_the_command_is_there_and_starts_without_heavy_imports():
    code = (
        "import sys, natix_miner.cli.replay; "
        "print([n for n in ('torch', 'sklearn', 'scipy', 'pyarrow', 'onnxruntime') "
        "if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
    assert "Pool stored opinions again" in CliRunner().invoke(app, ["--help"]).stdout
