"""An export of a journal in small row groups."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from natix_miner.journal import Journal, Label, Row, export_parquet, parquet
from natix_miner.journal.connection import open_for_writing
from natix_miner.journal.rows import insert


def row_of(number: int, picture: bytes | None) -> Row:
    return Row(
        id=f"query-{number:03}",
        sha256=hashlib.sha256(picture or b"gone").hexdigest(),
        picture_bytes=len(picture or b"gone"),
        source="axon",
        asked_by="5Validator" if number % 2 else None,
        received_at=1_700_000_000.0 + number,
        prediction=0.75,
        reason="sure",
        level="first",
        late=False,
        error=None,
        total_ms=12.5,
        profile="embedded",
        miner="0.1.0",
        trace="{}",
        picture=picture,
        labels=(Label(number % 2, "set", 1.0),) if number % 3 else (),
    )


@pytest.fixture
def make_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Exports a real journal with these pictures, None where it was not kept."""

    def make(pictures: list[bytes | None], group_rows: int = 4) -> Path:
        connection = open_for_writing(tmp_path / "journal.sqlite3")
        insert(connection, [row_of(number, picture) for number, picture in enumerate(pictures)])
        connection.commit()
        connection.close()
        monkeypatch.setattr(parquet, "GROUP_ROWS", group_rows)
        with Journal(tmp_path / "journal.sqlite3") as journal:
            export_parquet(journal, tmp_path / "export.parquet")
        return tmp_path / "export.parquet"

    return make
