"""What scoring keeps of one judged query: a plain row, the same for `score` and for the demo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from natix_miner.cascade import NO_ANSWER, Verdict

ROADWORK, NONE = 1, 0


@dataclass(frozen=True, slots=True)
class ScoredQuery:
    """One query, its true label where it is known, and what was answered.

    `prediction` is the value for the wire, [0, 1] or -1 for no answer, with `reason` from the trace
    either way; `level` is the last level entered; `total_ms` the time from arrival to verdict;
    `votes` maps an expert to its calibrated probability, or to its status where there is none;
    `expert_ms` the time each expert took; `thumbnail` a JPEG for the gallery of the report; `trace`
    the whole trace as JSON text, empty where there is none or it was not kept in memory.
    `position` is the place in the stream and `repeat` the how-manieth draw of the same picture:
    rewards are computed in the order (repeat, position).
    """

    name: str
    label: int | None
    prediction: float
    level: str | None
    reason: str
    total_ms: float
    size_class: str | None = None
    votes: Mapping[str, float | str] = field(default_factory=dict)
    group: str = ""
    generation: str = ""
    late: bool = False
    expert_ms: Mapping[str, float] = field(default_factory=dict)
    thumbnail: bytes | None = None
    position: int = 0
    repeat: int = 0
    trace: str = field(default="", repr=False)

    @property
    def answered(self) -> bool:
        """True when there was a prediction, good or bad."""
        return self.prediction != NO_ANSWER

    @property
    def says_roadwork(self) -> bool:
        """The decision as validators read it: more than 0.5 is roadwork."""
        return self.prediction > 0.5

    @property
    def wrong(self) -> bool:
        """True when an answer was given, the label is known, and they differ."""
        return self.answered and self.label is not None and self.says_roadwork != bool(self.label)

    @property
    def error(self) -> float:
        """How bad the answer was, in [0, 1]; 0.5 for silence, which costs less than being wrong."""
        if self.label is None:
            return 0.0
        return abs(self.label - self.prediction) if self.answered else 0.5


def row_of(
    verdict: Verdict,
    *,
    name: str,
    label: int | None,
    group: str = "",
    generation: str = "",
    position: int = 0,
    repeat: int = 0,
) -> ScoredQuery:
    """The row of one verdict."""
    trace = verdict.trace
    votes: dict[str, float | str] = {}
    expert_ms: dict[str, float] = {}
    for expert in (expert for level in trace.levels for expert in level.experts):
        said = expert.probability if expert.calibrated is None else expert.calibrated
        votes[expert.name] = expert.status if said is None else said
        expert_ms[expert.name] = expert_ms.get(expert.name, 0.0) + expert.ms
    return ScoredQuery(
        name=name,
        label=label,
        prediction=verdict.prediction,
        level=trace.answer.level,
        reason=verdict.error.reason if verdict.error else trace.answer.reason,
        total_ms=trace.stages_ms["total"],
        size_class=trace.picture.size_class if trace.picture else None,
        votes=votes,
        group=group,
        generation=generation,
        late=verdict.late,
        expert_ms=expert_ms,
        position=position,
        repeat=repeat,
        trace=trace.model_dump_json(),
    )
