"""A double of the NATIX application server: a real HTTP server on loopback that behaves as
upstream's documents described it until February 2026, and badly on request.

By hand, its address on the first line of its output:
    python -m tests.registration.natix_double pending pending succeeded
Words: a status to give, one a question, the last one for ever; `failed:REASON`, `500`, `404`,
`not-json`, `list`, `large`, `redirect`, `slow`, `cut`.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bittensor_wallet import Keypair

SLOW_SECONDS = 1.0


class NatixServerDouble:
    """`posts` are the bodies that came and were signed rightly, `refused` what was wrong with the
    others, `questions` the uids asked for. `on_post` is the word for the answer to a post."""

    def __init__(self, *words: str, on_post: str = "ok") -> None:
        self.words = list(words) or ["succeeded"]
        self.on_post = on_post
        self.posts: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.questions: list[int] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> NatixServerDouble:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve_for_ever(self) -> None:
        self._server.serve_forever()

    def next_word(self) -> str:
        return self.words.pop(0) if len(self.words) > 1 else self.words[0]


def wrong_with(body: dict[str, Any]) -> str:
    """What the described server would refuse a registration for; "" when it is right."""
    fields = {"uid", "message", "natix_public_key", "natix_signature", "type", "model_repo"}
    if set(body) != fields:
        return f"fields {sorted(set(body) ^ fields)}"
    if body["type"] != "miner" or not isinstance(body["uid"], int):
        return "type or uid"
    if not re.fullmatch(r"[0-9]{10}", body["message"]):
        return "message is not a unix timestamp"
    if not re.fullmatch(r"[0-9a-f]{128}", body["natix_signature"]):
        return "signature is not 128 hex digits"
    key = Keypair(ss58_address=body["natix_public_key"])
    if not key.verify(body["message"].encode(), bytes.fromhex(body["natix_signature"])):
        return "invalid signature"
    return ""


def _handler(double: NatixServerDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # One packet an answer: two would wait 40 ms for each other.

        def log_message(self, *arguments: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/participants/register":
                return self._give(404, b"no such thing")
            if wrong := wrong_with(body):
                double.refused.append(wrong)
                return self._json(401, {"error": wrong})
            double.posts.append(body)
            if double.on_post == "ok":
                return self._json(200, {"message": "registration started"})
            return self._badly(double.on_post)

        def do_GET(self) -> None:
            found = re.fullmatch(r"/participants/registration-status/(\d+)", self.path)
            if found is None:
                return self._give(404, b"no such thing")
            double.questions.append(int(found[1]))
            word = double.next_word()
            if word.startswith(("failed", "error")):
                status, _, reason = word.partition(":")
                return self._json(200, {"status": status, "error_message": reason or None})
            return self._badly(word)

        def _badly(self, word: str) -> None:
            if word.isdigit():
                return self._give(int(word), b"<h1>Trouble</h1>\x1b[31m" + b"x" * 5000)
            if word == "not-json":
                return self._give(200, b"<html>Welcome to this hotel</html>")
            if word == "list":
                return self._give(200, b"[1, 2]")
            if word == "large":
                return self._give(200, b'{"status": "' + b"x" * 200_000 + b'"}')
            if word == "redirect":
                return self._give(307, b"", location="http://elsewhere.example/register")
            if word == "slow":
                double.closing.wait(SLOW_SECONDS)
                return self._json(200, {"status": "pending"})
            if word == "cut":
                self.close_connection = True
                return None
            return self._json(200, {"status": word})

        def _json(self, status: int, body: dict[str, Any]) -> None:
            self._give(status, json.dumps(body).encode())

        def _give(self, status: int, content: bytes, location: str | None = None) -> None:
            try:
                self.send_response(status)
                if location is not None:
                    self.send_header("Location", location)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    return Handler


if __name__ == "__main__":
    by_hand = NatixServerDouble(*sys.argv[1:])
    print(by_hand.url, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        by_hand.serve_for_ever()
