"""What every source of stored queries offers, whatever file it lies in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydantic import ValidationError

from natix_miner.cascade.trace import Trace
from natix_miner.scoring.sources.base import digest_of
from natix_miner.stored.query import StoredQuery

Kind = Literal["journal", "export", "results"]

#: Reasons for which a stored query is left out.
NO_TRACE = "no trace (it was not judged)"
UNREADABLE_TRACE = "a trace of another format"


class StoredSource(ABC):
    """Stored queries in their stored order; may be iterated more than once, closed at the end.

    The pictures of its queries can be read as long as it is open.
    """

    kind: Kind

    def __init__(self, path: Path) -> None:
        self.path = path
        #: What the last pass left out, by reason.
        self.skipped: Counter[str] = Counter()

    @abstractmethod
    def __iter__(self) -> Iterator[StoredQuery]:
        """The queries with their traces, pictures unread. Raises JournalError, QuerySourceError."""

    @abstractmethod
    def count(self) -> int | None:
        """How many queries are stored; None where only reading all of them would tell."""

    @abstractmethod
    def facts(self) -> Iterator[tuple[str, str, int | None]]:
        """Id, digest of the picture and label of every query, traces unread."""

    def identity(self) -> str:
        """A digest of which queries are stored and what is true of them.

        A journal and its export have the same; a new label makes another.
        """
        return digest_of(self.facts())

    def close(self) -> None:  # noqa: B027  only journals stay open between queries
        """Give the file back; closing twice is allowed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _trace(self, text: str) -> Trace | None:
        """The trace as a model; None (and counted) when it is none or of another format."""
        if not text:
            self.skipped[NO_TRACE] += 1
            return None
        try:
            return Trace.model_validate_json(text)
        except ValidationError:
            self.skipped[UNREADABLE_TRACE] += 1
            return None
