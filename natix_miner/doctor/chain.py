"""Asking the chain, once and bounded: is it there, how fast, what does it say of the subnet."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from natix_miner.clock import Clock
from natix_miner.doctor.row import Finding, fail, ok, warn
from natix_miner.errors import ChainError
from natix_miner.neuron.snapshot import ChainSnapshot
from natix_miner.neuron.sources import FileSource
from natix_miner.neuron.subtensor import SubtensorSource, read_subnet

#: Runs work on a connection of its own: endpoint, work, seconds. Raises ChainError.
Ask = Callable[[str, Callable[[Any], Awaitable[Any]], float], Any]
#: Seconds for a connection and one answer from which an endpoint counts as slow.
SLOW_SECONDS = 5.0
#: A block is made every 12 s; so long a new one is waited for.
_BLOCK_SECONDS = 15.0
#: Public endpoints allow one request a second.
_BETWEEN_SECONDS = 1.1
#: A new block is heard of at most so late: the pause above and its way through the network.
_NEWS_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What was learnt. `snapshot.time` is the block's own time; `heard_at` is what this machine's
    clock said when it heard of that block, and `lag` by how many seconds that may rightly be
    later; `cost` is that of a registration in TAO, None where it is not told."""

    snapshot: ChainSnapshot
    heard_at: float
    lag: float
    cost: float | None = None


def facts_of_file(path: Path, netuid: int) -> ChainFacts:
    """A snapshot file as the chain. It was heard of when it was written: a file whose `time` is
    not that of its writing says that the clock is wrong. Raises SnapshotError."""
    snapshot = FileSource(path, netuid).fetch()
    if snapshot is None:
        raise ChainError(f"chain snapshot {path} holds nothing; give a file with neurons")
    return ChainFacts(snapshot, os.stat(path).st_mtime, _BLOCK_SECONDS)


def ask_chain(netuid: int) -> Ask:
    """Asking the real chain."""

    def ask(endpoint: str, work: Callable[[Any], Awaitable[Any]], seconds: float) -> Any:
        return SubtensorSource((endpoint,), netuid, seconds).call(work, seconds)

    return ask


def look_at_chain(
    endpoints: Sequence[str], netuid: int, ask: Ask, seconds: float, clock: Clock
) -> tuple[Finding, ChainFacts | None]:
    """How each endpoint does, and what the first good one says. Each call may take `seconds`."""
    told: list[str] = []
    good: list[tuple[float, str]] = []
    for endpoint in endpoints:
        begun = clock.monotonic()
        try:
            block = ask(endpoint, _block, seconds)
        except ChainError as error:
            told.append(str(error).removesuffix("; the next one is asked").rstrip(": "))
            continue
        took = clock.monotonic() - begun
        good.append((took, endpoint))
        told.append(f"{endpoint} answers in {took:.1f} s (block {block})")
    facts = None
    if good:
        try:
            facts = _facts(good[0][1], netuid, ask, seconds, clock)
        except ChainError as error:
            told.append(str(error))
            return fail("; ".join(told), "check --netuid and --network"), None
    return _judged(told, good, len(endpoints)), facts


def _judged(told: list[str], good: list[tuple[float, str]], endpoints: int) -> Finding:
    detail = "; ".join(told)
    if not good:
        return fail(
            detail,
            "see that this machine may open connections to the internet (TCP 443), or give others"
            " as --chain-endpoint",
        )
    if len(good) < endpoints:
        return warn(detail, "take the endpoints out that do not answer: each costs a time-out")
    if max(took for took, _ in good) > SLOW_SECONDS:
        return warn(detail, "give a nearer one first as --chain-endpoint")
    return ok(detail)


def _facts(endpoint: str, netuid: int, ask: Ask, seconds: float, clock: Clock) -> ChainFacts:
    snapshot: ChainSnapshot = ask(endpoint, partial(read_subnet, netuid=netuid), seconds)
    try:
        cost = ask(endpoint, partial(_cost, netuid=netuid), seconds)
    except ChainError:  # told as "not known" in the row about registration
        cost = None
    try:
        time, heard_at = ask(endpoint, partial(_next_block, clock=clock), seconds + _BLOCK_SECONDS)
    except ChainError:  # the row about the clock says that the block's time was not told
        time, heard_at = None, clock.time()
    timed = dataclasses.replace(snapshot, time=time)
    return ChainFacts(timed, heard_at, _NEWS_SECONDS, cost)


async def _block(subtensor: Any) -> int:
    return int(await subtensor.get_current_block())


async def _cost(subtensor: Any, netuid: int) -> float | None:
    cost = await subtensor.recycle(netuid=netuid)
    return None if cost is None else float(cost)


async def _next_block(subtensor: Any, clock: Clock) -> tuple[float, float]:
    """The time of a block that has just been made, and what our clock said when it came."""
    first = await subtensor.get_current_block()
    give_up_at = clock.monotonic() + _BLOCK_SECONDS
    block, heard_at = first, clock.time()
    while block == first:
        if clock.monotonic() > give_up_at:
            raise ChainError(f"no new block within {_BLOCK_SECONDS:g} s")
        await asyncio.sleep(_BETWEEN_SECONDS)
        block, heard_at = await subtensor.get_current_block(), clock.time()
    return (await subtensor.get_timestamp(block=block)).timestamp(), heard_at
