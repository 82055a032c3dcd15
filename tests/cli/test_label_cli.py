"""`natix-miner label`: everything about it but the page itself, which has tests of its own."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from natix_miner.cli.app import app
from natix_miner.journal import Journal, Label
from natix_miner.lab.labelling.notes import Notes
from tests.lab.labelling.journals import START, Asked, make_journal

ASKED = [
    Asked(1, labels=(Label(1, "testnet", START), Label(0, "label:ada", START + 1))),
    Asked(2, labels=(Label(1, "testnet", START), Label(1, "label:ada", START + 1))),
    Asked(3, labels=(Label(0, "testnet", START), Label(0, "label:ada", START + 1))),
    Asked(4),
]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return make_journal(tmp_path / "journal.sqlite3", ASKED)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["label", *(str(argument) for argument in arguments)])


def ok(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stderr.startswith("natix-miner: ")
    return result.stderr


def test_compare_prints_sources_pairs_and_conflicts_plainly(journal: Path) -> None:
    Notes(journal).add("ada", ASKED[0].sha256, "label", drawn=True)
    lines = ok(journal, "--compare").splitlines()
    assert lines == [
        "source\tpictures\troadwork\tnone",
        "label:ada\t3\t1\t2",
        "testnet\t3\t2\t1",
        "source\tand\tboth\tagreement\tkappa",
        "label:ada\ttestnet\t3\t0.667\t0.400",
        "id\tlabels",
        f"{ASKED[0].id}\tlabel:ada none, testnet roadwork",
        "of 1 pictures drawn at random people called 0 roadwork",
    ]


def test_compare_prints_json(journal: Path) -> None:
    told = json.loads(ok(journal, "--compare", "--json"))
    assert told["sources"]["testnet"] == {"n": 3, "roadwork": 2}
    (pair,) = told["pairs"]
    assert pair == {
        "a": "label:ada",
        "b": "testnet",
        "n": 3,
        "same": 2,
        "agreement": pytest.approx(2 / 3),
        "kappa": pytest.approx(0.4),
    }
    assert told["conflicts"][0]["labels"] == {"label:ada": 0, "testnet": 1}
    assert told["drawn"] == {"n": 0, "roadwork": 0}


def test_labels_go_out_and_in_as_csv(journal: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    assert json.loads(ok(journal, "--export-csv", out, "--json"))["rows"] == 6
    assert "is there already" in refused(journal, "--export-csv", out)
    ok(journal, "--export-csv", out, "--force")
    assert ok(journal, "--import-csv", out) == ("0 labels added; 6 were in the journal already\n")
    mine = tmp_path / "mine.csv"
    mine.write_text(f"id,label\n{ASKED[3].id},roadwork\n")
    assert "give --who" in refused(journal, "--import-csv", mine)
    told = json.loads(ok(journal, "--import-csv", mine, "--who", "bob", "--json"))
    assert told == {"added": 1, "known": 0}
    with Journal(journal) as opened:
        assert opened.find(ASKED[3].id).label_source == "label:bob"


def test_pictures_go_out_for_fiftyone(journal: Path, tmp_path: Path) -> None:
    out = tmp_path / "fiftyone"
    assert ok(journal, "--export-fiftyone", out) == (
        f"3 labelled pictures written to {out} (left out: 0 copies, 0 not kept)\n"
    )
    assert len(list((out / "data").iterdir())) == 3
    assert "not empty" in refused(journal, "--export-fiftyone", out)


def test_nothing_to_label_is_said_with_its_reasons(tmp_path: Path) -> None:
    asked = [Asked(1, labels=(Label(1, "label:ada", START),)), Asked(2, kept=False), Asked(3)]
    path = make_journal(tmp_path / "journal.sqlite3", asked)
    Notes(path).add("ada", asked[2].sha256, "skip")
    said = ok(path, "--who", "ada")
    assert said == (
        "0 of 3 queries may be asked (left out: 1 labelled by you; 1 skipped by you; "
        "1 whose picture is not kept)\nnothing is left to label here\n"
    )


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--compare", "--export-csv", "x"), "--compare and --export-csv do not go together"),
        (("--json",), "--json goes with"),
        (("--who", "a:b"), "'a:b' is no name"),
        (("--who", " "), "' ' is no name"),
        (("--import-csv", "x", "--who", "a\tb"), "is no name"),
        (("--fitted", "gone.json"), "no fitted consensus at gone.json"),
        (("--fitted", "a", "--profile", "b"), "--fitted or --profile, not both"),
        (("--profile", "gone.yaml"), "no profile at gone.yaml"),
        (("--import-csv", "gone.csv"), "gone.csv cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    journal: Path, arguments: tuple[str, ...], word: str
) -> None:
    assert word in refused(journal, *arguments)


def test_a_port_that_is_taken_is_said(journal: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is taken" in refused(journal, "--port", port)


@pytest.mark.parametrize("what", [(), ("--compare",), ("--export-csv", "out.csv")])
def test_what_is_no_journal_of_this_code_is_said(tmp_path: Path, what: tuple[str, ...]) -> None:
    path = tmp_path / "journal.sqlite3"
    assert "there is no journal at" in refused(path, *what)
    path.write_bytes(b"x" * 5000)
    assert "is not an SQLite file" in refused(path, *what)
    path.unlink()
    make_journal(path, ASKED)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert "run a newer natix-miner" in refused(path, *what)


def test_notes_that_were_damaged_are_said(journal: Path) -> None:
    notes = Notes(journal)
    notes.path.write_text('{"at": "yesterday"}\n')
    assert "line 1 of the notes" in refused(journal)
    assert "line 1 of the notes" in refused(journal, "--compare")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A journal on a file system that nothing can be written to; skipped where none can be made."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        path = make_journal(place / "journal.sqlite3", ASKED)
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield path
    finally:
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def test_a_read_only_journal_is_said_before_anybody_labels(read_only: Path) -> None:
    said = refused(read_only)
    assert "cannot be written (" in said
    assert "must lie where you may write" in said
    assert "label:ada\ttestnet\t3" in ok(read_only, "--compare")
