from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from natix_miner.errors import JournalError
from natix_miner.journal import (
    Filter,
    Imported,
    Journal,
    JournalWriter,
    Label,
    Pacing,
    Row,
    export_parquet,
    import_parquet,
    parquet,
)
from natix_miner.journal.connection import open_for_writing
from natix_miner.journal.rows import insert
from natix_miner.sections import JournalSettings


def dump(path: Path) -> dict[str, list[tuple]]:
    """Everything a journal holds, as SQLite's own quoting writes it: equal means bit-equal."""
    connection = sqlite3.connect(path)
    found = {}
    for table in ("pictures", "entries", "labels"):
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        quoted = ", ".join(f"quote({name}), typeof({name})" for name in columns if name != "number")
        found[table] = sorted(connection.execute(f"SELECT {quoted} FROM {table}").fetchall())
    connection.close()
    return found


def empty(path: Path) -> Path:
    open_for_writing(path).close()
    return path


@pytest.fixture
def filled(settings: JournalSettings, make_verdict) -> Path:
    with JournalWriter(settings) as writer:
        for number in range(120):
            writer.record(
                make_verdict(
                    number,
                    picture=bytes([number % 40]) * 3_000,
                    label=(None, 0, 1)[number % 3],
                    asked_by=None if number % 7 == 0 else f"5Hotkey{number % 4}",
                    probability=None if number % 11 == 0 else number / 121,
                )
            )
    with Journal(settings.path) as journal:
        journal.set_label(f"{1:032x}", 1, "looked")
        journal.set_label(f"{2:032x}", None, "doubt")
    return settings.path


def test_a_journal_comes_back_bit_for_bit(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 50)
    out, copy, told = tmp_path / "out.parquet", empty(tmp_path / "copy.sqlite3"), []
    with Journal(filled) as journal:
        assert export_parquet(journal, out, progress=told.append) == 120
    assert import_parquet(copy, out) == Imported(added=120, skipped=0)

    assert told == [50, 50, 20]
    assert pq.ParquetFile(out).num_row_groups == 3
    assert dump(copy) == dump(filled)
    assert len(dump(copy)["labels"]) == 82

    again = tmp_path / "again.parquet"
    with Journal(copy) as journal:
        export_parquet(journal, again)
    assert pq.read_table(again).equals(pq.read_table(out), check_metadata=True)


def test_groups_are_bounded_in_bytes(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 40_000)
    with Journal(filled) as journal:
        export_parquet(journal, tmp_path / "out.parquet")
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups > 9


def test_importing_again_skips_what_is_there(filled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    with Journal(filled) as journal:
        export_parquet(journal, out, which=Filter(labelled=True))
        everything = tmp_path / "all.parquet"
        export_parquet(journal, everything)
    copy = empty(tmp_path / "copy.sqlite3")

    assert import_parquet(copy, out) == Imported(added=79, skipped=0)
    assert import_parquet(copy, out) == Imported(added=0, skipped=79)
    assert import_parquet(copy, everything) == Imported(added=41, skipped=79)
    assert dump(copy) == dump(filled)


def test_an_export_answers_to_duckdb(filled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    with Journal(filled) as journal:
        export_parquet(journal, out)
    found = duckdb.sql(
        f"SELECT count(*), count(label), sum(octet_length(picture)), "
        f"count(DISTINCT trace->>'$.query.id') FROM '{out}'"
    ).fetchall()
    assert found == [(120, 79, 360_000, 120)]


def test_importing_into_a_journal_that_a_miner_writes(
    filled: Path, tmp_path: Path, make_verdict
) -> None:
    out = tmp_path / "out.parquet"
    with Journal(filled) as journal:
        export_parquet(journal, out)
    live = JournalSettings(path=tmp_path / "live.sqlite3", keep_days=1e6)
    with JournalWriter(live, pacing=Pacing(batch_rows=10, batch_seconds=0.001)) as writer:
        results: list[Imported] = []
        thread = threading.Thread(target=lambda: results.append(import_parquet(live.path, out)))
        thread.start()
        number = 1000
        while thread.is_alive():
            writer.record(make_verdict(number))
            writer.flush(10)
            number += 1
        thread.join()
        assert writer.flush(10)
        assert dict(writer.stats().lost) == {}
    assert results == [Imported(added=120, skipped=0)]
    with Journal(live.path) as journal:
        assert journal.counts().queries == 120 + number - 1000


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
REALS = st.floats(allow_nan=False)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    picture = draw(st.none() | st.binary(max_size=60))
    digest = draw(WORDS) if picture is None else hashlib.sha256(picture).hexdigest()
    label = st.builds(Label, st.sampled_from([0, 1, None]), WORDS, REALS)
    return Row(
        id=draw(WORDS),
        sha256=digest,
        picture_bytes=draw(st.integers(0, 2**63 - 1)),
        source=draw(WORDS),
        asked_by=draw(st.none() | WORDS),
        received_at=draw(REALS),
        prediction=draw(REALS),
        reason=draw(WORDS),
        level=draw(st.none() | WORDS),
        late=draw(st.booleans()),
        error=draw(st.none() | WORDS),
        total_ms=draw(st.none() | REALS),
        profile=draw(st.none() | WORDS),
        miner=draw(st.none() | WORDS),
        trace=draw(WORDS),
        picture=picture,
        labels=tuple(draw(st.lists(label, max_size=3))),
    )


@given(st.lists(rows(), max_size=6, unique_by=lambda row: row.id))
@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_odd_values_come_back_bit_for_bit(written: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path, out = Path(place) / "a.sqlite3", Path(place) / "out.parquet"
        connection = open_for_writing(path)
        connection.execute("BEGIN")
        insert(connection, written)
        connection.execute("COMMIT")
        connection.close()
        with Journal(path) as journal:
            assert export_parquet(journal, out) == len(written)
        copy = empty(Path(place) / "b.sqlite3")
        assert import_parquet(copy, out).added == len(written)
        assert dump(copy) == dump(path)
        read = {row.id: row for row in parquet.read_parquet(out)}
        for row in written:
            assert read[row.id].trace == row.trace
            assert read[row.id].picture == row.picture
            assert read[row.id].received_at == row.received_at
            assert read[row.id].labels == tuple(sorted(row.labels, key=lambda label: label.set_at))


def rewritten(source: Path, change) -> Path:
    """The export with its table changed by a function."""
    out = source.with_name("changed.parquet")
    pq.write_table(change(pq.read_table(source)), out)
    return out


def with_metadata(table: pa.Table, metadata: dict) -> pa.Table:
    return table.replace_schema_metadata(metadata)


def with_column(table: pa.Table, name: str, values: list) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, name, pa.array(values))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: with_metadata(t, {}), "no 'natix_miner.journal.format'"),
        (
            lambda t: with_metadata(t, {b"natix_miner.journal.format": b"9"}),
            "format '9', this code reads 1",
        ),
        (lambda t: t.drop_columns(["trace", "late"]), "lacks the columns late, trace"),
        (lambda t: with_column(t, "received_at", ["x"] * 120), "cannot be read as Parquet"),
        (lambda t: with_column(t, "picture", [b"other"] * 120), "row 0 .* digest"),
        (lambda t: with_column(t, "label", [1] * 120), None),  # follows from the history
        (
            lambda t: with_column(t, "reason", ["sure"] * 99 + [None] + ["sure"] * 20),
            "row 99 .* no value for reason",
        ),
        (lambda t: with_column(t, "labels", [[None]] * 120), "cannot be read|no value for labels"),
        (
            lambda t: with_column(
                t, "labels", [[{"label": 7, "source": "s", "set_at": 1.0}]] * 120
            ),
            "cannot be stored: CHECK",
        ),
        (
            lambda t: with_column(t, "received_at", [float("nan")] * 120),
            "cannot be stored: NOT NULL",
        ),
    ],
)
def test_what_is_no_whole_export_is_refused_with_what_is_wrong(
    filled: Path, tmp_path: Path, change, words: str | None
) -> None:
    out = tmp_path / "out.parquet"
    with Journal(filled) as journal:
        export_parquet(journal, out)
    copy, changed = empty(tmp_path / "copy.sqlite3"), rewritten(out, change)
    if words is None:
        import_parquet(copy, changed)
        assert dump(copy) == dump(filled)
    else:
        with pytest.raises(JournalError, match=words):
            import_parquet(copy, changed)


def test_broken_files_are_refused(filled: Path, tmp_path: Path) -> None:
    out, copy = tmp_path / "out.parquet", empty(tmp_path / "copy.sqlite3")
    with Journal(filled) as journal:
        export_parquet(journal, out)
    whole = out.read_bytes()
    cut, text = tmp_path / "cut.parquet", tmp_path / "text.parquet"
    cut.write_bytes(whole[: len(whole) // 2])
    text.write_text("id,sha256\n")
    for source in (cut, text):
        with pytest.raises(JournalError, match="cannot be read as Parquet"):
            import_parquet(copy, source)
    with pytest.raises(JournalError, match="no file"):
        import_parquet(copy, tmp_path / "nowhere.parquet")
    with pytest.raises(JournalError, match="no journal at"):
        import_parquet(tmp_path / "nowhere.sqlite3", out)


def test_an_export_that_fails_leaves_nothing_behind(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(filled) as journal:
        with pytest.raises(JournalError, match="cannot be written"):
            export_parquet(journal, tmp_path / "no" / "such" / "folder.parquet")
        target = tmp_path / "a_folder"
        target.mkdir()
        with pytest.raises(JournalError, match="cannot be written"):
            export_parquet(journal, target)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a_folder", "journal"]
