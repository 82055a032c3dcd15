"""The real pm2 with a real miner, once through `scripts/try_pm2.py`; and what pm2 reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from natix_miner.profile import load_profile

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "scripts" / "ecosystem.config.js"
PM2 = ROOT / ".pm2" / "node_modules" / ".bin" / "pm2"

pytestmark = [pytest.mark.pm2, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def _pm2_installed() -> None:
    if not PM2.exists():
        said = "pm2 is not installed: scripts/install_pm2.sh"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)


@pytest.fixture(scope="module")
def rows() -> dict[str, dict]:
    """What `try_pm2.py` found, by what was looked at."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "try_pm2.py"), "--json"],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.stdout.startswith("{"), done.stderr[-3000:]
    print(done.stdout)
    found = json.loads(done.stdout)["rows"]
    assert done.returncode == (0 if all(row["held"] for row in found) else 1)
    return {row["what"]: row for row in found}


def apps(**environment: str) -> dict[str, dict]:
    """The configuration as Node reads it."""
    code = f"console.log(JSON.stringify(require({json.dumps(str(CONFIG))}).apps))"
    done = subprocess.run(
        ["node", "-e", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **environment},
    )
    return {app["name"]: app for app in json.loads(done.stdout)}


def test_everything_held(rows):
    assert [what for what, row in rows.items() if not row["held"]] == []
    assert len(rows) == 7


def test_it_was_back_in_time_after_kill(rows):
    warm_up = rows["start: online means ready"]["figures"]["seconds"]
    back = rows["kill -9: back"]["figures"]
    assert back["seconds"] <= 15.0 + warm_up
    assert (back["restarts"], back["too_early"]) == (1, 0)


def test_nothing_in_flight_was_lost_by_a_reload(rows):
    figures = rows["reload in a stream of queries"]["figures"]
    assert figures["in_flight"] > 0
    assert figures["in_flight_lost"] == figures["answerable_lost"] == 0


def test_nothing_was_left_behind(rows):
    assert rows["stop: nothing left"]["figures"]["left"] == 0
    assert rows["pm2 kill: nothing left"]["figures"]["left"] == 0


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda f: f.stem)
def test_pm2_gives_every_profile_its_time(file):
    profile, miner = load_profile(file), apps()["natix_miner"]
    stops = [server.stop_seconds for server in profile.servers.values()]
    patience = profile.neuron.drain_seconds + max(stops, default=0.0) + 5.0
    assert miner["kill_timeout"] >= 30_000
    assert miner["kill_timeout"] / 1000 > patience
    assert miner["listen_timeout"] / 1000 > profile.serving.wait_seconds + 120


def test_the_configuration_is_what_the_document_says():
    found = apps(
        MINER_MAX_MEMORY="4G", MINER_ENV_FILE="/etc/miner.env", AWS_KEY="x", CUDA_HOME="/c"
    )
    miner = found["natix_miner"]
    assert set(found) == {"natix_miner", "natix_miner_logs"}
    assert (miner["max_memory_restart"], miner["stop_exit_codes"]) == ("4G", [78])
    assert (miner["exec_mode"], miner["instances"], miner["treekill"]) == ("fork", 1, False)
    assert miner["env"]["MINER_ENV_FILE"] == "/etc/miner.env"
    assert "AWS_KEY" not in miner["env"]
    assert miner["env"]["CUDA_HOME"] == "/c"


def test_a_wrong_timeout_is_refused():
    with pytest.raises(subprocess.CalledProcessError):
        apps(MINER_LISTEN_TIMEOUT="soon")
