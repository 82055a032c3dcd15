"""Shared by all tests: time that passes only when everybody waits, and frames to look at."""

from __future__ import annotations

import asyncio
import os
import selectors
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# One thread a library: two cores are shared, and idle threads that spin slow everything down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("READ_ONLY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")


#: Tests of real processes, servers and times, which must have the machine to themselves.
ALONE = ("tests/demo/", "tests/faults/", "tests/neuron/", "tests/serving/", "tests/test_judge")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what must not run beside other tests (`make test` runs the rest in two processes)."""
    for item in items:
        place = item.path.relative_to(item.config.rootpath).as_posix()
        if place.startswith(ALONE) or any(map(item.get_closest_marker, ("pm2", "ray", "vllm"))):
            item.add_marker(pytest.mark.alone)


@pytest.fixture(scope="session", autouse=True)
def _torchvision_imports() -> None:
    """transformers, which tests use as a reference, imports torchvision where it is installed."""
    from natix_miner.torch_stack import make_torchvision_importable

    make_torchvision_importable()


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: moves virtual time on by as much as the loop wanted to sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list:
        if timeout is None:
            raise RuntimeError("the event loop would wait for ever: nothing is scheduled")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualTime:
    """An event loop whose clock jumps from timer to timer, and the same clock for the code."""

    def __init__(self) -> None:
        self._selector = _JumpingSelector()
        self.loop = asyncio.SelectorEventLoop(self._selector)
        self.loop.time = lambda: self._selector.now  # type: ignore[method-assign]

    def monotonic(self) -> float:
        return self._selector.now

    def time(self) -> float:
        return 1_700_000_000.0 + self._selector.now

    def advance(self, seconds: float) -> None:
        """Let time pass by hand."""
        self._selector.now += seconds

    def run(self, work: object) -> object:
        """Run a coroutine to its end in virtual time."""
        asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(work)  # type: ignore[arg-type]


@pytest.fixture
def virtual() -> object:
    """Virtual time; pure asyncio only, no threads."""
    time = VirtualTime()
    yield time
    for task in asyncio.all_tasks(time.loop):
        task.cancel()
    time.loop.run_until_complete(asyncio.sleep(0))
    time.loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def make_frame() -> Callable[..., object]:
    """Makes frames of one colour or of given pixels, with measured geometry."""
    from natix_miner.images import Frame
    from natix_miner.images.geometry import measure

    def make(pixels: np.ndarray | None = None, width: int = 224, height: int = 224) -> Frame:
        if pixels is None:
            pixels = np.full((height, width, 3), 128, np.uint8)
        high, wide = pixels.shape[:2]
        return Frame(pixels, wide, high, "JPEG", measure(pixels, wide, high))

    return make


@pytest.fixture(scope="session")
def vllm_installed() -> Path:
    """The command of the servers' own virtual environment; in CI it must be there."""
    command = Path(__file__).parents[1] / ".venv-vllm" / "bin" / "vllm"
    if not command.exists():
        said = "vLLM is not installed: scripts/install_vllm.sh --cpu"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return command
