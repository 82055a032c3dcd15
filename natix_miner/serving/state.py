"""What is known about a server at a moment, and what is needed to launch it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """STARTING: not answered a picture yet. UP: answers. DOWN: pausing before it is started (or, a
    remote one, asked) again. OFF: given up. CLOSED: stopped by us."""

    STARTING = "starting"
    UP = "up"
    DOWN = "down"
    OFF = "off"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """How a server is doing.

    `reason` says why it is not up: a sentence, and after it the last lines of its log where there
    are any; empty when it is up. `since` is when the state began (seconds since 1970), `restarts`
    how often it was started again, `pid` its warden's process id while there is one; `requests`
    says what became of the questions so far (see `Counts`).
    """

    state: State
    reason: str = ""
    since: float = 0.0
    restarts: int = 0
    pid: int | None = None
    requests: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """How one incarnation of a server is started and reached.

    `command` is empty for a remote one; `environment` is the whole of it; `model` is the name that
    the server goes by.
    """

    base_url: str
    model: str
    api_key: str | None
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
