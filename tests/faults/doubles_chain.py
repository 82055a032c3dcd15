"""A double of a chain's websocket endpoint, on a real socket in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from functools import partial
from types import TracebackType
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from natix_miner.neuron.snapshot import ChainSnapshot
from natix_miner.neuron.subtensor import SubtensorSource
from tests.faults.doubles_miner import free_port, key, subnet

#: `well` answers the few questions that it knows, `mute` takes them and never answers, `dropping`
#: closes at the second question of a connection, `refused` does not listen.
MANNERS = ("well", "mute", "dropping", "refused")
_HASH = "0x" + "ab" * 32


class ChainDouble:
    """Stands for an endpoint of the chain at `block`; `turn` changes its manner at any time."""

    def __init__(self, manner: str = "well") -> None:
        self.manner = manner
        self.block = 1
        self.connections = 0
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}"
        self._server: Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> ChainDouble:
        self._thread.start()
        self.turn(self.manner)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.turn("refused")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)
        self._loop.close()

    def turn(self, manner: str) -> None:
        """Behave like this from now on; open connections are closed."""
        self.manner = manner
        self._there(self._close())
        if manner != "refused":
            self._there(self._open())

    def _there(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20.0)

    async def _open(self) -> None:
        self._server = await serve(self._handle, "127.0.0.1", self.port)

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            for connection in list(server.connections):
                connection.transport.abort()
            server.close()
            await server.wait_closed()

    async def _handle(self, connection: ServerConnection) -> None:
        self.connections += 1
        try:
            async for message in connection:
                await self._answer(connection, json.loads(message))
        except ConnectionClosed:
            pass

    async def _answer(self, connection: ServerConnection, asked: dict[str, Any]) -> None:
        if self.manner == "mute":
            return
        known = {
            "system_chain": "Bittensor",
            "chain_getHead": _HASH,
            "chain_getFinalizedHead": _HASH,
            "chain_getHeader": {
                "number": hex(self.block),
                "parentHash": _HASH,
                "digest": {"logs": []},
            },
        }
        if self.manner == "dropping" and asked["method"] != "system_chain":
            connection.transport.abort()
            return
        said: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        if asked["method"] in known:
            said["result"] = known[asked["method"]]
        else:
            said["error"] = {"code": -32601, "message": "Method not found"}
        await connection.send(json.dumps(said))


class HalfSource(SubtensorSource):
    """The real source, whose connections and block numbers are real; the neurons are made up, since
    the double has no metadata by which the SDK could read any."""

    def fetch(self) -> ChainSnapshot:
        return self.call(partial(_made_up), self._timeout)


async def _made_up(subtensor: Any) -> ChainSnapshot:
    block = int(await subtensor.get_current_block())
    validator = key(2).ss58_address
    return subnet(validator, key(1).ss58_address, block=block, validator=validator)
