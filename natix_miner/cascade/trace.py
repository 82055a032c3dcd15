"""The trace: how one probability came about, as one JSON document a query.

The fields are explained for operators in docs/trace.md, whose schema is checked against these
models by a test. Times are in milliseconds, probabilities in [0, 1], log-odds natural.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from natix_miner.query import Query

#: Raised whenever a field changes its meaning or goes away.
TRACE_FORMAT: Literal[1] = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class QueryTrace(_Part):
    """What was asked, by whom and when (unix seconds)."""

    id: str
    sha256: str
    source: str
    asked_by: str | None
    received_at: float
    bytes: int
    deadline_ms: float  # from arrival to the moment the answer is due

    @classmethod
    def of(cls, query: Query) -> QueryTrace:
        """The part of a trace that tells of the query itself."""
        return cls(
            id=query.id,
            sha256=query.sha256,
            source=query.source,
            asked_by=query.asked_by,
            received_at=query.received_at,
            bytes=len(query.picture),
            deadline_ms=query.seconds * 1000.0,
        )


class PictureTrace(_Part):
    """What was decoded, and what could be measured on it."""

    format: str
    original_width: int
    original_height: int
    width: int
    height: int
    size_class: str
    padding_share: float
    black_corner_share: float
    tilt_degrees: float
    brightness: float
    sharpness: float
    dark: bool
    blurred: bool


class EvidenceTrace(_Part):
    """A place or phrase behind an opinion; box and outline in pixels of the decoded frame."""

    what: str
    score: float
    box: tuple[float, float, float, float] | None
    outline: tuple[tuple[float, float], ...] = ()


class CallTrace(_Part):
    """One question that an expert put to a server."""

    server: str
    after_ms: float  # from when the expert was asked
    ms: float
    outcome: str  # ok, failed, timed-out, cut-off (the expert's own time was up first)


class ExpertTrace(_Part):
    """One expert asked in one level."""

    name: str
    status: str
    probability: float | None  # as the expert said it
    calibrated: float | None  # after the fitted calibration
    log_odds: float | None  # of the calibrated probability
    weight: float  # in the pool; 0 when the vote is missing
    ms: float
    detail: str
    evidence: tuple[EvidenceTrace, ...]
    trust: float = 1.0  # factor of the weight in this one query, reliability included
    by: str | None = None  # the server that answered, where one was asked
    conditions: dict[str, float] = {}  # of the frame, each in [0, 1], from experts that tell them
    reliability: float = 1.0  # below 1 while the expert drifts from the fit
    calls: tuple[CallTrace, ...] = ()  # of servers, in the order of their beginning


class LevelTrace(_Part):
    """One level of the cascade: whether it was entered, who spoke, what the pool said after it."""

    name: str
    entered: bool
    why: str  # why it was entered, or why it was not
    experts: tuple[ExpertTrace, ...]
    log_odds: float | None  # pooled over all opinions so far; None while nothing is usable
    probability: float | None
    disagreement: float | None  # spread of the votes' log-odds
    ms: float  # experts run side by side: about the time of the slowest
    slowest: str | None = None  # the expert that took longest
    bias: float | None = None  # added by the pool for the frame and for missing votes


class Answer(_Part):
    """What went out: a probability, or -1 with the reason for saying nothing."""

    prediction: float  # in [0.001, 0.999] and never 0.5, or -1
    reason: str  # "sure", "all-levels", "deadline", or why there is no answer
    level: str | None  # last level that was entered


class Trace(_Part):
    """The whole story of one query."""

    format: Literal[1] = TRACE_FORMAT
    query: QueryTrace
    picture: PictureTrace | None  # None when the bytes were no picture
    levels: tuple[LevelTrace, ...]
    answer: Answer
    stages_ms: dict[str, float]  # waiting, decode, judge, total
    versions: dict[str, Any]  # miner, profile, consensus, experts

    def line(self) -> str:
        """The trace in one short line for a terminal."""
        votes = " ".join(
            f"{expert.name}={expert.probability:.3f}"
            if expert.probability is not None
            else f"{expert.name}={expert.status}"
            for level in self.levels
            for expert in level.experts
        )
        answer = self.answer
        shown = "no answer" if answer.prediction < 0 else f"p={answer.prediction:.4f}"
        size = (
            f"{self.picture.original_width}x{self.picture.original_height}"
            if self.picture
            else "no picture"
        )
        return (
            f"{self.query.id[:8]} {shown} ({answer.reason}, level {answer.level or '-'}) "
            f"{size} {votes} {self.stages_ms.get('total', 0.0):.0f} ms"
        )
