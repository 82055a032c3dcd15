"""Shared by the tests of registration: time that passes only by waiting, and a hotkey."""

from __future__ import annotations

import pytest
from bittensor_wallet import Keypair

NOW = 1_795_000_000.0


class WaitedTime:
    """A clock that goes on by as much as somebody waits for, at once."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def monotonic(self) -> float:
        return sum(self.waited)

    def time(self) -> float:
        return NOW + sum(self.waited)

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    def sleep_here(self, seconds: float) -> None:
        self.waited.append(seconds)


@pytest.fixture
def time() -> WaitedTime:
    return WaitedTime()


@pytest.fixture(scope="session")
def hotkey() -> Keypair:
    return Keypair.create_from_seed("0x" + "05" * 32)
