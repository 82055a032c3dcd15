"""Saved queries are found, read late, kept in order, and faults name file and line."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest

from natix_miner.errors import JournalError, NotBase64Error, QuerySourceError
from natix_miner.scoring import ScoreSettings, open_source
from natix_miner.scoring.runner import ordered


def table(folder: Path, text: str, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_two_folders_give_labels_by_name(picture_folder):
    source = open_source(picture_folder)
    found = list(source)
    assert source.count() == 16
    assert [query.name for query in found][:2] == ["none/0.jpg", "none/1.jpg"]
    assert [query.label for query in found] == [0] * 8 + [1] * 8
    assert [query.index for query in found] == list(range(16))
    assert found[9].load() == (picture_folder / "roadwork/1.jpg").read_bytes()


def test_pictures_are_read_only_when_asked_for(picture_folder):
    found = list(open_source(picture_folder))
    (picture_folder / "none/3.jpg").unlink()
    assert found[2].load()
    with pytest.raises(QuerySourceError, match=r"none/3\.jpg"):
        found[3].load()


def test_other_files_in_the_folders_are_no_queries(picture_folder):
    (picture_folder / "none" / "README.md").write_text("not a picture")
    assert open_source(picture_folder).count() == 16


def test_a_table_keeps_its_order_and_lets_labels_open(picture_folder):
    path = table(
        picture_folder,
        "file,label,group\nroadwork/1.jpg,roadwork,clip-a\nnone/2.jpg,none,\nnone/3.jpg,,clip-b\n",
    )
    found = list(open_source(path))
    assert [(q.name, q.label, q.group) for q in found] == [
        ("roadwork/1.jpg", 1, "clip-a"),
        ("none/2.jpg", 0, ""),
        ("none/3.jpg", None, "clip-b"),
    ]


def test_a_manifest_in_the_folder_wins_and_split_filters(picture_folder):
    rows = "".join(
        f"none/{n}.jpg,none,{'train' if n < 6 else 'dev'},clip,{n % 4}\n" for n in range(8)
    )
    table(picture_folder, "file,label,split,group,fold\n" + rows, "manifest.csv")
    assert open_source(picture_folder).count() == 8
    dev = list(open_source(picture_folder, "dev"))
    assert [query.name for query in dev] == ["none/6.jpg", "none/7.jpg"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("name,label\nnone/1.jpg,none\n", r"line 1: no column file"),
        ("file,label\nnone/1.jpg,none\nnone/99.jpg,none\n", r"line 3: there is no file .*99\.jpg"),
        ("file,label\nnone/1.jpg,maybe\n", r"line 2: label 'maybe'"),
        ("file,label\n,none\n", r"line 2: the column file is empty"),
        ("file,label\n", r"lists no picture"),
        ("", r"line 1: no column file, label"),
    ],
)
def test_a_faulty_table_names_its_line(picture_folder, text, wanted):
    path = table(picture_folder, text)
    with pytest.raises(QuerySourceError, match=wanted) as caught:
        open_source(path)
    assert str(path) in str(caught.value)


def test_an_unknown_split_is_told(picture_folder):
    path = table(picture_folder, "file,label,split\nnone/1.jpg,none,train\n")
    with pytest.raises(QuerySourceError, match="split 'dev'"):
        open_source(path, "dev")


@pytest.mark.parametrize("name", ["", "queries.jsonl"])
def test_a_split_of_what_has_none_is_refused(picture_folder, name):
    path = picture_folder / name
    if name:
        path.write_text("")
    with pytest.raises(QuerySourceError, match="no splits"):
        open_source(path, "dev")


def test_saved_synapses_one_a_line(tmp_path):
    path = tmp_path / "synapses.jsonl"
    lines = [
        {"image": base64.b64encode(b"one").decode(), "testnet_label": 1, "prediction": -1.0},
        {"image": base64.b64encode(b"two").decode(), "testnet_label": -1},
        {"image": base64.b64encode(b"three").decode(), "label": "none", "name": "third"},
        {"image": "?? not base64 ??"},
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines[:2]) + "\n\n")
    with path.open("a") as handle:
        handle.write("\n".join(json.dumps(line) for line in lines[2:]))
    found = list(open_source(path))
    assert [query.label for query in found] == [1, None, 0, None]
    assert [query.name for query in found] == ["line-1", "line-2", "third", "line-5"]
    assert [query.load() for query in found[:3]] == [b"one", b"two", b"three"]
    with pytest.raises(NotBase64Error):
        found[3].load()


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("{broken", "line 2: not JSON"),
        ("[1]", 'line 2: no "image"'),
        ('{"image": 7}', 'line 2: no "image"'),
        ('{"image": "aa==", "label": 2}', "line 2: label 2"),
        ('{"image": "aa==", "label": true}', "line 2: label True"),
    ],
)
def test_a_faulty_line_is_named(tmp_path, line, wanted):
    path = tmp_path / "synapses.jsonl"
    path.write_text('{"image": "aGk="}\n' + line + "\n")
    with pytest.raises(QuerySourceError, match=wanted):
        list(open_source(path))


@pytest.mark.parametrize("name", ["nothing", "a.txt"])
def test_what_is_no_source_is_refused_with_what_would_be(tmp_path, name):
    if name == "a.txt":
        (tmp_path / name).write_text("")
    with pytest.raises(QuerySourceError, match=r"manifest\.csv.*\.jsonl.*\.parquet"):
        open_source(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(QuerySourceError, match="holds no picture"):
        open_source(tmp_path)


def test_identity_changes_with_the_queries_and_not_with_the_place(picture_folder, tmp_path):
    before = open_source(picture_folder).identity()
    moved = picture_folder.rename(tmp_path / "moved")
    assert open_source(moved).identity() == before
    (moved / "none/1.jpg").write_bytes(b"other")
    assert open_source(moved).identity() != before


def test_a_folder_is_put_in_a_drawn_order_that_the_seed_fixes(picture_folder):
    source = open_source(picture_folder)

    def names(**settings: object) -> list[str]:
        return [query.name for query in ordered(source, ScoreSettings(**settings))]

    assert names(seed=1) == names(seed=1) != names(seed=2)
    assert sorted(names(seed=1)) == sorted(names(keep_order=True))
    assert names(keep_order=True)[:3] == ["none/0.jpg", "none/1.jpg", "none/2.jpg"]
    assert names(seed=1, limit=5) == names(seed=1)[:5]


@pytest.fixture
def journal_path(tmp_path: Path, make_judge, make_picture) -> Path:
    """A real journal with verdicts of the real judge; picture 2 was not kept, 3 has no label."""
    from natix_miner.journal import JournalWriter
    from natix_miner.query import Query
    from natix_miner.sections import JournalSettings

    async def verdicts() -> list[object]:
        judge = make_judge()
        await judge.start()
        found = []
        for n in range(6):
            label = None if n == 3 else n % 2
            query = Query.of(
                make_picture(n % 2 == 1, seed=n), source="axon", label=label, query_id=f"q{n}"
            )
            found.append(await judge.judge(query))
        await judge.close()
        return found

    path = tmp_path / "journal.sqlite3"
    found = asyncio.run(verdicts())
    for keep, some in ((True, [v for n, v in enumerate(found) if n != 2]), (False, [found[2]])):
        with JournalWriter(JournalSettings(path=path, keep_pictures=keep)) as writer:
            for verdict in some:
                assert writer.record(verdict)
            assert writer.flush(10.0)
    return path


def check_stored(source, make_picture) -> None:
    found = list(source)
    assert [query.name for query in found] == ["q0", "q1", "q3", "q4", "q5"]
    assert [query.label for query in found] == [0, 1, None, 0, 1]
    assert [query.index for query in found] == [0, 1, 2, 3, 4]
    assert found[1].load() == make_picture(True, seed=1)
    assert source.skipped == {"picture not kept": 1}
    assert source.has_order


def test_a_journal_gives_its_queries_in_order_of_arrival(journal_path, make_picture):
    check_stored(open_source(journal_path), make_picture)


def test_the_export_of_a_journal_gives_the_same(journal_path, tmp_path, make_picture):
    from natix_miner.journal import Journal, export_parquet

    with Journal(journal_path) as journal:
        export_parquet(journal, tmp_path / "export.parquet")
    check_stored(open_source(tmp_path / "export.parquet"), make_picture)


@pytest.mark.parametrize("name", ["x.parquet", "x.sqlite3"])
def test_a_file_that_only_looks_like_one_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no such format" * 100)
    with pytest.raises(JournalError, match=name):
        open_source(tmp_path / name)
