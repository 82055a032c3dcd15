"""Stored queries of results files: traces, and pictures found again and made again."""

from __future__ import annotations

import hashlib
import shutil

import pytest

from natix_miner.errors import QuerySourceError
from natix_miner.stored import open_stored


def digests_fit(queries) -> list[bool]:
    return [
        (picture := query.picture()) is not None
        and hashlib.sha256(picture).hexdigest() == query.sha256
        for query in queries
    ]


def test_a_scored_folder_gives_what_was_said_and_known(score, pictures):
    folder = score(pictures)
    with open_stored(folder) as source:
        queries = list(source)
        assert (source.kind, len(queries)) == ("results", 8)
        assert queries == list(open_stored(folder / "results.jsonl"))
        assert source.identity() == source.identity()
    for query in queries:
        number = int(query.name.removesuffix(".jpg"))
        assert query.label == (number + 1) % 2
        assert query.labels == (("file", query.label),)
        assert query.group == f"drive-{number // 4}"
        assert query.generation == ""
        assert query.trace.answer.prediction == query.prediction
        assert query.total_ms == query.trace.stages_ms["total"]
    assert len({query.id for query in queries}) == 8


@pytest.mark.parametrize("simulate", ["as-is", "letterboxed", "cropped"])
def test_pictures_are_drawn_again_exactly(score, pictures, simulate):
    folder = score(pictures, simulate=simulate, repeats=2, seed=5, limit=5)
    queries = list(open_stored(folder))
    assert len(queries) == 10
    assert digests_fit(queries) == [True] * 10
    assert digests_fit(queries[::-1]) == [True] * 10
    assert {query.generation for query in queries} == {"" if simulate == "as-is" else simulate}


def test_pictures_of_a_scored_journal_are_found_in_any_order(score, journal_path):
    queries = list(open_stored(score(journal_path, simulate="cropped")))
    assert len(queries) == 7  # one picture was not kept
    assert digests_fit(queries) == [True] * 7
    assert digests_fit([queries[n] for n in (6, 2, 2, 5, 0)]) == [True] * 5


def test_a_picture_that_is_another_by_now_counts_as_gone(score, pictures, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(pictures, copy)
    folder = score(copy, simulate="letterboxed")
    (copy / "3.jpg").write_bytes((copy / "4.jpg").read_bytes())
    (copy / "5.jpg").unlink()
    with open_stored(folder) as source:
        # The table names a file that is gone, so it can no longer be read at all.
        assert [query.picture() for query in source] == [None] * 8
    (copy / "5.jpg").write_bytes((pictures / "5.jpg").read_bytes())
    gone = {q.name for q in open_stored(folder) if q.picture() is None}
    assert gone == {"3.jpg"}
    shutil.rmtree(copy)
    assert all(query.picture() is None for query in open_stored(folder))


def test_what_was_no_picture_is_stored_with_its_refusal(score, pictures, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(pictures, copy)
    (copy / "1.jpg").write_bytes(b"no picture at all")
    queries = {query.name: query for query in open_stored(score(copy))}
    assert queries["1.jpg"].trace.picture is None
    assert queries["1.jpg"].prediction == -1.0
    source = open_stored(score(copy, "cropped", simulate="cropped"))
    assert "1.jpg" not in {query.name for query in source}
    assert source.skipped == {"no trace (it was not judged)": 1}


def test_a_torn_last_line_is_passed_over_and_damage_before_it_is_named(score, pictures):
    path = score(pictures) / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert len(list(open_stored(path))) == 7
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3][:50] + b"\n", *lines[4:]]))
    with pytest.raises(QuerySourceError, match="line 4"):
        list(open_stored(path))
    assert path.stat().st_size < len(whole)


def test_results_without_a_word_on_their_queries_have_no_pictures(score, pictures):
    path = score(pictures) / "results.jsonl"
    for about in ("{}", '{"queries": 7}', '{"queries": "x", "seed": "y", "simulate": 3}'):
        head, rest = path.read_text().split("\n", 1)
        head = head[: head.index('"about"')] + f'"about": {about}}}'
        path.write_text(head + "\n" + rest)
        assert [query.picture() for query in open_stored(path)] == [None] * 8
