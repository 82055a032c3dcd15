"""Saved queries as picture files: two folders named after the labels, or a CSV that lists them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from natix_miner.errors import QuerySourceError
from natix_miner.scoring.sources.base import (
    QuerySource,
    SavedQuery,
    digest_of,
    label_of,
    no_such_place,
)

LABEL_FOLDERS = ("none", "roadwork")
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True, slots=True)
class ListedPicture:
    """A picture file, what the list says about it, and where the list says so."""

    path: Path
    name: str
    label: int | None
    group: str
    where: str


class FileSource(QuerySource):
    """Picture files whose list is short enough to hold; the pictures are read one by one."""

    has_order = False
    can_pick = True

    def __init__(self, listed: list[ListedPicture]) -> None:
        super().__init__()
        self._listed = listed

    def __iter__(self) -> Iterator[SavedQuery]:
        for index, one in enumerate(self._listed):
            yield _saved(index, one)

    def picked(self, indexes: Sequence[int]) -> list[SavedQuery]:
        for index in indexes:
            if not 0 <= index < len(self._listed):
                raise no_such_place(index, f"the list of {len(self._listed)} pictures")
        return [_saved(index, self._listed[index]) for index in indexes]

    def identity(self) -> str:
        return digest_of(
            (one.name, one.label, one.path.stat().st_size if one.path.is_file() else None)
            for one in self._listed
        )

    def count(self) -> int:
        return len(self._listed)


def folder_source(folder: Path) -> FileSource:
    """The pictures under `folder`/roadwork and `folder`/none, by name.

    Raises QuerySourceError when there are none.
    """
    listed = [
        ListedPicture(
            path, path.relative_to(folder).as_posix(), int(name == "roadwork"), "", str(path)
        )
        for name in LABEL_FOLDERS
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in PICTURE_SUFFIXES
    ]
    if not listed:
        raise QuerySourceError(
            f"{folder} holds no picture ({', '.join(sorted(PICTURE_SUFFIXES))}) under roadwork/ "
            "or none/, and no manifest.csv: put pictures there, or give a CSV with file,label"
        )
    return FileSource(listed)


def table_source(table: Path, split: str | None = None) -> FileSource:
    """The pictures that a CSV lists: columns file and label, and if wanted split, group, fold.

    Files are found relative to the CSV. Raises QuerySourceError with the line at fault.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            columns = reader.fieldnames or []
            _check_columns(table, columns, split)
            listed = [
                _listed(table, reader.line_num, row)
                for row in reader
                if split is None or row["split"] == split
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise QuerySourceError(f"{table} cannot be read as a CSV table: {error}") from error
    if not listed:
        wanted = f" of split {split!r}" if split is not None else ""
        raise QuerySourceError(f"{table} lists no picture{wanted}: check the file and --split")
    return FileSource(listed)


def _check_columns(table: Path, columns: object, split: str | None) -> None:
    found = list(columns) if isinstance(columns, list | tuple) else []
    needed = ["file", "label"] + (["split"] if split is not None else [])
    missing = [name for name in needed if name not in found]
    if missing:
        raise QuerySourceError(
            f"{table} line 1: no column {', '.join(missing)}; it has "
            f"{', '.join(map(str, found)) or 'none'}. A table of queries needs file,label"
            + (" and, for --split, split" if split is not None else "")
        )


def _listed(table: Path, line: int, row: dict[str, str | None]) -> ListedPicture:
    where = f"{table} line {line}"
    name = (row["file"] or "").strip()
    if not name:
        raise QuerySourceError(f"{where}: the column file is empty; name a picture there")
    path = table.parent / name
    if not path.is_file():
        raise QuerySourceError(f"{where}: there is no file {path}; correct or remove the line")
    label = label_of(row["label"], where)
    return ListedPicture(path, name, label, row.get("group") or "", where)


def _saved(index: int, one: ListedPicture) -> SavedQuery:
    return SavedQuery(index, one.name, one.label, partial(_read, one), one.group)


def _read(one: ListedPicture) -> bytes:
    try:
        return one.path.read_bytes()
    except OSError as error:
        raise QuerySourceError(f"{one.where}: {one.path} cannot be read: {error}") from error
