"""Running the page's server on this machine's own address until somebody stops it."""

from __future__ import annotations

import contextlib
import errno
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from natix_miner.errors import AddressError, PortTakenError

if TYPE_CHECKING:
    from natix_miner.lab.labelling.server import LabelPage

HOST = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1; port 0 takes any free one.

    Raises PortTakenError when somebody listens there, AddressError for anything else.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(
                f"port {port} on {HOST} is taken by another process: give another --port, or 0 "
                "for any free one"
            ) from error
        raise AddressError(
            f"cannot listen on {HOST}:{port} ({error.strerror}): give a --port above 1024, or 0"
        ) from error
    return listener


def serve_page(page: LabelPage, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `on_ready` gets the address with its secret token.

    Raises PortTakenError and AddressError.
    """
    import uvicorn

    listener = listen(port)
    with contextlib.closing(listener):
        token = secrets.token_urlsafe(24)
        actual = listener.getsockname()[1]
        server = uvicorn.Server(
            uvicorn.Config(
                page.app(token, actual),
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=3,
            )
        )
        on_ready(f"http://{HOST}:{actual}/?token={token}")
        # uvicorn raises the signal again once it has shut down in order.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
