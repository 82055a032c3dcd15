"""The story of one query: what the trace says, put in the order and the words of a person.

Nothing is drawn here; the terminal (`story_lines`) and the page (`story_page`) both tell this.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from natix_miner.cascade import NO_ANSWER
from natix_miner.cascade.trace import ExpertTrace, LevelTrace, Trace
from natix_miner.consensus import Consensus
from natix_miner.lab.story_pooling import Step, steps_of
from natix_miner.stored.query import StoredQuery

Outcome = Literal["right", "wrong", "silent", "unknown"]
WORDS = {1: "roadwork", 0: "none", None: "unknown"}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time: from `start` on for `ms`, both in ms since arrival; `depth` 0 for a stage
    or level, 1 for an expert within its level."""

    name: str
    start: float
    ms: float
    depth: int = 0
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class LevelStory:
    """One level, and how the pooled value came together after it.

    `steps` lead from 0 to the pooled log-odds; empty where nothing was pooled anew. `pooling` says
    what a reader of the steps has to know.
    """

    trace: LevelTrace
    steps: tuple[Step, ...]
    pooling: str


@dataclass(frozen=True, slots=True)
class Story:
    """One query told: `answer` what went out, `outcome_line` what that was worth."""

    query: StoredQuery
    asked: str
    picture: tuple[str, ...]
    levels: tuple[LevelStory, ...]
    answer: str
    outcome: Outcome
    outcome_line: str
    spans: tuple[Span, ...]
    total_ms: float | None
    versions: tuple[tuple[str, str], ...]
    range: float  # the axis of log-odds goes from -range to +range

    @property
    def trace(self) -> Trace:
        """The trace that is told."""
        return self.query.trace

    @property
    def deadline_ms(self) -> float:
        """From arrival to the moment the answer was due."""
        return self.trace.query.deadline_ms

    @property
    def late(self) -> bool:
        """Whether the answer was ready only after the deadline."""
        return self.total_ms is not None and self.total_ms > self.deadline_ms


def tell(query: StoredQuery, consensus: Consensus | None = None) -> Story:
    """The story of a stored query.

    With the very `consensus` that pooled it (it must come to the same values) the share of every
    expert in every pooled value is known; the trace alone holds an expert's weight only in the
    level in which it was asked.
    """
    trace = query.trace
    levels = tuple(
        LevelStory(level, *steps_of(trace, number, consensus))
        for number, level in enumerate(trace.levels)
    )
    outcome, line = _outcome(query)
    total = query.total_ms if query.total_ms is not None else trace.stages_ms.get("total")
    return Story(
        query=query,
        asked=_asked(trace),
        picture=_picture(trace),
        levels=levels,
        answer=_answer(trace),
        outcome=outcome,
        outcome_line=line,
        spans=_spans(trace),
        total_ms=total,
        versions=_versions(trace),
        range=_range(levels),
    )


def seen_in_words(expert: ExpertTrace, most: int = 8) -> tuple[str, ...]:
    """What an expert saw and told, a phrase each; at most `most` places."""
    found = []
    for seen in expert.evidence[:most]:
        place = ""
        if seen.box is not None:
            left, top, right, bottom = (round(side) for side in seen.box)
            place = f" at {left},{top} to {right},{bottom}"
        found.append(f"{seen.what} {seen.score:.2f}{place}")
    if len(expert.evidence) > most:
        found.append(f"and {len(expert.evidence) - most} more")
    told = ", ".join(f"{name} {value:.2f}" for name, value in expert.conditions.items())
    return (*found, *([told] if told else []))


def _asked(trace: Trace) -> str:
    query = trace.query
    when = datetime.fromtimestamp(query.received_at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    who = f"by {query.asked_by}" if query.asked_by else "by nobody named"
    return (
        f"{who} through {query.source}, {when} UTC, {query.bytes:,} bytes, "
        f"answer due in {query.deadline_ms:,.0f} ms"
    )


def _picture(trace: Trace) -> tuple[str, ...]:
    picture = trace.picture
    if picture is None:
        return ("no picture could be decoded",)
    original = (picture.original_width, picture.original_height)
    decoded = (picture.width, picture.height)
    light = "dark" if picture.dark else "light enough"
    sharp = "blurred" if picture.blurred else "sharp enough"
    return (
        f"{original[0]} x {original[1]} {picture.format}"
        + (f", decoded to {decoded[0]} x {decoded[1]}" if decoded != original else ""),
        picture.size_class,
        f"tilted by {picture.tilt_degrees:+.1f} degrees" if picture.tilt_degrees else "upright",
        f"{picture.padding_share:.0%} padding" if picture.padding_share else "no padding",
        *(
            [f"{picture.black_corner_share:.0%} black corners"]
            if picture.black_corner_share
            else []
        ),
        f"{light} (brightness {picture.brightness:.2f})",
        f"{sharp} (sharpness {picture.sharpness:.4f})",
    )


def _answer(trace: Trace) -> str:
    answer = trace.answer
    if answer.prediction == NO_ANSWER:
        return f"no answer ({answer.reason})"
    word = "roadwork" if answer.prediction > 0.5 else "none"
    where = f" after level {answer.level}" if answer.level else ""
    return f"{word}, probability {answer.prediction:.4f} ({answer.reason}{where})"


def _outcome(query: StoredQuery) -> tuple[Outcome, str]:
    label = WORDS[query.label]
    who = ", ".join(f"{WORDS[value]} by {source}" for source, value in query.labels)
    truth = f"The label is {label}" + (f" ({who})" if who else "")
    if query.prediction == NO_ANSWER:
        known = "Nobody said what was true" if query.label is None else truth
        return (
            "silent",
            f"Silent: no reward for this query, and it is left out of the validator's windows. "
            f"{known}.",
        )
    if query.label is None:
        return "unknown", "Unknown: nobody said what was true."
    if (query.prediction > 0.5) == bool(query.label):
        return "right", f"Right. {truth}."
    return (
        "wrong",
        f"Wrong. {truth}. The error stays in the validator's windows for 10 answers (accuracy) "
        "and 100 answers (correlation).",
    )


def _spans(trace: Trace) -> tuple[Span, ...]:
    stages = trace.stages_ms
    spans, now = [], 0.0
    for name in ("waiting", "decode"):
        if name in stages:
            spans.append(Span(name, now, stages[name]))
            now += stages[name]
    for level in trace.levels:
        if not level.entered:
            continue
        spans.append(Span(f"level {level.name}", now, level.ms))
        spans += [
            Span(one.name, now, one.ms, 1, alarm=one.status not in ("ok", "skipped"))
            for one in level.experts
        ]
        now += level.ms
    return tuple(spans)


def _versions(trace: Trace) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for name, value in trace.versions.items():
        if isinstance(value, dict):
            found += [(f"{name}: {key}", str(one)) for key, one in value.items()]
        else:
            found.append((name, str(value)))
    return tuple(found)


def _range(levels: tuple[LevelStory, ...]) -> float:
    values = [4.0]
    for level in levels:
        values += [abs(one.log_odds) for one in level.trace.experts if one.log_odds is not None]
        values += [abs(end) for step in level.steps for end in (step.start, step.end)]
        values += [abs(level.trace.log_odds or 0.0), abs(level.trace.bias or 0.0)]
    return float(-(-max(values) // 1.0))
