"""Runs a real miner under the real pm2 and breaks it: start, kill -9, reload, bad settings, stop.

    python scripts/try_pm2.py [--json]

Needs scripts/install_pm2.sh. pm2 gets a home of its own in a temporary folder, the miner a
throw-away wallet and a file that stands for the chain; queries are signed and go over the axon. A
pm2 that runs already is not touched. Exit code 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from natix_miner.cli.tables import show_table
from natix_miner.demo.demo import QUERIES
from natix_miner.demo.processes import (
    clean_environment,
    free_port,
    processes_of_session,
    servers_of,
)
from natix_miner.demo.wallets import HOTKEY, MINER, NETUID, VALIDATOR, make_snapshot, make_wallet
from natix_miner.neuron.client import http_request, signed_headers, synapse_body
from natix_miner.serving import procfs

ROOT = Path(__file__).resolve().parents[1]
PM2 = ROOT / ".pm2" / "node_modules" / ".bin" / "pm2"
APP, ROTATOR = "natix_miner", "natix_miner_logs"
#: pm2 writes the name of an app with a dash into those of its files.
LOGS = "natix-miner"
#: How long nobody may answer after kill -9, beyond the warm-up.
BACK_SECONDS = 15.0
WAIT_SECONDS = 60.0
#: What pm2 itself may take to end after `pm2 kill` has returned.
END_SECONDS = 5.0
#: The stream: a query each so many seconds, so long before and after the reload. The body of every
#: second one takes its time, so that some are in flight whenever the signal comes.
APART_SECONDS, AROUND_SECONDS, UPLOAD_SECONDS = 0.08, 1.5, 0.8
#: So close to the signal, or to the word that it is ready, it is open which came first: on a busy
#: machine the miner reads a request that late.
LAG_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was looked at: whether it held, and its figures."""

    what: str
    held: bool
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of the stream; moments in unix seconds. `outcome` is answered, a status of
    HTTP, unreached (nobody listened), or hung-up (the connection ended without a word)."""

    begun: float
    ended: float
    outcome: str


@dataclass(slots=True)
class Bench:
    """The folder of one trial, its miner's settings, and pm2 with a home of its own."""

    folder: Path
    port: int
    hotkey: str
    key: Any
    sessions: set[int] = field(default_factory=set)
    pictures: Iterator[int] = field(default_factory=count)

    @property
    def env_file(self) -> Path:
        """The miner's settings."""
        return self.folder / "miner.env"

    @property
    def home(self) -> Path:
        """pm2's."""
        return self.folder / "pm2"

    def pm2(self, *words: str) -> str:
        """Run pm2 to its end; what it printed."""
        done = subprocess.run(
            [str(PM2), *words],
            env={
                **clean_environment(),
                "PM2_HOME": str(self.home),
                "PM2_DISABLE_VERSION_CHECK": "true",
                "MINER_ENV_FILE": str(self.env_file),
                "MINER_PM2_LOG_SIZE": "1K",
                "MINER_PM2_LOG_INTERVAL": "1",
                "NOT_FOR_THE_MINER": "a key of something else",
            },
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        return done.stdout

    def apps(self) -> dict[str, dict[str, Any]]:
        """What pm2 says of its apps, by name: pid, status, restarts, exit code, memory."""
        said = self.pm2("jlist")
        found = {app["name"]: app for app in json.loads(said[said.index("[") :])}
        for app in found.values():
            if app["pid"]:
                self.sessions.add(app["pid"])
        return {
            name: {
                "pid": app["pid"],
                "status": app["pm2_env"]["status"],
                "restarts": app["pm2_env"]["restart_time"],
                "exit_code": app["pm2_env"].get("exit_code"),
                "memory_mb": round(app["monit"]["memory"] / 1e6),
            }
            for name, app in found.items()
        }

    def app(self) -> dict[str, Any]:
        """What pm2 says of the miner."""
        return self.apps()[APP]

    def left(self) -> list[int]:
        """Process ids that still belong to anything pm2 started here."""
        pids = {p for s in self.sessions for p in (*processes_of_session(s), *servers_of(s))}
        return sorted(pids)

    def write_settings(self, **changes: str) -> None:
        """miner.env as an operator would write it."""
        values = {
            "WALLET_NAME": MINER,
            "WALLET_HOTKEY": HOTKEY,
            "WALLET_PATH": str(self.folder / "wallets"),
            "NETUID": str(NETUID),
            "MINER_AXON_HOST": "127.0.0.1",
            "MINER_AXON_PORT": str(self.port),
            "MINER_CHAIN_SNAPSHOT": str(self.folder / "chain.json"),
            "MINER_STATE_DIR": str(self.folder / "state"),
            "MINER_JOURNAL": str(self.folder / "journal.sqlite3"),
            "MINER_LOG_FILE": str(self.folder / "miner.jsonl"),
            **changes,
        }
        self.env_file.write_text("".join(f'{name}="{value}"\n' for name, value in values.items()))

    async def ask(self, upload_seconds: float = 0.0) -> Asked:
        """One signed query over a connection of its own."""
        files = sorted(QUERIES.glob("*.jpg"))
        picture = files[next(self.pictures) % len(files)].read_bytes()
        headers = signed_headers(self.key, self.hotkey, time.time_ns())
        request = http_request(headers, synapse_body(picture))
        begun = time.time()
        outcome = "hung-up"
        try:
            async with asyncio.timeout(9.0):
                outcome = await _exchange(self.port, request, upload_seconds)
        except ConnectionRefusedError:
            outcome = "unreached"
        except (OSError, asyncio.IncompleteReadError):
            pass  # TimeoutError is an OSError too
        return Asked(begun, time.time(), outcome)


async def _exchange(port: int, request: bytes, upload_seconds: float) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        half = len(request) // 2 if upload_seconds else len(request)
        writer.write(request[:half])
        await writer.drain()
        if upload_seconds:
            await asyncio.sleep(upload_seconds)
            writer.write(request[half:])
            await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in head if line.startswith("content-length"))
        body = json.loads(await reader.readexactly(length))
        status = int(head[0].split(" ")[1])
        if status == 200:
            return "answered" if body["prediction"] >= 0.0 else "no-answer"
        return str(status)
    finally:
        writer.close()


def start(bench: Bench) -> Row:
    """pm2 start: online, and then a query is answered."""
    begun = time.monotonic()
    bench.pm2("start", str(ROOT / "scripts" / "ecosystem.config.js"))
    took = time.monotonic() - begun
    apps = bench.apps()
    app, rotator = apps[APP], apps[ROTATOR]
    asked = asyncio.run(bench.ask())
    strange = procfs.environment_value(app["pid"], "NOT_FOR_THE_MINER")
    held = app["status"] == rotator["status"] == "online" and asked.outcome == "answered"
    figures = {"seconds": took, "first_query": asked.outcome, **app}
    return Row("start: online means ready", held and strange is None, figures)


def kill(bench: Bench, warm_up: float) -> Row:
    """kill -9: answered again in time, and never called online before."""
    old = bench.app()
    os.kill(old["pid"], signal.SIGKILL)
    begun = time.time()
    too_early, answered_after = 0, None
    while time.time() < begun + BACK_SECONDS + WAIT_SECONDS:
        app = bench.app()
        asked = asyncio.run(bench.ask())
        if asked.outcome == "answered":
            answered_after = asked.ended - begun
            break
        too_early += app["status"] == "online" and app["pid"] not in (0, old["pid"])
    app = _online(bench)
    held = answered_after is not None and answered_after <= BACK_SECONDS + warm_up
    held = held and not too_early and app["restarts"] == old["restarts"] + 1
    return Row("kill -9: back", held, {"seconds": answered_after, "too_early": too_early, **app})


def _online(bench: Bench) -> dict[str, Any]:
    until = time.monotonic() + WAIT_SECONDS
    app = bench.app()
    while app["status"] != "online" and time.monotonic() < until:
        app = bench.app()
    return app


def reload(bench: Bench) -> Row:
    """pm2 reload in a stream of queries: what the miner had begun is answered, and only what was
    asked between the signal and the word that the new miner is ready may go without."""
    before = bench.app()
    asked, took = asyncio.run(_reload_in_stream(bench))
    app = _online(bench)
    told, _ = _last_said(bench, r"SIGINT received")
    stopping, in_flight = _last_said(bench, r"stopping: (\d+) requests in flight")
    ready, _ = _last_said(bench, r"rehearsal answered")
    outside = [q for q in asked if not told - LAG_SECONDS <= q.begun <= ready + LAG_SECONDS]
    answers = [q for q in asked if q.outcome == "answered"]
    drained = sum(q.begun < stopping < q.ended for q in answers)
    moments = sorted(q.ended for q in answers)
    figures = {
        "seconds": took,
        "asked": len(asked),
        **Counter(q.outcome for q in asked),
        "in_flight": int(in_flight),
        "in_flight_lost": max(0, int(in_flight) - drained),
        "answerable_lost": sum(q.outcome != "answered" for q in outside),
        "nobody_answered_seconds": max((b - a for a, b in pairwise(moments)), default=None),
        **app,
    }
    held = app["status"] == "online" and app["pid"] != before["pid"] and ready > told
    held = held and figures["in_flight"] > 0
    lost = figures["in_flight_lost"] + figures["answerable_lost"]
    return Row("reload in a stream of queries", held and not lost, figures)


async def _reload_in_stream(bench: Bench) -> tuple[list[Asked], float]:
    stop = asyncio.Event()
    streaming = asyncio.ensure_future(_stream(bench, stop))
    await asyncio.sleep(AROUND_SECONDS)
    begun = time.monotonic()
    await asyncio.to_thread(bench.pm2, "reload", APP)
    took = time.monotonic() - begun
    await asyncio.sleep(AROUND_SECONDS)
    stop.set()
    return await streaming, took


async def _stream(bench: Bench, stop: asyncio.Event) -> list[Asked]:
    asking: list[asyncio.Task[Asked]] = []
    while not stop.is_set():
        upload_seconds = UPLOAD_SECONDS if len(asking) % 2 else 0.0
        asking.append(asyncio.create_task(bench.ask(upload_seconds)))
        await asyncio.sleep(APART_SECONDS)
    return list(await asyncio.gather(*asking))


def _last_said(bench: Bench, pattern: str) -> tuple[float, str]:
    """When the miner's own log last said this, in unix seconds, and the group of the pattern."""
    for line in reversed((bench.folder / "miner.jsonl").read_text().splitlines()):
        if found := re.search(pattern, line):
            moment = datetime.fromisoformat(json.loads(line)["time"]).timestamp()
            return moment, found.group(found.re.groups)
    raise SystemExit(f"try_pm2.py: the miner's log does not say {pattern!r}")


def logs(bench: Bench) -> Row:
    """pm2's own files are rotated by size."""
    until = time.monotonic() + WAIT_SECONDS / 4
    folder = bench.home / "logs"
    while not list(folder.glob(f"{LOGS}-*__*.log")) and time.monotonic() < until:
        time.sleep(0.2)
    rotated = list(folder.glob(f"{LOGS}-*__*.log"))
    return Row("pm2's log files rotate", bool(rotated), {"rotated": len(rotated)})


def stop(bench: Bench) -> Row:
    """pm2 stop: no process of the miner is left, and it ended by itself."""
    begun = time.monotonic()
    bench.pm2("stop", APP)
    took = time.monotonic() - begun
    apps = bench.apps()
    app, rotator = apps[APP], apps[ROTATOR]
    left = [pid for pid in bench.left() if pid != rotator["pid"]]
    held = not left and app["status"] == "stopped" and app["exit_code"] == 0
    return Row("stop: nothing left", held, {"seconds": took, "left": len(left), **app})


def refuse(bench: Bench) -> Row:
    """Settings that cannot be right: told, and not tried again."""
    bench.write_settings(WALLET_NAME="")
    bench.pm2("start", APP)
    first = bench.app()
    time.sleep(1.0)  # five times the first pause
    app = bench.app()
    log = (bench.home / "logs" / f"{LOGS}-error.log").read_text()
    rotated = len(list((bench.home / "logs").glob(f"{LOGS}-error__*")))
    told = "WALLET_NAME missing" in log or rotated > 0
    bench.write_settings()
    held = (
        app["exit_code"] == 78 and app["restarts"] == first["restarts"] and not app["pid"] and told
    )
    return Row("wrong settings: no restart", held, app)


def end(bench: Bench) -> Row:
    """pm2 kill: pm2 itself is gone, and all that it started."""
    pm2 = int((bench.home / "pm2.pid").read_text())
    bench.sessions.add(pm2)
    bench.pm2("kill")
    until = time.monotonic() + END_SECONDS
    while (left := bench.left()) and time.monotonic() < until:
        time.sleep(0.1)
    return Row("pm2 kill: nothing left", not left, {"left": len(left)})


@contextmanager
def bench_in(folder: Path) -> Iterator[Bench]:
    """Wallets, chain file and settings in an empty folder; pm2 and all it started end with it."""
    miner, validator = (make_wallet(folder / "wallets", name) for name in (MINER, VALIDATOR))
    address = miner.hotkey.ss58_address
    make_snapshot(folder / "chain.json", address, validator.hotkey.ss58_address)
    (folder / "wallets" / MINER / "coldkey").unlink()
    bench = Bench(folder, free_port(), address, validator.hotkey)
    bench.write_settings()
    try:
        yield bench
    finally:
        if (bench.home / "pm2.pid").exists():
            bench.pm2("kill")
        for pid in bench.left():
            os.kill(pid, signal.SIGKILL)


def sequence(bench: Bench) -> Iterator[Row]:
    """Everything, in the order in which it is told."""
    started = start(bench)
    yield started
    yield kill(bench, started.figures["seconds"])
    yield reload(bench)
    yield logs(bench)
    yield stop(bench)
    yield refuse(bench)
    yield end(bench)


def main() -> int:
    """Exit code 0 when all of it held, 1 when not, 2 without pm2."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    if not PM2.is_file():
        print("try_pm2.py: pm2 is missing: scripts/install_pm2.sh", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="pm2-"))  # short: pm2 makes sockets below it
    try:
        with bench_in(folder) as bench:
            rows = []
            for row in sequence(bench):
                rows.append(row)
                print(f"{row.what}: {'held' if row.held else 'FAILED'}", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows]}, indent=2))
    else:
        show_table(
            ("what", "held", "figures"),
            [(row.what, "yes" if row.held else "NO", _told(row.figures)) for row in rows],
            title=f"natix_miner under {PM2.name} ({os.cpu_count()} cores)",
        )
    return 0 if all(row.held for row in rows) else 1


def _told(figures: dict[str, Any]) -> str:
    texts = [f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items()]
    return ", ".join(texts)


if __name__ == "__main__":
    sys.exit(main())
