"""The training loop: first what patches show, then one answer token for two questions a picture.

The patches' targets teach the vision part where to look; the layer that reads them out is
thrown away with the training.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Qwen3VLForConditionalGeneration

from natix_miner.training.samples import Mixture
from natix_miner.training.tiny_vlm.architecture import LinearPatches
from natix_miner.training.tiny_vlm.asking import Asker, Sight, in_order
from natix_miner.training.tiny_vlm.feeding import fed
from natix_miner.training.tiny_vlm.questions import NAMES
from natix_miner.training.tiny_vlm.samples import Batch, make_batch, make_windows
from natix_miner.training.tiny_vlm.teacher import Teacher
from natix_miner.training.tiny_vlm.truth import UNKNOWN

Model = Qwen3VLForConditionalGeneration


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train: until `minutes` have passed or `steps` are done, the learning rate falling to
    nothing by then.

    In the first share `looking` of that the vision part alone learns from windows, each batch
    used `reuse` times. `worker` makes batches in a process of their own; `shrink` divides them.
    """

    seed: int
    minutes: float
    steps: int = 1_000_000
    rate: float = 1.5e-3
    warm_up: int = 100
    looking: float = 0.4
    reuse: int = 2
    patch_share: float = 0.5
    snapshot_every: int = 200
    worker: bool = True
    shrink: int = 1


def train(
    plan: Plan,
    model: Model,
    mixture: Mixture,
    teacher: Teacher | None,
    report: Callable[[str], None],
    snapshot: Callable[[Model], None],
) -> tuple[Model, list[float]]:
    """Train `model` in place; returns the averaged model and the cost of every step.

    One thread. The averaged model is shown to `snapshot` every `snapshot_every` steps once it
    has begun to answer.
    """
    torch.set_num_threads(1)
    torch.manual_seed(plan.seed)
    average = copy.deepcopy(model).eval()
    vision = model.model.visual
    vision.patch_embed = LinearPatches(vision.patch_embed.proj)
    asker = Asker(model.train())
    reader = nn.Linear(vision.config.hidden_size, len(NAMES))
    nn.init.constant_(reader.bias, -3.0)
    weights = [*model.parameters(), *reader.parameters()]
    optimiser = torch.optim.AdamW(
        [{"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": 0.05},
         {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0}],
        lr=plan.rate, betas=(0.9, 0.98),
    )  # fmt: skip
    started = time.monotonic()

    def part_done(step: int) -> float:
        return max(step / plan.steps, (time.monotonic() - started) / 60 / plan.minutes)

    costs: list[float] = []
    recent: list[tuple[float, float, float]] = []
    for batch, whole in _batches(plan, mixture, teacher, lambda: part_done(len(costs))):
        step = len(costs)
        part = part_done(step)
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * _schedule(step, part, plan.warm_up)
        sight = asker.see(batch.pixels)
        seen = patch_cost(reader, sight, batch)
        answers, right = answer_cost(asker, sight, batch, step) if whole else (seen * 0, 0.0)
        loss = answers + (plan.patch_share if whole else 1.0) * seen
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        _follow(average, model, min(0.996, (1 + step) / (10 + step)))
        costs.append(loss.item())
        recent.append((answers.item(), seen.item(), right))
        if len(costs) % 50 == 0:
            mean = np.mean(recent[-50:], 0)
            report(f"step {len(costs)} part {part:.3f} {'answers' if whole else 'windows'} "
                   f"{mean[0]:.3f} patches {mean[1]:.4f} right {mean[2]:.3f}")  # fmt: skip
        if whole and len(costs) % plan.snapshot_every == 0:
            snapshot(average)
    return average, costs


def answer_cost(asker: Asker, sight: Sight, batch: Batch, step: int) -> tuple[Tensor, float]:
    """The cross-entropy of the answer token, and the share of right answers on roadwork.

    Every picture is asked about roadwork, and one of the other questions, which change by step.
    """
    truth, weights = torch.from_numpy(batch.truth), torch.from_numpy(batch.weights)
    other = NAMES[1 + step % (len(NAMES) - 1)]
    total, count, right = torch.zeros(()), torch.zeros(()), 0.0
    for name, share in ((NAMES[0], 1.0), (other, 0.5)):
        wanted = truth[:, NAMES.index(name)]
        known = (wanted != UNKNOWN).float() * weights * share
        logits = asker.answer(sight, name)
        tokens = torch.where(wanted > 0.5, asker.yes, asker.no)
        entropy = nn.functional.cross_entropy(logits, tokens, reduction="none")
        total, count = total + (entropy * known).sum(), count + known.sum()
        if name == NAMES[0]:
            said = logits[:, asker.yes] > logits[:, asker.no]
            right = float((said == (wanted > 0.5)).float().mean())
    return total / count.clamp_min(1e-6), right


def patch_cost(reader: nn.Linear, sight: Sight, batch: Batch) -> Tensor:
    """The cross-entropy of what patches show; those with something count three times."""
    targets = in_order(torch.from_numpy(batch.patches))
    there = (targets != UNKNOWN).float()
    targets = targets.clamp_min(0)
    entropy = nn.functional.binary_cross_entropy_with_logits(
        reader(sight.patches), targets, reduction="none"
    )
    return 4 * (entropy * there * (1 + 2 * targets)).sum() / there.sum()


def _batches(
    plan: Plan, mixture: Mixture, teacher: Teacher | None, part: Callable[[], float]
) -> Iterator[tuple[Batch, bool]]:
    """Windows up to the share `looking`, whole pictures (True) up to the end."""
    make = partial(make_windows, plan.seed, mixture=mixture, shrink=plan.shrink)
    windows = fed(make, plan.seed, plan.reuse, plan.worker)
    while part() < plan.looking:
        yield next(windows), False
    windows.close()  # type: ignore[attr-defined]
    make = partial(make_batch, plan.seed, mixture=mixture, teacher=teacher, shrink=plan.shrink)
    wholes = fed(make, plan.seed, 1, plan.worker)
    while part() < 1:
        yield next(wholes), True
    wholes.close()  # type: ignore[attr-defined]


def _schedule(step: int, part: float, warm_up: int) -> float:
    """A rise, then half a cosine down to nothing at the end (`part` 1)."""
    return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * min(1.0, part)))


def _follow(average: Model, model: Model, keep: float) -> None:
    with torch.no_grad():
        for mine, theirs in zip(average.parameters(), model.parameters(), strict=True):
            mine.lerp_(theirs, 1 - keep)
