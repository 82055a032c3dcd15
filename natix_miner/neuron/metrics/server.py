"""The small HTTP server behind --metrics-port: /metrics, /healthz, /readyz and nothing else.

It runs in threads of its own, so that it answers while the axon's loop hangs. GET and HEAD only,
one request a connection, few connections at a time and none for long."""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loguru import logger
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from natix_miner.clock import Clock
from natix_miner.errors import AddressError
from natix_miner.neuron.health import Health

#: Connections at a time, and seconds that each has in all.
MOST_CONNECTIONS = 16
CONNECTION_SECONDS = 10.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered to one request."""

    status: int
    content_type: str
    body: bytes

    @classmethod
    def of(cls, status: int, document: Mapping[str, Any]) -> Page:
        """A page of one line of JSON."""
        return cls(status, "application/json", json.dumps(document).encode() + b"\n")


#: From the header Accept to a page.
MakePage = Callable[[str], Page]


def serve_watching(
    host: str, port: int, registry: CollectorRegistry, health: Health, clock: Clock
) -> Callable[[], None]:
    """Serve the three pages; returns what stops it. Raises AddressError."""

    def metrics(accept: str) -> Page:
        encode, content_type = choose_encoder(accept)
        return Page(200, content_type, encode(registry))

    pages = {
        "/metrics": metrics,
        "/healthz": lambda _: _healthz(health),
        "/readyz": lambda _: _readyz(health),
    }
    try:
        server = _Server(host, port, pages, clock)
    except OSError as error:
        raise AddressError(
            f"metrics cannot be served on {host}:{port} ({error.strerror}); give another"
            " --metrics-port, and as --metrics-host an address of this machine"
        ) from error
    thread = threading.Thread(
        target=server.serve_forever, args=(_POLL_SECONDS,), name="watching", daemon=True
    )
    thread.start()

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(2.0)

    return close


def _healthz(health: Health) -> Page:
    found = health.liveness()
    document: dict[str, Any] = {"alive": found.alive, "phase": health.phase.value}
    if found.seconds is None:
        document["reason"] = "the loop of the axon does not answer"
    else:
        document["loop_ms"] = round(found.seconds * 1000.0, 3)
    return Page.of(200 if found.alive else 503, document)


def _readyz(health: Health) -> Page:
    found = health.readiness()
    return Page.of(
        200 if found.ready else 503,
        {"ready": found.ready, "reasons": found.reasons, "degraded": found.degraded},
    )


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "natix-miner", ""
    timeout = CONNECTION_SECONDS

    def do_GET(self) -> None:
        make = self.server.pages.get(self.path.partition("?")[0])
        if make is None:
            page = Page.of(404, {"error": "unknown page", "pages": [*self.server.pages]})
        else:
            page = make(self.headers.get("Accept", ""))
        self._send(page)

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._send(Page.of(405, {"error": f"no {self.command} here; use GET"}), Allow="GET, HEAD")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _send(self, page: Page, **headers: str) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody wants a line a scrape."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, pages: Mapping[str, MakePage], clock: Clock) -> None:
        self.pages = pages
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[int, tuple[socket.socket, float]] = {}
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self.address_family = family
        super().__init__((str(address[0]), int(address[1])), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: that asks the resolver for the name of the address, which may hang.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._open) >= MOST_CONNECTIONS
            if not full:
                give_up_at = self._clock.monotonic() + CONNECTION_SECONDS
                self._open[id(request)] = (request, give_up_at)
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(id(request), None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Hang up on those whose time is over; called at every poll."""
        now = self._clock.monotonic()
        with self._lock:
            late = [key for key, (_, give_up_at) in self._open.items() if now >= give_up_at]
            for key in late:
                _hang_up(self._open.pop(key)[0])

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if isinstance(error, OSError):
            logger.debug("a reader of the metrics went away ({!r})", error)
        else:
            logger.opt(exception=error).error("a page of the metrics could not be made")


def _hang_up(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        logger.debug("a reader of the metrics was gone already")
