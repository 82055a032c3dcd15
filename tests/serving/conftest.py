"""A real vLLM server on the CPU for the tests that need one, started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from natix_miner.serving import procfs
from natix_miner.serving.guarded import GuardedServer
from natix_miner.serving.servers import Servers
from natix_miner.serving.settings import ServingSettings
from natix_miner.serving.state import State
from tests.serving.launching import START_SECONDS, ServersThread, plan_vllm, tiny_settings, until


class Vllm:
    """A running vLLM with the tiny model, and how to reach it.

    Its supervisor lives on the loop of `thread`; a restart changes the address.
    """

    name = "tiny"

    def __init__(self, thread: ServersThread, folder: Path) -> None:
        self.thread = thread
        self.folder = folder

    @property
    def url(self) -> str:
        """Of the server, without a version at its end."""
        return self.thread.servers.address(self.name)[0]

    @property
    def key(self) -> str:
        """For the header Authorization."""
        key = self.thread.servers.address(self.name)[1]
        assert key is not None
        return key

    @property
    def model(self) -> str:
        """The name that it serves the model under."""
        return self.thread.servers.address(self.name)[2]

    @property
    def guarded(self) -> GuardedServer:
        """Where experts ask; to be awaited through `thread.do`."""
        return self.thread.servers.server(self.name)

    @property
    def state(self) -> State:
        """Of the supervisor."""
        return self.thread.status()[self.name].state

    @property
    def reason(self) -> str:
        """Why it is not up."""
        return self.thread.status()[self.name].reason

    @property
    def warden(self) -> int:
        """Process id of the warden."""
        pid = self.thread.status()[self.name].pid
        assert pid is not None, f"{self.state}: {self.reason}"
        return pid

    @property
    def processes(self) -> list[procfs.ProcessId]:
        """Its processes, the API server first."""
        return [process.id for process in procfs.below(self.warden)]

    @property
    def log(self) -> Path:
        """What it writes."""
        return self.folder / f"{self.name}.log"


def run_vllm(folder: Path) -> Iterator[Vllm]:
    """Serve the tiny model until the generator is closed."""
    settings = tiny_settings(canary_every_seconds=3.0)
    thread = ServersThread(
        lambda: Servers({"tiny": settings}, ServingSettings(folder=folder), prepare=plan_vllm)
    )
    try:
        thread.do(thread.servers.start())
        server = Vllm(thread, folder)
        until(lambda: server.state in (State.UP, State.OFF), START_SECONDS, "the start of vLLM")
        assert server.state is State.UP, server.reason
        yield server
    finally:
        thread.close()


@pytest.fixture(scope="session")
def vllm(vllm_installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """For all tests that ask; those that hurt the server have one of their own."""
    yield from run_vllm(tmp_path_factory.mktemp("vllm"))
