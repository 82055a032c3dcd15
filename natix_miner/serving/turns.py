"""Whose turn it is to start: servers that share a GPU, or the CPU, start one after another."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

#: What servers without a GPU share.
_CPU = -1


class Turns:
    """A lock a GPU: engines measure the free memory while they start, and two that do so at the
    same time both count on it. Lives on one event loop."""

    def __init__(self) -> None:
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def of(self, gpus: tuple[int, ...]) -> AsyncIterator[None]:
        """Held while a server on these GPUs (none: on the CPU) starts."""
        async with AsyncExitStack() as stack:
            # Always in the same order, so that two never wait for each other.
            for gpu in sorted(set(gpus)) or [_CPU]:
                await stack.enter_async_context(self._locks[gpu])
            yield

    @asynccontextmanager
    async def free(self) -> AsyncIterator[None]:
        """For a server that takes nothing of this machine."""
        yield
