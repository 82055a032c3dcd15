"""`natix-miner status` as an operator calls it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from natix_miner.cli.app import app
from natix_miner.cli.status import keep_watching
from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body
from natix_miner.watching import fetch, samples
from tests.neuron.conftest import NO_PERMIT, VALIDATOR, MinerFactory
from tests.watching.conftest import (  # noqa: F401 (served is a fixture)
    SCRAPE,
    neurons,
    row,
    served,
    write_journal,
    write_snapshot_file,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a journal and a kept snapshot, and no setting from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("MINER_METRICS_PORT", "MINER_JOURNAL", "MINER_STATE_DIR", "MINER_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    write_journal(tmp_path / "journal.sqlite3", [row(0)])
    write_snapshot_file(tmp_path / "out/miner/chain-72.json", neurons(ours=0.3, owner=0.5))
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["status", *map(str, arguments)], catch_exceptions=False)


def test_a_running_miner_is_told_in_plain_lines(folder: Path, served):  # noqa: F811
    result = run("--metrics-url", served(SCRAPE), "--journal", "journal.sqlite3")

    assert result.exit_code == 0, result.output
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert ["state", "up"] in lines
    assert ["version", "1.2.3"] in lines
    assert ["since start", "100", "93", "93.0%", "5", "2", "1"] in lines
    assert ["subnet", "72: paying"] in lines


def test_json_holds_all_of_it(folder: Path, served):  # noqa: F811
    result = run("--metrics-url", served(SCRAPE), "--journal", "journal.sqlite3", "--json")

    told = json.loads(result.stdout)
    assert told["miner"]["ready"] is True
    assert told["journal"]["queries"] == 1
    assert told["subnet"]["word"] == "paying"
    assert told["sentences"]


def test_a_miner_that_is_down_is_exit_code_1_and_the_journal_is_shown(folder: Path):
    result = run("--metrics-port", "1", "--journal", "journal.sqlite3")

    assert result.exit_code == 1
    assert result.stdout.startswith("the miner does not run, or cannot be asked")
    assert "queries\t1, 0 labelled" in result.stdout


def test_a_miner_that_warms_up_is_exit_code_1(folder: Path, served):  # noqa: F811
    scrape = SCRAPE.replace("natix_ready 1.0", "natix_ready 0.0")
    result = run("--metrics-url", served(scrape), "--journal", "journal.sqlite3")

    assert result.exit_code == 1
    assert "state\tnot ready" in result.stdout


def test_port_and_journal_are_found_where_run_finds_them(folder: Path, served):  # noqa: F811
    port = served(SCRAPE).rsplit(":", 1)[1].split("/")[0]
    Path("miner.env").write_text(f"MINER_METRICS_PORT={port}\nMINER_JOURNAL=journal.sqlite3\n")

    told = json.loads(run("--json").stdout)

    assert told["miner"]["running"] is True
    assert told["journal"]["queries"] == 1


def test_a_missing_profile_costs_the_journal_and_nothing_else(folder: Path, served):  # noqa: F811
    told = json.loads(run("--metrics-url", served(SCRAPE), "--profile", "no.yaml", "--json").stdout)

    assert told["miner"]["running"] is True
    assert "no profile at no.yaml" in told["journal"]["why"]


def test_a_wrong_option_is_refused(folder: Path):
    result = run("--metrics-port", "many")

    assert result.exit_code == 2
    assert "--metrics-port" in result.stderr


@pytest.fixture(scope="module")
def miner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MinerFactory, str]]:
    """A real miner with a double of a judge, asked twice by its validator and once by a stranger;
    and the port of its metrics."""
    factory = MinerFactory(tmp_path_factory.mktemp("miner"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    try:
        running = factory.start("echo", metrics_port=port)
        for key, picture, status in (
            (VALIDATOR, b"\xc0 a picture", 200),
            (VALIDATOR, b"none", 422),
            (NO_PERMIT, b"\xc0 a picture", 403),
        ):
            headers = signed_headers(key, running.hotkey, time.time_ns())
            request = http_request(headers, synapse_body(picture))
            assert asyncio.run(exchange(*running.address, request))[0] == status
        yield factory, port
    finally:
        factory.end_all()


def told_of(miner: tuple[MinerFactory, str]) -> dict[str, Any]:
    factory, port = miner
    result = run(
        "--metrics-port", port, "--journal", factory.folder / "journal.sqlite3",
        "--chain-snapshot", factory.snapshot, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_a_real_miner_is_told_by_its_own_metrics_and_journal(miner):
    for _ in range(50):  # the journal is written behind the answer
        told = told_of(miner)
        if told["windows"][0]["queries"] == 2:
            break
        time.sleep(0.1)

    assert told["miner"]["ready"] is True
    assert told["miner"]["profile"] == "double"
    assert abs(told["at"] - told["miner"]["since"]) < 60
    hour, *_, start = told["windows"]
    for window in (hour, start):  # journal and metrics tell the same
        assert (window["queries"], window["answered"], window["picture_errors"]) == (2, 1, 1)
    assert [v["hotkey"] for v in told["validators"]] == [VALIDATOR.ss58_address]
    assert told["refusals"] == {"no-permit": 1}
    assert (told["chain"]["uid"], told["chain"]["state"]) == (7, "fresh")
    assert told["journal"]["losses"] == {}
    assert told["latency"]["queries"] == 1


def test_every_metric_that_status_reads_is_one_of_the_miner(miner):
    """But those of servers and experts, which a double of a judge has none of."""
    _, port = miner
    shown = fetch(f"http://127.0.0.1:{port}/metrics")
    source = "".join(path.read_text() for path in Path(samples.__file__).parent.glob("*.py"))
    names = set(re.findall(r'"(natix_[a-z_]+)"', source))
    assert len(names) > 20
    missing = {name for name in names if not list(shown.all(name))}
    assert {name for name in missing if not re.search("server|expert|breaker|losses", name)} <= {
        "natix_level_total"
    }


def test_watching_looks_again_until_it_is_interrupted():
    looks, shown, pauses = iter(["first", "second", "third"]), [], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    last = keep_watching(lambda: next(looks), lambda r, _: shown.append(r), 5.0, sleep)

    assert shown == ["first", "second", "third"]
    assert (last, pauses) == ("third", [5.0, 5.0, 5.0])
