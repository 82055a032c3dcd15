"""What an expert says about a frame, and how that saying went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """How asking an expert ended; only OK carries a probability."""

    OK = "ok"
    FAILED = "failed"  # raised an error
    TIMED_OUT = "timed-out"  # no answer within its time
    INVALID = "invalid"  # answered nonsense: NaN, infinite, outside [0, 1]
    SKIPPED = "skipped"  # not asked: its breaker is open, or what it needs is down


@dataclass(frozen=True, slots=True)
class Evidence:
    """A place or a phrase that carried an opinion.

    `box` is (left, top, right, bottom) in pixels of the decoded frame, or None for the whole of it;
    `outline` is the polygon of a mask there, where one is known; `score` is on the expert's own
    scale.
    """

    what: str
    score: float
    box: tuple[float, float, float, float] | None = None
    outline: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """The bare answer of an expert: probability of roadwork in [0, 1] and why.

    `trust` in [0, 1] scales the vote's weight in this one query (0 counts as missing); `by` names
    the server that answered, where one was asked; `detail` is a remark for the trace. An expert
    that does not vote leaves `probability` out and names `conditions` of the frame, each in [0, 1].
    """

    probability: float | None
    evidence: tuple[Evidence, ...] = ()
    calibrated: bool = False
    trust: float = 1.0
    by: str | None = None
    detail: str = ""
    conditions: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerCall:
    """A question that an expert put to a server: it began `after` seconds after the expert was
    asked, took `seconds`, and its `outcome` is ok, failed, timed-out or cut-off."""

    server: str
    after: float
    seconds: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Opinion:
    """One expert's answer as the consensus sees it.

    `probability` is set exactly when `status` is OK and the expert votes; `detail` says why it is
    not, or is the expert's own remark; `seconds` is the time from asking to answering; `trust`,
    `by` and `conditions` as in `Look`; `calls` are the servers it asked, however that ended.
    """

    expert: str
    status: Status
    probability: float | None = None
    calibrated: bool = False
    evidence: tuple[Evidence, ...] = ()
    detail: str = ""
    seconds: float = 0.0
    trust: float = 1.0
    by: str | None = None
    conditions: Mapping[str, float] = field(default_factory=dict)
    calls: tuple[ServerCall, ...] = ()

    @property
    def usable(self) -> bool:
        """True when there is a probability to pool."""
        return self.status is Status.OK and self.probability is not None
