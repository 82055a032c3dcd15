"""Keeping the snapshot of the chain up to date without ever standing in the way of an answer.

One thread asks a source again and again and swaps the snapshot when a new one is there. Whatever
goes wrong with the source (refused, mute, dropped in the middle, nonsense), the last good snapshot
stays in use, the state changes to "stale" and is told once, and the next attempt comes after a
back-off."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from loguru import logger

from natix_miner.clock import Clock
from natix_miner.errors import ChainError, SnapshotError
from natix_miner.neuron.snapshot import ChainSnapshot, read_snapshot, write_snapshot
from natix_miner.neuron.sources import SnapshotSource


class ChainState(StrEnum):
    """How far the snapshot in use can be trusted."""

    WAITING = "waiting"  # nothing yet: nobody can be admitted
    KEPT = "kept"  # from the last run's file, the source has not answered yet
    FRESH = "fresh"
    STALE = "stale"  # the source fails; serving goes on with the last good one


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between successful fetches, and the bounds of the back-off after failures."""

    refresh: float
    first_retry: float = 5.0

    def after_failures(self, count: int, rng: random.Random) -> float:
        """How long to wait after `count` failures in a row: doubling, at most `refresh`, with
        jitter of a half in both directions so that miners do not come back all at once."""
        wait = min(self.refresh, self.first_retry * 2 ** min(count - 1, 20))
        return wait * rng.uniform(0.5, 1.5)


class ChainWatch:
    """Holds the snapshot in use and the thread that renews it.

    `own_hotkey` is looked up in every snapshot so that the operator hears of a deregistration;
    `keep_at` is where the last good snapshot is kept for the next start (None: nowhere);
    `after_fetch` is called on the chain thread with every snapshot that was fetched.
    """

    def __init__(
        self,
        source: SnapshotSource,
        pace: Pace,
        clock: Clock,
        rng: random.Random,
        own_hotkey: str,
        keep_at: Path | None = None,
        after_fetch: Callable[[ChainSnapshot], None] | None = None,
    ) -> None:
        self._source = source
        self._pace = pace
        self._clock = clock
        self._rng = rng
        self._own_hotkey = own_hotkey
        self._keep_at = keep_at
        self._after_fetch = after_fetch
        self._snapshot: ChainSnapshot | None = None
        self._fetched_at: float | None = None
        self._failures = 0
        self._registered: bool | None = None
        self.state = ChainState.WAITING
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def snapshot(self) -> ChainSnapshot | None:
        """The snapshot in use: one reference, swapped as a whole."""
        return self._snapshot

    @property
    def uid(self) -> int | None:
        """Our UID, or None when our hotkey is not registered (or nothing is known)."""
        neuron = self._snapshot.neuron_of(self._own_hotkey) if self._snapshot else None
        return neuron.uid if neuron else None

    def age_seconds(self) -> float | None:
        """Seconds since the source last confirmed the snapshot, None when it never did."""
        return None if self._fetched_at is None else self._clock.monotonic() - self._fetched_at

    def use_kept(self, netuid: int) -> None:
        """Start from the file that an earlier run kept, if there is one and it fits."""
        if self._keep_at is None or not self._keep_at.exists():
            return
        try:
            kept = read_snapshot(self._keep_at)
        except SnapshotError as error:
            logger.warning("the kept chain snapshot is ignored: {}", error)
            return
        if kept.netuid != netuid:
            logger.warning("the kept chain snapshot is of subnet {}: ignored", kept.netuid)
            return
        self._snapshot = kept
        self._turn(ChainState.KEPT, f"starting with the chain snapshot of block {kept.block}")
        self._look_for_ourselves(kept)

    def refresh_once(self) -> float:
        """Ask the source once; returns the seconds to wait before the next time."""
        try:
            snapshot = self._source.fetch()
        except ChainError as error:
            self._failures += 1
            using = f"block {self._snapshot.block}" if self._snapshot else "none"
            if self.state is not ChainState.WAITING or self._failures == 1:
                keep = ChainState.STALE if self._snapshot else ChainState.WAITING
                self._turn(keep, f"chain fails ({error}); snapshot in use: {using}", warn=True)
            return self._pace.after_failures(self._failures, self._rng)
        self._failures = 0
        self._fetched_at = self._clock.monotonic()
        if snapshot is not None:
            logger.debug("chain snapshot of block {} is in use", snapshot.block)
            self._snapshot = snapshot
            self._keep(snapshot)
            self._look_for_ourselves(snapshot)
        if self._snapshot is not None:
            self._turn(
                ChainState.FRESH,
                f"chain snapshot of block {self._snapshot.block}: {len(self._snapshot.neurons)}"
                f" neurons, from {self._source.describe()}",
            )
            if self._after_fetch is not None:
                self._after_fetch(self._snapshot)
        return self._pace.refresh

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="chain", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Ask the thread to end; True when it has within `seconds`. It is a daemon: a fetch that
        hangs does not keep the process."""
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self.refresh_once())

    def _turn(self, state: ChainState, message: str, warn: bool = False) -> None:
        """Tell a change of state, once."""
        if state is self.state and state is not ChainState.WAITING:
            return
        self.state = state
        logger.log("WARNING" if warn else "INFO", "{}", message)

    def _look_for_ourselves(self, snapshot: ChainSnapshot) -> None:
        registered = snapshot.neuron_of(self._own_hotkey) is not None
        if registered == self._registered:
            return
        self._registered = registered
        if registered:
            logger.info("registered on subnet {} as uid {}", snapshot.netuid, self.uid)
        else:
            logger.warning(
                "hotkey {} is not registered on subnet {} (block {}): validators will not ask;"
                " serving goes on, register it again to be paid",
                self._own_hotkey,
                snapshot.netuid,
                snapshot.block,
            )

    def _keep(self, snapshot: ChainSnapshot) -> None:
        if self._keep_at is None:
            return
        try:
            write_snapshot(snapshot, self._keep_at)
        except OSError as error:
            logger.warning("the chain snapshot cannot be kept at {}: {}", self._keep_at, error)
