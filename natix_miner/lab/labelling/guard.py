"""Who may speak with the page's server: only who knows the token, and only under a local name."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN_HEADER = "x-label-token"
#: The page may load what its own server gives it and nothing else in the world.
POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src 'nonce-{nonce}'; "
    "style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Guard:
    """Refuses with 403 what comes without the token or under a name that is not this machine's.

    A page of another site can make a browser send requests here, and by rebinding a name of its own
    to 127.0.0.1 even read the answers: then the Host header is that name. Requests that change
    something need the token in a header, which no other site can set without permission; reading
    may bring it in the address, because a picture's address has no headers.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse

        refusal = self._refusal(scope)
        if refusal:
            await PlainTextResponse(refusal, status_code=403)(scope, receive, send)
            return

        async def with_headers(message):  # type: ignore[no-untyped-def]
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> str:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value.lower() for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return "this page answers to 127.0.0.1 only: open the address that was printed\n"
        given = [value for name, value in headers if name == TOKEN_HEADER.encode()]
        if not given and scope["method"] in ("GET", "HEAD"):
            asked = parse_qs(scope["query_string"], max_num_fields=20)
            given = asked.get(b"token", [])
        if len(given) != 1 or not hmac.compare_digest(given[0], self._token):
            return "the token is missing or wrong: open the address that was printed\n"
        return ""
