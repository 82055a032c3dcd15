"""Parts that the tests of watching share: a real journal file, a snapshot, a served scrape."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from natix_miner.journal import Row
from natix_miner.journal.connection import open_for_writing
from natix_miner.journal.rows import Label, insert

NOW = 1_800_000_000.0
ALICE, BOB = "5Alice", "5Bob"

SCRAPE = """\
# TYPE natix_build_info gauge
natix_build_info{version="1.2.3",profile="embedded",digest="0c1f"} 1.0
natix_ready 1.0
natix_start_time_seconds 1799992800.0
natix_in_flight 2.0
# TYPE natix_queries_total counter
natix_queries_total{outcome="answered",validator="0"} 90.0
natix_queries_total{outcome="answered",validator="other"} 3.0
natix_queries_total{outcome="no-answer",validator="0"} 5.0
natix_queries_total{outcome="picture-error",validator="0"} 2.0
natix_late_total 1.0
# TYPE natix_answer_seconds histogram
natix_answer_seconds_bucket{le="0.1"} 50.0
natix_answer_seconds_bucket{le="0.2"} 90.0
natix_answer_seconds_bucket{le="7.0"} 100.0
natix_answer_seconds_bucket{le="+Inf"} 100.0
natix_answer_seconds_sum 20.0
natix_answer_seconds_count 100.0
natix_level_total{level="fast"} 80.0
natix_level_total{level="close"} 20.0
natix_expert_total{expert="net",status="ok"} 99.0
natix_expert_total{expert="net",status="timeout"} 1.0
natix_expert_seconds_bucket{expert="net",le="0.01"} 0.0
natix_expert_seconds_bucket{expert="net",le="0.02"} 100.0
natix_expert_seconds_bucket{expert="net",le="+Inf"} 100.0
natix_expert_reliability{expert="net"} 0.5
natix_expert_drifted{expert="net"} 1.0
natix_expert_agreement{expert="net"} 0.9
natix_breaker_open{expert="net"} 0.0
natix_server_up{server="vlm"} 0.0
natix_server_state{server="vlm",state="up"} 0.0
natix_server_state{server="vlm",state="resting"} 1.0
natix_server_restarts_total{server="vlm"} 3.0
natix_server_requests_total{server="vlm",outcome="asked"} 7.0
natix_refusals_total{status="403",reason="no-permit"} 4.0
natix_refusals_total{status="401",reason="forged"} 9.0
natix_journal_queue 3.0
natix_journal_losses_total{reason="disk-full"} 2.0
natix_chain_snapshot_age_seconds 42.0
natix_chain_state{state="fresh"} 1.0
natix_chain_state{state="stale"} 0.0
natix_registered 1.0
natix_uid 7.0
natix_incentive 0.001
natix_emission 0.25
natix_subnet_state{state="paying"} 1.0
natix_validators_permitted 2.0
"""


def trace(*experts: tuple[str, str, float]) -> str:
    """A trace as far as watching reads it: (expert, status, milliseconds)."""
    said = [{"name": name, "status": status, "ms": ms} for name, status, ms in experts]
    return json.dumps({"levels": [{"name": "fast", "experts": said}]})


def row(number: int, **changes: Any) -> Row:
    values: dict[str, Any] = {
        "id": hashlib.sha256(str(number).encode()).hexdigest()[:32],
        "sha256": "0" * 64,
        "picture_bytes": 10,
        "source": "axon",
        "asked_by": ALICE,
        "received_at": NOW - 60.0,
        "prediction": 0.9,
        "reason": "sure",
        "level": "fast",
        "late": False,
        "error": None,
        "total_ms": 100.0,
        "profile": "embedded:0c1f",
        "miner": "1.2.3",
        "trace": trace(("net", "ok", 10.0)),
        "picture": None,
    }
    return Row(**{**values, **changes})


def write_journal(path: Path, rows: list[Row]) -> Path:
    connection = open_for_writing(path)
    connection.execute("BEGIN")
    insert(connection, rows)
    connection.execute("COMMIT")
    connection.close()
    return path


def labelled(truth: int) -> tuple[Label, ...]:
    return (Label(truth, "testnet", NOW),)


def write_snapshot_file(path: Path, neurons: list[dict[str, Any]], block: int = 100_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"netuid": 72, "block": block, "neurons": neurons}))
    return path


def neurons(*, ours: float, owner: float, updated: int = 99_990) -> list[dict[str, Any]]:
    """A validator that set weights at block `updated`, the owner's uid and ours (7)."""
    base = {"stake": 1.0, "validator_permit": False, "ip": "8.8.8.8", "port": 8091}
    return [
        {**base, "uid": 0, "hotkey": ALICE, "validator_permit": True, "last_update": updated},
        {**base, "uid": 1, "hotkey": "5Owner", "incentive": owner},
        {**base, "uid": 7, "hotkey": "5Ours", "incentive": ours, "emission": 0.5},
    ]


@pytest.fixture(scope="module")
def served() -> Iterator[Callable[[str], str]]:
    """Serves a text as /metrics on loopback; a double of the miner's own endpoint."""
    servers: list[ThreadingHTTPServer] = []

    def serve(text: str, status: int = 200) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = text.encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/metrics"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
