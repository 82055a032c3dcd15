"""A double of the chain: a connected subtensor out of memory, behind a source that counts calls.
No part of a real chain runs here; what is real are the SDK's amounts and our reading of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from bittensor.utils.balance import Balance

from natix_miner.errors import ChainError


def neuron(uid: int, hotkey: str, *, permit=False, incentive=0.0, last_update=0) -> Any:
    """As `AsyncSubtensor.neurons_lite` gives one."""
    return SimpleNamespace(
        uid=uid,
        hotkey=hotkey,
        total_stake=100.0,
        validator_permit=permit,
        axon_info=None,
        incentive=incentive,
        emission=0.0,
        last_update=last_update,
    )


@dataclass
class ChainDouble:
    """`asked` holds what was asked of it, in order; `registered` what was paid for, as keyword
    arguments. `says` is the answer to a registration; `silent_on_register` breaks the connection
    after it counted; `shows_after` is how many readings pass before a new hotkey is seen."""

    neurons: list[Any]
    block: int = 6_000_000
    cost: int | None = 25_000_000
    balance: int = 1_000_000_000
    says: tuple[bool, str] = (True, "Success")
    silent_on_register: bool = False
    fails: int = 0
    shows_after: int = 0
    asked: list[str] = field(default_factory=list)
    registered: list[dict[str, Any]] = field(default_factory=list)

    def call(self, work: Callable[[Any], Awaitable[Any]], seconds: float) -> Any:
        """As SubtensorSource.call."""
        assert 0 < seconds <= 300
        if self.fails:
            self.fails -= 1
            raise ChainError("wss://double did not answer within 30 s; the next one is asked")
        return asyncio.run(work(self))  # type: ignore[arg-type]

    async def get_current_block(self) -> int:
        self.asked.append("block")
        return self.block

    async def neurons_lite(self, netuid: int, block: int) -> list[Any]:
        self.asked.append("neurons")
        found = list(self.neurons)
        if self.registered and self._took():
            if self.shows_after == 0:
                wallet = self.registered[0]["wallet"]
                found.append(neuron(len(found), wallet.hotkey.ss58_address))
            self.shows_after = max(0, self.shows_after - 1)
        return found

    async def recycle(self, netuid: int, block: int) -> Balance | None:
        self.asked.append("cost")
        return None if self.cost is None else Balance.from_rao(self.cost)

    async def get_balance(self, address: str, block: int) -> Balance:
        self.asked.append(f"balance {address}")
        return Balance.from_rao(self.balance)

    async def register(self, *, wallet: Any, netuid: int, limit_price: Balance) -> Any:
        self.asked.append("register")
        self.registered.append({"wallet": wallet, "netuid": netuid, "limit": limit_price.rao})
        if self.silent_on_register:
            raise ChainError("wss://double did not answer within 180 s; the next one is asked")
        return SimpleNamespace(success=self.says[0], message=self.says[1])

    def _took(self) -> bool:
        return self.says[0] and len(self.registered) > 0
