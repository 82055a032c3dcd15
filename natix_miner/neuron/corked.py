"""One packet a reply: uvicorn writes headers and body apart, and a system call costs as much as all
the parsing of a small request."""

from __future__ import annotations

import asyncio
from typing import Any


class CorkedTransport:
    """A transport that sends what was written in one turn of the loop all at once.

    Everything but writing and closing goes straight to the transport underneath.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send `data` at the end of this turn of the loop."""
        if not data:
            return
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        """Send what waits, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._waiting:
            self._transport.write(b"".join(self._waiting))
            self._waiting.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
