"""The results file: one JSON line a judged query, so that an interrupted run can be taken up again.

The first line holds the settings and their digest, every other line one row. Whoever is killed in
the middle of a line loses that line: it is cut off, and judged again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from natix_miner.errors import QuerySourceError
from natix_miner.scoring.row import ScoredQuery

FORMAT = 1
_STORED = [field.name for field in dataclasses.fields(ScoredQuery) if field.name != "thumbnail"]


def settings_digest(settings: Mapping[str, Any]) -> str:
    """A digest of everything that decides what a run would answer."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


class ResultsFile:
    """Rows on disk, keyed by (repeat, position).

    Raises QuerySourceError when the file is of another run (other settings) or damaged.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: dict[tuple[int, int], ScoredQuery] = {}
        #: Bytes of a torn last line that were cut off on opening.
        self.dropped_bytes = 0
        self._settings = dict(settings)
        self._handle: BinaryIO | None = None

    def __enter__(self) -> ResultsFile:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = self.path.open("a+b")
        except OSError as error:
            raise QuerySourceError(
                f"the results file {self.path} cannot be opened: {error}"
            ) from error
        self._load(self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def append(self, row: ScoredQuery) -> None:
        """Store one row; it is handed to the system before this returns."""
        stored = {name: getattr(row, name) for name in _STORED}
        stored |= {"votes": dict(row.votes), "expert_ms": dict(row.expert_ms)}
        self._write(stored)
        self.rows[row.repeat, row.position] = row

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._handle is None:
            raise QuerySourceError(f"the results file {self.path} is not open")
        try:
            self._handle.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
            self._handle.flush()
        except OSError as error:
            raise QuerySourceError(
                f"the results file {self.path} cannot be written: {error}; make room and run the "
                "same command again, it goes on where it stopped"
            ) from error

    def _load(self, handle: BinaryIO) -> None:
        handle.seek(0)
        whole, _, torn = handle.read().rpartition(b"\n")
        if torn:
            self.dropped_bytes = len(torn)
            handle.truncate(len(whole) + 1 if whole else 0)
        digest = settings_digest(self._settings)
        lines = whole.split(b"\n") if whole else []
        if not lines:
            self._write({"format": FORMAT, "digest": digest, "settings": self._settings})
            return
        self._check_header(lines[0], digest)
        for number, line in enumerate(lines[1:], start=2):
            try:
                row = ScoredQuery(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise QuerySourceError(
                    f"{self.path} line {number}: not a row of results ({error}); remove the file "
                    "or name another one by --resume"
                ) from error
            self.rows[row.repeat, row.position] = row

    def _check_header(self, line: bytes, digest: str) -> None:
        try:
            header: Any = json.loads(line)
        except ValueError:
            header = None
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise QuerySourceError(
                f"{self.path} line 1: not a results file of this program; name another file"
            )
        if header.get("digest") != digest:
            theirs = header.get("settings") or {}
            changed = ", ".join(
                f"{key} was {theirs.get(key)!r}, is {self._settings.get(key)!r}"
                for key in sorted({*theirs, *self._settings})
                if theirs.get(key) != self._settings.get(key)
            )
            raise QuerySourceError(
                f"{self.path} holds results of another run ({changed}): remove it, or name another "
                "--report folder or --resume file"
            )
