"""One incarnation of a server, and what its supervisor needs of the parts around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from natix_miner.serving.process import LogFile


class Process(Protocol):
    """A spawned engine: `ServerProcess`."""

    pid: int
    log: LogFile

    async def wait(self) -> None:
        """Until it has ended."""
        ...

    async def stop(self) -> None:
        """End it politely."""
        ...

    async def kill(self) -> None:
        """End it at once; fine when it has ended already."""
        ...

    async def last_lines(self) -> list[str]:
        """The end of its log."""
        ...


class Guard(Protocol):
    """Where the experts ask: a `GuardedServer`."""

    def attach(self, client: Any) -> None:
        """Ask this one from now on."""
        ...

    def detach(self, reason: str) -> None:
        """Ask nobody from now on."""
        ...

    def answered_since(self, moment: float) -> bool:
        """Whether anybody was answered since then (monotonic seconds)."""
        ...


@dataclass(frozen=True, slots=True)
class Life:
    """One incarnation of a server, from its launch on; a remote one has no process."""

    client: Any
    process: Process | None = None
