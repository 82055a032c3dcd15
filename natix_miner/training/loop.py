"""The training loop: batches made ahead by one worker process, used twice, averaged weights."""

from __future__ import annotations

import copy
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from natix_miner.training.network import PatchNetwork
from natix_miner.training.samples import Batch, Mixture, make_batch

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. ``steps`` optimiser steps; every fresh batch is used ``reuse`` times.

    ``shrink`` divides batch sizes, ``worker`` makes batches in a process of their own. The
    result depends on ``seed`` and these numbers, not on time, unless ``minutes`` cuts it off.
    """

    steps: int
    seed: int
    minutes: float = 60.0
    reuse: int = 3
    rate: float = 2e-3
    shrink: int = 1
    worker: bool = True
    balanced: bool = False


def train(
    plan: Plan,
    mixture: Mixture,
    report: Report,
    snapshot: Callable[[PatchNetwork], None] | None = None,
    start: PatchNetwork | None = None,
) -> tuple[PatchNetwork, int]:
    """Train from nothing or from ``start``.

    Shows the averaged network to ``snapshot`` every 400 steps. Returns the averaged network
    in evaluation mode and the steps done.
    """
    torch.manual_seed(plan.seed)
    torch.set_num_threads(1)
    network = (PatchNetwork() if start is None else copy.deepcopy(start)).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network)
    decayed = [weight for weight in network.parameters() if weight.ndim > 1]
    plain = [weight for weight in network.parameters() if weight.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}],
        lr=plan.rate,
    )
    started, smooth, done = time.monotonic(), None, 0
    generator = torch.Generator().manual_seed(plan.seed)
    ranks: list[tuple[Tensor, Tensor]] = []
    for step, batch in enumerate(_replayed(plan, mixture)):
        spent = (time.monotonic() - started) / 60
        if spent > plan.minutes:
            report(f"stopped by the clock at step {step} of {plan.steps}")
            break
        part = _part(step / plan.steps, spent / plan.minutes)
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * _schedule(step, part)
        pixels, labels, weights, targets = _tensors(batch, generator)
        logits, patches = network(pixels)
        whole, local = losses(
            logits, patches, labels, weights, targets, plan.balanced, 0.3 * min(1.0, 2.5 * part)
        )
        loss = (0.25 + 0.75 * min(1.0, 5 * part)) * whole + local
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        _follow(average, network, min(0.998, (1 + step) / (10 + step)))
        done = step + 1
        ranks.append((logits.detach(), labels))
        values = np.array([whole.item(), local.item()])
        smooth = values if smooth is None else 0.98 * smooth + 0.02 * values
        if done % 100 == 0 or done == plan.steps:
            report(
                f"step {done}/{plan.steps} {spent:.1f} min picture {smooth[0]:.3f} "
                f"patch {smooth[1]:.3f} ranked right {_ranked(ranks):.3f}"
            )
            ranks.clear()
        if snapshot is not None and done % 400 == 0 and done < plan.steps:
            snapshot(copy.deepcopy(average).eval())
    return average.eval(), done


def losses(
    logits: Tensor,
    patches: Tensor,
    labels: Tensor,
    weights: Tensor,
    targets: Tensor,
    balanced: bool,
    hard: float,
) -> tuple[Tensor, Tensor]:
    """Weighted cross-entropy of pictures, and of patches.

    Patches count as often as they come, those with roadwork twice: then roadwork and what
    resembles it weigh about the same. ``balanced`` gives both classes equal weight instead and
    the worst hundredth without roadwork ``hard`` times as much as all of them, which teaches
    colours fast and differences slowly.
    """
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    whole = (entropy(logits, labels, reduction="none") * weights).sum() / weights.sum()
    rows, columns = min(patches.shape[1], targets.shape[1]), min(patches.shape[2], targets.shape[2])
    patches, targets = patches[:, :rows, :columns], targets[:, :rows, :columns]
    local = whole.new_zeros(())
    yes, no = patches[targets == 1], patches[targets == 0]
    if not balanced:
        cost = 2 * torch.nn.functional.softplus(-yes).sum() + torch.nn.functional.softplus(no).sum()
        return whole, 4 * cost / max(1, len(yes) + len(no))
    if len(yes):
        local = local + torch.nn.functional.softplus(-yes).mean()
    if len(no):
        cost = torch.nn.functional.softplus(no)
        local = local + cost.mean() + hard * cost.topk(max(1, len(cost) // 100)).values.mean()
    return whole, local


def _replayed(plan: Plan, mixture: Mixture) -> Iterator[Batch]:
    """Fresh batches, each seen again some steps later, in an order fixed by the seed."""
    rng = np.random.default_rng((plan.seed, 1))
    kept: list[Batch] = []
    fresh = _fresh(plan, mixture)
    for step in range(plan.steps):
        if step % plan.reuse == 0 or not kept:
            batch = next(fresh)
            kept.append(batch)
            if len(kept) > 240:
                kept.pop(int(rng.integers(120)))
            yield batch
        else:
            yield kept[int(rng.integers(len(kept)))]


def _fresh(plan: Plan, mixture: Mixture) -> Iterator[Batch]:
    count = -(-plan.steps // plan.reuse)
    if not plan.worker:
        for index in range(count):
            yield make_batch(plan.seed, index, mixture, plan.shrink)
        return
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue(maxsize=60)
    worker = context.Process(target=_work, args=(queue, plan, mixture, count), daemon=True)
    worker.start()
    try:
        for _ in range(count):
            yield queue.get(timeout=300)
    finally:
        worker.terminate()
        worker.join()


def _work(queue: Any, plan: Plan, mixture: Mixture, count: int) -> None:
    cv2.setNumThreads(1)
    for index in range(count):
        queue.put(make_batch(plan.seed, index, mixture, plan.shrink))


def _tensors(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """To tensors, with fresh mirroring, brightness and colour on every use."""
    pixels = torch.from_numpy(batch.pixels).permute(0, 3, 1, 2).float()
    targets = torch.from_numpy(batch.targets)

    def drawn(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    count = len(pixels)
    if drawn(1).item() < 0.5:
        pixels, targets = pixels.flip(3), targets.flip(2)
    grey = pixels.mean(1, keepdim=True)
    colour = 0.75 + 0.5 * drawn(count, 1, 1, 1)
    gain = (0.8 + 0.4 * drawn(count, 1, 1, 1)) * (0.95 + 0.1 * drawn(count, 3, 1, 1))
    pixels = (grey + (pixels - grey) * colour) * gain + 30 * (drawn(count, 1, 1, 1) - 0.5)
    pixels = pixels.clamp_(0, 255).contiguous(memory_format=torch.channels_last)
    return pixels, torch.from_numpy(batch.labels), torch.from_numpy(batch.weights), targets


def _ranked(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """The share of (with, without) pairs that the logits put in the right order."""
    logits, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return float((logits[labels > 0.5][:, None] > logits[labels <= 0.5]).float().mean())


def _part(steps: float, time_spent: float) -> float:
    """How far training is: the share of steps, unless the clock will clearly end it earlier."""
    return time_spent if time_spent > steps + 0.03 else steps


def _schedule(step: int, part: float) -> float:
    """A rise over 100 steps, then half a cosine down to a hundredth at the end (``part`` 1)."""
    return min(1.0, (step + 1) / 100) * (
        0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * min(1.0, part))))
    )


def _follow(average: PatchNetwork, network: PatchNetwork, keep: float) -> None:
    with torch.no_grad():
        for mine, theirs in zip(average.parameters(), network.parameters(), strict=True):
            mine.lerp_(theirs, 1 - keep)
        for old, new in zip(average.buffers(), network.buffers(), strict=True):
            if old.dtype.is_floating_point:
                old.lerp_(new, 1 - keep)
            else:
                old.copy_(new)
