"""The row groups of an export: what can be told of one without reading those before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from natix_miner.errors import JournalError
from natix_miner.journal.parquet import check_export

if TYPE_CHECKING:
    import pyarrow.parquet as pq


def pictures_by_group(source: Path) -> list[int]:
    """How many entries of each row group have their picture, in order.

    The footer of the file tells; only where it does not are pictures read. Raises JournalError when
    `source` is no export, or cannot be read.
    """
    with _opened(source) as file:
        return [
            file.metadata.row_group(group).num_rows - _without_picture(file, group)
            for group in range(file.num_row_groups)
        ]


def names_with_picture(source: Path, group: int) -> list[str]:
    """The ids of the entries of one row group that have their picture. Raises JournalError."""
    with _opened(source) as file:
        some_lack = _without_picture(file, group) > 0
        table = file.read_row_group(group, columns=["id", *(["picture"] if some_lack else [])])
        if some_lack:
            table = table.filter(table["picture"].is_valid())
        return [str(name) for name in table["id"].to_pylist()]


def _without_picture(file: pq.ParquetFile, group: int) -> int:
    found = file.metadata.row_group(group)
    columns = [found.column(number) for number in range(found.num_columns)]
    told = next(column for column in columns if column.path_in_schema == "picture").statistics
    if told is not None and told.has_null_count:
        return int(told.null_count)
    return int(file.read_row_group(group, columns=["picture"])["picture"].null_count)


@contextmanager
def _opened(source: Path) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            check_export(file, source)
            yield file
    except (pa.ArrowException, OSError) as error:
        raise JournalError(f"{source} cannot be read as Parquet: {error}") from error
