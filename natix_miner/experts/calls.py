"""Which servers an expert asked and how long each took, noted for the trace of its query.

Whoever asks an expert collects; whoever asks a server notes. Between them lies the expert's own
code, which need not know: the collection goes with the context of the task.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from natix_miner.clock import Clock
from natix_miner.errors import UnavailableError

CallOutcome = Literal["ok", "failed", "timed-out", "cut-off"]


@dataclass(frozen=True, slots=True)
class Call:
    """One question to one server: when it began on the monotonic clock, how many seconds it took,
    and how it ended (`cut-off`: whoever asked the expert had no more time to wait)."""

    server: str
    began: float
    seconds: float
    outcome: CallOutcome


class Calls:
    """The calls of one expert on one frame."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ended: list[Call] = []
        self._open: dict[int, tuple[str, float]] = {}
        self._next = 0

    def so_far(self) -> tuple[Call, ...]:
        """All of them in the order of their beginning; those that still run count as cut off."""
        now = self._clock.monotonic()
        cut = [Call(name, began, now - began, "cut-off") for name, began in self._open.values()]
        return tuple(sorted([*self._ended, *cut], key=lambda call: call.began))

    @contextmanager
    def note(self, server: str) -> Iterator[None]:
        """Around one question to a server; one that could not be asked at all is no call."""
        number, self._next = self._next, self._next + 1
        self._open[number] = (server, self._clock.monotonic())
        outcome: CallOutcome | None = "cut-off"
        try:
            yield
            outcome = "ok"
        except UnavailableError:
            outcome = None
            raise
        except TimeoutError:
            outcome = "timed-out"
            raise
        except Exception:
            outcome = "failed"
            raise
        finally:
            name, began = self._open.pop(number)
            if outcome is not None:
                seconds = self._clock.monotonic() - began
                self._ended.append(Call(name, began, seconds, outcome))


_current: ContextVar[Calls | None] = ContextVar("calls", default=None)


@contextmanager
def collecting(clock: Clock) -> Iterator[Calls]:
    """Collect the calls of all tasks that are made inside."""
    calls = Calls(clock)
    token = _current.set(calls)
    try:
        yield calls
    finally:
        _current.reset(token)


@contextmanager
def noted(server: str) -> Iterator[None]:
    """Around one question to a server: noted where somebody collects."""
    calls = _current.get()
    if calls is None:
        yield
        return
    with calls.note(server):
        yield
