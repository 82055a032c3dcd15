"""Stored queries of journals and exports: whole, again and again, with clear words for trouble."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from natix_miner.errors import JournalError, NatixMinerError, QuerySourceError
from natix_miner.journal import Journal, export_parquet
from natix_miner.journal.connection import make_journal
from natix_miner.stored import open_stored


@pytest.fixture
def export_path(journal_path: Path, tmp_path: Path) -> Path:
    with Journal(journal_path) as journal:
        journal.set_label(f"{0:032x}", 1, "anna")
        journal.set_label(f"{0:032x}", 0, "berta")
        export_parquet(journal, tmp_path / "export.parquet")
    return tmp_path / "export.parquet"


def test_a_journal_can_be_read_more_than_once(journal_path):
    with open_stored(journal_path) as source:
        first, second = list(source), list(source)
        assert (source.kind, source.count(), len(first)) == ("journal", 8, 8)
        assert first == second
        assert [int(query.id, 16) for query in first] == list(range(8))
        assert all(query.trace.query.id == query.id for query in first)
        assert all(query.prediction == query.trace.answer.prediction for query in first)


def test_pictures_are_those_that_were_judged(journal_path):
    with open_stored(journal_path) as source:
        found = [query.picture() for query in source]
        assert [place for place, one in enumerate(found) if one is None] == [3]
        for query, one in zip(source, found, strict=True):
            assert one is None or hashlib.sha256(one).hexdigest() == query.sha256


def test_an_export_tells_the_same_as_its_journal(journal_path, export_path):
    with open_stored(journal_path) as journal, open_stored(export_path) as export:
        assert export.kind == "export"
        assert list(export) == list(journal)
        assert [q.picture() for q in export] == [q.picture() for q in journal]
        assert export.identity() == journal.identity()


def test_a_new_label_makes_another_identity_and_nothing_else_does(journal_path):
    with open_stored(journal_path) as source, Journal(journal_path) as journal:
        before = source.identity()
        assert source.identity() == before
        journal.set_label(f"{2:032x}", 1)
        labelled = source.identity()
        journal.set_label(f"{2:032x}", 0)
        assert len({before, labelled, source.identity()}) == 3


def test_of_each_who_labelled_the_newest_word_holds(journal_path):
    with Journal(journal_path) as journal:
        for label, who in ((1, "anna"), (0, "berta"), (0, "anna"), (1, "carl"), (None, "carl")):
            journal.set_label(f"{1:032x}", label, who)
    with open_stored(journal_path) as source:
        query = list(source)[1]
    assert query.label is None  # the newest word of all was "nobody knows"
    assert dict(query.labels) == {"anna": 0, "berta": 0}


def test_pictures_of_an_export_are_found_in_any_order_and_row_group(
    journal_path, export_path, tmp_path
):
    small = tmp_path / "small.parquet"
    pq.write_table(pq.read_table(export_path), small, row_group_size=3)
    assert pq.ParquetFile(small).num_row_groups == 3
    queries = list(open_stored(small))
    expected = [query.picture() for query in open_stored(journal_path)]
    for place in (7, 0, 4, 3, 2, 7, 5):
        assert queries[place].picture() == expected[place]


def test_traces_of_another_format_are_left_out_and_counted(journal_path):
    connection = sqlite3.connect(journal_path)
    with connection:
        connection.execute("UPDATE traces SET trace = '{\"format\": 99}' WHERE number = 2")
        connection.execute("UPDATE traces SET trace = 'gone' WHERE number = 3")
    connection.close()
    with open_stored(journal_path) as source:
        assert len(list(source)) == 6
        assert source.skipped == {"a trace of another format": 2}
        assert len(list(source)) == 6
        assert source.skipped == {"a trace of another format": 2}


def test_an_empty_journal_has_no_queries(tmp_path):
    make_journal(tmp_path / "new.sqlite3")
    with open_stored(tmp_path / "new.sqlite3") as source:
        assert list(source) == []
        assert source.count() == 0


def test_a_journal_of_a_newer_schema_is_refused(journal_path):
    connection = sqlite3.connect(journal_path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalError, match="schema 99"):
        open_stored(journal_path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_journal_cut_off_in_the_middle_is_told(journal_path, share):
    whole = journal_path.read_bytes()
    journal_path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(JournalError, match=r"journal\.sqlite3"):
        [query.picture() for query in open_stored(journal_path)]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_an_export_cut_off_in_the_middle_is_told(export_path, share):
    whole = export_path.read_bytes()
    export_path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(JournalError, match="cannot be read as Parquet"):
        list(open_stored(export_path))


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.sqlite3", b"", "is empty"),
        ("a.db", b"hello, I am a text file\n" * 100, "not an SQLite file"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b'{"format": 2, "dig', "cut off in its first line"),
        ("a.jsonl", b'{"image": "aGk="}\n', "not a results file"),
        ("a.jsonl", b'{"format": 1, "digest": "x", "settings": {}}\n', "kept no traces"),
        ("a.jsonl", b'{"format": 9, "digest": "x"}\n', "format 9"),
        ("a.jsonl", b'{"format": 2, "digest": "x", "about": [], "settings": {}}\n', "not a resu"),
        ("a.csv", b"file,label\n", "no known kind of stored queries"),
    ],
)
def test_what_holds_no_stored_queries_is_refused_with_a_word(tmp_path, name, content, word):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(NatixMinerError, match=word):
        list(open_stored(path))
    assert path.read_bytes() == content


def test_nothing_there_and_a_folder_of_something_else_are_told(tmp_path):
    with pytest.raises(QuerySourceError, match="nothing at"):
        open_stored(tmp_path / "no.sqlite3")
    with pytest.raises(QuerySourceError, match=r"holds no results\.jsonl"):
        open_stored(tmp_path)
