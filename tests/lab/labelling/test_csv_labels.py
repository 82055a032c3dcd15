"""Labels as CSV: out of a journal and into one, all or nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from natix_miner.errors import JournalError
from natix_miner.journal import Journal, Label, newest_by_source
from natix_miner.lab.labelling.csv_labels import ImportedLabels, export_csv, import_csv
from tests.lab.labelling.journals import START, Asked, jpeg, make_journal

LABELS = (Label(1, "testnet", START + 0.123456), Label(0, "label:ada", START + 5))
ASKED = [Asked(1, labels=LABELS), Asked(2), Asked(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_journal(tmp_path / "journal.sqlite3", ASKED)


def put(path: Path, text: str, who: str | None = "ada") -> ImportedLabels:
    file = path.with_name("labels.csv")
    file.write_text(text, encoding="utf-8")
    with Journal(path) as journal:
        return import_csv(journal, file, who)


def said(path: Path, asked: Asked) -> dict[str, int | None]:
    with Journal(path) as journal:
        return {s: row.label for s, row in newest_by_source(journal.labels(asked.id)).items()}


def everything(path: Path) -> list[tuple[str, Label]]:
    with Journal(path) as journal:
        return [(row.query_id, row.label) for row in journal.all_labels()]


def test_what_was_taken_out_can_be_put_in_elsewhere_and_twice(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with Journal(path) as journal:
        assert export_csv(journal, out) == 2
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["label"], row["source"]) for row in rows] == [
        (ASKED[0].id, "roadwork", "testnet"),
        (ASKED[0].id, "none", "label:ada"),
    ]
    assert rows[0]["set_at"] == "2023-11-14T22:13:20.123456+00:00"
    other = make_journal(tmp_path / "other.sqlite3", [Asked(1)])
    with Journal(other) as journal:
        assert import_csv(journal, out, None) == ImportedLabels(added=2, known=0)
        assert import_csv(journal, out, None) == ImportedLabels(added=0, known=2)
    assert said(other, ASKED[0]) == {"testnet": 1, "label:ada": 0}
    with Journal(other) as journal:
        entry = journal.find(ASKED[0].id)
        assert (entry.label, entry.label_source) == (0, "label:ada")
        (first, _) = journal.labels(ASKED[0].id)
        assert first.set_at == pytest.approx(START + 0.123456, abs=1e-6)


def test_a_file_that_is_there_is_kept_unless_forced(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    with Journal(path) as journal:
        with pytest.raises(JournalError, match="is there already"):
            export_csv(journal, out)
        assert out.read_text() == "mine"
        export_csv(journal, out, force=True)
    assert out.read_text().startswith("id,sha256,label,source,set_at\n")
    assert sorted(tmp_path.glob(".out*")) == []


def test_labels_by_a_person_by_id_or_by_picture(path: Path) -> None:
    text = (
        "\ufeffsha256, label ,note,id\n"
        f"{ASKED[1].sha256.upper()},Roadwork,by picture,\n"
        f",0,by id,{ASKED[2].id}\n"
    )
    assert put(path, text) == ImportedLabels(added=2, known=0)
    assert said(path, ASKED[1]) == {"label:ada": 1}
    assert said(path, ASKED[2]) == {"label:ada": 0}


def test_a_label_by_picture_goes_to_its_newest_query(tmp_path: Path) -> None:
    same = jpeg(1)
    asked = [Asked(1, picture=same), Asked(2, picture=same)]
    path = make_journal(tmp_path / "journal.sqlite3", asked)
    put(path, f"sha256,label\n{asked[0].sha256},1\n")
    assert [said(path, one) for one in asked] == [{}, {"label:ada": 1}]


def test_the_same_row_twice_is_one(path: Path) -> None:
    row = f"{ASKED[1].id},1,1700000100\n"
    assert put(path, "id,label,set_at\n" + row + row) == ImportedLabels(added=1, known=0)
    assert put(path, "id,label,set_at\n" + row) == ImportedLabels(added=0, known=1)


def test_an_older_label_does_not_replace_a_newer_one(path: Path) -> None:
    put(path, f"id,label,source,set_at\n{ASKED[0].id},1,label:bob,2023-11-14 22:13:21\n")
    with Journal(path) as journal:
        assert journal.find(ASKED[0].id).label_source == "label:ada"
    assert said(path, ASKED[0])["label:bob"] == 1


GOOD = f"{ASKED[1].id},1"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "it needs label, and id or sha256"),
        ("id,labels\n", "it needs label, and id or sha256"),
        ("id;label\na;1\n", "separated by commas"),
        (f"id,label\n{GOOD}\n{ASKED[2].id},maybe\n", "line 3 .*'maybe' is neither"),
        (f"id,label\n{GOOD}\n{ASKED[2].id},\n", "line 3 .*'' is neither"),
        (f"id,label\n{GOOD}\n,1\n", "line 3 .*names neither id nor sha256"),
        (f"id,label\n{GOOD}\nffffffffffff,1\n", "line 3 .*has no query 'ffffffffffff'"),
        (f"id,label\n{GOOD}\n{ASKED[2].id[:-1]},1\n", "line 3 .*not a whole one|more than one"),
        (f"sha256,label\n{'f' * 64},1\n", "line 2 .*has no query with the picture"),
        (
            f"id,label,sha256\n{GOOD},\n{ASKED[2].id},1,{ASKED[1].sha256}\n",
            "line 3 .*showed the picture",
        ),
        (f"id,label\n{GOOD}\n{ASKED[1].id},0\n", "line 3 .*contradicts line 2"),
        (f"id,label\n{GOOD}\n{ASKED[2].id},1,0\n", "line 3 .*has not 2 fields"),
        (f"id,label\n{GOOD}\n{ASKED[2].id}\n", "line 3 .*has not 2 fields"),
        (f"id,label,set_at\n{GOOD},soon\n", "line 2 .*'soon' is no time"),
        (f"id,label,set_at\n{GOOD},nan\n", "line 2 .*cannot be"),
        (f"id,label,set_at\n{GOOD},1700000000000\n", "line 2 .*cannot be"),
        (f"id,label,source\n{GOOD},{'x' * 81}\n", "line 2 .*no name of a source"),
        (f'id,label\n{GOOD}\n"{ASKED[2].id},1\n', "cannot be read"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_written(path: Path, text: str, word: str) -> None:
    before = everything(path)
    with pytest.raises(JournalError, match=f"(?s){word}"):
        put(path, text)
    assert everything(path) == before


def test_a_row_without_a_source_needs_a_name(path: Path) -> None:
    with pytest.raises(JournalError, match=r"line 2 .*give --who"):
        put(path, f"id,label\n{GOOD}\n", who=None)


def test_what_is_no_text_or_not_there_is_said(path: Path, tmp_path: Path) -> None:
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"id,label\n\xff\xfe\x00")
    with Journal(path) as journal:
        for file in (binary, tmp_path / "missing.csv", tmp_path):
            with pytest.raises(JournalError, match="cannot be read"):
                import_csv(journal, file, "ada")
