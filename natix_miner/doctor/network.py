"""The addresses of the miner: can it listen, and would validators find it?"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

from natix_miner.doctor.holders import listeners_of
from natix_miner.doctor.row import Finding, fail, ok, skipped, warn
from natix_miner.errors import AddressError, PortTakenError
from natix_miner.neuron.axon import bind
from natix_miner.neuron.publish import check_external_address

#: An address for documentation (RFC 5737): asking the route to it sends nothing.
_ANYWHERE = ("192.0.2.1", 9)


def check_port(host: str, port: int, option: str) -> Finding:
    """Can somebody listen there? Binds it for a moment; names who holds it."""
    try:
        listener = bind(host, port)
    except PortTakenError:
        holders = listeners_of(port)
        who = ", ".join(holders) or "a process that this user may not see"
        return fail(
            f"port {port} on {host} is taken by {who}",
            f"stop it, or give another {option}; if it is this very miner, all is well",
        )
    except AddressError as error:
        return fail(str(error), f"give an address of this machine and a port for {option}")
    with listener:
        bound = listener.getsockname()[1]
    return ok(f"{host}:{port} is free" if port else f"any free port, {bound} for example")


def check_metrics_port(host: str, port: int | None) -> Finding:
    """Is the port for metrics free?"""
    if port is None:
        return skipped("off; --metrics-port PORT serves metrics, /healthz and /readyz")
    return check_port(host, port, "--metrics-port")


def check_external_ip(given: str | None, port: int, allow_private: bool, why_not: str) -> Finding:
    """Is the address that is published one that validators can reach? `why_not`, when not empty,
    is why nothing is published or looked up."""
    if given is None:
        return skipped(why_not) if why_not else skipped("not given")
    try:
        check_external_address(given, port, allow_private)
    except AddressError as error:
        what, _, advice = str(error).partition("; ")
        return fail(what, advice or "give the public one as --external-ip")
    if ipaddress.ip_address(given).is_loopback:
        return fail(
            f"{given} is loopback: the chain refuses it", "give the public one as --external-ip"
        )
    if not ipaddress.ip_address(given).is_global:
        return warn(
            f"{given} is private, and taken because of --allow-private-address",
            "only for a network of your own: validators of the subnet cannot reach it",
        )
    return ok(f"{given} is public")


def check_reachable(
    host: str, port: int, external: str | None, local: Callable[[], str | None]
) -> Finding:
    """As far as this machine can tell. Only somebody outside can tell for certain, so an "ok" never
    says more than that nothing here speaks against it."""
    outside = f"only an outsider can tell for certain: nc -vz {external or 'ADDRESS'} {port}"
    if host in {"localhost", "::1"} or host.startswith("127."):
        return warn(
            f"the axon listens on {host} only: nobody outside this machine reaches it",
            "give --axon-host 0.0.0.0, unless something on this machine forwards to it",
        )
    own = local()
    if external is None:
        return skipped(
            f"the external address is not known (this machine's own is {own or 'none'}); {outside}"
        )
    if external == own:
        return ok(f"{external} is an address of this machine itself, no forwarding; {outside}")
    return warn(
        f"this machine is {own or 'without a route'}, the world sees {external}: there is a router"
        f" or NAT between; {outside}",
        f"see that TCP port {port} of {external} is forwarded to this machine's axon port and that"
        " no firewall closes it; then ask from outside",
    )


def own_address() -> str | None:
    """The address that this machine sends from, None without a route. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANYWHERE)
        except OSError:
            return None
        return str(probe.getsockname()[0])
