"""How queries reach the miner: the one interface that a change of the network would touch.

Today's network speaks the axon and dendrite protocol of Bittensor 9.x and 10.x; `axon.py` serves
it. Whatever comes after it has to bring a `Transport` and call a `Handler`, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Asked:
    """One admitted request: who asks (SS58 address of a verified hotkey), the encoded picture, the
    label that a testnet validator may have filled in (-1 when not), arrival on the monotonic clock.

    `rehearsal` marks the request that the miner sends to itself before it serves.
    """

    picture: bytes
    label: int
    asked_by: str
    arrived: float
    rehearsal: bool = False


class Handler(Protocol):
    """What stands behind a transport."""

    async def answer(self, asked: Asked) -> float:
        """The value for the wire: a probability of roadwork in (0, 1), or -1 for no answer.

        Raises PictureError when the bytes are no picture, RefusedRequestError when the miner is
        stopping. Must answer in time by itself: a transport has no time limit of its own here.
        """
        ...


class Observer(Protocol):
    """Who is told about what never reached a handler, for metrics and log."""

    def refused(self, status: int, reason: str, asked_by: str | None) -> None:
        """A request was turned away; `asked_by` is the hotkey only when it was verified."""
        ...

    def picture_refused(self, reason: str, asked_by: str) -> None:
        """A verified sender's picture could not be judged."""
        ...


class Transport(Protocol):
    """A server that admits requests and hands them to a handler."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on; known after `start`."""
        ...

    async def start(self) -> None:
        """Listen. Raises AddressError or PortTakenError when that cannot be done."""
        ...

    def refuse_new(self) -> None:
        """Turn new requests away from now on; those in flight go on."""
        ...

    async def stop(self, seconds: float) -> None:
        """Stop listening, wait at most `seconds` for what is in flight, close all connections."""
        ...
