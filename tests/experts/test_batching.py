"""Micro-batching with real threads; events, not sleeps, say when things happen."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest

from natix_miner.errors import ExpertError
from natix_miner.experts.batching import MAX_REPLACEMENTS, BatchLimits, MicroBatcher

PATIENCE = 10.0


class Gate:
    """Work that waits until it is let go, and remembers its batches."""

    def __init__(self):
        self.batches, self.open, self.entered = [], threading.Event(), threading.Semaphore(0)

    def __call__(self, items):
        self.batches.append(list(items))
        self.entered.release()
        assert self.open.wait(PATIENCE)
        return [item * 10 for item in items]


class HandClock:
    """A clock moved by hand."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def time(self):
        return self.now


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


def test_items_that_wait_share_a_batch_up_to_its_size(gate):
    batcher = MicroBatcher("x", gate, BatchLimits(size=3))
    futures = [batcher.submit(0)]
    assert gate.entered.acquire(timeout=PATIENCE)
    futures += [batcher.submit(n) for n in range(1, 6)]
    gate.open.set()
    assert [f.result(PATIENCE) for f in futures] == [0, 10, 20, 30, 40, 50]
    assert gate.batches == [[0], [1, 2, 3], [4, 5]]
    batcher.close()


def test_a_window_waits_for_company():
    seen = []

    def work(items):
        seen.append(len(items))
        return items

    batcher = MicroBatcher("x", work, BatchLimits(size=2, window_seconds=PATIENCE))
    first, second = batcher.submit(1), batcher.submit(2)
    wait([first, second], PATIENCE)
    assert seen == [2]
    batcher.close()


def test_an_error_reaches_everybody_in_the_batch_and_the_worker_lives_on():
    def work(items):
        if "bad" in items:
            raise ValueError("bad weights")
        return items

    batcher = MicroBatcher("x", work, BatchLimits())
    with pytest.raises(ValueError, match="bad weights"):
        batcher.submit("bad").result(PATIENCE)
    assert batcher.submit("good").result(PATIENCE) == "good"
    batcher.close()


def test_one_item_may_fail_alone():
    batcher = MicroBatcher(
        "x", lambda items: [OSError("no") if i == 1 else i for i in items], BatchLimits()
    )
    with pytest.raises(OSError, match="no"):
        batcher.submit(1).result(PATIENCE)
    assert batcher.submit(2).result(PATIENCE) == 2
    batcher.close()


def test_too_few_results_are_an_error_not_a_mix_up():
    batcher = MicroBatcher("x", lambda items: [], BatchLimits())
    with pytest.raises(ExpertError, match="0 results for 1"):
        batcher.submit(1).result(PATIENCE)
    batcher.close()


def test_what_the_caller_gave_up_is_not_run(gate):
    batcher = MicroBatcher("x", gate, BatchLimits())
    running = batcher.submit(1)
    assert gate.entered.acquire(timeout=PATIENCE)
    dropped, kept = batcher.submit(2), batcher.submit(3)
    assert dropped.cancel()
    gate.open.set()
    assert (running.result(PATIENCE), kept.result(PATIENCE)) == (10, 30)
    assert gate.batches == [[1], [3]]
    batcher.close()


def test_a_hung_worker_is_replaced_a_few_times_then_given_up():
    clock, hang, entered = HandClock(), threading.Event(), threading.Semaphore(0)

    def work(items):
        entered.release()
        if items[0] == "hang":
            hang.wait(PATIENCE)
        return items

    batcher = MicroBatcher("x", work, BatchLimits(stuck_seconds=5.0), clock)
    for turn in range(MAX_REPLACEMENTS):
        batcher.submit("hang")
        assert entered.acquire(timeout=PATIENCE)
        clock.now += 6.0
        assert batcher.submit(f"fine {turn}").result(PATIENCE) == f"fine {turn}"
        assert entered.acquire(timeout=PATIENCE)
    assert batcher.replacements == MAX_REPLACEMENTS
    batcher.submit("hang")
    assert entered.acquire(timeout=PATIENCE)
    clock.now += 6.0
    with pytest.raises(ExpertError, match="restart the miner"):
        batcher.submit("fine")
    hang.set()


def test_closing_fails_what_waits_and_refuses_what_comes(gate):
    batcher = MicroBatcher("x", gate, BatchLimits(size=1))
    running = batcher.submit(1)
    assert gate.entered.acquire(timeout=PATIENCE)
    batcher.close()
    batcher.close()
    gate.open.set()
    assert running.result(PATIENCE) == 10
    with pytest.raises(ExpertError, match="closed"):
        batcher.submit(2)
