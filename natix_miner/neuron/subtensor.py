"""The real chain as a source of snapshots: short-lived connections, every one bounded in time.

The SDK's own ways of retrying are not used: they end in endless waiting on a mute endpoint or in a
RecursionError on a dropped one. One fetch is one connection to one endpoint; after a failure the
next fetch takes the next endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from natix_miner.errors import ChainError
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron

Result = TypeVar("Result")

#: Seconds a connection may take to close before it is left to the garbage collector.
_CLOSE_SECONDS = 2.0


def endpoints_of(network: str, chain_endpoint: str | None) -> tuple[str, ...]:
    """The endpoints to take turns with: those given (comma-separated), else the network's own."""
    if chain_endpoint:
        return tuple(part.strip() for part in chain_endpoint.split(",") if part.strip())
    return (network,)


class SubtensorSource:
    """Snapshots of one subnet from the chain.

    `endpoints` are names of networks ("finney", "test", "local") or websocket addresses.
    """

    def __init__(self, endpoints: Sequence[str], netuid: int, timeout_seconds: float) -> None:
        self._endpoints = tuple(endpoints)
        self._netuid = netuid
        self._timeout = timeout_seconds
        self._turn = 0

    def describe(self) -> str:
        """The endpoint whose turn it is."""
        return f"chain {self._endpoints[self._turn % len(self._endpoints)]}"

    def fetch(self) -> ChainSnapshot:
        """The subnet as it is now; raises ChainError."""
        return self.call(partial(read_subnet, netuid=self._netuid), self._timeout)

    def call(self, work: Callable[[Any], Awaitable[Result]], seconds: float) -> Result:
        """Run `work` on a connection of its own within `seconds`.

        Raises ChainError for whatever goes wrong, and moves on to the next endpoint then.
        """
        endpoint = self._endpoints[self._turn % len(self._endpoints)]
        try:
            return asyncio.run(_bounded(endpoint, work, seconds))
        except ChainError:
            self._turn += 1
            raise


async def read_subnet(subtensor: Any, netuid: int) -> ChainSnapshot:
    """The subnet at the newest block, through a connected `bittensor.AsyncSubtensor`.

    Raises ChainError when there is no such subnet.
    """
    block = await subtensor.get_current_block()
    rows = await subtensor.neurons_lite(netuid=netuid, block=block)
    if not rows:
        raise ChainError(f"subnet {netuid} has no neurons; check --netuid and --network")
    return ChainSnapshot(netuid, int(block), tuple(_neuron(row) for row in rows))


def _neuron(row: Any) -> Neuron:
    axon = row.axon_info
    return Neuron(
        uid=int(row.uid),
        hotkey=str(row.hotkey),
        stake=float(row.total_stake),
        validator_permit=bool(row.validator_permit),
        ip=str(axon.ip) if axon else "0.0.0.0",
        port=int(axon.port) if axon else 0,
        incentive=float(row.incentive),
        emission=float(row.emission),
        last_update=int(row.last_update),
    )


async def _bounded(
    endpoint: str, work: Callable[[Any], Awaitable[Result]], seconds: float
) -> Result:
    """The outcome of `work` as a value or as a ChainError: the SDK and the layers below it raise
    dozens of types, none of which may end the chain thread, so the task's end is looked at instead
    of catching by type."""
    task = _looked_at(_connected(endpoint, work))
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        await asyncio.wait({task}, timeout=_CLOSE_SECONDS)
        raise ChainError(f"{endpoint} did not answer within {seconds:g} s; the next one is asked")
    failure = task.exception()
    if failure is None:
        return task.result()
    if isinstance(failure, ChainError):
        raise failure
    raise ChainError(
        f"{endpoint}: {type(failure).__name__}: {str(failure)[:200]}; the next one is asked"
    ) from failure


async def _connected(endpoint: str, work: Callable[[Any], Awaitable[Result]]) -> Result:
    from natix_miner.neuron.sdk import load_sdk

    subtensor = load_sdk().AsyncSubtensor(network=endpoint)
    try:
        await subtensor.initialize()
        return await work(subtensor)
    finally:
        await asyncio.wait({_looked_at(subtensor.close())}, timeout=_CLOSE_SECONDS)


def _looked_at(work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
    """A task whose failure nobody has to look at: asyncio logs a traceback for every other one that
    fails after it was given up."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task
