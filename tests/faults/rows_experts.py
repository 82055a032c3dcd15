"""One expert of several goes wrong: the others answer, it rests, and is asked again when well."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from natix_miner.experts.batching import MAX_REPLACEMENTS, BatchLimits
from tests.faults.doubles_asking import (
    Load,
    figure,
    happens,
    pictures,
    resident_megabytes,
)
from tests.faults.doubles_experts import FaultyJudge, Gate, Misbehaving
from tests.faults.doubles_miner import RunningMiner, running
from tests.faults.frame import Claims, Outcome, Scale, fault

FAULTY = "faulty"
#: How long the expert misbehaves at scale 1, in answers.
SHORT, MOST = 20, 4000


async def statuses(miner: RunningMiner) -> Counter[str]:
    """What became of the faulty expert in all queries, by the journal."""
    return Counter(
        expert.status
        for trace in await miner.traces()
        for level in trace.levels
        for expert in level.experts
        if expert.name == FAULTY
    )


async def break_and_mend(
    scale: Scale,
    folder: Path,
    expert: Misbehaving,
    act: Callable[[int], None],
    expected: str,
    *,
    at_once: int = 3,
) -> tuple[dict[str, float | int | str], Claims]:
    """Let the expert be well, then misbehave for some answers, then be well again."""
    judge, claims = FaultyJudge(expert), Claims()
    async with running(folder, make_judge=judge.make) as miner:
        async with Load(miner, pictures(16, scale.seed), at_once=at_once) as load:
            await load.more(6)
            expert.act = act
            await load.more(scale.count(SHORT, MOST))
            expert.act = None
            before = await miner.count("natix_expert_total", expert=FAULTY, status="ok")

            async def asked_again() -> bool:
                return await miner.count("natix_expert_total", expert=FAULTY, status="ok") > before

            back = await happens(asked_again, 10.0)
        seen = await statuses(miner)
        counted = await miner.count("natix_expert_total", expert=FAULTY, status=expected)
    tally = load.tally
    claims.hold(tally.answered == len(tally.answers), "a query got no answer")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    claims.hold(seen[expected] > 0, f"no trace says {expected!r}: {dict(seen)}")
    claims.hold(counted == seen[expected], f"/metrics says {counted}, traces {seen[expected]}")
    claims.hold(judge.breaker.openings > 0, "its breaker never opened")
    claims.hold(back is not None, "it was not asked again when it was well")
    return {
        **tally.figures(),
        **{f"opinions_{status.replace('-', '_')}": n for status, n in sorted(seen.items())},
        "breaker_openings": judge.breaker.openings,
        "used_again_seconds": figure(back),
    }, claims


@fault("expert-raises", "an expert raises at every picture")
async def raises(scale: Scale, folder: Path) -> Outcome:
    def act(count: int) -> None:
        raise ZeroDivisionError("a fault of the double")

    figures, claims = await break_and_mend(scale, folder, Misbehaving(FAULTY), act, "failed")
    return Outcome(figures, tuple(claims.broken))


@fault("expert-out-of-gpu-memory", "the GPU runs out of memory (the exception, simulated)")
async def out_of_memory(scale: Scale, folder: Path) -> Outcome:
    """In batches of several pictures, as it happens: all of a batch are without an opinion."""
    import torch

    expert = Misbehaving(FAULTY, BatchLimits(size=8, window_seconds=0.05))

    def act(count: int) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    figures, claims = await break_and_mend(scale, folder, expert, act, "failed", at_once=8)
    largest = max(expert.batches)
    claims.hold(largest > 1, "no batch held more than one picture")
    return Outcome({**figures, "largest_batch": largest}, tuple(claims.broken))


@fault("expert-hangs", "an expert never comes back from a batch, then from another")
async def hangs(scale: Scale, folder: Path) -> Outcome:
    """Two workers hang and are replaced; the third is well."""
    gate = Gate()
    expert = Misbehaving(FAULTY, BatchLimits(stuck_seconds=0.5))
    left = [2]

    def act(count: int) -> None:
        if left[0]:
            left[0] -= 1
            gate.wait()

    try:
        judge, claims = FaultyJudge(expert), Claims()
        async with running(folder, make_judge=judge.make) as miner:
            async with Load(miner, pictures(16, scale.seed)) as load:
                await load.more(6)
                expert.act = act
                hung = await happens(lambda: gate.waiting == 2, 20.0)
                begun = time.monotonic()
                before = await miner.count("natix_expert_total", expert=FAULTY, status="ok")

                async def asked_again() -> bool:
                    return (
                        await miner.count("natix_expert_total", expert=FAULTY, status="ok") > before
                    )

                back = await happens(asked_again, 20.0)
                back = None if back is None else time.monotonic() - begun
                await load.more(scale.count(10, 4000))
            seen = await statuses(miner)
        tally = load.tally
    finally:
        stuck = gate.waiting
        gate.open()
    claims.hold(hung is not None, "the second worker never hung: the first was not replaced")
    claims.hold(tally.answered == len(tally.answers), "a query got no answer")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    claims.hold(seen["timed-out"] > 0, f"no trace says that it timed out: {dict(seen)}")
    claims.hold(judge.breaker.openings > 0, "its breaker never opened")
    claims.hold(back is not None, "it was not asked again with its third worker")
    figures = {
        **tally.figures(),
        **{f"opinions_{status.replace('-', '_')}": n for status, n in sorted(seen.items())},
        "breaker_openings": judge.breaker.openings,
        "hanging_threads": stuck,
        "used_again_seconds": figure(back),
    }
    return Outcome(figures, tuple(claims.broken))


@fault("expert-hangs-for-good", "an expert never comes back from any batch")
async def hangs_for_good(scale: Scale, folder: Path) -> Outcome:
    """So many threads are given to it and no more."""
    gate, claims = Gate(), Claims()
    expert = Misbehaving(FAULTY, BatchLimits(stuck_seconds=0.15))
    judge = FaultyJudge(expert, timeout_seconds=0.1, rest=0.1)
    try:
        async with running(folder, make_judge=judge.make) as miner:
            expert.act = lambda count: gate.wait()
            async with Load(miner, pictures(16, scale.seed)) as load:
                given_up = await happens(lambda: gate.waiting > MAX_REPLACEMENTS, 20.0)

                async def given_up_for_good() -> bool:
                    return (
                        await miner.count("natix_expert_total", expert=FAULTY, status="failed") > 0
                    )

                await happens(given_up_for_good, 20.0)
                await load.more(scale.count(5, 4000))
                most = gate.waiting
            said = [
                expert.detail
                for trace in await miner.traces()
                for level in trace.levels
                for expert in level.experts
                if expert.name == FAULTY and expert.status == "failed"
            ]
    finally:
        gate.open()
    tally = load.tally
    claims.hold(given_up is not None, "it was never given up")
    claims.hold(most == MAX_REPLACEMENTS + 1, f"{most} threads hang")
    claims.hold(any("restart the miner" in each for each in said), f"not told: {said[-1:]}")
    claims.hold(tally.answered == len(tally.answers), "a query got no answer")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    figures = {
        **tally.figures(),
        "hanging_threads": most,
        "given_up_seconds": figure(given_up),
        "breaker_openings": judge.breaker.openings,
    }
    return Outcome(figures, tuple(claims.broken))


@fault("expert-leaks", "an expert keeps two megabytes of every picture")
async def leaks(scale: Scale, folder: Path) -> Outcome:
    """Nothing in the miner stops it: pm2's memory ceiling restarts the process. What is held here
    is that answers stay in time and that the growth can be seen."""
    kept: list[bytearray] = []
    expert, claims = Misbehaving(FAULTY), Claims()
    judge = FaultyJudge(expert)

    def act(count: int) -> None:
        kept.extend(bytearray(b"\1" * 2_000_000) for _ in range(count))

    async with running(folder, make_judge=judge.make) as miner:
        async with Load(miner, pictures(16, scale.seed)) as load:
            await load.more(6)
            gc.collect()
            before, looked = resident_megabytes(), len(kept)
            expert.act = act
            await load.more(scale.count(SHORT, 500))
            after, looked = resident_megabytes(), len(kept) - looked
        seen_by_miner = await miner.count("process_resident_memory_bytes") / 1e6
    kept.clear()
    await asyncio.sleep(0)
    tally = load.tally
    claims.hold(tally.answered == len(tally.answers), "a query got no answer")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    claims.hold(after - before > looked, "the leak is not seen in resident memory")
    figures = {
        **tally.figures(),
        "leaked_megabytes": 2 * looked,
        "resident_growth_megabytes": round(after - before, 1),
        "metrics_resident_megabytes": round(seen_by_miner, 1) if seen_by_miner else "not told",
    }
    return Outcome(figures, tuple(claims.broken))
