"""Connections that dawdle are closed, which uvicorn does not do by itself.

uvicorn waits for ever for the headers of a request and reads without end what follows a refusal.
The guard gives every connection `head_seconds` from its first byte (or from being opened) to
complete headers, and as long to finish a body that was refused; idle ones have uvicorn's keep-alive
time. It also keeps the number of open connections below the limit of file descriptors."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

import h11

from natix_miner.clock import Clock
from natix_miner.neuron.corked import CorkedTransport

#: Most bytes of a request's headers; those of a dendrite have about 1,500.
HEAD_BYTES = 32 * 1024
_SPARE_DESCRIPTORS = 128
_MOST_CONNECTIONS = 8192


def connection_limit() -> int:
    """How many connections this process may hold, given its limit of file descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(16, min(_MOST_CONNECTIONS, soft - _SPARE_DESCRIPTORS))


def raise_descriptor_limit() -> None:
    """Lift this process's soft limit of file descriptors, often 1024, to what the axon can use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def guarded_protocol(
    head_seconds: float, most_connections: int, clock: Clock
) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol (httptools when installed, else h11) with the guard around it.

    It also stamps every request with the moment of its first byte (`scope["state"]["arrived"]`,
    monotonic): when hundreds come at once, the application sees the last of them much later.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    base: Any = AutoHTTPProtocol

    class GuardedProtocol(base):
        """One connection, guarded."""

        _timer: asyncio.TimerHandle | None = None
        _dawdling = False
        _first_byte: float | None = None
        # Kept by httptools' callbacks; h11 knows both by itself, and limits the head too.
        _inside_message = False
        _in_head = False
        _head_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(CorkedTransport(transport, self.loop))
            if len(self.connections) > most_connections:
                transport.abort()
                return
            self._watch_dawdling()

        def data_received(self, data: bytes) -> None:
            if self._first_byte is None:
                self._first_byte = clock.monotonic()
            self.app_state["arrived"] = self._first_byte  # copied into the scope by what follows
            super().data_received(data)
            if self._in_head:
                self._head_bytes += len(data)
                if self._head_bytes > HEAD_BYTES:
                    self.transport.abort()
                    return
            if self.cycle is not None and not self.cycle.response_complete:
                self._first_byte = None
                self._unwatch()
            elif self._between_requests():
                # The end of a body that was refused: uvicorn took this data for a new request and
                # has put its keep-alive timer away.
                self._first_byte = None
                self._unwatch()
                self._timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)
            else:
                self._watch_dawdling()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            # A request that was refused before its body was there: the rest of it may never come.
            if (
                not self.transport.is_closing()
                and self.cycle.response_complete
                and not self._between_requests()
            ):
                self._watch_dawdling()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            self._inside_message = self._in_head = True
            self._head_bytes = 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_head = False
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._inside_message = False
            super().on_message_complete()

        def _between_requests(self) -> bool:
            if hasattr(self, "conn"):
                return self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
            return not self._inside_message

        def _watch_dawdling(self) -> None:
            if not self._dawdling:
                self._unwatch()
                self._dawdling = True
                self._timer = self.loop.call_later(head_seconds, self.transport.abort)

        def _unwatch(self) -> None:
            self._dawdling = False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return GuardedProtocol
