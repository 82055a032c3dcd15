"""The axon that validators talk to: a socket of our own, uvicorn on it, `AxonApp` behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Generator

import uvicorn

from natix_miner.clock import Clock
from natix_miner.errors import AddressError, PortTakenError
from natix_miner.neuron.guard import HEAD_BYTES, connection_limit, guarded_protocol
from natix_miner.neuron.server import AxonApp


class _Server(uvicorn.Server):
    """uvicorn without hands on the signals: the miner has its own order of shutting down."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes any free one.

    Raises PortTakenError when somebody listens there, AddressError for anything else.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise AddressError(
            f"axon host {host!r} is no address of this machine ({error}); give --axon-host 0.0.0.0"
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(
                f"port {port} on {host} is taken by another process; stop it or give another"
                " --axon-port"
            ) from error
        raise AddressError(
            f"the axon cannot listen on {host}:{port} ({error.strerror}); give an address of this"
            " machine as --axon-host and a port above 1024 as --axon-port"
        ) from error
    listener.setblocking(False)
    return listener


class LeanAxon:
    """The transport of today's network (see `transport.Transport`)."""

    def __init__(
        self,
        listener: socket.socket,
        app: AxonApp,
        keep_alive_seconds: float,
        head_seconds: float,
        clock: Clock,
    ) -> None:
        self._listener = listener
        self._app = app
        host, port = listener.getsockname()[:2]
        self._address = (str(host), int(port))
        protocol = guarded_protocol(head_seconds, connection_limit(), clock)
        self._server = _Server(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                # Validators keep a connection 15 s; closing sooner loses the request in between.
                timeout_keep_alive=int(keep_alive_seconds),
                h11_max_incomplete_event_size=HEAD_BYTES,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        return self._address

    @property
    def up(self) -> bool:
        """Whether it accepts connections now."""
        serving = self._serving
        return self._server.started and serving is not None and not serving.done()

    async def start(self) -> None:
        """Serve; returns once connections are accepted."""
        self._serving = asyncio.create_task(self._server.serve([self._listener]), name="axon")
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
                raise AddressError(f"the axon did not start on {self._address}")
            await asyncio.sleep(0.005)

    def refuse_new(self) -> None:
        """New requests get 503 from now on."""
        self._app.refuse_new()

    async def stop(self, seconds: float) -> None:
        """Stop listening and close every connection within `seconds`."""
        self.refuse_new()
        if self._serving is not None:
            self._server.config.timeout_graceful_shutdown = max(1, round(seconds))
            self._server.should_exit = True
            await self._serving
            self._serving = None
        self._listener.close()
