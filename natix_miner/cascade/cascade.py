"""The cascade: levels in order, until the consensus is sure or the time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from natix_miner.breaker import BreakerState
from natix_miner.cascade.asking import ask
from natix_miner.cascade.level import Level
from natix_miner.cascade.trace import Answer, CallTrace, EvidenceTrace, ExpertTrace, LevelTrace
from natix_miner.cascade.verdict import NO_ANSWER
from natix_miner.clock import SYSTEM_CLOCK, Clock, Deadline
from natix_miner.consensus import (
    Consensus,
    DriftWatch,
    Pooled,
    answer_from,
    frame_conditions,
)
from natix_miner.experts import Opinion
from natix_miner.images import Frame

#: Reasons an answer carries (`Answer.reason`) when the cascade itself gives it.
SURE, ALL_LEVELS, OUT_OF_TIME = "sure", "all-levels", "deadline"
NO_USABLE_OPINION = "no-usable-opinion"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the cascade comes to: the answer, the levels of its trace, and the version of
    the consensus that pooled."""

    answer: Answer
    levels: tuple[LevelTrace, ...]
    consensus: str


class Cascade:
    """Runs levels on a frame; knows experts and a consensus, not where frames come from."""

    def __init__(
        self,
        levels: tuple[Level, ...],
        consensus: Consensus,
        *,
        drift: DriftWatch | None = None,
        reserve_seconds: float = 0.05,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`reserve_seconds` before the deadline it stops waiting, so that the answer is in time.

        `drift` watches the experts and weighs down those that drift; None leaves them as they are.
        A query keeps the consensus and the factors that it began with, whatever is put in here
        meanwhile.
        """
        self.levels = levels
        self.consensus = consensus
        self.drift = drift
        self._reserve = reserve_seconds
        self._clock = clock

    def asked(self) -> Mapping[str, bool]:
        """Whether each expert is asked at present: every breaker that watches it is closed. May be
        called from any thread."""
        found: dict[str, bool] = {}
        for level in self.levels:
            for seat in level.seats:
                closed = seat.breaker.state is BreakerState.CLOSED
                found[seat.expert.name] = closed and found.get(seat.expert.name, True)
        return found

    async def run(self, frame: Frame, deadline: Deadline, *, counts: bool = True) -> Outcome:
        """Judge one frame; always returns, at the latest when the deadline is reached.

        One that does not count (a rehearsal) leaves no mark in the watch for drift.
        """
        consensus, drift = self.consensus, self.drift
        factors = drift.factors() if drift else {}
        due = deadline.earlier(self._reserve)
        opinions: list[Opinion] = []
        weighed: list[Opinion] = []
        traces: list[LevelTrace] = []
        pooled: Pooled | None = None
        reason, last = ALL_LEVELS, None
        size_class = frame.geometry.size_class.value
        conditions = frame_conditions(frame.geometry)
        for level in self.levels:
            enter, why = level.rule.decide(pooled)
            left = due.remaining()
            if not enter:
                reason = SURE
            elif left <= level.needs_seconds:
                enter, reason = False, OUT_OF_TIME
                why = (
                    f"would not fit: {max(0.0, left):.2f} s left, needs {level.needs_seconds:.2f} s"
                )
            if not enter:
                traces.append(_passed_over(level.name, why, pooled))
                continue
            started = self._clock.monotonic()
            said = await self._ask_all(level, frame, tuple(opinions), due)
            opinions.extend(said)
            heard = [_weighed(opinion, factors) for opinion in said]
            weighed.extend(heard)
            pooled = consensus.pool(weighed, size_class, conditions)
            last = level.name
            spent = self._clock.monotonic() - started
            traces.append(_entered(level.name, why, heard, pooled, spent, factors))
            # A level that was passed over before this one no longer decides why the run ended.
            reason = OUT_OF_TIME if due.expired() else ALL_LEVELS
        if drift and counts and opinions:
            # Seen as the fit would pool them: what is noticed does not depend on what was done.
            plain = consensus.pool(opinions, size_class, conditions) if factors else pooled
            drift.observe(opinions, plain)
        if pooled is None:
            failures = "; ".join(f"{o.expert} {o.status}: {o.detail}" for o in opinions)
            out_of_time = not opinions or due.expired()
            return Outcome(
                Answer(
                    prediction=NO_ANSWER,
                    reason=f"{OUT_OF_TIME if out_of_time else NO_USABLE_OPINION}"
                    + (f" ({failures})" if failures else ""),
                    level=last,
                ),
                tuple(traces),
                consensus.version,
            )
        return Outcome(
            Answer(prediction=answer_from(pooled.log_odds), reason=reason, level=last),
            tuple(traces),
            consensus.version,
        )

    async def _ask_all(
        self, level: Level, frame: Frame, heard: tuple[Opinion, ...], due: Deadline
    ) -> list[Opinion]:
        return await asyncio.gather(
            *(
                ask(
                    seat.expert,
                    frame,
                    due,
                    timeout_seconds=seat.timeout_seconds,
                    breaker=seat.breaker,
                    clock=self._clock,
                    heard=heard,
                )
                for seat in level.seats
            )
        )


def _passed_over(name: str, why: str, pooled: Pooled | None) -> LevelTrace:
    return LevelTrace(
        name=name,
        entered=False,
        why=why,
        experts=(),
        log_odds=pooled.log_odds if pooled else None,
        probability=pooled.probability if pooled else None,
        disagreement=pooled.disagreement if pooled else None,
        bias=pooled.bias if pooled else None,
        ms=0.0,
    )


def _weighed(opinion: Opinion, factors: Mapping[str, float]) -> Opinion:
    """The opinion as it is pooled."""
    factor = factors.get(opinion.expert)
    return opinion if factor is None else replace(opinion, trust=opinion.trust * factor)


def _entered(
    name: str,
    why: str,
    said: Iterable[Opinion],
    pooled: Pooled | None,
    seconds: float,
    factors: Mapping[str, float],
) -> LevelTrace:
    votes = {vote.expert: vote for vote in pooled.votes} if pooled else {}
    experts = []
    for opinion in said:
        vote = votes.get(opinion.expert)
        experts.append(
            ExpertTrace(
                name=opinion.expert,
                status=opinion.status.value,
                probability=opinion.probability,
                calibrated=vote.calibrated if vote else None,
                log_odds=vote.log_odds if vote else None,
                weight=vote.weight if vote else 0.0,
                ms=opinion.seconds * 1000.0,
                detail=opinion.detail,
                trust=opinion.trust,
                by=opinion.by,
                conditions=dict(opinion.conditions),
                reliability=factors.get(opinion.expert, 1.0),
                evidence=tuple(
                    EvidenceTrace(
                        what=seen.what, score=seen.score, box=seen.box, outline=seen.outline
                    )
                    for seen in opinion.evidence
                ),
                calls=tuple(
                    CallTrace(
                        server=call.server,
                        after_ms=call.after * 1000.0,
                        ms=call.seconds * 1000.0,
                        outcome=call.outcome,
                    )
                    for call in opinion.calls
                ),
            )
        )
    return LevelTrace(
        name=name,
        entered=True,
        why=why,
        experts=tuple(experts),
        log_odds=pooled.log_odds if pooled else None,
        probability=pooled.probability if pooled else None,
        disagreement=pooled.disagreement if pooled else None,
        bias=pooled.bias if pooled else None,
        ms=seconds * 1000.0,
        slowest=max(experts, key=lambda expert: expert.ms).name if experts else None,
    )
