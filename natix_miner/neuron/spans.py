"""What a finished trace looks like as spans: query -> decode, cascade -> level -> expert -> call.

Made after the answer, from what the trace says, so judging never waits for it. The trace knows
durations: stages follow one another, and so do levels; experts begin with their level; a call of a
server begins where the trace says. Where a level begins and ends is therefore exact to the
microseconds that pass between two of them.

Attributes are called natix.*; no picture and no key is among them, but the public address of the
hotkey that asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from natix_miner.cascade.trace import CallTrace, ExpertTrace, LevelTrace, Trace

#: Statuses of an expert that are a fault of it; one that was skipped was not even asked.
_FAULTS = {"failed", "timed-out", "invalid"}
#: Characters of a text that go into an attribute.
MOST_TEXT = 300

Value = str | bool | int | float


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something without a duration inside a span; `at` in unix nanoseconds."""

    name: str
    at: int
    attributes: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class PlannedSpan:
    """One span: from `start` to `end` in unix nanoseconds; `parent` is the place of its parent in
    the same list, None for the first; `error` says what went wrong, None when nothing did."""

    name: str
    start: int
    end: int
    parent: int | None
    attributes: Mapping[str, Value]
    kind: Literal["server", "internal", "client"] = "internal"
    error: str | None = None
    events: tuple[SpanEvent, ...] = field(default_factory=tuple)


def spans_of(trace: Trace) -> list[PlannedSpan]:
    """The spans of one query, parents before their children."""
    return _Tree(trace).spans


class _Tree:
    """Grows the spans of one trace; no child reaches beyond its parent."""

    def __init__(self, trace: Trace) -> None:
        self.spans: list[PlannedSpan] = []
        stages = trace.stages_ms
        begun = round(trace.query.received_at * 1e9)
        root = self._root(trace, begun, stages.get("total", 0.0))
        at = begun
        for stage in ("waiting", "decode"):
            if stage in stages:
                place = self._add(stage, root, at, stages[stage], _decoded(trace, stage))
                at = self.spans[place].end
        if "judge" in stages:
            self._cascade(trace, root, at)

    def _root(self, trace: Trace, begun: int, total_ms: float) -> int:
        self.spans.append(
            PlannedSpan(
                name="query",
                start=begun,
                end=begun + _ns(total_ms),
                parent=None,
                attributes=_of_query(trace),
                kind="server",
                error=_text(trace.answer.reason) if trace.answer.prediction < 0.0 else None,
            )
        )
        return 0

    def _add(
        self,
        name: str,
        parent: int,
        start: int,
        ms: float,
        attributes: Mapping[str, Value],
        kind: Literal["internal", "client"] = "internal",
        error: str | None = None,
    ) -> int:
        whole = self.spans[parent]
        start = min(max(start, whole.start), whole.end)
        end = min(start + _ns(ms), whole.end)
        self.spans.append(PlannedSpan(name, start, end, parent, attributes, kind, error))
        return len(self.spans) - 1

    def _cascade(self, trace: Trace, root: int, at: int) -> None:
        left_alone: list[SpanEvent] = []
        cascade = self._add(
            "cascade",
            root,
            at,
            trace.stages_ms["judge"],
            {"natix.answer.reason": _text(trace.answer.reason)},
        )
        for level in trace.levels:
            if level.entered:
                place = self._level(level, cascade, at)
                at = self.spans[place].end
            else:
                why = {"natix.level.name": level.name, "natix.level.why": _text(level.why)}
                left_alone.append(SpanEvent("level left alone", at, why))
        known = self.spans[cascade]
        self.spans[cascade] = PlannedSpan(
            known.name, known.start, known.end, root, known.attributes, events=tuple(left_alone)
        )

    def _level(self, level: LevelTrace, cascade: int, at: int) -> int:
        place = self._add(f"level {level.name}", cascade, at, level.ms, _of_level(level))
        for expert in level.experts:
            self._expert(expert, place)
        return place

    def _expert(self, expert: ExpertTrace, level: int) -> None:
        fault = f"{expert.status}: {expert.detail}" if expert.status in _FAULTS else None
        begun = self.spans[level].start
        attributes = _of_expert(expert)
        error = None if fault is None else _text(fault)
        place = self._add(f"expert {expert.name}", level, begun, expert.ms, attributes, error=error)
        for call in expert.calls:
            self._call(call, place, begun)

    def _call(self, call: CallTrace, expert: int, begun: int) -> None:
        self._add(
            f"call {call.server}",
            expert,
            begun + _ns(call.after_ms),
            call.ms,
            {"natix.server.name": call.server, "natix.server.outcome": call.outcome},
            kind="client",
            error=None if call.outcome == "ok" else call.outcome,
        )


def _of_query(trace: Trace) -> dict[str, Value]:
    query, answer, picture = trace.query, trace.answer, trace.picture
    total = trace.stages_ms.get("total", 0.0)
    return _known(
        {
            "natix.query.id": query.id,
            "natix.query.source": query.source,
            "natix.query.asked_by": query.asked_by,
            "natix.query.picture_sha256": query.sha256,
            "natix.query.picture_bytes": query.bytes,
            "natix.query.deadline_ms": query.deadline_ms,
            "natix.query.late": total > query.deadline_ms,
            "natix.answer.prediction": answer.prediction,
            "natix.answer.reason": answer.reason,
            "natix.answer.level": answer.level,
            "natix.picture.width": picture.original_width if picture else None,
            "natix.picture.height": picture.original_height if picture else None,
            "natix.picture.size_class": picture.size_class if picture else None,
            **{
                f"natix.version.{name}": str(trace.versions[name])
                for name in ("miner", "profile", "consensus")
                if name in trace.versions
            },
        }
    )


def _decoded(trace: Trace, stage: str) -> dict[str, Value]:
    picture = trace.picture
    if stage != "decode" or picture is None:
        return {}
    return {
        "natix.picture.format": picture.format,
        "natix.frame.width": picture.width,
        "natix.frame.height": picture.height,
    }


def _of_level(level: LevelTrace) -> dict[str, Value]:
    return _known(
        {
            "natix.level.name": level.name,
            "natix.level.why": level.why,
            "natix.level.probability": level.probability,
            "natix.level.log_odds": level.log_odds,
            "natix.level.disagreement": level.disagreement,
            "natix.level.slowest": level.slowest,
        }
    )


def _of_expert(expert: ExpertTrace) -> dict[str, Value]:
    return _known(
        {
            "natix.expert.name": expert.name,
            "natix.expert.status": expert.status,
            "natix.expert.probability": expert.probability,
            "natix.expert.calibrated": expert.calibrated,
            "natix.expert.weight": expert.weight,
            "natix.expert.trust": expert.trust,
            "natix.expert.reliability": expert.reliability,
            "natix.expert.by": expert.by,
            "natix.expert.detail": expert.detail or None,
        }
    )


def _known(values: Mapping[str, Value | None]) -> dict[str, Value]:
    return {
        name: _text(value) if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None
    }


def _text(text: str) -> str:
    """Short enough, and of characters that can be written as UTF-8."""
    return text[:MOST_TEXT].encode("utf-8", "replace").decode("utf-8")


def _ns(ms: float) -> int:
    return max(0, round(ms * 1e6))
