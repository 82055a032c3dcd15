"""What scoring needs of saved queries: names, labels, and bytes that are read in their turn."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from natix_miner.errors import QuerySourceError

LABEL_WORDS: Mapping[str, int | None] = {
    "roadwork": 1,
    "1": 1,
    "none": 0,
    "0": 0,
    "-1": None,
    "": None,
}
#: Names in one block where nothing says which queries are best read together.
_BLOCK = 16


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
    #: True where `picked` works: queries are found by their place, and keep it.
    can_pick = False

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

    def names(self) -> Iterator[list[str]]:
        """The names in stored order, in blocks of queries that are best read together."""
        names = (saved.name for saved in self)
        while block := list(islice(names, _BLOCK)):
            yield block

    def picked(self, indexes: Sequence[int]) -> list[SavedQuery]:
        """The queries at these places, without the pictures of others where that can be helped.

        Raises QuerySourceError where there is no such place, or places may shift (`can_pick`).
        """
        raise QuerySourceError("saved queries of this kind are read one after the other only")


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


def no_such_place(index: int, where: object) -> QuerySourceError:
    """What to raise when a source is shorter than somebody said."""
    return QuerySourceError(
        f"{where} has no query {index}: it is another file here, or has changed; every machine "
        "needs the same one"
    )


def digest_of(parts: Iterable[object]) -> str:
    """A short hex digest of a sequence of values."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(repr(part).encode() + b"\n")
    return hasher.hexdigest()[:16]
