"""Batches made ahead by one process, so that drawing and learning share two cores."""

from __future__ import annotations

import multiprocessing
import os
import queue as queues
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch

from natix_miner.training.tiny_vlm.samples import Batch

AHEAD = 40
KEPT = 120


def fed(make: Callable[[int], Batch], seed: int, reuse: int, worker: bool) -> Iterator[Batch]:
    """Endless batches: every `reuse`-th is `make(0)`, `make(1)`, ..., the others are earlier ones
    again; half of all mirrored. What comes follows from `make` and the seed alone.

    `worker` makes them in a process of their own, which ends with this one; `make` must be
    picklable then.
    """
    rng = np.random.default_rng((seed, 1))
    kept: list[Batch] = []
    fresh = _from_worker(make) if worker else map(make, _numbers())
    step = 0
    while True:
        if step % reuse == 0:
            kept = [*kept[-(KEPT - 1) :], next(fresh)] if reuse > 1 else [next(fresh)]
            batch = kept[-1]
        else:
            batch = kept[int(rng.integers(len(kept)))]
        yield mirrored(batch) if rng.random() < 0.5 else batch
        step += 1


def mirrored(batch: Batch) -> Batch:
    """Left and right exchanged; the answers stay."""
    return Batch(
        np.ascontiguousarray(batch.pixels[:, :, ::-1]),
        batch.truth,
        np.ascontiguousarray(batch.patches[:, :, ::-1]),
        batch.weights,
    )


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def _from_worker(make: Callable[[int], Batch]) -> Iterator[Batch]:
    # Not forked: a copy of a process with threads may wait for ever for a lock one of them held.
    context = multiprocessing.get_context("spawn")
    line: Any = context.Queue(maxsize=AHEAD)
    worker = context.Process(target=_work, args=(line, make, os.getpid()), daemon=True)
    worker.start()
    try:
        while True:
            yield line.get(timeout=300)
    finally:
        worker.terminate()
        worker.join()


def _work(line: Any, make: Callable[[int], Batch], parent: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    line.cancel_join_thread()
    for number in _numbers():
        batch = make(number)
        while os.getppid() == parent:
            try:
                line.put(batch, timeout=5)
                break
            except queues.Full:
                continue
        else:
            return
