"""`natix-miner doctor` on the real command line: a healthy miner, and faults planted on purpose."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bittensor_wallet import Wallet
from typer.testing import CliRunner

from natix_miner.cli import app
from natix_miner.cli.doctor import UNFIT
from natix_miner.journal.connection import make_journal
from natix_miner.neuron.settings import OPTIONS, RunSettings

ROOT = Path(__file__).parents[2]
CHECKS = [
    *("python", "packages", "profile", "gpu", "disk", "wallet", "port", "metrics-port"),
    *("external-address", "reachable", "chain", "clock", "registration", "subnet", "models"),
    *("planner", "servers", "deadline", "journal", "log-file", "state-dir"),
]
OURS = {name for option in OPTIONS for name in option.variables}


class Box:
    """A miner's folder: wallet, profile with its models, chain snapshot, journal."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "configs").mkdir()
        (folder / "models").mkdir()
        shutil.copytree(ROOT / "models" / "embedded", folder / "models" / "embedded")
        shutil.copy(ROOT / "models" / "catalogue.yaml", folder / "models")
        self.profile = folder / "configs" / "embedded.yaml"
        shutil.copy(ROOT / "configs" / "embedded.yaml", self.profile)
        wallet = Wallet(name="miner", hotkey="default", path=str(folder / "wallets"))
        wallet.create_if_non_existent(
            coldkey_use_password=False, hotkey_use_password=False, suppress=True
        )
        self.hotkey = wallet.unlock_hotkey().ss58_address
        self.wallet = folder / "wallets" / "miner"
        (self.wallet / "coldkey").unlink()
        (self.wallet / "hotkeys" / "default").chmod(0o600)
        self.journal = folder / "journal.sqlite3"
        make_journal(self.journal)
        self.chain = folder / "chain.json"
        self.write_chain(time.time())

    def write_chain(self, block_time):
        """A snapshot double of a paying subnet, taken now."""
        rows = [
            {"uid": 0, "hotkey": "5validator", "validator_permit": True, "last_update": 990},
            {"uid": 1, "hotkey": "5other", "validator_permit": False, "incentive": 0.6},
            {"uid": 7, "hotkey": self.hotkey, "validator_permit": False, "incentive": 0.4},
        ]
        document = {"netuid": 72, "block": 1000, "time": block_time, "neurons": rows}
        self.chain.write_text(json.dumps(document))

    def options(self, **changes):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            free = probe.getsockname()[1]
        options = {
            "profile": self.profile,
            "wallet-name": "miner",
            "wallet-path": self.folder / "wallets",
            "chain-snapshot": self.chain,
            "axon-host": "127.0.0.1",
            "axon-port": free,
            "journal": self.journal,
            "log-file": self.folder / "log" / "miner.jsonl",
            "state-dir": self.folder / "state",
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        given = ((f"--{name}", str(value)) for name, value in options.items() if value is not None)
        return [word for pair in given for word in pair]

    def examine(self, *words, **changes):
        """Exit code and rows by check, of the real command in a process of its own."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "natix_miner", "doctor", "--offline", "--json"),
                *(*self.options(**changes), *words),
            ],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if name not in OURS},
            check=False,
        )
        assert done.returncode in (0, UNFIT), done.stderr
        rows = json.loads(done.stdout)["rows"]
        assert [row["check"] for row in rows] == CHECKS
        for row in rows:
            assert row.keys() == {"check", "status", "detail", "advice"}
            assert row["detail"]
            assert bool(row["advice"]) == (row["status"] in ("warn", "fail")), row
        return done.returncode, {row["check"]: row for row in rows}


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def test_a_healthy_miner_has_no_row_that_fails_and_nothing_is_left_behind(box):
    before = {path: path.stat().st_mtime_ns for path in sorted(box.folder.rglob("*"))}

    code, rows = box.examine()

    assert code == 0
    assert not [row for row in rows.values() if row["status"] == "fail"]
    assert rows["clock"]["status"] == "ok"
    assert rows["registration"]["detail"].startswith("uid 7 on subnet 72")
    assert rows["subnet"]["detail"].startswith("paying")
    assert rows["wallet"]["status"] == "ok"
    assert "glance" in rows["deadline"]["detail"]
    after = {path: path.stat().st_mtime_ns for path in sorted(box.folder.rglob("*"))}
    folder = box.folder  # in which passing files came and went
    assert {p: t for p, t in after.items() if p != folder} == {
        p: t for p, t in before.items() if p != folder
    }


def test_five_planted_faults_are_each_found_and_named(box):
    shutil.rmtree(box.wallet)
    (box.folder / "models" / "embedded" / "colour_shape.json").unlink()
    box.write_chain(time.time() + 3600)
    box.journal.chmod(0o444)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, rows = box.examine(axon_port=port)

    assert code == UNFIT
    said = {check for check, row in rows.items() if row["status"] == "fail"}
    # the missing model is told twice: the experts that are timed cannot be loaded either
    assert said == {"wallet", "port", "models", "clock", "journal", "deadline"}
    assert str(box.wallet / "hotkeys" / "default") in rows["wallet"]["detail"]
    assert f"port {port}" in rows["port"]["detail"]
    assert f"pid {os.getpid()} (" in rows["port"]["detail"]
    assert "colour_shape.json" in rows["models"]["detail"]
    assert "colour_shape.json" in rows["deadline"]["detail"]
    assert "behind the time of block 1000" in rows["clock"]["detail"]
    assert "read-only" in rows["journal"]["detail"]
    assert "chmod u+w" in rows["journal"]["advice"]
    assert rows["registration"]["status"] == "skipped"


def test_every_row_is_explained_to_operators():
    document = (ROOT / "docs" / "doctor.md").read_text()
    explained = [line.split("`")[1] for line in document.splitlines() if line.startswith("| `")]
    assert explained == CHECKS


def test_a_profile_that_cannot_be_read_spoils_no_other_row(box):
    box.profile.write_text("name: [")

    code, rows = box.examine()

    assert code == UNFIT
    assert {check for check, row in rows.items() if row["status"] == "fail"} == {"profile"}
    for check in ("gpu", "models", "planner", "servers", "deadline"):
        assert rows[check]["detail"] == "the profile cannot be used, see the row profile"
    assert rows["journal"]["status"] == "ok"


def test_wrong_usage_is_exit_code_2_and_every_option_of_run_is_taken():
    done = CliRunner().invoke(app, ["doctor", "--offline", "--axon-port", "many"])
    assert done.exit_code == 2
    shown = CliRunner().invoke(app, ["doctor", "--help"], env={"COLUMNS": "300"}).stdout
    for name in RunSettings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown
