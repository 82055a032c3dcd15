"""Is the miner alive, and is it ready? Asked by whoever supervises it, from any thread.

Alive: the axon's loop answers. A loop that hangs is what a supervisor should kill. Ready:
validators are served now, and what they send is kept. What the miner can do without (a server, an
expert, a fresh word from the chain) makes it degraded, not unready."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from natix_miner.clock import Clock
from natix_miner.judge import ServerStatus
from natix_miner.neuron.chain import ChainState
from natix_miner.neuron.snapshot import ChainSnapshot

#: Seconds within which the loop of the axon has to answer.
PING_SECONDS = 1.0
#: A verdict lost within so many seconds counts as being lost now. Not longer: where nobody asks an
#: unready miner, nothing is written that could show that the journal works again.
LOSS_SECONDS = 30.0


class Phase(StrEnum):
    """Where in its life the miner is."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Liveness:
    """`seconds` is how long the loop took to answer, None when it did not in time."""

    alive: bool
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Readiness:
    """`reasons` are why it is not ready (none: it is); `degraded` is what it does without."""

    reasons: tuple[str, ...]
    degraded: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether validators are served and what they send is kept."""
        return not self.reasons


class HasChain(Protocol):
    """The part of `chain.ChainWatch` that is asked here."""

    state: ChainState

    @property
    def snapshot(self) -> ChainSnapshot | None:
        """The snapshot in use."""
        ...


class HasExperts(Protocol):
    """The part of a judge that is asked here."""

    def server_status(self) -> Mapping[str, ServerStatus]:
        """How the servers are doing."""
        ...

    def asked(self) -> Mapping[str, bool]:
        """Whether each expert is asked at present."""
        ...


class Health:
    """Put together as the miner starts: what is not there yet counts as not ready.

    `loop` is the axon's; `journal` says why a verdict would not be kept now, None when it would.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._lock = threading.Lock()
        self._ping: _Ping | None = None
        self.phase = Phase.STARTING
        self.chain: HasChain | None = None
        self.judge: HasExperts | None = None
        self.journal: Callable[[], str | None] = lambda: None
        self.axon_up: Callable[[], bool] = lambda: False

    def liveness(self) -> Liveness:
        """Ask the loop for a sign of life; blocks for PING_SECONDS at most. Not for the loop's own
        thread."""
        began = self._clock.monotonic()
        ping = self._ask_loop()
        if ping is None or not ping.answered.wait(PING_SECONDS):
            return Liveness(False, None)
        return Liveness(True, self._clock.monotonic() - began)

    def readiness(self) -> Readiness:
        """Read off what there is; never waits."""
        return Readiness(tuple(self._lacks()), tuple(self._does_without()))

    def _ask_loop(self) -> _Ping | None:
        """The ping under way or a new one: a loop that hangs must not collect them."""
        with self._lock:
            if self._ping is None or self._ping.answered.is_set():
                self._ping = _Ping()
                try:
                    self._loop.call_soon_threadsafe(self._ping.answered.set)
                except RuntimeError:  # the loop is closed: the process is ending
                    self._ping = None
            return self._ping

    def _lacks(self) -> Iterator[str]:
        if self.phase is not Phase.SERVING:
            yield self.phase.value
        elif not self.axon_up():
            yield "the axon does not accept connections"
        if self.chain is None or self.chain.snapshot is None:
            yield "no snapshot of the chain"
        why = self.journal()
        if why is not None:
            yield f"journal: {why}"

    def _does_without(self) -> Iterator[str]:
        if self.chain is not None and self.chain.state in (ChainState.STALE, ChainState.KEPT):
            yield f"chain: {self.chain.state.value}"
        if self.judge is None:
            return
        for name, status in self.judge.server_status().items():
            if status.state != "up":
                yield f"server {name}: {status.state}"
        for name, asked in self.judge.asked().items():
            if not asked:
                yield f"expert {name}: not asked, it kept failing"


class _Ping:
    __slots__ = ("answered",)

    def __init__(self) -> None:
        self.answered = threading.Event()
