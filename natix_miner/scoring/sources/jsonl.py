"""Saved synapses, one JSON object a line, as they came over the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from natix_miner.errors import QuerySourceError
from natix_miner.images.base64_picture import decode_base64
from natix_miner.scoring.sources.base import (
    QuerySource,
    SavedQuery,
    digest_of,
    label_of,
    no_such_place,
)


class JsonlSource(QuerySource):
    """Lines `{"image": BASE64, "testnet_label": 0|1|-1}`, or with "label"; name and group optional.

    Raises QuerySourceError with the line at fault. An image that is not base64 is no fault of the
    file: the miner would have met it, so it is judged (and refused) like any other.
    """

    has_order = True
    can_pick = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._starts: list[tuple[int, int]] | None = None

    def __iter__(self) -> Iterator[SavedQuery]:
        try:
            with self._path.open("rb") as handle:
                index = 0
                for number, line in enumerate(handle, start=1):
                    if line.strip():
                        yield _saved(line, index, f"{self._path} line {number}")
                        index += 1
        except OSError as error:
            raise QuerySourceError(f"{self._path} cannot be read: {error}") from error

    def picked(self, indexes: Sequence[int]) -> list[SavedQuery]:
        try:
            with self._path.open("rb") as handle:
                return [self._at(handle, index) for index in indexes]
        except OSError as error:
            raise QuerySourceError(f"{self._path} cannot be read: {error}") from error

    def _at(self, handle: BinaryIO, index: int) -> SavedQuery:
        if self._starts is None:
            self._starts = _starts(handle)
        if not 0 <= index < len(self._starts):
            raise no_such_place(index, self._path)
        start, number = self._starts[index]
        handle.seek(start)
        return _saved(handle.readline(), index, f"{self._path} line {number}")

    def identity(self) -> str:
        found = self._path.stat()
        return digest_of((self._path.name, found.st_size, found.st_mtime_ns))

    def count(self) -> None:
        return None


def _starts(handle: BinaryIO) -> list[tuple[int, int]]:
    """Where each line with something on it starts, in bytes, and its number; nothing is parsed."""
    found, start = [], 0
    for number, line in enumerate(handle, start=1):
        if line.strip():
            found.append((start, number))
        start += len(line)
    return found


def _saved(line: bytes, index: int, where: str) -> SavedQuery:
    try:
        entry: Any = json.loads(line)
    except ValueError as error:
        raise QuerySourceError(f"{where}: not JSON ({error}); write one object a line") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise QuerySourceError(f'{where}: no "image" with a base64 text; is this a saved synapse?')
    label = label_of(entry.get("label", entry.get("testnet_label")), where)
    name = str(entry.get("name") or entry.get("id") or f"line-{where.rsplit(' ', 1)[-1]}")
    load = partial(decode_base64, entry["image"])
    return SavedQuery(index, name, label, load, str(entry.get("group") or ""))
