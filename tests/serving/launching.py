"""Shared by the tests of spawned servers: launch plans, waiting with a deadline, servers in a
thread of their own."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from natix_miner.serving.command import command_of, environment_of
from natix_miner.serving.servers import Servers
from natix_miner.serving.settings import ServerSettings
from natix_miner.serving.state import LaunchPlan, ServerStatus

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STAND_IN = HERE / "stand_in_server.py"
OWNER = HERE / "owner_script.py"
TINY = ROOT / "models" / "tiny-vlm"
KEY = "key-of-the-tests"
#: vLLM takes half a minute on two quiet cores.
START_SECONDS = 180.0


def stand_in(*options: str, port: int = 0) -> list[str]:
    """The command of the stand-in server."""
    return [sys.executable, "-I", "-S", str(STAND_IN), "--port", str(port), *options]


def plan_stand_in(name: str, settings: ServerSettings, port: int) -> LaunchPlan:
    """A launch plan whose server is the stand-in; its options are the section's `extra`."""
    return LaunchPlan(
        base_url=f"http://127.0.0.1:{port}",
        model="stand-in",
        api_key=KEY,
        command=stand_in(*settings.arguments.extra, port=port),
        environment={**os.environ, "VLLM_API_KEY": KEY},
    )


def plan_vllm(name: str, settings: ServerSettings, port: int) -> LaunchPlan:
    """A launch plan of the real vLLM on the CPU; `model` is a folder."""
    command = command_of(
        settings,
        executable=ROOT / ".venv-vllm" / "bin" / "vllm",
        model=settings.model,
        revision=None,
        served_name=name,
        port=port,
    )
    ours = environment_of(settings, api_key=KEY, local=True)
    return LaunchPlan(
        base_url=f"http://127.0.0.1:{port}",
        model=name,
        api_key=KEY,
        command=command,
        environment={**os.environ, **ours},
    )


def tiny_settings(**changes: Any) -> ServerSettings:
    """The tiny model as the shipped profile serves it, with these settings changed."""
    from natix_miner.profile import load_profile  # takes long, and the owner script needs none

    shipped = load_profile(ROOT / "configs" / "embedded-vlm.yaml").servers["tiny"]
    return shipped.model_copy(update={"model": str(TINY), **changes})


def until(true: Callable[[], Any], seconds: float, what: str = "it") -> Any:
    """Look again and again until this is true; fails when it stays false."""
    patience = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < patience, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.02)
    return found


async def soon(true: Callable[[], Any], seconds: float, what: str = "it") -> Any:
    """The same for a test that is a coroutine."""
    patience = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < patience, f"{what} did not happen within {seconds:g} s"
        await asyncio.sleep(0.02)
    return found


def tell(url: str, behaviour: str) -> None:
    """Make the stand-in behave like this from now on."""
    httpx.post(f"{url}/stand-in", content=behaviour.encode(), trust_env=False).raise_for_status()


class ServersThread:
    """Servers on an event loop and thread of their own, as the judge has them."""

    def __init__(self, make: Callable[[], Servers]) -> None:
        self.rng = random.Random(7)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.servers = self.do(self._made(make))

    async def _made(self, make: Callable[[], Servers]) -> Servers:
        return make()

    def do(self, work: Any) -> Any:
        """The result of a coroutine that runs there."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def status(self) -> Mapping[str, ServerStatus]:
        """As another thread sees it."""
        return self.servers.status()

    def close(self) -> None:
        """Stop the servers and the thread; may be called twice."""
        if self.loop.is_closed():
            return
        self.do(self.servers.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5.0)
        self.loop.close()
