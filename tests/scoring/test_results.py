"""The results file outlives torn lines and refuses what does not belong to it."""

from __future__ import annotations

import dataclasses

import pytest

from natix_miner.errors import QuerySourceError
from natix_miner.scoring import ResultsFile, ScoredQuery
from natix_miner.scoring.results import read_header, read_rows, settings_digest


def row(position: int, repeat: int = 0) -> ScoredQuery:
    return ScoredQuery(
        name=f"picture {position} – ü",
        label=position % 2,
        prediction=0.25,
        level="glance",
        reason="sure",
        total_ms=3.5,
        votes={"network": 0.25, "hung": "timed-out"},
        expert_ms={"network": 2.0},
        position=position,
        repeat=repeat,
    )


def test_what_is_stored_comes_back(tmp_path):
    path = tmp_path / "deep" / "results.jsonl"
    with ResultsFile(path, {"seed": 0}) as results:
        results.append(row(0))
        results.append(row(0, repeat=1))
    with ResultsFile(path, {"seed": 0}) as results:
        assert results.rows == {(0, 0): row(0), (1, 0): row(0, repeat=1)}
        assert results.dropped_bytes == 0


@pytest.mark.parametrize("cut", [1, 5, 200])
def test_a_torn_last_line_is_cut_off_and_can_be_written_again(tmp_path, cut):
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, {}) as results:
        for position in range(3):
            results.append(row(position))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with ResultsFile(path, {}) as results:
        assert sorted(results.rows) == [(0, 0), (0, 1)]
        assert results.dropped_bytes > 0
        results.append(row(2))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("cut", [1, 30])
def test_a_torn_header_starts_over(tmp_path, cut):
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, {}):
        pass
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with ResultsFile(path, {}) as results:
        assert results.rows == {}
    assert path.read_bytes() == whole


def test_other_settings_are_refused_by_name(tmp_path):
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, {"seed": 0, "simulate": "cropped"}):
        pass
    with (
        pytest.raises(QuerySourceError, match="seed was 0, is 1") as caught,
        ResultsFile(path, {"seed": 1, "simulate": "cropped"}),
    ):
        pass
    assert "simulate" not in str(caught.value)


@pytest.mark.parametrize("content", [b"hello\n", b'{"a": 1}\n', b"[]\n"])
def test_a_file_of_somebody_else_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)
    with pytest.raises(QuerySourceError, match="not a results file"), ResultsFile(path, {}):
        pass
    assert path.read_bytes() == content


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, {}) as results:
        results.append(row(0))
    path.write_bytes(path.read_bytes() + b'{"name": "x"}\n')
    with pytest.raises(QuerySourceError, match="line 3"), ResultsFile(path, {}):
        pass


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(QuerySourceError, match="cannot be opened"),
        ResultsFile(tmp_path / "file" / "results.jsonl", {}),
    ):
        pass


def test_traces_are_kept_in_the_file_whatever_is_kept_in_memory(tmp_path):
    path = tmp_path / "results.jsonl"
    traced = dataclasses.replace(row(0), trace='{"format": 1, "ü": "\\n"}')
    with ResultsFile(path, {}, keep_traces=False) as results:
        results.append(traced)
        assert results.rows[0, 0].trace == ""
    with ResultsFile(path, {}, keep_traces=False) as results:
        assert results.rows == {(0, 0): row(0)}
    with ResultsFile(path, {}) as results:
        assert results.rows == {(0, 0): traced}
    assert list(read_rows(path)) == [traced]


def test_where_the_queries_lay_is_told_and_decides_nothing(tmp_path):
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, {"seed": 0}, about={"queries": "/here", "limit": 3}) as results:
        results.append(row(0))
    with ResultsFile(path, {"seed": 0}, about={"queries": "/there", "limit": 9}) as results:
        assert len(results.rows) == 1
    header = read_header(path)
    assert dict(header.about) == {"queries": "/here", "limit": 3}
    assert header.digest == settings_digest({"seed": 0})


def test_results_of_the_format_without_traces_are_refused_by_a_word_of_their_own(tmp_path):
    path = tmp_path / "results.jsonl"
    old = b'{"format": 1, "digest": "x", "settings": {}}\n{"name": "x"}\n'
    path.write_bytes(old)
    with pytest.raises(QuerySourceError, match="kept no traces: remove it and score again"):
        ResultsFile(path, {}).__enter__()
    with pytest.raises(QuerySourceError, match="kept no traces"):
        list(read_rows(path))
    assert path.read_bytes() == old


def test_reading_alone_never_changes_a_torn_file(tmp_path):
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, {}) as results:
        for position in range(3):
            results.append(row(position))
    torn = path.read_bytes()[:-7]
    path.write_bytes(torn)
    assert list(read_rows(path)) == [row(0), row(1)]
    assert path.read_bytes() == torn


def test_nothing_there_is_told(tmp_path):
    with pytest.raises(QuerySourceError, match="cannot be read"):
        read_header(tmp_path / "no.jsonl")
