"""Connections to a server: kept ones for every request, a fresh one where a kept one broke."""

from __future__ import annotations

import ssl

import httpx

#: Servers close idle connections after 5 s (uvicorn); ours are given up before that, so that a
#: request does not meet a connection that is just being closed.
_IDLE_SECONDS = 4.0
_KEPT = httpx.Limits(
    max_connections=None, max_keepalive_connections=64, keepalive_expiry=_IDLE_SECONDS
)
_FRESH = httpx.Limits(max_connections=None, max_keepalive_connections=0)
#: Mark of a request that must not use a kept connection.
FRESH = "natix_fresh"


class Pools(httpx.AsyncBaseTransport):
    """Sends requests marked FRESH over a connection of their own, all others over kept ones."""

    def __init__(self, *, secure: bool) -> None:
        # Loading the certificates takes 20 ms, and a bare context without any refuses them all.
        context = (
            ssl.create_default_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
        self._kept = httpx.AsyncHTTPTransport(verify=context, limits=_KEPT, trust_env=False)
        self._fresh = httpx.AsyncHTTPTransport(verify=context, limits=_FRESH, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        pool = self._fresh if FRESH in request.extensions else self._kept
        return await pool.handle_async_request(request)

    async def aclose(self) -> None:
        await self._kept.aclose()
        await self._fresh.aclose()
