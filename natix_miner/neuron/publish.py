"""Telling the chain where our axon is, and making sure that it took it."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from loguru import logger

from natix_miner.clock import Clock
from natix_miner.errors import AddressError, ChainError
from natix_miner.neuron.snapshot import ChainSnapshot
from natix_miner.neuron.subtensor import SubtensorSource

#: Seconds before a refused publication is tried again; the chain limits how often one may serve.
_RETRY_SECONDS = 600.0
#: Inclusion and finalisation of an extrinsic take a handful of blocks of 12 s.
_PUBLISH_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class AxonAddress:
    """What `serve_axon` reads off an axon, without being one."""

    wallet: Any
    external_ip: str
    external_port: int


def check_external_address(ip: str, port: int, allow_private: bool) -> None:
    """Raises AddressError for an address that no validator could reach.

    The chain itself takes private addresses and 0.0.0.0 without a word.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        raise AddressError(f"external ip {ip!r} is not an IP address; give --external-ip") from None
    if not 1 <= port <= 65535:
        raise AddressError(f"external port {port} is not in 1..65535; give --external-port")
    if address.is_unspecified or address.is_multicast:
        raise AddressError(f"external ip {ip} cannot be reached by anybody; give your public one")
    if not address.is_global and not allow_private:
        raise AddressError(
            f"external ip {ip} is private or reserved: validators cannot reach it; give the public"
            " one as --external-ip, or --allow-private-address for a network of your own"
        )


def discover_external_ip(seconds: float) -> str:
    """The address that this machine has on the internet, asked from public services by the SDK.

    Raises ChainError when none answered within `seconds` (the SDK itself would wait for ever).
    """
    from natix_miner.neuron.sdk import load_sdk

    sdk = load_sdk()
    found: list[str] = []

    def look() -> None:
        try:
            found.append(str(sdk.utils.networking.get_external_ip()))
        except (sdk.utils.networking.ExternalIPNotFound, OSError) as error:
            logger.debug("external ip not found: {}", error)

    thread = threading.Thread(target=look, name="external-ip", daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise ChainError("the external ip could not be found; give it as --external-ip")
    return found[0]


class Publisher:
    """Publishes the axon when the chain shows another address than ours (or none).

    Called on the chain thread with every snapshot. A refusal (rate limit, not registered) is told
    and tried again later; it never stops the miner."""

    def __init__(
        self,
        chain: SubtensorSource,
        wallet: Any,
        hotkey: str,
        external_ip: Callable[[], str],
        external_port: int,
        allow_private: bool,
        clock: Clock,
    ) -> None:
        self._chain = chain
        self._wallet = wallet
        self._hotkey = hotkey
        self._external_ip = external_ip
        self._port = external_port
        self._allow_private = allow_private
        self._clock = clock
        self._ip: str | None = None
        self._not_before = 0.0
        self._last_failure = ""

    def after_fetch(self, snapshot: ChainSnapshot) -> None:
        """Publish when that is needed and due."""
        neuron = snapshot.neuron_of(self._hotkey)
        if neuron is None or self._clock.monotonic() < self._not_before:
            return
        if (neuron.ip, neuron.port) == (self._ip, self._port):
            return
        self._not_before = self._clock.monotonic() + _RETRY_SECONDS
        try:
            if self._ip is None:
                found = self._external_ip()
                check_external_address(found, self._port, self._allow_private)
                self._ip = found
            if (neuron.ip, neuron.port) == (self._ip, self._port):
                return
            address = AxonAddress(self._wallet, self._ip, self._port)
            success, message = self._chain.call(_serve(snapshot.netuid, address), _PUBLISH_SECONDS)
        except (ChainError, AddressError) as error:
            success, message = False, str(error)
        if success:
            self._last_failure = ""
            logger.info("axon published on chain as {}:{}", self._ip, self._port)
        elif message != self._last_failure:
            self._last_failure = message
            logger.warning(
                "our axon is not published on chain as {}:{}: {}; next try in {:.0f} min",
                self._ip or "(unknown ip)",
                self._port,
                message,
                _RETRY_SECONDS / 60,
            )


def _serve(netuid: int, address: AxonAddress) -> Callable[[Any], Awaitable[tuple[bool, str]]]:
    async def serve(subtensor: Any) -> tuple[bool, str]:
        response = await subtensor.serve_axon(netuid=netuid, axon=address)
        return bool(response.success), str(response.message)

    return serve
