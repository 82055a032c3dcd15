"""The NATIX application server: one request at a time, bounded in time and size.

The interface is the one that upstream's documents described until February 2026."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from typing import Any

import httpx

from natix_miner.errors import NatixServerError

#: Seconds for one request with its answer, connecting included.
REQUEST_SECONDS = 20.0
#: An answer is a handful of words.
_MAX_ANSWER_BYTES = 65536
_EXCERPT = 200


@dataclass(frozen=True, slots=True)
class Status:
    """What the server says of a registration: its word in lower case, its reason or ""."""

    word: str
    error_message: str


class NatixServer:
    """The server at `base_url`, without a slash at the end (names.check_base_url)."""

    def __init__(
        self, client: httpx.AsyncClient, base_url: str, request_seconds: float = REQUEST_SECONDS
    ) -> None:
        self._client = client
        self._base = base_url
        self._seconds = request_seconds

    async def post_registration(self, body: dict[str, Any]) -> dict[str, Any]:
        """Post a registration once; the server's JSON object. Raises NatixServerError."""
        return await self._ask("POST", "/participants/register", body)

    async def registration_status(self, uid: int) -> Status:
        """How the registration of a uid stands. Raises NatixServerError."""
        answer = await self._ask("GET", f"/participants/registration-status/{uid}", None)
        word = answer.get("status")
        if not isinstance(word, str) or not word.strip():
            raise NatixServerError(
                f"{self._base}: the answer has no status word: {_excerpt(json.dumps(answer))}",
                "shape",
                status=200,
            )
        said = answer.get("error_message")
        return Status(word.strip().lower(), "" if said is None else _excerpt(str(said)))

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        url = self._base + path
        try:
            async with asyncio.timeout(self._seconds):
                status, content, location = await self._exchange(method, url, body)
        except (TimeoutError, httpx.TimeoutException) as error:
            sent = not isinstance(error, httpx.ConnectTimeout)
            raise NatixServerError(
                f"{url}: no answer within {self._seconds:g} s", "timeout", sent=sent
            ) from error
        except httpx.ConnectError as error:
            raise _unreachable(url, error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NatixServerError(
                f"{url}: the connection broke ({type(error).__name__})", "network"
            ) from error
        return _object(url, status, content, location)

    async def _exchange(
        self, method: str, url: str, body: dict[str, Any] | None
    ) -> tuple[int, bytes, str]:
        content = bytearray()
        # Uncompressed: a small answer must not unfold into a large one.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._client.stream(method, url, json=body, headers=headers) as response:
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > _MAX_ANSWER_BYTES:
                    raise NatixServerError(
                        f"{url}: the answer is larger than {_MAX_ANSWER_BYTES} bytes",
                        "too-large",
                        status=response.status_code,
                    )
            return response.status_code, bytes(content), response.headers.get("location", "")


def open_client(seconds: float = REQUEST_SECONDS) -> httpx.AsyncClient:
    """A client that checks certificates and follows no redirect: a signature is for one server."""
    return httpx.AsyncClient(timeout=seconds, follow_redirects=False)


def _unreachable(url: str, error: httpx.ConnectError) -> NatixServerError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return NatixServerError(
                f"{url}: no trusted TLS connection ({_excerpt(str(cause))}); check --base-url and"
                " the machine's clock",
                "tls",
                sent=False,
            )
        cause = cause.__cause__ or cause.__context__
    return NatixServerError(
        f"{url}: no connection ({_excerpt(str(error))}); check --base-url and the network",
        "refused",
        sent=False,
    )


def _object(url: str, status: int, content: bytes, location: str) -> dict[str, Any]:
    text = content.decode("utf-8", "replace")
    if 300 <= status < 400:
        raise NatixServerError(
            f"{url}: HTTP {status}, it wants to send us to {_excerpt(location) or 'nowhere'}; not"
            " followed: give that as --base-url if you trust it",
            "redirect",
            status=status,
        )
    if not 200 <= status < 300:
        raise NatixServerError(
            f"{url}: HTTP {status}: {_excerpt(text) or '(empty)'}", "http-status", status=status
        )
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise NatixServerError(
            f"{url}: the answer is not JSON: {_excerpt(text) or '(empty)'}",
            "not-json",
            status=status,
        ) from None
    if not isinstance(answer, dict):
        raise NatixServerError(
            f"{url}: the answer is not a JSON object: {_excerpt(text)}", "shape", status=status
        )
    return answer


def _excerpt(text: str) -> str:
    """One printable line of bounded length: what a server sends goes to a terminal."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"
