"""The results file: one JSON line a judged query, so that an interrupted run can be taken up again.

The first line holds the settings and their digest, every other line one row with its trace. Whoever
is killed in the middle of a line loses that line: it is cut off, and judged again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from natix_miner.errors import QuerySourceError
from natix_miner.scoring.row import ScoredQuery

#: Format 1 had no traces and no `about`.
FORMAT = 2
_STORED = [field.name for field in dataclasses.fields(ScoredQuery) if field.name != "thumbnail"]


def settings_digest(settings: Mapping[str, Any]) -> str:
    """A digest of everything that decides what a run would answer."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ResultsHeader:
    """The first line: `settings` decide what is answered, `digest` is theirs; `about` says where
    the queries lay and how the run was made, so that their pictures can be found again."""

    digest: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


class ResultsFile:
    """Rows on disk, keyed by (repeat, position).

    Rows that were read from the file have their traces only with `keep_traces`: a trace takes more
    memory than the rest of a row. `about` is written into a new file and decides nothing.
    Raises QuerySourceError when the file is of another run (other settings) or damaged.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        keep_traces: bool = True,
    ) -> None:
        self.path = path
        self.rows: dict[tuple[int, int], ScoredQuery] = {}
        #: Bytes of a torn last line that were cut off on opening.
        self.dropped_bytes = 0
        self._settings = dict(settings)
        self._about = dict(about or {})
        self._keep_traces = keep_traces
        self._handle: BinaryIO | None = None

    def __enter__(self) -> ResultsFile:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = self.path.open("a+b")
        except OSError as error:
            raise QuerySourceError(
                f"the results file {self.path} cannot be opened: {error}"
            ) from error
        try:
            self._load(self._handle)
        except BaseException:
            self._handle.close()
            self._handle = None
            raise
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
        self._keep(row)

    def _keep(self, row: ScoredQuery) -> None:
        kept = row if self._keep_traces else dataclasses.replace(row, trace="")
        self.rows[row.repeat, row.position] = kept

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
        digest = settings_digest(self._settings)
        handle.seek(0)
        header = None
        for number, line in enumerate(handle, start=1):
            if not line.endswith(b"\n"):
                self.dropped_bytes = len(line)
                handle.truncate(handle.tell() - len(line))
                break
            if header is None:
                header = _header(line, self.path)
                self._check(header, digest)
            else:
                self._keep(_row(line, number, self.path))
        handle.seek(0, 2)
        if header is None:
            self._write(
                {
                    "format": FORMAT,
                    "digest": digest,
                    "settings": self._settings,
                    "about": self._about,
                }
            )

    def _check(self, header: ResultsHeader, digest: str) -> None:
        if header.digest == digest:
            return
        theirs = header.settings
        changed = ", ".join(
            f"{key} was {theirs.get(key)!r}, is {self._settings.get(key)!r}"
            for key in sorted({*theirs, *self._settings})
            if theirs.get(key) != self._settings.get(key)
        )
        raise QuerySourceError(
            f"{self.path} holds results of another run ({changed}): remove it, or name another "
            "--report folder or --resume file"
        )


def read_header(path: Path) -> ResultsHeader:
    """The first line of a results file, whatever its settings are. Raises QuerySourceError."""
    try:
        with path.open("rb") as handle:
            return _header(handle.readline(), path)
    except OSError as error:
        raise QuerySourceError(f"the results file {path} cannot be read: {error}") from error


def read_rows(path: Path) -> Iterator[ScoredQuery]:
    """The rows of a results file in the order in which they were judged, with their traces.

    A torn last line, as an interrupted run leaves it, is passed over. Raises QuerySourceError.
    """
    try:
        with path.open("rb") as handle:
            _header(handle.readline(), path)
            for number, line in enumerate(handle, start=2):
                if line.endswith(b"\n"):
                    yield _row(line, number, path)
    except OSError as error:
        raise QuerySourceError(f"the results file {path} cannot be read: {error}") from error


def _header(line: bytes, path: Path) -> ResultsHeader:
    if not line.endswith(b"\n"):
        raise QuerySourceError(
            f"{path} is empty or cut off in its first line: no run has left results there"
        )
    try:
        header: Any = json.loads(line)
    except ValueError:
        header = None
    found = header.get("format") if isinstance(header, dict) and "digest" in header else None
    if found == 1:
        raise QuerySourceError(
            f"{path} is a results file of format 1, which kept no traces: remove it and score "
            "again, or name another --report folder or --resume file"
        )
    if isinstance(found, int) and found > FORMAT:
        raise QuerySourceError(
            f"{path} is a results file of format {found}, this code reads {FORMAT}: use a newer "
            "natix-miner"
        )
    settings, about = (header.get(key, {}) for key in ("settings", "about")) if found else (0, 0)
    if found != FORMAT or not isinstance(settings, dict) or not isinstance(about, dict):
        raise QuerySourceError(
            f"{path} line 1: not a results file of this program; name another file"
        )
    return ResultsHeader(str(header["digest"]), settings, about)


def _row(line: bytes, number: int, path: Path) -> ScoredQuery:
    try:
        return ScoredQuery(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise QuerySourceError(
            f"{path} line {number}: not a row of results ({error}); remove the file "
            "or name another one by --resume"
        ) from error
