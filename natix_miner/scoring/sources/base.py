"""What scoring needs of saved queries: names, labels, and bytes that are read in their turn."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from natix_miner.errors import QuerySourceError

LABEL_WORDS: Mapping[str, int | None] = {
    "roadwork": 1,
    "1": 1,
    "none": 0,
    "0": 0,
    "-1": None,
    "": None,
}


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """One saved picture. `load` reads its bytes (QuerySourceError, or PictureError where the miner
    would have refused it); `index` is its place in the source; `label` 1, 0 or None."""

    index: int
    name: str
    label: int | None
    load: Callable[[], bytes]
    group: str = ""


class QuerySource(ABC):
    """Saved queries in the order in which they are stored; may be iterated more than once."""

    #: True where the stored order is that in which queries came; a folder has no such order.
    has_order: bool

    def __init__(self) -> None:
        #: What the last pass over the source left out, by reason.
        self.skipped: Counter[str] = Counter()

    @abstractmethod
    def __iter__(self) -> Iterator[SavedQuery]:
        """The queries, pictures unread."""

    @abstractmethod
    def identity(self) -> str:
        """A digest that changes when the saved queries do, so that a resumed run can tell."""

    @abstractmethod
    def count(self) -> int | None:
        """How many queries there are; None where only reading all of it would tell."""


def label_of(value: object, where: str) -> int | None:
    """A label from a table or JSON: roadwork/none, 1/0, -1 or nothing for unknown."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip().lower()
    if isinstance(value, bool) or text not in LABEL_WORDS:
        raise QuerySourceError(
            f"{where}: label {value!r} is not known; write roadwork or none, 1 or 0, "
            "or leave it empty (or -1) where the truth is unknown"
        )
    return LABEL_WORDS[text]


def digest_of(parts: Iterable[object]) -> str:
    """A short hex digest of a sequence of values."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(repr(part).encode() + b"\n")
    return hasher.hexdigest()[:16]
