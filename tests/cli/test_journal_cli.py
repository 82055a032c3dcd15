from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from natix_miner.cli.journal import app
from natix_miner.journal import Journal, JournalWriter, Row
from natix_miner.journal.connection import open_for_writing
from natix_miner.journal.rows import Label, insert
from natix_miner.sections import JournalSettings

START = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


def row(number: int, **changes: object) -> Row:
    picture = f"picture {number}".encode()
    values: dict = {
        "id": hashlib.sha256(str(number).encode()).hexdigest()[:32],
        "sha256": hashlib.sha256(picture).hexdigest(),
        "picture_bytes": len(picture),
        "source": "axon",
        "asked_by": "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty",
        "received_at": START + 60 * number,
        "prediction": 0.25 + number / 100,
        "reason": "sure",
        "level": "first",
        "late": False,
        "error": None,
        "total_ms": 4.5,
        "profile": "embedded",
        "miner": "0.1.0",
        "trace": json.dumps({"number": number}),
        "picture": picture,
    }
    return Row(**{**values, **changes})


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.sqlite3"
    connection = open_for_writing(path)
    connection.execute("BEGIN")
    rows = [row(number) for number in range(30)]
    rows[3] = row(3, prediction=-1.0, reason="broken", error="broken", level=None)
    rows[4] = row(4, labels=(Label(1, "testnet", START),))
    rows[5] = row(5, asked_by=None, source="file:[bold]street.jpg")
    insert(connection, rows)
    connection.execute("COMMIT")
    connection.close()
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ok(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_show_prints_the_last_entries_plainly_when_nobody_looks(journal: Path) -> None:
    lines = ok("show", journal, "--last", 26).splitlines()

    assert len(lines) == 27
    assert lines[0].split("\t") == [
        "time (UTC)", "id", "who", "prediction", "level", "why", "ms", "label",
    ]  # fmt: skip
    assert lines[1].split("\t") == [
        "2023-11-14 22:17:20", row(4).id[:12], "5FHneW46xGXgs5", "0.2900", "first", "sure", "4.5",
        "roadwork",
    ]  # fmt: skip
    assert lines[2].split("\t")[2] == "file:[bold]str"
    assert lines[-1].startswith("2023-11-14 22:42:20")


def test_show_filters_and_tells_no_answer(journal: Path) -> None:
    assert len(ok("show", journal, "--labelled").splitlines()) == 2
    assert len(ok("show", journal, "--asked-by", "nobody").splitlines()) == 1
    assert len(ok("show", journal, "--since", "2023-11-14 22:40:00").splitlines()) == 4
    everything = ok("show", journal, "-n", 100).splitlines()
    assert everything[4].split("\t")[3:6] == ["no answer", "-", "broken"]


def test_show_as_json_with_and_without_traces(journal: Path) -> None:
    entries = json.loads(ok("show", journal, "--json", "-n", 3))
    assert [entry["received_at"] for entry in entries] == [START + 60 * n for n in (27, 28, 29)]
    assert entries[0]["prediction"] == 0.52
    assert "trace" not in entries[0]

    entries = json.loads(ok("show", journal, "--json", "--traces", "-n", 1))
    assert entries[0]["trace"] == {"number": 29}


def test_show_draws_a_table_on_a_terminal(journal: Path) -> None:
    """A real pseudo-terminal, as `script` or a user's window would give."""
    pty = pytest.importorskip("pty")
    import os

    near, far = pty.openpty()
    code = f"from natix_miner.cli.journal import app; app(['show', {str(journal)!r}])"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=far, stderr=far, env={**os.environ, "COLUMNS": "160"}
    )
    os.close(far)
    shown = b""
    while True:
        try:
            piece = os.read(near, 65536)
        except OSError:  # the other end was closed
            break
        if not piece:
            break
        shown += piece
    os.close(near)
    assert child.wait() == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    assert "┃" in text
    assert "last 20" in text
    assert row(29).id[:12] in text


def test_label_sets_corrects_and_clears(journal: Path) -> None:
    query = row(7).id
    assert "label roadwork" in ok("label", journal, query[:10], "roadwork")
    assert "label none" in ok("label", journal, query, "none", "--source", "me")
    assert json.loads(ok("label", journal, query, "clear", "--json"))["label"] is None
    with Journal(journal) as opened:
        assert [(one.label, one.source) for one in opened.labels(query)] == [
            (1, "set"),
            (0, "me"),
            (None, "set"),
        ]


def test_info_counts(journal: Path) -> None:
    told = json.loads(ok("info", journal, "--json"))
    assert (told["queries"], told["answered"], told["labelled"], told["late"]) == (30, 29, 1, 0)
    assert told["asked_by"][1] == {"hotkey": None, "queries": 1}
    plain = dict(line.split("\t") for line in ok("info", journal).splitlines())
    assert plain["queries"] == "30"
    assert plain["first (UTC)"] == "2023-11-14 22:13:20"


def test_export_and_import_go_there_and_back(journal: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out.parquet", tmp_path / "other.sqlite3"
    assert "30 entries written" in ok("export", journal, out)
    assert (
        json.loads(ok("export", journal, tmp_path / "l.parquet", "--labelled", "--json"))["rows"]
        == 1
    )
    assert run("import", other, out).exit_code == 2
    assert not other.exists()
    assert "30 entries added, 0 skipped" in ok("import", other, out, "--create")
    assert json.loads(ok("import", other, out, "--json")) == {"added": 0, "skipped": 30}
    assert json.loads(ok("show", other, "--json", "--traces", "-n", 99)) == json.loads(
        ok("show", journal, "--json", "--traces", "-n", 99)
    )


def test_export_replaces_only_when_told_to(journal: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    out.write_text("precious")
    refused = run("export", journal, out)
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert out.read_text() == "precious"
    ok("export", journal, out, "--force")


def test_prune_wants_to_know_how_much_and_removes_it(journal: Path) -> None:
    unsaid = run("prune", journal)
    assert unsaid.exit_code == 2
    assert "--keep-days" in unsaid.stderr
    assert "29 entries and 29 pictures removed" in ok("prune", journal, "--keep-days", 30)
    assert json.loads(ok("prune", journal, "--keep-gigabytes", 0, "--json"))["entries"] == 1


def test_commands_work_beside_a_running_writer(journal: Path, tmp_path: Path) -> None:
    with JournalWriter(JournalSettings(path=journal, keep_days=1e6)):
        assert len(ok("show", journal).splitlines()) == 21
        ok("label", journal, row(1).id, "none")
        ok("export", journal, tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "{tmp}/nowhere"], "there is no journal at"),
        (["info", "{tmp}"], "is not a file"),
        (["show", "{text}"], "is not an SQLite file"),
        (["export", "{tmp}/nowhere", "{tmp}/out.parquet"], "there is no journal at"),
        (["export", "{journal}", "{tmp}/no/folder/out.parquet"], "cannot be written"),
        (["import", "{tmp}/nowhere", "{text}"], "cannot be read as Parquet"),
        (["import", "{tmp}/nowhere", "{text}", "--create"], "cannot be read as Parquet"),
        (["import", "{text}/below", "{export}", "--create"], "no journal can be made"),
        (["import", "{journal}", "{tmp}/nowhere.parquet"], "there is no file"),
        (["import", "{journal}", "{text}"], "cannot be read as Parquet"),
        (["label", "{journal}", "zzz", "none"], "has no query 'zzz'"),
        (["label", "{journal}", "", "none"], "has no query ''"),
        (["prune", "{tmp}/nowhere", "--keep-days", "1"], "there is no journal at"),
        (["label", "{journal}", "zzz", "maybe"], "maybe"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    journal: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("not a journal " * 500)
    export = tmp_path / "export.parquet"
    ok("export", journal, export)
    names = {"tmp": tmp_path, "journal": journal, "text": text, "export": export}
    result = run(*(argument.format(**names) for argument in arguments))

    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "nowhere").exists()
