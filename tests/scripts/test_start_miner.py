"""start_miner.sh: what it refuses and what it says; miner.env.example and the systemd unit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from natix_miner.demo.processes import clean_environment
from natix_miner.demo.wallets import MINER, make_wallet
from natix_miner.neuron.secret_files import SECRETS
from natix_miner.neuron.settings import OPTIONS, RunSettings, resolve_settings
from natix_miner.profile import load_profile

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "configs" / "miner.env.example"
UNIT = ROOT / "scripts" / "natix-miner.service"
SCRIPT = ROOT / "scripts" / "start_miner.sh"
#: Stands for the miner's command: says how it was called.
MINER_DOUBLE = '#!/bin/sh\necho "pid=$$ folder=$PWD" "$@"\n'


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as the script sees it, with the real interpreter and a double for the miner."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "scripts").mkdir()
    shutil.copy(SCRIPT, root / "scripts")
    (root / "configs").symlink_to(ROOT / "configs")
    (root / "models").symlink_to(ROOT / "models")
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (root / ".venv" / "bin" / "natix-miner").write_text(MINER_DOUBLE)
    for program in (root / ".venv" / "bin").iterdir():
        program.chmod(0o755)
    make_wallet(root / "wallets", MINER)
    return root


def start(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(root / "scripts" / "start_miner.sh"), *words],
        capture_output=True,
        text=True,
        cwd="/",
        env={**clean_environment(), "PYTHONPATH": str(ROOT), **environment},
        timeout=30,
        check=False,
    )


def write_env(root: Path, **changes: str | None) -> Path:
    values: dict[str, str | None] = {
        "WALLET_NAME": MINER,
        "WALLET_HOTKEY": "default",
        "WALLET_PATH": str(root / "wallets"),
        "MINER_AXON_PORT": "8091",
        **changes,
    }
    file = root / "miner.env"
    file.write_text("".join(f"{k}={v}\n" for k, v in values.items() if v is not None))
    return file


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 78, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_it_becomes_the_miner_with_the_same_process_id(checkout):
    file = write_env(checkout, IMAGE_DETECTOR_DEVICE="cuda", PROXY_URL="http://x", NETUID="323")
    process = subprocess.Popen(
        [str(checkout / "scripts" / "start_miner.sh")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**clean_environment(), "PYTHONPATH": str(ROOT), "NETUID": "72"},
    )
    said, complaints = process.communicate(timeout=30)
    assert said == f"pid={process.pid} folder={checkout} run --env-file {file}\n"
    assert process.returncode == 0
    assert "IMAGE_DETECTOR_DEVICE in" in complaints
    assert "`device` of each expert in the profile" in complaints
    assert "PROXY_URL" in complaints
    assert "NETUID of the environment wins" in complaints
    assert "WALLET" not in complaints


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"WALLET_NAME": None, "WALLET_HOTKEY": '""', "MINER_AXON_PORT": None},
            "WALLET_NAME, WALLET_HOTKEY, MINER_AXON_PORT missing in",
        ),
        ({"MINER_AXON_PORT": "eighty"}, "MINER_AXON_PORT in"),
        ({"WALLET_HOTKEY": "other"}, "hotkeys/other"),
        ({"MINER_PROFILE": "configs/none.yaml"}, "configs/none.yaml"),
        ({"WALLET_NAME": "$(touch run-by-the-shell)"}, "$(touch run-by-the-shell)"),
    ],
)
def test_what_is_missing_or_wrong_is_named(checkout, changes, said):
    write_env(checkout, **changes)
    assert said in refusal(start(checkout))
    assert not list(checkout.glob("run-by*"))


def test_a_check_starts_nothing(checkout):
    write_env(checkout)
    done = start(checkout, "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_its_file_or_its_installation_it_says_what_to_run(checkout, tmp_path):
    missing = refusal(start(checkout, MINER_ENV_FILE=str(tmp_path / "none.env")))
    assert f"{tmp_path}/none.env is missing; run: cp" in missing
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    assert "make setup" in refusal(start(tmp_path))
    assert "--port" in refusal(start(checkout, "--port"))
    assert start(checkout, "--help").stdout.startswith("Starts the miner")


NAMES = re.compile(r"^#?([A-Z][A-Z_]*)=(.*)$", re.MULTILINE)


def test_the_example_names_every_setting_and_nothing_else():
    named = [name for name, _ in NAMES.findall(EXAMPLE.read_text())]
    known = {variable for option in OPTIONS for variable in option.variables} | set(SECRETS)
    assert sorted(named) == sorted(known)


def test_the_example_can_be_started_with_and_shows_the_defaults(tmp_path):
    settings = resolve_settings({}, {}, EXAMPLE)
    assert settings == RunSettings(metrics_port=9072)  # all else in it is as without it
    whole = tmp_path / "whole.env"
    whole.write_text("".join(f"{n}={v}\n" for n, v in NAMES.findall(EXAMPLE.read_text()) if v))
    shown = resolve_settings({}, {}, whole)
    changed = {name for name, value in shown if value != getattr(settings, name)}
    assert changed == {"chain_endpoint", "max_body_megabytes"}


def unit() -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(name, []).append(value)
    return values


def longest_stop(profile) -> float:
    """Drain, the most patient server, and what `natix_miner.neuron.miner` grants beyond."""
    stops = [server.stop_seconds for server in profile.servers.values()]
    return profile.neuron.drain_seconds + max(stops, default=0.0) + 5.0


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda f: f.stem)
def test_the_unit_gives_every_profile_its_time(file):
    profile, values = load_profile(file), unit()
    assert float(values["TimeoutStopSec"][0]) > longest_stop(profile)
    assert float(values["TimeoutStartSec"][0]) > profile.serving.wait_seconds + 120


def test_the_unit_fits_the_script():
    values = unit()
    assert values["Type"] == ["notify"]
    assert values["KillMode"] == ["mixed"]
    assert values["Restart"] == ["on-failure"]
    assert values["RestartPreventExitStatus"] == ["78"]
    assert "exit 78" in SCRIPT.read_text()
    root = Path(values["WorkingDirectory"][0])
    started = (ROOT / Path(values["ExecStart"][0]).relative_to(root)).resolve()
    assert started == SCRIPT.resolve()
    assert os.access(started, os.X_OK)
    assert f"MINER_ENV_FILE={root}/miner.env" in values["Environment"]
    assert str(root) in values["ReadWritePaths"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_systemd_itself_finds_nothing_wrong_with_the_unit(tmp_path):
    here = tmp_path / "natix-miner.service"
    here.write_text(UNIT.read_text().replace("/opt/natix-miner", str(ROOT)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
