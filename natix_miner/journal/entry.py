"""One remembered query: what was asked, what was answered, why, and what was true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from natix_miner.cascade.trace import Trace
from natix_miner.journal.rows import Label


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One query of a journal.

    `number` counts up in the order of writing; `picture_bytes` is the size of the encoded picture,
    `received_at` unix seconds, `prediction` the answer in [0, 1] or -1, `reason` and `level` as in
    the trace, `error` the reason of a picture error, `total_ms` from arrival to verdict, `label`
    the newest label (1 roadwork, 0 none, None unknown), `trace` the JSON document as text.
    """

    number: int
    id: str
    sha256: str
    picture_bytes: int
    source: str
    asked_by: str | None
    received_at: float
    prediction: float
    reason: str
    level: str | None
    late: bool
    error: str | None
    total_ms: float | None
    profile: str | None
    miner: str | None
    label: int | None
    label_source: str | None
    trace: str = field(repr=False)
    _picture: Callable[[str], bytes | None] = field(repr=False, compare=False)
    _labels: Callable[[str], tuple[Label, ...]] = field(repr=False, compare=False)

    def picture(self) -> bytes | None:
        """The encoded picture, read now; None when it was not kept. Raises JournalError."""
        return self._picture(self.sha256)

    def labels(self) -> tuple[Label, ...]:
        """All labels this query ever had, the one that holds last. Raises JournalError."""
        return self._labels(self.id)

    def read_trace(self) -> Trace:
        """The trace as a model; ValueError when it is of another trace format."""
        return Trace.model_validate_json(self.trace)
