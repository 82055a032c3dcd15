"""A query: one picture to judge, who asked, when it came, by when an answer is due."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

from natix_miner.clock import SYSTEM_CLOCK, Clock, Deadline

#: Seconds after arrival by which an answer is due unless the profile says otherwise. The validator
#: hangs up after 9 s, upload included, so two are left for the way there and back.
DEFAULT_DEADLINE_SECONDS = 7.0
#: `Query.source` of the question that a starting miner asks itself; it leaves no mark.
REHEARSAL = "rehearsal"


@dataclass(frozen=True, slots=True)
class Query:
    """One picture to judge.

    `picture` holds the encoded bytes as they came, `sha256` their digest in hex, `asked_by` the
    hotkey of the validator (or None), `source` where it came from ("axon", "file:NAME", ...),
    `received_at` unix seconds, `seconds` the time from arrival to the deadline, `label` the true
    answer where the sender told it (1 roadwork, 0 none).
    """

    id: str
    picture: bytes
    sha256: str
    source: str
    received_at: float
    deadline: Deadline
    seconds: float = DEFAULT_DEADLINE_SECONDS
    asked_by: str | None = None
    label: int | None = None

    @classmethod
    def of(
        cls,
        picture: bytes,
        *,
        source: str,
        asked_by: str | None = None,
        label: int | None = None,
        seconds: float = DEFAULT_DEADLINE_SECONDS,
        arrived: float | None = None,
        query_id: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Query:
        """A query that arrived at `arrived` (monotonic; now by default), due `seconds` later."""
        now = clock.monotonic()
        arrived = now if arrived is None else arrived
        return cls(
            id=query_id or uuid.uuid4().hex,
            picture=picture,
            sha256=hashlib.sha256(picture).hexdigest(),
            source=source,
            received_at=clock.time() - (now - arrived),
            deadline=Deadline(at=arrived + seconds, clock=clock),
            seconds=seconds,
            asked_by=asked_by,
            label=label if label in (0, 1) else None,
        )
