"""A stand-in server of vision-language models behind the real launching, warden, supervisor, client
and guard: only the program that is spawned in vLLM's place is a double (`stand_in_server.py`)."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from natix_miner.assembly import build_judge
from natix_miner.breaker import BreakerLimits
from natix_miner.judge import Judge, JudgeThread
from natix_miner.profile import Profile
from natix_miner.serving import procfs
from natix_miner.serving.servers import Servers
from natix_miner.serving.state import State
from tests.faults.doubles_experts import CountingBreaker
from tests.faults.doubles_miner import COLOUR, NETWORK, ROOT, write_profile

STAND_IN = ROOT / "tests" / "serving" / "stand_in_server.py"
SERVER = EXPERT = "vlm"
#: Looked at often, restarted at once: a row cannot wait as long as an operator can.
QUICK = {
    "max_in_flight": 16,
    "start_seconds": 20.0,
    "stop_seconds": 1.0,
    "canary_every_seconds": 0.3,
    "canary_seconds": 0.5,
    "restarts": {
        "most": 1000,
        "window_seconds": 10.0,
        "first_seconds": 0.2,
        "longest_seconds": 0.2,
    },
    "breaker": {"failures": 3, "rest_seconds": 0.3, "longest_rest_seconds": 0.6},
}


def stand_in_command(folder: Path) -> Path:
    """An executable that takes vLLM's words and starts the stand-in on the port among them."""
    path = folder / "vllm"
    start = shlex.join([sys.executable, "-I", "-S", str(STAND_IN)])
    path.write_text(
        "#!/bin/sh\n"
        'while [ $# -gt 0 ]; do [ "$1" = --port ] && port=$2; shift; done\n'
        f'exec {start} --port "$port"\n'
    )
    path.chmod(0o755)
    return path


def profile_with_server(
    folder: Path,
    *,
    timeout_seconds: float = 0.5,
    rest_seconds: float = 0.3,
    wait_seconds: float = 20.0,
    **server: Any,
) -> Path:
    """The embedded experts, and in a level that every query enters one that asks the server.

    `timeout_seconds` and `rest_seconds` are the expert's, `server` its server's settings."""
    local = "base_url" not in server
    settings = {"model": str(ROOT / "models" / "tiny-vlm"), **QUICK, **server}
    if local and "executable" not in server:
        settings["executable"] = str(stand_in_command(folder))
    language = {
        "type": "vlm",
        "servers": [SERVER],
        "questions": [str(ROOT / "configs" / "prompts" / "roadwork.yaml")],
        "max_pixels": 65536,
        "timeout_seconds": timeout_seconds,
    }
    return write_profile(
        folder,
        experts={"network": NETWORK, "colour": COLOUR, EXPERT: language},
        servers={SERVER: settings},
        serving={"wait_seconds": wait_seconds, "folder": str(folder / "servers")},
        levels=[
            {"name": "glance", "experts": ["network", "colour"]},
            {"name": "language", "experts": [EXPERT]},
        ],
        breaker={"failures": 3, "rest_seconds": rest_seconds},
    )


class WatchedJudge:
    """The judge of a profile with one server, and what a row wants to know of it."""

    def __init__(self) -> None:
        self.judge: Judge

    def make(self, profile: Profile) -> JudgeThread:
        """For `running`."""
        self.judge = build_judge(profile)
        settings = profile.servers[SERVER].breaker
        limits = BreakerLimits(**settings.model_dump())
        self.guard.breaker = CountingBreaker(limits)
        return JudgeThread(self.judge)

    @property
    def servers(self) -> Servers:
        """Of the judge."""
        assert isinstance(self.judge.servers, Servers)
        return self.judge.servers

    @property
    def guard(self) -> Any:
        """Where the expert asks."""
        return self.servers.server(SERVER)

    @property
    def openings(self) -> int:
        """How often the server's breaker opened."""
        return int(self.guard.breaker.openings)

    @property
    def up(self) -> bool:
        """Whether it answers pictures, as the supervisor sees it."""
        return self.servers.status()[SERVER].state is State.UP

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return self.servers.status()[SERVER].restarts

    @property
    def url(self) -> str:
        """Of the server that runs now."""
        return self.servers.address(SERVER)[0]

    @property
    def processes(self) -> list[procfs.ProcessId]:
        """Below the warden, the server first."""
        pid = self.servers.status()[SERVER].pid
        return [] if pid is None else [each.id for each in procfs.below(pid)]
