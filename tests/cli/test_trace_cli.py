"""`natix-miner trace` over real journals and scored folders."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from natix_miner.assembly import build_judge
from natix_miner.cli import app
from natix_miner.journal import Journal, JournalWriter, export_parquet
from natix_miner.profile import load_profile
from natix_miner.query import Query
from natix_miner.sections import JournalSettings
from tests.browser import open_page

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "configs" / "embedded.yaml"
DEMO = ROOT / "natix_miner" / "demo" / "queries"
SCHEMA = json.loads((ROOT / "docs" / "trace.schema.json").read_text())
EVIL = "5<script>document.title='evil'</script>"
#: Ids as a person would have them; the first two begin alike.
IDS = ("aaaa1111", "aaaa2222", "bbbb0000", "cccc0000")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ok(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three demo queries (the first needs both levels), and one that is no picture."""
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite3"

    async def judge() -> None:
        the_judge = build_judge(load_profile(PROFILE))
        await the_judge.start()
        pictures = [(DEMO / f"cropped-0{n}.jpg").read_bytes() for n in (1, 2, 3)]
        with JournalWriter(JournalSettings(path=path, keep_days=1e6)) as writer:
            for query_id, picture in zip(IDS, [*pictures, b"no picture"], strict=True):
                query = Query.of(
                    picture, source="axon", asked_by=EVIL, query_id=query_id, label=query_id < "b"
                )
                writer.record(await the_judge.judge(query))
        await the_judge.close()

    asyncio.run(judge())
    return path


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored")
    with (folder / "queries.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(("file", "label"))
        for name in ("cropped-01.jpg", "cropped-02.jpg", "letterboxed-01.jpg"):
            (folder / name).write_bytes((DEMO / name).read_bytes())
            table.writerow((name, "roadwork"))
    ok(
        *("score", "--profile", PROFILE, "--queries", folder / "queries.csv", "--repeats", 2),
        *("--simulate", "cropped", "--report", folder / "out"),
    )
    return folder / "out"


def test_a_query_is_told_in_plain_lines_by_id_or_how_it_begins(journal: Path) -> None:
    told = ok("trace", "aaaa1111", "--journal", journal)
    assert told.startswith("query aaaa1111\n")
    assert f"by {EVIL} through axon" in told
    assert "level glance entered: always entered" in told
    assert "level closer entered: unsure" in told
    assert "+ earlier levels" in told
    assert "\x1b" not in told
    assert ok("trace", "aaaa1", "--journal", journal) == told


def test_with_its_profile_every_vote_is_told(journal: Path) -> None:
    told = ok("trace", "aaaa1111", "--journal", journal, "--profile", PROFILE)
    assert "+ earlier levels" not in told
    closer = told[told.index("\nlevel closer") :]
    assert [line.split()[1] for line in closer.splitlines() if line.startswith("  + ")] == [
        "bias",
        "network",
        "colour",
        "closer-network",
    ]


def test_the_profile_names_the_journal(journal: Path, tmp_path: Path) -> None:
    made = yaml.safe_load(PROFILE.read_text())
    for section in made["experts"].values():
        section["model"] = str(ROOT / "models" / "embedded" / Path(section["model"]).name)
    made["consensus"]["fitted"] = str(ROOT / "models" / "embedded" / "consensus.json")
    made["journal"] = {"path": str(journal)}
    (tmp_path / "profile.yaml").write_text(yaml.safe_dump(made))
    told = ok("trace", "bbbb", "--profile", tmp_path / "profile.yaml")
    assert told.startswith("query bbbb0000\n")


def test_json_is_the_trace_document_of_the_schema(journal: Path) -> None:
    for query_id in IDS:
        document = json.loads(ok("trace", query_id, "--journal", journal, "--json"))
        jsonschema.validate(document, SCHEMA)
        with Journal(journal) as opened:
            assert document == json.loads(opened.find(query_id).trace)


def test_a_refused_picture_is_told_as_well(journal: Path, tmp_path: Path) -> None:
    told = ok("trace", "cccc", "--journal", journal, "--html", tmp_path / "story.html")
    assert "no answer (picture: not-a-picture)" in told
    assert "no picture could be decoded" in (tmp_path / "story.html").read_text()


def test_the_page_has_picture_views_and_boxes_and_opens_in_a_browser(
    journal: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pages" / "story.html"
    told = ok("trace", "aaaa1", "--journal", journal, "--profile", PROFILE, "--html", path)
    assert told.splitlines()[-1] == f"story: {path}"
    with open_page() as page:
        page.goto(path)
        assert page.errors == []
        assert page.requests == [path.as_uri()]
        assert page.evaluate("document.querySelectorAll('script').length") == 0
        assert page.evaluate("document.title") == "Query aaaa1111"
        titles = "[...document.querySelectorAll('#views figcaption b')].map(b => b.textContent)"
        assert page.evaluate(titles) == ["network", "colour", "closer-network"]
        sources = "[...document.querySelectorAll('image')].map(i => i.getAttribute('href'))"
        assert all(one.startswith("data:image/jpeg") for one in page.evaluate(sources))
        assert page.evaluate("document.querySelectorAll('#views polygon.mark').length") >= 3
        assert "cuts them" in page.evaluate("document.querySelector('#views').textContent")


def test_without_a_profile_the_page_shows_the_frame_with_its_boxes(
    journal: Path, tmp_path: Path
) -> None:
    document = ok(
        "trace", "aaaa1", "--journal", journal, "--html", tmp_path / "story.html", "--json"
    )
    assert json.loads(document)["query"]["id"] == "aaaa1111"
    with open_page() as page:
        page.goto(tmp_path / "story.html")
        assert page.errors == []
        assert page.evaluate("document.querySelectorAll('image').length") == 1  # held once
        assert page.evaluate("document.querySelectorAll('#views use').length") == 3


def test_a_scored_query_is_found_by_name_or_by_repeat_and_position(scored: Path) -> None:
    told = ok("trace", "1-2", "--results", scored)
    assert told.startswith("query 1-2  ")
    name = told.split("\n", 1)[0].split()[-1]
    refused = run("trace", name, "--results", scored / "results.jsonl")
    assert refused.exit_code == 2
    assert "more than one query" in refused.stderr
    assert f"0-2 ({name})" in refused.stderr


def test_a_scored_query_shows_the_simulated_picture(scored: Path, tmp_path: Path) -> None:
    ok("trace", "1-0", "--results", scored, "--html", tmp_path / "story.html")
    assert "data:image/jpeg;base64," in (tmp_path / "story.html").read_text()


def test_an_export_can_be_asked_too(journal: Path, tmp_path: Path) -> None:
    with Journal(journal) as opened:
        export_parquet(opened, tmp_path / "export.parquet")
    told = ok("trace", "aaaa1", "--results", tmp_path / "export.parquet")
    assert told == ok("trace", "aaaa1", "--journal", journal)


def test_on_a_terminal_the_story_has_colours(journal: Path) -> None:
    pty = pytest.importorskip("pty")
    near, far = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "natix_miner", "trace", "aaaa1", "--journal", str(journal)],
        stdout=far,
        stderr=far,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "160", "TERM": "xterm-256color"},
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
    text = shown.decode()
    assert "\x1b[" in text
    bare = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "level glance entered" in bare
    assert "█" in bare


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["zzzz", "--journal", "{journal}"], "has no query 'zzzz'"),
        (["aaaa", "--journal", "{journal}"], "more than one query begins with 'aaaa'"),
        (["aaaa", "--journal", "{tmp}/nowhere.sqlite3"], "there is no journal at"),
        (["aaaa", "--results", "{tmp}"], "holds no results.jsonl"),
        (["nobody", "--results", "{scored}"], "has no query 'nobody'"),
        (["", "--results", "{scored}"], "has no query ''"),
        (["a", "--results", "{scored}", "--journal", "{journal}"], "give one of them"),
        (["aaaa1", "--journal", "{journal}", "--profile", "{tmp}/none.yaml"], "none.yaml"),
        (
            ["aaaa1", "--journal", "{journal}", "--html", "{journal}/story.html"],
            "cannot be written",
        ),
        ([], "Missing argument"),
    ],
)
def test_bad_input_ends_with_two_and_a_clear_word(
    journal: Path, scored: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    names = {"journal": journal, "scored": scored, "tmp": tmp_path}
    before = journal.read_bytes()
    result = run("trace", *(argument.format(**names) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert journal.read_bytes() == before
