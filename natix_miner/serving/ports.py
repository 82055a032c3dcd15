"""Ports of this machine that a server can listen on."""

from __future__ import annotations

import socket

from natix_miner.errors import ServerStartError

LOOPBACK = "127.0.0.1"


def pick_port(wanted: int, server: str) -> int:
    """`wanted`, or any free loopback port for 0. Raises ServerStartError when it is taken.

    Nothing keeps the port until the server listens; should somebody else take it, the server ends
    and is started again with another one.
    """
    with socket.socket() as probe:
        # As servers do it: connections of one that has just ended do not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError as error:
            raise ServerStartError(
                f"server {server!r}: port {wanted} cannot be used ({error.strerror}); choose "
                "another `port`, or 0 for any that is free"
            ) from error
        return int(probe.getsockname()[1])
