"""Micro-batching: one worker thread an expert, concurrent queries share a forward pass."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.errors import ExpertError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: How often a worker that never comes back is replaced before the expert is given up.
MAX_REPLACEMENTS = 3


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How batches form.

    A worker takes what waits, at most `size` items. `window_seconds` is how long it waits for
    company after the first item; 0 adds no delay (a batch forms while the one before it runs).
    After `stuck_seconds` in one batch the worker is taken for hung and replaced.
    """

    size: int = 8
    window_seconds: float = 0.0
    stuck_seconds: float = 20.0


class MicroBatcher(Generic[Item, Result]):
    """Collects items from many callers and runs `work` on them in batches, in one thread.

    `work` gets a list of items and returns as many results in the same order; a result that is an
    exception is raised for its item alone, an exception raised by `work` for the whole batch. Items
    whose caller has given up (cancelled future) are dropped unrun. Worker threads are daemons: a
    hung one cannot keep the process from ending.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[list[Item]], Sequence[Result | Exception]],
        limits: BatchLimits,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._name = name
        self._work = work
        self._limits = limits
        self._clock = clock
        self._queue: queue.SimpleQueue[tuple[Item, Future[Result]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._busy_since: float | None = None
        self._generation = 0
        self._sizes: Counter[int] = Counter()
        self._closed = False
        self._start_worker()

    @property
    def replacements(self) -> int:
        """How many hung workers have been replaced so far."""
        return self._generation - 1

    def sizes(self) -> Mapping[int, int]:
        """How many batches of which size have been begun so far; a copy, from any thread."""
        with self._lock:
            return dict(self._sizes)

    def submit(self, item: Item) -> Future[Result]:
        """Queue one item; raises ExpertError when closed or beyond repair."""
        with self._lock:
            if self._closed:
                raise ExpertError(f"expert {self._name!r} is closed and takes no more pictures")
            self._replace_if_stuck()
        future: Future[Result] = Future()
        self._queue.put((item, future))
        return future

    def close(self, seconds: float = 0.0) -> bool:
        """Stop after the batch that runs; what waits is failed. May be called twice.

        Waits at most `seconds` for the worker; True when it has ended. A process must not end while
        a worker is in native code, see `natix_miner.cli.leaving`.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._worker.join(seconds)
        return not self._worker.is_alive()

    def _start_worker(self) -> None:
        self._generation += 1
        self._worker = threading.Thread(
            target=self._run,
            args=(self._generation,),
            name=f"expert-{self._name}-{self._generation}",
            daemon=True,
        )
        self._worker.start()

    def _replace_if_stuck(self) -> None:
        since = self._busy_since
        if since is None or self._clock.monotonic() - since < self._limits.stuck_seconds:
            return
        if self._generation > MAX_REPLACEMENTS:
            raise ExpertError(
                f"expert {self._name!r} hung {self._generation} times; "
                "restart the miner to load it anew"
            )
        self._busy_since = None
        self._start_worker()

    def _run(self, generation: int) -> None:
        while True:
            batch = self._collect()
            if batch is None:
                self._fail_waiting()
                return
            live = [(item, f) for item, f in batch if f.set_running_or_notify_cancel()]
            if live:
                with self._lock:
                    self._sizes[len(live)] += 1
                self._busy_since = self._clock.monotonic()
                self._finish(live)
                if generation != self._generation:
                    return  # was taken for hung; a successor is at work
                self._busy_since = None

    def _collect(self) -> list[tuple[Item, Future[Result]]] | None:
        first = self._queue.get()
        if first is None:
            return None
        batch = [first]
        until = self._clock.monotonic() + self._limits.window_seconds
        while len(batch) < self._limits.size:
            wait = until - self._clock.monotonic()
            try:
                entry = self._queue.get(timeout=wait) if wait > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if entry is None:
                self._queue.put(None)  # seen again once this batch is done
                break
            batch.append(entry)
        return batch

    def _finish(self, live: list[tuple[Item, Future[Result]]]) -> None:
        try:
            results = self._work([item for item, _ in live])
            if len(results) != len(live):
                raise ExpertError(
                    f"expert {self._name!r} returned {len(results)} results "
                    f"for {len(live)} pictures"
                )
        except Exception as error:  # noqa: BLE001 - handed to every caller, none is swallowed
            for _, future in live:
                future.set_exception(error)
            return
        for (_, future), result in zip(live, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _fail_waiting(self) -> None:
        while True:
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return
            if entry is not None and entry[1].set_running_or_notify_cancel():
                entry[1].set_exception(ExpertError(f"expert {self._name!r} was closed"))
