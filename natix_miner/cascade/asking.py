"""Asking one expert safely: whatever it does, an opinion comes back in time."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from natix_miner.breaker import Breaker
from natix_miner.clock import Clock, Deadline
from natix_miner.errors import UnavailableError
from natix_miner.experts import Expert, Look, Opinion, Status
from natix_miner.experts.calls import Call, collecting
from natix_miner.experts.opinion import ServerCall
from natix_miner.images import Frame

#: Keeps tasks of experts that ignore cancellation referenced until they end by themselves.
_given_up: set[asyncio.Task[Look]] = set()


async def ask(
    expert: Expert,
    frame: Frame,
    deadline: Deadline,
    *,
    timeout_seconds: float,
    breaker: Breaker,
    clock: Clock,
    heard: tuple[Opinion, ...] = (),
) -> Opinion:
    """The expert's opinion, or one whose status says why there is none.

    `heard` is what the levels before have said.

    Waits at most `timeout_seconds` and never beyond the deadline. Raises nothing but cancellation.
    A time-out counts against the expert only when it had at least half of its time and answered
    nobody else meanwhile: one that answers others is busy, not broken.
    """
    if not breaker.allows():
        return Opinion(expert=expert.name, status=Status.SKIPPED, detail=breaker.why_not())
    started = clock.monotonic()
    limit = min(timeout_seconds, deadline.remaining())
    due = deadline.at_most(timeout_seconds)
    with collecting(clock) as calls:
        task = asyncio.create_task(expert.consider(frame, heard, due), name=f"look-{expert.name}")
    try:
        await asyncio.wait({task}, timeout=max(0.0, limit))
    except asyncio.CancelledError:
        _give_up(task)
        breaker.undecided()
        raise
    opinion = _opinion(expert, task, limit, clock.monotonic() - started)
    opinion = _with_calls(opinion, calls.so_far(), started)
    if opinion.status is Status.OK:
        breaker.succeeded()
    elif opinion.status is Status.SKIPPED or (
        opinion.status is Status.TIMED_OUT
        and (limit < 0.5 * timeout_seconds or breaker.succeeded_since(started))
    ):
        breaker.undecided()
    else:
        breaker.failed()
    return opinion


def _with_calls(opinion: Opinion, calls: tuple[Call, ...], started: float) -> Opinion:
    if not calls:
        return opinion
    told = (
        ServerCall(call.server, call.began - started, call.seconds, call.outcome) for call in calls
    )
    return replace(opinion, calls=tuple(told))


def _opinion(expert: Expert, task: asyncio.Task[Look], limit: float, seconds: float) -> Opinion:
    name, votes = expert.name, expert.votes
    if not task.done():
        _give_up(task)
        return Opinion(
            expert=name,
            status=Status.TIMED_OUT,
            detail=f"no answer within {limit:.2f} s",
            seconds=seconds,
        )
    if task.cancelled():
        return Opinion(
            expert=name, status=Status.FAILED, detail="cancelled itself", seconds=seconds
        )
    error = task.exception()
    if isinstance(error, UnavailableError):
        return Opinion(
            expert=name, status=Status.SKIPPED, detail=f"not asked: {error}"[:300], seconds=seconds
        )
    if isinstance(error, TimeoutError):
        return Opinion(
            expert=name,
            status=Status.TIMED_OUT,
            detail=str(error) or f"gave up by itself after {seconds:.2f} s",
            seconds=seconds,
        )
    if error is not None:
        return Opinion(
            expert=name,
            status=Status.FAILED,
            detail=f"{type(error).__name__}: {error}"[:300],
            seconds=seconds,
        )
    look = task.result()
    nonsense = _nonsense(look, votes)
    if nonsense:
        return Opinion(expert=name, status=Status.INVALID, detail=nonsense[:300], seconds=seconds)
    return Opinion(
        expert=name,
        status=Status.OK,
        probability=None if look.probability is None else float(look.probability),
        calibrated=look.calibrated,
        evidence=look.evidence,
        detail=look.detail,
        seconds=seconds,
        trust=min(max(look.trust, 0.0), 1.0) if math.isfinite(look.trust) else 0.0,
        by=look.by,
        conditions={name: float(value) for name, value in look.conditions.items()},
    )


def _nonsense(look: object, votes: bool) -> str:
    """What is wrong with the answer of an expert; empty when nothing is."""
    if not isinstance(look, Look):
        return f"said {look!r}, which is no look"
    if (look.probability is None) is votes or (votes and not _is_probability(look.probability)):
        return f"said {look.probability!r}, which is no probability in [0, 1]"
    for name, value in look.conditions.items():
        if not _is_probability(value):
            return f"said {value!r} of the condition {name!r}, which is not in [0, 1]"
    return ""


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and 0.0 <= value <= 1.0


def _give_up(task: asyncio.Task[Look]) -> None:
    task.cancel()
    _given_up.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Task[Look]) -> None:
    _given_up.discard(task)
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not complain about a late failure
