"""Starting, stopping and what goes wrong with both, on a real process with a double for a judge."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from natix_miner.cli.run import serve
from natix_miner.errors import (
    AddressError,
    ConfigurationError,
    ProfileError,
    SnapshotError,
    WalletError,
)
from natix_miner.journal import Journal
from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body

ROOT = Path(__file__).parent.parent.parent


def request_from(key, miner, picture=b"\x40picture", label=-1):
    headers = signed_headers(key, miner.hotkey, time.time_ns())
    return http_request(headers, synapse_body(picture, label))


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_one_ready_line_an_answer_in_journal_and_log_and_a_clean_end(miners, keys, number):
    miner = miners.start("echo")
    assert miner.uid == "7"
    assert miner.hotkey == miners.hotkey
    assert "profile=double" in miner.ready_line

    status, _ = await exchange(*miner.address, request_from(keys["validator"], miner, label=1))
    assert status == 200
    assert children_of(miner.process.pid) == []
    begun = time.monotonic()
    assert miner.stop(number) == 0
    assert time.monotonic() - begun < 5.0

    with Journal(miners.folder / "journal.sqlite3") as journal:
        (entry,) = journal.entries()  # the rehearsal left no mark
        assert (entry.prediction, entry.picture(), entry.label) == (0.25, b"\x40picture", 1)
    traces = [line["trace"] for line in miner.json_log() if "trace" in line]
    assert [trace["answer"]["prediction"] for trace in traces] == [0.25]
    assert traces[0]["query"]["asked_by"] == keys["validator"].ss58_address
    assert "QHBpY3R1cmU" not in (miners.folder / "miner.jsonl").read_text()  # no picture in a log
    assert miner.process.stdout.read() == ""  # nothing but the ready line on stdout


async def test_while_stopping_what_is_in_flight_is_answered_and_the_rest_refused(miners, keys):
    miner = miners.start("blocking")
    in_flight = asyncio.create_task(
        exchange(*miner.address, request_from(keys["validator"], miner))
    )
    await asyncio.sleep(0.3)

    miner.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.2)
    late, reply = await exchange(*miner.address, request_from(keys["validator"], miner))
    status, answer = await in_flight

    assert (late, reply["message"]) == (503, "the miner is stopping")
    assert (status, answer["prediction"]) == (200, 0.75)
    assert miner.process.wait(10) == 0


async def test_what_does_not_end_in_time_is_refused_and_the_process_ends(miners, keys):
    miners.limits = {"drain_seconds": 3.0}
    miner = miners.start("stuck")
    in_flight = asyncio.create_task(
        exchange(*miner.address, request_from(keys["validator"], miner))
    )
    await asyncio.sleep(0.3)

    begun = time.monotonic()
    miner.process.send_signal(signal.SIGTERM)
    status, reply = await in_flight

    assert (status, reply["message"]) == (503, "the miner is stopping")
    assert await asyncio.to_thread(miner.process.wait, 10) == 0
    assert time.monotonic() - begun < 6.0


async def test_a_second_signal_ends_the_process_at_once(miners, keys):
    miner = miners.start("stuck")
    in_flight = asyncio.create_task(
        exchange(*miner.address, request_from(keys["validator"], miner))
    )
    await asyncio.sleep(0.3)
    miner.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    assert miner.process.poll() is None

    assert await asyncio.to_thread(miner.stop, signal.SIGTERM, 3.0) == 128 + signal.SIGTERM
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await in_flight


def test_a_thread_that_hangs_does_not_keep_the_process_and_a_coldkey_is_warned_about(miners):
    (miners.folder / "wallets" / "miner" / "coldkey").write_text("{}")
    miner = miners.start("hanging-thread")
    assert "keep the coldkey on another machine" in miner.log()
    assert miner.stop(signal.SIGTERM, 8.0) == 0
    assert "leaving without threads that hang: hanging" in miner.log()


async def test_a_stuck_judge_gives_no_answer_in_time_and_says_so(miners, keys):
    miners.deadline_seconds = 1.0
    miner = miners.start("stuck")
    begun = time.monotonic()

    status, reply = await exchange(*miner.address, request_from(keys["validator"], miner))

    assert (status, reply["prediction"]) == (200, -1.0)
    assert 1.0 <= time.monotonic() - begun < 2.5
    (trace,) = [line["trace"] for line in miner.json_log() if "trace" in line]
    assert trace["answer"] == {"prediction": -1.0, "reason": "judge-stuck", "level": None}


async def test_the_snapshot_file_is_followed_while_serving(miners, keys):
    miner = miners.start("quick")
    content = json.loads(miners.snapshot.read_text())
    full = content["neurons"]
    await until_status(miner, keys, 200)

    miners.snapshot.write_text("{broken")  # the last good one stays in use
    await until(lambda: "chain fails" in miner.log())
    await until_status(miner, keys, 200)
    miners.snapshot.write_text(json.dumps({**content, "block": 2, "neurons": full[1:2]}))
    await until_status(miner, keys, 403)
    miners.snapshot.write_text(json.dumps({**content, "block": 3, "neurons": full}))
    await until_status(miner, keys, 200)

    assert miner.stop() == 0
    log = miner.log()
    assert log.count("chain fails") == 1
    assert log.count("is not registered on subnet 72") == 1  # ourselves, told once
    assert log.count("registered on subnet 72 as uid 7") == 2


async def until(condition, seconds=8.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.05)


async def until_status(miner, keys, wanted, seconds=8.0):
    give_up = time.monotonic() + seconds
    while True:
        status, _ = await exchange(*miner.address, request_from(keys["validator"], miner))
        if status == wanted:
            return
        assert time.monotonic() < give_up, f"still {status}, not {wanted}"
        await asyncio.sleep(0.1)


async def test_metrics_are_served_on_loopback(miners, keys):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    miner = miners.start("echo", metrics_port=str(port))
    for key, picture in (
        (keys["validator"], b"\x40a"),
        (keys["validator"], b"none"),
        (keys["stranger"], b"x"),
    ):
        await exchange(*miner.address, request_from(key, miner, picture))

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        text = page.read().decode()

    assert "keep the coldkey on another machine" not in miner.log()
    assert 'natix_queries_total{outcome="answered",validator="0"} 1.0' in text
    assert 'natix_picture_errors_total{reason="not-a-picture"} 1.0' in text
    assert 'natix_refusals_total{reason="unregistered",status="403"} 1.0' in text
    assert "natix_registered 1.0" in text
    assert miner.stop() == 0


def test_a_taken_port_ends_the_process_with_code_2_and_one_clear_line(miners):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        process = miners.popen("quick", axon_port=port)
        code = process.wait(20)
    log = " ".join((miners.folder / "miner.log").read_text().split())  # the terminal wraps lines
    assert code == 2
    assert f"port {port} on 127.0.0.1 is taken by another process" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"axon_host": "203.0.113.7"}, AddressError, "cannot listen on 203.0.113.7"),
        ({"axon_host": "no such host"}, AddressError, "is no address of this machine"),
        ({"axon_port": "axon"}, ConfigurationError, "--axon-port"),
        ({"wallet_name": "nobody"}, WalletError, "no hotkey at"),
        ({"chain_snapshot": "/nowhere/c.json"}, SnapshotError, "chain snapshot /nowhere/c.json"),
        ({"netuid": "323"}, SnapshotError, "is of subnet 72, not 323"),
        ({"profile": "/nowhere/profile.yaml"}, ProfileError, "no profile at"),
        ({"log_file": "/proc/none/miner.jsonl"}, ConfigurationError, "--log-file"),
    ],
)
def test_what_is_wrong_at_start_is_told(miners, quiet_logs, changes, error, said):
    options = miners.options(**changes)
    flags = {
        name.removeprefix("--").replace("-", "_"): value
        for name, value in zip(options[::2], options[1::2], strict=True)
    }
    with pytest.raises(error, match=said):
        serve(flags, None, make_judge=lambda _: None)


def test_the_script_that_operators_start_takes_the_same_options():
    done = subprocess.run(
        [sys.executable, str(ROOT / "neurons" / "miner.py"), "--help"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"COLUMNS": "200", "PATH": "/usr/bin"},
    )
    assert done.returncode == 0, done.stderr
    for flag in ("--profile", "--chain-snapshot", "--axon-port"):
        assert flag in done.stdout


async def test_without_an_answer_of_the_chain_the_kept_snapshot_serves_and_stopping_is_quick(
    miners, keys
):
    (miners.folder / "state").mkdir()
    miners.snapshot.rename(miners.folder / "state" / "chain-72.json")
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts nobody, answers nothing
        endpoint = f"ws://127.0.0.1:{mute.getsockname()[1]}"
        miner = miners.start(
            "quick", "--no-publish-axon", chain_snapshot=None, chain_endpoint=endpoint
        )
        assert miner.uid == "7"
        status, _ = await exchange(*miner.address, request_from(keys["validator"], miner))
        assert status == 200
        assert "starting with the chain snapshot of block 1" in miner.log()

        begun = time.monotonic()
        assert await asyncio.to_thread(miner.stop) == 0  # in the middle of a fetch
        assert time.monotonic() - begun < 6.0


async def test_without_any_snapshot_everybody_is_told_so(miners, keys):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        endpoint = f"ws://127.0.0.1:{probe.getsockname()[1]}"  # refuses once the probe is closed
    miner = miners.start("quick", "--no-publish-axon", chain_snapshot=None, chain_endpoint=endpoint)
    assert miner.uid == "-"

    status, reply = await exchange(*miner.address, request_from(keys["validator"], miner))

    assert (status, reply["message"]) == (503, "no snapshot of the chain yet")
    await until(lambda: "chain fails" in miner.log(), 15.0)
    assert "snapshot in use: none" in miner.log()
    assert miner.stop() == 0
