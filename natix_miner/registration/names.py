"""Names and addresses that an operator gives, checked before anything is sent."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from natix_miner.errors import ConfigurationError

#: Largest uid that the chain's number type holds.
MAX_UID = 65535
#: One half of a repository's name, by the rules of huggingface.co.
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")


def check_repository(name: str) -> str:
    """The name back; raises ConfigurationError when it is not `owner/name` of the model hub."""
    parts = name.split("/")
    fine = (
        len(parts) == 2
        and all(_PART.fullmatch(part) for part in parts)
        and "--" not in name
        and ".." not in name
        and not name.endswith(".git")
    )
    if not fine:
        raise ConfigurationError(
            f"{name!r} is not a repository of the model hub; give owner/name (letters, digits,"
            " '.', '_', '-')"
        )
    return name


def check_uid(uid: int) -> int:
    """The uid back; raises ConfigurationError outside 0..65535."""
    if not 0 <= uid <= MAX_UID:
        raise ConfigurationError(f"uid {uid} is not in 0..{MAX_UID}; read yours off the metagraph")
    return uid


def check_base_url(url: str) -> str:
    """The address of a server without a slash at its end.

    Raises ConfigurationError when it is no http(s) address, holds a user name, a query or a
    fragment, or would carry the signature over the internet in the clear.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"--base-url {url!r} is not an address: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(f"--base-url {url!r} is not an address; give https://host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(
            "--base-url may hold a scheme, a host, a port and a path, nothing else"
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            f"--base-url {url} would send the signature in the clear; give https://"
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
