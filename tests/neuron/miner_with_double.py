"""A miner process whose judge is a double; everything else is real. Run by tests as a script.

Arguments: kind of double, then the options of `natix-miner run`. Kinds:
  quick      answers 0.25 at once
  echo       answers (first byte of the picture) / 256, refuses the picture b"none"
  blocking   blocks its own thread for 2 s a query, answers 0.75
  stuck      never answers
  raising    raises
  leaky      raises an error that holds the picture, a secret, or what a terminal would obey
  hanging-thread  answers at once and leaves a non-daemon thread behind that never ends
  real       no double at all: the judge of the profile
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

from natix_miner import cli
from natix_miner.cascade.trace import Answer, QueryTrace, Trace
from natix_miner.cascade.verdict import Verdict
from natix_miner.cli import run as run_module
from natix_miner.errors import NotAPictureError
from natix_miner.judge import JudgeThread
from natix_miner.query import Query


class JudgeDouble:
    """Stands for a judge."""

    servers = None
    consensus_version = "double"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    async def start(self) -> None:
        if self._kind == "hanging-thread":
            threading.Thread(target=threading.Event().wait, name="hanging", daemon=False).start()

    async def judge(self, query: Query) -> Verdict:
        probability, error = 0.25, None
        if query.source != "rehearsal":
            if self._kind == "blocking":
                time.sleep(2.0)
                probability = 0.75
            elif self._kind == "stuck":
                await asyncio.Event().wait()
            elif self._kind == "raising":
                raise ZeroDivisionError("a fault of the double")
            elif self._kind == "leaky":
                raise _indiscreet(query)
            elif self._kind == "echo":
                probability = query.picture[0] / 256
                if query.picture == b"none":
                    probability, error = None, NotAPictureError("not a picture: send a JPEG")
        return Verdict(query, probability, _trace(query, probability), error)

    async def close(self) -> None:
        pass

    def swap_consensus(self, consensus, drift) -> None:
        self.consensus_version = consensus.version

    def standings(self):
        return {}


def _indiscreet(query: Query) -> Exception:
    errors = {
        b"p": UnicodeDecodeError("utf-8", query.picture, 0, 1, "invalid start byte"),
        b"s": RuntimeError(f"the hub said no to {os.environ['HF_TOKEN']}"),
        b"t": ValueError(
            "a fault\x1b[2J\x1b]0;title\x07\n12:00:00 INFO    all is well\r\u202etxet"
        ),
    }
    return errors[query.picture[:1]]


def _trace(query: Query, probability: float | None) -> Trace:
    return Trace(
        query=QueryTrace.of(query),
        picture=None,
        levels=(),
        answer=Answer(
            prediction=-1.0 if probability is None else probability, reason="double", level=None
        ),
        stages_ms={"total": 1.0},
        versions={},
    )


def main() -> None:
    kind = sys.argv.pop(1)
    serve = run_module.serve

    def serve_double(flags, env_file, make_judge=None):
        return serve(flags, env_file, make_judge=lambda _: JudgeThread(JudgeDouble(kind)))

    if kind != "real":
        run_module.serve = serve_double
    sys.argv[1:1] = ["run"]
    cli.main()


if __name__ == "__main__":
    main()
