"""`natix-miner memory` on a real journal that holds the bundled pictures."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from natix_miner.cli.app import app
from natix_miner.experts.families.memory import Memory, MemorySettings
from natix_miner.experts.family import Surroundings
from natix_miner.experts.memory.storing import load_index
from natix_miner.images import decode_picture
from natix_miner.journal import Journal, JournalWriter, Row, export_parquet
from natix_miner.journal.connection import open_for_writing
from natix_miner.journal.rows import Label, insert
from natix_miner.sections import JournalSettings, PictureLimits

pytest.importorskip("imagehash", reason="needs the extra `memory`")
pytest.importorskip("safetensors")

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "natix_miner" / "demo" / "queries"
START = 1_700_000_000.0


def pictures() -> list[tuple[str, int]]:
    """Names and labels of 24 bundled pictures, 12 of a kind."""
    rows = csv.DictReader((QUERIES / "manifest.csv").open(encoding="utf-8"))
    return [(row["file"], int(row["label"] == "roadwork")) for row in rows][:24]


def row(number: int, picture: bytes | None, *labels: Label, name: bytes | None = None) -> Row:
    body = picture if picture is not None else (name or b"")
    return Row(
        id=f"{number:032x}",
        sha256=hashlib.sha256(body).hexdigest(),
        picture_bytes=len(body),
        source="axon",
        asked_by="5Validator",
        received_at=START + number,
        prediction=0.5,
        reason="sure",
        level="first",
        late=False,
        error=None,
        total_ms=4.5,
        profile="embedded",
        miner="0.1.0",
        trace="{}",
        picture=picture,
        labels=labels,
    )


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """24 labelled pictures; the first asked twice, told differently by two; one taken back, one
    not kept, one never labelled."""
    path = tmp_path / "journal.sqlite3"
    rows = []
    for number, (name, label) in enumerate(pictures()):
        body = (QUERIES / name).read_bytes()
        rows.append(row(number, body, Label(label, "testnet", START + number)))
    first = pictures()[0]
    body = (QUERIES / first[0]).read_bytes()
    rows.append(row(30, body, Label(1 - first[1], "set", START + 500)))
    other = (QUERIES / "full-frame-00.jpg").read_bytes()
    rows.append(row(31, other, Label(1, "testnet", START), Label(None, "set", START + 600)))
    rows.append(row(32, None, Label(1, "testnet", START), name=b"not kept"))
    rows.append(row(33, (QUERIES / "full-frame-01.jpg").read_bytes()))
    corrected = (QUERIES / "full-frame-02.jpg").read_bytes()
    rows.append(row(34, corrected, Label(1, "guess", START), Label(0, "me", START + 5)))
    connection = open_for_writing(path)
    connection.execute("BEGIN")
    insert(connection, rows)
    connection.execute("COMMIT")
    connection.close()
    return path


def run(*arguments: object) -> Result:
    folder = ("--folder", ROOT / "configs") if "build" in arguments else ()
    return CliRunner().invoke(app, ["memory", *(str(one) for one in (*arguments, *folder))])


def ok(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_journal_becomes_an_index_that_the_expert_finds_its_pictures_in(
    journal: Path, tmp_path: Path
) -> None:
    said = run("build", journal, "--out", tmp_path / "index")

    assert said.exit_code == 0, said.output
    assert "25 pictures" in said.stdout
    assert "left out: 1 (picture not kept)" in said.stderr
    settings = MemorySettings(index=tmp_path / "index")
    expert = Memory("memory", settings, Surroundings(ROOT / "configs"))
    expert.load()
    for number, (name, label) in list(enumerate(pictures()))[1:6]:
        frame = decode_picture((QUERIES / name).read_bytes(), PictureLimits())
        look = expert.look_at([frame])[0]
        assert f"seen before: {number:032x}" in look.detail
        assert (look.probability > 0.9) == bool(label)


def test_labels_of_several_sources_are_weighed(journal: Path, tmp_path: Path) -> None:
    ok("build", journal, "--out", tmp_path / "index")
    index = load_index(tmp_path / "index")
    labels = dict(zip(index.card.ids, index.labels.tolist(), strict=True))
    reliable = dict(zip(index.card.ids, index.reliabilities.tolist(), strict=True))

    assert len(index) == 25
    # A person came later than the validator: 0.9 of 0.9 against 1.0.
    assert labels[f"{0:032x}"] == 1 - pictures()[0][1]
    assert reliable[f"{0:032x}"] == pytest.approx(0.9 * 0.9 / 1.9)
    assert reliable[f"{1:032x}"] == 1.0
    # "me" is nobody we know, against a guess.
    assert labels[f"{34:032x}"] == 0
    assert reliable[f"{34:032x}"] == pytest.approx(0.5 * 0.5 / 0.8)
    assert index.card.sources == {"testnet": 23, "set": 1, "me": 1}


def test_how_reliable_a_source_is_can_be_said(journal: Path, tmp_path: Path) -> None:
    ok("build", journal, "--out", tmp_path / "i", "--reliability", "me=1", "--reliability=set=.4")
    index = load_index(tmp_path / "i")
    reliable = dict(zip(index.card.ids, index.reliabilities.tolist(), strict=True))
    assert reliable[f"{34:032x}"] == pytest.approx(1.0 / 1.3)
    assert reliable[f"{0:032x}"] == pytest.approx(0.4 * 0.4 / 1.4)


def test_an_export_gives_the_same_index(journal: Path, tmp_path: Path) -> None:
    with Journal(journal) as opened:
        export_parquet(opened, tmp_path / "out.parquet")
    ok("build", journal, "--out", tmp_path / "first")
    ok("build", tmp_path / "out.parquet", "--out", tmp_path / "second")
    first, second = load_index(tmp_path / "first").card, load_index(tmp_path / "second").card
    assert first.made_from == second.made_from
    assert first.vectors_sha256 == second.vectors_sha256


def test_it_is_built_beside_a_running_miner(journal: Path, tmp_path: Path) -> None:
    with JournalWriter(JournalSettings(path=journal, keep_days=1e6)):
        ok("build", journal, "--out", tmp_path / "index")


def test_folders_and_tables_of_pictures(tmp_path: Path) -> None:
    for name, label in pictures()[:8]:
        folder = tmp_path / "set" / ("roadwork" if label else "none")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(QUERIES / name, folder / name)
    told = json.loads(
        ok("build", tmp_path / "set", "--out", tmp_path / "a", "--features=embedded", "--json")
    )
    assert (told["roadwork"], told["none"], told["sources"]) == (4, 4, {"file": 8})
    assert (told["features"], told["dimension"]) == ("embedded", 104)

    table = tmp_path / "set" / "list.csv"
    lines = [f"{'roadwork' if label else 'none'}/{name}" for name, label in pictures()[:8]]
    rows = [
        f"{line},{line.split('/')[0]},{'train' if n < 6 else 'dev'}" for n, line in enumerate(lines)
    ]
    table.write_text("\n".join(["file,label,split", *rows]))
    told = json.loads(ok("build", table, "--out", tmp_path / "b", "--split", "train", "--json"))
    assert told["entries"] == 6


def test_show_tells_what_is_in_it(journal: Path, tmp_path: Path) -> None:
    ok("build", journal, "--out", tmp_path / "index", "--half")
    plain = dict(line.split("\t") for line in ok("show", tmp_path / "index").splitlines())
    assert plain["entries"] == "25"
    assert plain["features"] == "colour-shape"
    assert plain["sources"] == "set 1, testnet 23, me 1"
    told = json.loads(ok("show", tmp_path / "index", "--json"))
    assert told["left_out"] == {"picture not kept": 1}
    assert told["bytes"] == (tmp_path / "index" / told["vectors"]).stat().st_size
    assert "ids" not in told


def test_an_index_is_replaced_only_when_told_to(journal: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    ok("build", journal, "--out", out)
    before = load_index(out).card
    refused = run("build", journal, "--out", out)
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert load_index(out).card == before
    ok("build", journal, "--out", out, "--force", "--half")
    assert load_index(out).card.vectors != before.vectors
    assert len(list(out.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "{tmp}/nowhere"], "no index of labelled pictures"),
        (["show", "{journal}"], "no index of labelled pictures"),
        (["build", "{tmp}/nowhere", "--out", "{tmp}/i"], "there is nothing at"),
        (["build", "{text}", "--out", "{tmp}/i"], "no known kind"),
        (["build", "{journal}", "--out", "{tmp}/i", "--split", "dev"], "has no splits"),
        (["build", "{journal}", "--out", "{text}/below"], "cannot be written"),
        (["build", "{journal}", "--out", "{tmp}/i", "--features", "smell"], "smell"),
        (["build", "{journal}", "--out", "{tmp}/i", "--features", "{{"], "is not YAML"),
        (["build", "{journal}", "--out", "{tmp}/i", "--reliability", "me"], "SOURCE=VALUE"),
        (["build", "{journal}", "--out", "{tmp}/i", "--reliability", "me=2"], "at most 1"),
        (["build", "{empty}", "--out", "{tmp}/i"], "0 labelled pictures with roadwork"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    journal: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("nothing of the kind")
    empty = tmp_path / "empty.sqlite3"
    open_for_writing(empty).close()
    names = {"tmp": tmp_path, "journal": journal, "text": text, "empty": empty}
    result = run(*(argument.format(**names) for argument in arguments))

    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "i").exists()
