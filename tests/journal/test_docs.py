"""The questions in docs/journal.md can be asked."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import duckdb

from natix_miner.journal import Journal, JournalWriter, export_parquet
from natix_miner.sections import JournalSettings

DOCS = Path(__file__).parents[2] / "docs" / "journal.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def test_the_questions_for_sqlite_are_answered(settings: JournalSettings, make_verdict) -> None:
    import time

    with JournalWriter(settings) as writer:
        for number in range(4):
            writer.record(make_verdict(number, received_at=time.time(), label=number % 2))
    connection = sqlite3.connect(settings.path)
    askers, mistakes, experts = (connection.execute(one).fetchall() for one in blocks("sql"))
    connection.close()

    assert askers == [("5Validator", 4, 12.5, 0)]
    assert [row[1:3] for row in mistakes] == [(0.75, 0), (0.75, 0), (0.75, 1), (0.75, 1)]
    assert experts == []  # these verdicts come without any


def test_the_question_for_duckdb_is_answered(
    settings: JournalSettings, make_verdict, tmp_path: Path
) -> None:
    with JournalWriter(settings) as writer:
        for number in range(4):
            writer.record(make_verdict(number, label=1 if number else 0))
    out = tmp_path / "out.parquet"
    with Journal(settings.path) as journal:
        export_parquet(journal, out)
    (question,) = blocks("duckdb")

    assert duckdb.sql(question.replace("OUT.parquet", str(out))).fetchall() == [("first", 4, 0.75)]


def test_every_column_is_explained(settings: JournalSettings) -> None:
    JournalWriter(settings).start().close()
    text = DOCS.read_text(encoding="utf-8")
    connection = sqlite3.connect(settings.path)
    for table in ("queries", "traces", "pictures", "labels"):
        line = next(one for one in text.splitlines() if one.startswith(f"| `{table}`"))
        for column in connection.execute(f"PRAGMA table_info({table})").fetchall():
            name = column[1]
            assert f"`{name}`" in line or (table, name) == ("labels", "number"), (table, name)
    connection.close()
    assert "`queue-full`" in text
