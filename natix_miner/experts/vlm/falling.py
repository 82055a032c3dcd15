"""Asking one question of the first server that answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from natix_miner.clock import Deadline
from natix_miner.errors import ServerAnswerError, UnavailableError
from natix_miner.experts.calls import noted
from natix_miner.experts.vlm.port import Server

T = TypeVar("T")
#: Share of the time left that a server may take while others could still be asked.
SHARE = 0.6
#: With less left no further server is tried: a picture takes longer than that anywhere.
LEAST_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """What a server said, its name, and why those before it did not (empty: it was the first)."""

    value: T
    by: str
    passed_over: str


async def first_answer(
    servers: Sequence[Server],
    ask: Callable[[Server, Deadline], Awaitable[T]],
    deadline: Deadline,
    share: float = SHARE,
) -> Answered[T]:
    """Ask the servers in their order until one answers.

    One that is down, resting or full costs no time; one that answers nonsense gives way to the
    next; so does one that is late, after `share` of the time left (the last one may take it all).
    Raises UnavailableError when not one of them could be asked, else what the last one that was
    asked raised: TimeoutError or ServerAnswerError.
    """
    why: list[str] = []
    failure: Exception | None = None
    for place, server in enumerate(servers):
        left = deadline.remaining()
        if left < LEAST_SECONDS:
            why.append(f"{server.name}: no time left")
            failure = failure or TimeoutError("no time left to ask a server")
            break
        others = place < len(servers) - 1
        seconds = left * share if others else left
        due = deadline.at_most(seconds)
        try:
            with noted(server.name):
                async with asyncio.timeout(seconds):
                    value = await ask(server, due)
        except UnavailableError as error:
            why.append(f"{server.name}: {error}")
        except ServerAnswerError as error:
            why.append(f"{server.name}: {error}")
            failure = error
        except TimeoutError:
            why.append(f"{server.name}: no answer within {seconds:.2f} s")
            failure = TimeoutError(why[-1])
        else:
            return Answered(value, server.name, "; ".join(why))
    said = "; ".join(why)
    if failure is None:
        raise UnavailableError(said)
    if isinstance(failure, TimeoutError):
        raise TimeoutError(said) from failure
    raise ServerAnswerError(said, getattr(failure, "status", 0)) from failure
