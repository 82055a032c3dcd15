"""A stand-in for a server of vision-language models: a real process on a real socket, no model.

Speaks as much of vLLM's HTTP as the client and the canary need, answers every picture with the same
masses, and misbehaves on request: at start by its options, later by `POST /stand-in` with one of
the behaviours as body. Like the real ones it says 200 at /health whatever its engine does. Standard
library only, so that it is up in a tenth of a second:

    python -I -S stand_in_server.py --port 8000 [options]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: `right` answers; `hang` never does; `slow` after a second; `garbage`, `bare` (without
#: log-probabilities), `refuse` (400), `full` (503) and `broken` (500) answer wrongly; `die` ends.
BEHAVIOURS = ("right", "hang", "slow", "garbage", "bare", "refuse", "full", "broken", "die")
WORDS = {"yes": 10, "Yes": 11, " yes": 13, "no": 20, "No": 21, " no": 23}
MASS = {10: 0.6, 11: 0.05, 13: 0.05, 20: 0.2, 21: 0.02, 23: 0.02}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, else each answer waits for an acknowledgement
    behaviour = "right"
    key = ""

    def do_GET(self) -> None:
        self._send(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/stand-in":
            type(self).behaviour = body.decode()
            self._send(200, b"")
        elif self.headers.get("Authorization") != f"Bearer {self.key}":
            self._send(401, b'{"error": "Unauthorized"}')
        elif self.path == "/tokenize":
            self._tokenize(json.loads(body))
        elif self.path == "/v1/chat/completions":
            self._complete(json.loads(body))
        else:
            self._send(404, b"{}")

    def _tokenize(self, asked: dict) -> None:
        tokens = [WORDS[asked["prompt"]]] if asked["prompt"] in WORDS else [1, 2]
        texts = [asked["prompt"]] if len(tokens) == 1 else ["?", "?"]
        self._send(200, json.dumps({"tokens": tokens, "token_strs": texts}).encode())

    def _complete(self, asked: dict) -> None:
        if self.behaviour == "die":
            os._exit(0)
        if self.behaviour == "hang":
            time.sleep(3600.0)
        if self.behaviour == "slow":
            time.sleep(1.0)
        statuses = {"refuse": 400, "full": 503, "broken": 500}
        if self.behaviour in statuses:
            self._send(statuses[self.behaviour], b'{"error": {"message": "as told"}}')
        elif self.behaviour == "garbage":
            self._send(200, b"<html>")
        else:
            rows = [
                {"token": f"token_id:{token}", "logprob": math.log(MASS[token])}
                for token in asked["logprob_token_ids"]
            ]
            logprobs = None if self.behaviour == "bare" else {"content": [{"top_logprobs": rows}]}
            choice = {"index": 0, "message": {"content": "yes"}, "logprobs": logprobs}
            self._send(200, json.dumps({"choices": [choice]}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def start_engine(shared: str, unmarked: bool) -> None:
    """A child as vLLM's EngineCore is: with a file in shared memory, and living on when its parent
    is killed."""
    code = (
        "import mmap, os, time\n"
        f"name = {shared!r}\n"
        "if name:\n"
        "    file = os.open('/dev/shm/' + name, os.O_RDWR | os.O_CREAT, 0o600)\n"
        "    os.ftruncate(file, 4096)\n"
        "    held = mmap.mmap(file, 4096)\n"
        "print('engine', os.getpid(), flush=True)\n"
        "time.sleep(3600)\n"
    )
    environment = {} if unmarked else dict(os.environ)
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], env=environment
    )  # ignores what we do


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--behave", choices=BEHAVIOURS, default="right")
    parser.add_argument("--fail", help="print this and end with code 1")
    parser.add_argument("--fail-until", help="only while this file is not there")
    parser.add_argument("--listen-after", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--engine", action="store_true", help="start a child as vLLM does")
    parser.add_argument("--shared", default="", help="file of the child in /dev/shm")
    parser.add_argument("--unmarked", action="store_true", help="the child has no environment")
    parser.add_argument("--stubborn", action="store_true", help="deaf to SIGTERM, its child too")
    parser.add_argument("--print-lines", type=int, default=0)
    options = parser.parse_args()
    for number in range(options.print_lines):
        print(f"line {number} {'x' * 80}")
    if options.fail and not (options.fail_until and os.path.exists(options.fail_until)):
        print(options.fail, file=sys.stderr)
        return 1
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    if options.engine:
        start_engine(options.shared, options.unmarked)
    time.sleep(options.listen_after)
    Handler.behaviour = options.behave
    Handler.key = os.environ.get("VLLM_API_KEY", "")
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print("listening", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
