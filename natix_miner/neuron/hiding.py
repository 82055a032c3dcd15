"""Keeping secrets and control characters out of what is written for people to read.

Logs hold no secret by themselves; this is the second lock, for what strange libraries and servers
put into their errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

HIDDEN = "***"
#: Shorter values are words such as "true", and hiding those would blacken every line.
_LEAST = 8
#: A part of an address's path that is so long is taken for a key of its provider.
_LEAST_IN_PATH = 16
_SECRET_NAME = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|ACCESS_KEY|HEADERS|MNEMONIC|SEED|"
    r"CREDENTIALS?|PRIVATE_KEY)\Z",
    re.IGNORECASE,
)


def secrets_in(environment: Mapping[str, str]) -> set[str]:
    """The values of variables whose name says that they are secret."""
    found: set[str] = set()
    for name, value in environment.items():
        if not _SECRET_NAME.search(name):
            continue
        found.add(value.strip())
        if name.upper().endswith("HEADERS"):
            found |= _header_values(value)
    return {value for value in found if len(value) >= _LEAST}


def secrets_in_address(address: str) -> set[str]:
    """What in an address may be a key: its user and password, long parts of its path, values of its
    query."""
    try:
        parts = urlsplit(address)
        found = {part for part in (parts.username, parts.password) if part}
    except ValueError:
        return set()
    found |= {part for part in parts.path.split("/") if len(part) >= _LEAST_IN_PATH}
    found |= {pair.partition("=")[2] for pair in parts.query.split("&")}
    return {value for value in found if len(value) >= _LEAST}


def _header_values(text: str) -> set[str]:
    """Values in `name=value,name=value`, also decoded and without the word before a token."""
    found: set[str] = set()
    for pair in text.split(","):
        value = pair.partition("=")[2].strip()
        found |= {value, unquote(value), unquote(value).rpartition(" ")[2]}
    return found


class Hiding:
    """Replaces known secrets in a text, the longest first."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: tuple[str, ...] = ()
        self.also(secrets)

    def also(self, secrets: Iterable[str]) -> None:
        """Hide these from now on as well."""
        known = {*self._secrets, *(secret for secret in secrets if len(secret) >= _LEAST)}
        self._secrets = tuple(sorted(known, key=lambda secret: (-len(secret), secret)))

    def clean(self, text: str) -> str:
        """The text without any of them."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return text


def one_line(text: str, most: int) -> str:
    """The text with every control character, line break and invisible mark written out as an
    escape, cut after `most` characters: what a terminal shows is then one line and obeys nobody."""
    cut = text if len(text) <= most else text[:most] + f"... ({len(text)} characters)"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
