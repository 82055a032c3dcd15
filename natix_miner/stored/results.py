"""Stored queries of a results file, as `natix-miner score` leaves it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from natix_miner.errors import JournalError, PictureError, QuerySourceError
from natix_miner.scoring.results import ResultsHeader, read_header, read_rows
from natix_miner.scoring.runner import ScoreSettings, ordered, prepared_picture
from natix_miner.scoring.sources import FileSource, QuerySource, SavedQuery, open_source
from natix_miner.stored.query import StoredQuery
from natix_miner.stored.source import Kind, StoredSource

#: Pictures that were judged as they lie are of no generation that anybody knows.
AS_IS = "as-is"
#: Who says what the labels of saved queries say.
FILE = "file"


class ResultsQueries(StoredSource):
    """A results file in the order in which its queries were judged.

    Pictures are read again from where the run found them, and simulated by the same draw; one that
    has changed since, by its digest, counts as not there.
    """

    kind: Kind = "results"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.header = read_header(path)
        self._pictures = _Pictures(self.header)

    def __iter__(self) -> Iterator[StoredQuery]:
        self.skipped.clear()
        for row in read_rows(self.path):
            trace = self._trace(row.trace)
            if trace is None:
                continue
            yield StoredQuery(
                id=trace.query.id,
                sha256=trace.query.sha256,
                received_at=trace.query.received_at,
                prediction=row.prediction,
                label=row.label,
                trace=trace,
                group=row.group,
                generation="" if row.generation == AS_IS else row.generation,
                labels=() if row.label is None else ((FILE, row.label),),
                name=row.name,
                total_ms=row.total_ms,
                _picture=partial(self._pictures.read, row.position, row.repeat, trace.query.sha256),
            )

    def count(self) -> None:
        return None

    def facts(self) -> Iterator[tuple[str, str, int | None]]:
        for row in read_rows(self.path):
            asked = json.loads(row.trace)["query"] if row.trace else {}
            yield asked.get("id", row.name), asked.get("sha256", ""), row.label


class _Pictures:
    """The pictures of a run, found again by their place in its stream.

    A list of files is held (it names them); of what is a stream itself only the place reached, so
    that asking in the stored order is quick and takes no memory.
    """

    def __init__(self, header: ResultsHeader) -> None:
        self._about = header.about
        self._settings = _settings(header.about)
        self._source: QuerySource | None = None
        self._gone = not isinstance(header.about.get("queries"), str)
        self._listed: list[SavedQuery] | None = None
        self._stream: Iterator[tuple[int, SavedQuery]] = iter(())
        self._reached: int | None = None
        self._last: SavedQuery | None = None

    def read(self, position: int, repeat: int, sha256: str) -> bytes | None:
        """The encoded picture with this digest; None when it is not there any more."""
        if self._gone:
            return None
        try:
            saved = self._at(position)
            if saved is None:
                return None
            picture = prepared_picture(saved, self._settings, repeat)
        except (QuerySourceError, JournalError, PictureError):
            return None
        return picture if hashlib.sha256(picture).hexdigest() == sha256 else None

    def _at(self, position: int) -> SavedQuery | None:
        if self._source is None:
            try:
                self._source = open_source(Path(self._about["queries"]), self._about.get("split"))
            except (QuerySourceError, JournalError):
                self._gone = True
                return None
            if isinstance(self._source, FileSource):
                self._listed = list(ordered(self._source, self._settings))
        if self._listed is not None:
            return self._listed[position] if position < len(self._listed) else None
        if self._reached is None or position < self._reached:
            self._stream, self._reached = enumerate(ordered(self._source, self._settings)), None
        if self._reached == position:
            return self._last
        for reached, saved in self._stream:
            self._reached, self._last = reached, saved
            if reached == position:
                return saved
        self._reached = self._last = None
        return None


def _settings(about: Mapping[str, Any]) -> ScoreSettings:
    """What decides which picture stood at a place; the limit only says how many there were.

    Nonsense in it finds no picture with the right digest, which is told as a missing one.
    """
    simulate, seed = about.get("simulate"), about.get("seed")
    return ScoreSettings(
        simulate=simulate if isinstance(simulate, str) else AS_IS,
        seed=seed if isinstance(seed, int) and seed >= 0 else 0,
        keep_order=about.get("keep_order") is True,
    )
