"""Telling whoever supervises this process that it is ready, ends, or still turns: pm2 and systemd.

pm2 (`wait_ready`) listens on the channel that Node gives to a child: one JSON text a line, written
to the descriptor that NODE_CHANNEL_FD names. systemd (`Type=notify`) listens on the datagram socket
that NOTIFY_SOCKET names (sd_notify(3)), and kills what did not say WATCHDOG=1 in time. Both are for
this process alone, so their variables leave the environment before anything is started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping

from loguru import logger

#: What neither a server nor any other child may inherit.
VARIABLES = (
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
)
#: Longest wait for systemd to take a message.
_SEND_SECONDS = 1.0
_FIRST_DESCRIPTOR = 3


class ReadySignal:
    """Where to tell it; faults are logged and never stop the miner.

    Made by `take`, once, before this process opens anything: a descriptor that was not inherited
    could by then be another one of ours.
    """

    def __init__(
        self,
        node: socket.socket | None = None,
        systemd: str | None = None,
        watchdog_seconds: float | None = None,
    ) -> None:
        self._node = node
        self._systemd = systemd
        self._watchdog_seconds = watchdog_seconds

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> ReadySignal:
        """Read the variables of pm2 and systemd, and take them out of `environment`."""
        found = {name: environment.pop(name, "") for name in VARIABLES}
        return cls(
            node=_channel(found["NODE_CHANNEL_FD"], found["NODE_CHANNEL_SERIALIZATION_MODE"]),
            systemd=found["NOTIFY_SOCKET"] or None,
            watchdog_seconds=_watchdog(found["WATCHDOG_USEC"], found["WATCHDOG_PID"]),
        )

    def ready(self, status: str = "") -> None:
        """Validators can be answered; `status` is one line for `systemctl status`."""
        if self._node is not None:
            try:
                self._node.send(b'"ready"\n', socket.MSG_DONTWAIT)
            except OSError as error:
                logger.warning("pm2 could not be told that the miner is ready ({})", error)
        self._notify("READY=1", status)

    def stopping(self) -> None:
        """New queries are refused from now on. pm2 takes no such word."""
        self._notify("STOPPING=1", "draining")

    async def keep_beating(self) -> None:
        """Tell systemd's watchdog that the event loop turns, twice within its patience, until
        cancelled; returns at once where there is no watchdog."""
        while self._watchdog_seconds is not None:
            self._notify("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_seconds / 2)

    def close(self) -> None:
        """Give the channel back."""
        if self._node is not None:
            self._node.close()
            self._node = None

    def _notify(self, state: str, status: str = "") -> None:
        if self._systemd is None:
            return
        message = f"{state}\nSTATUS={status}" if status else state
        # A leading @ stands for the zero byte of an abstract address.
        address = "\0" + self._systemd[1:] if self._systemd[0] == "@" else self._systemd
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_SECONDS)
                sender.sendto(message.encode(), address)
        except OSError as error:
            logger.warning("systemd could not be told {} ({})", state, error)


def _channel(descriptor: str, mode: str) -> socket.socket | None:
    """Node's channel, if that is what the descriptor is; it is not inherited any further."""
    if not descriptor:
        return None
    if mode not in ("", "json"):
        logger.warning("pm2 is not told when the miner is ready: its channel speaks {}", mode)
        return None
    channel = None
    with contextlib.suppress(OSError, ValueError):
        channel = _unix_stream(int(descriptor))
    if channel is None:
        logger.warning(
            "NODE_CHANNEL_FD is {!r}, which is no channel; pm2 is not told when the miner is ready",
            descriptor,
        )
    return channel


def _unix_stream(number: int) -> socket.socket | None:
    if number < _FIRST_DESCRIPTOR:
        return None
    channel = socket.socket(fileno=number)
    if (channel.family, channel.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        channel.detach()
        return None
    channel.set_inheritable(False)
    return channel


def _watchdog(microseconds: str, process: str) -> float | None:
    """Seconds of patience, when the watchdog means this process."""
    if not microseconds or process not in ("", str(os.getpid())):
        return None
    if not microseconds.isdecimal() or int(microseconds) == 0:
        logger.warning("WATCHDOG_USEC is {!r}, no number of microseconds", microseconds)
        return None
    return int(microseconds) / 1e6
