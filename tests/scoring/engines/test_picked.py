"""Saved queries by their place: the same as one after the other, and nothing else is read."""

from __future__ import annotations

import base64
import json

import pyarrow.parquet as pq
import pytest

from natix_miner.errors import JournalError, QuerySourceError
from natix_miner.scoring import open_source

#: Two entries whose picture is gone, and a row group of which nothing is left.
KEPT = [n not in (1, 8, 9, 10, 11, 13) for n in range(18)]


def seen(queries):
    return [(q.index, q.name, q.label, q.group, q.load()) for q in queries]


def export_of(make_export):
    return make_export([bytes([n]) * 5_000 if kept else None for n, kept in enumerate(KEPT)])


@pytest.fixture(params=["folder", "table", "jsonl", "export", "export without figures"])
def saved(request, tmp_path, picture_folder, make_export):
    if request.param == "folder":
        return picture_folder
    if request.param == "table":
        lines = [f"none/{n}.jpg,none,clip-{n % 3}" for n in (5, 1, 7, 2)]
        (picture_folder / "list.csv").write_text("\n".join(["file,label,group", *lines]))
        return picture_folder / "list.csv"
    if request.param == "jsonl":
        lines = [
            json.dumps({"image": base64.b64encode(bytes([n + 1]) * 9).decode(), "label": n % 2})
            for n in range(9)
        ]
        lines[3:3] = ["", "  "]
        (tmp_path / "saved.jsonl").write_text("\n".join(lines))
        return tmp_path / "saved.jsonl"
    path = export_of(make_export)
    if request.param == "export without figures":
        pq.write_table(pq.read_table(path), path, row_group_size=5, write_statistics=False)
    return path


def test_picked_queries_are_those_of_a_pass(saved):
    whole = seen(open_source(saved))
    assert len(whole) >= 4
    source = open_source(saved)
    backwards = range(len(whole) - 1, -1, -1)
    assert seen(source.picked(backwards)) == whole[::-1]
    assert seen(source.picked([2, 0, 2])) == [whole[2], whole[0], whole[2]]
    assert source.picked([]) == []


def test_names_are_those_of_a_pass_and_count_what_is_left_out(saved):
    one, other = open_source(saved), open_source(saved)
    assert [name for block in other.names() for name in block] == [query.name for query in one]
    assert other.skipped == one.skipped


def test_a_place_that_is_not_there_is_refused(saved):
    for index in (-1, 99):
        with pytest.raises(QuerySourceError, match=f"no query {index}"):
            open_source(saved).picked([index])


def test_the_blocks_of_an_export_are_its_row_groups(make_export):
    blocks = [len(block) for block in open_source(export_of(make_export)).names()]
    assert blocks == [3, 4, 0, 3, 2]


def test_no_row_group_is_read_but_the_one_asked_for(make_export):
    path = export_of(make_export)
    content = path.read_bytes()
    assert content.count(bytes([3]) * 5_000) == 1
    path.write_bytes(content.replace(bytes([3]) * 5_000, bytes([77]) * 5_000))
    source = open_source(path)
    assert seen(source.picked([4]))[0][4] == bytes([5]) * 5_000
    with pytest.raises(JournalError, match="row 3"):
        source.picked([0])
