"""The chain goes away, or forgets us: validators of the last good snapshot are answered as before,
and neither threads nor files pile up while the chain is asked again and again."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from natix_miner.clock import SYSTEM_CLOCK
from natix_miner.neuron.chain import ChainState, ChainWatch, Pace
from natix_miner.neuron.sdk import load_sdk
from natix_miner.neuron.snapshot import write_snapshot
from tests.faults.doubles_asking import (
    Held,
    Load,
    complaints,
    figure,
    happens,
    held,
    pictures,
    resident_megabytes,
    told,
)
from tests.faults.doubles_chain import ChainDouble, HalfSource
from tests.faults.doubles_miner import (
    NETUID,
    key,
    running,
    subnet,
    write_chain,
    write_profile,
)
from tests.faults.frame import Claims, Outcome, Scale, fault

#: What may be open one moment more than the other without meaning anything.
SLACK = 3


def keep_snapshot(folder: Path) -> None:
    """What the last run of a miner left in its state folder."""
    validator = key(2).ss58_address
    kept = subnet(validator, key(1).ss58_address, block=5, validator=validator)
    write_snapshot(kept, folder / "state" / f"chain-{NETUID}.json")


@fault("chain-away", "the chain's endpoint refuses, is mute, then drops every connection")
async def away(scale: Scale, folder: Path) -> Outcome:
    """A miner that starts with a kept snapshot and never gets another one."""
    claims = Claims()
    keep_snapshot(folder)
    neuron = {
        "max_per_minute_per_hotkey": 0,
        "chain_refresh_seconds": 0.05,
        "chain_timeout_seconds": 0.3,
    }
    profile = write_profile(folder, neuron=neuron)
    await asyncio.to_thread(load_sdk)
    seen: dict[str, int] = {}
    with told() as lines, complaints() as complained, ChainDouble("refused") as chain:
        async with running(folder, profile=profile, chain_endpoint=chain.url) as miner:
            noticed = await happens(lambda: any("chain fails" in line for line in lines), 20.0)
            claims.hold(noticed is not None, "it is not told that the chain fails")
            before = await held()
            async with Load(miner, pictures(16, scale.seed)) as load:
                # A port that refuses cannot count who comes.
                await asyncio.sleep(0.5 * scale.count(1, 60))
                for manner in ("mute", "dropping"):
                    await asyncio.to_thread(chain.turn, manner)
                    came = chain.connections
                    wanted = came + scale.count(2, 300)
                    await happens(lambda wanted=wanted: chain.connections >= wanted, 60.0)
                    await load.more(10)
                    seen[f"connections_{manner}"] = chain.connections - came
            await asyncio.to_thread(chain.turn, "refused")
            after = await held()
            stale = await miner.count("natix_chain_state", state="stale")
    tally = load.tally
    failures = sum("chain fails" in line for line in lines)
    claims.hold(tally.answered == len(tally.answers), "a validator was not answered")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    claims.hold(failures == 1, f"told {failures} times that the chain fails")
    claims.hold(stale == 1.0, "/metrics does not say that the snapshot is stale")
    claims.hold(min(seen.values()) > 0, f"the chain was not asked: {seen}")
    return Outcome(
        {
            **tally.figures(),
            **seen,
            "told_times": failures,
            **flat(claims, before, after, complained),
        },
        tuple(claims.broken),
    )


def flat(claims: Claims, before: Held, after: Held, complained: list[str]) -> dict[str, int]:
    """Hold that nothing piled up, and that asyncio had nothing to complain of; the figures."""
    files, threads = after.files - before.files, after.threads - before.threads
    claims.hold(files <= SLACK, f"{files} files more")
    claims.hold(threads <= SLACK, f"{threads} threads more")
    claims.hold(not complained, f"asyncio complained {len(complained)} times: {complained[:1]}")
    return {"files_more": files, "threads_more": threads, "complaints": len(complained)}


@fault("chain-comes-back", "the chain is well, away for long, and well again")
async def comes_back(scale: Scale, folder: Path) -> Outcome:
    """The watch and the SDK's connections alone; the neurons are made up (see HalfSource)."""
    claims = Claims()
    fetches = scale.count(10, 600)
    with complaints() as complained, ChainDouble() as chain:
        source = HalfSource([chain.url], NETUID, timeout_seconds=0.6)
        watch = ChainWatch(
            source, Pace(300.0), SYSTEM_CLOCK, random.Random(scale.seed), key(1).ss58_address
        )

        async def fetch(times: int) -> None:
            for _ in range(times):
                await asyncio.to_thread(watch.refresh_once)

        await asyncio.to_thread(load_sdk)
        fresh = await happens(lambda: _fresh(watch, 1), 20.0)
        claims.hold(fresh is not None, f"not fresh at the start: {watch.state}")
        before, memory = await held(), resident_megabytes()
        # The others cost seconds each, and are in `chain-away` too.
        manners = [("refused", fetches), ("dropping", 1), ("mute", 1)]
        if scale.factor < 2.0:
            del manners[1:]
        for manner, times in manners:
            await asyncio.to_thread(chain.turn, manner)
            await fetch(times)
            claims.hold(watch.state is ChainState.STALE, f"{manner}: state {watch.state}")
            claims.hold(watch.snapshot is not None and watch.snapshot.block == 1, manner)
        await asyncio.to_thread(chain.turn, "well")
        chain.block = 2
        back = await happens(lambda: _fresh(watch, 2), 20.0)
        await fetch(fetches)
        after, grown = await held(), resident_megabytes() - memory
        claims.hold(back is not None, f"not fresh again: {watch.state}")
        claims.hold(watch.uid == 1, "we are not in the snapshot")
    return Outcome(
        {
            "fetches": fetches + sum(times for _, times in manners),
            "connections": chain.connections,
            "fresh_again_seconds": figure(back),
            **flat(claims, before, after, complained),
            "resident_growth_megabytes": round(grown, 1),
        },
        tuple(claims.broken),
    )


async def _fresh(watch: ChainWatch, block: int) -> bool:
    await asyncio.to_thread(watch.refresh_once)
    snapshot = watch.snapshot
    return watch.state is ChainState.FRESH and snapshot is not None and snapshot.block == block


@fault("deregistered", "our hotkey is no longer in the snapshot, then it is again")
async def deregistered(scale: Scale, folder: Path) -> Outcome:
    claims = Claims()
    with told() as lines:
        async with running(folder) as miner:

            async def registered() -> bool:
                return await miner.count("natix_registered") == 1.0

            async def not_registered() -> bool:
                return not await registered()

            claims.hold(await happens(registered, 5.0) is not None, "not registered at first")
            async with Load(miner, pictures(16, scale.seed)) as load:
                write_chain(folder, block=2, registered=False)
                noticed = await happens(not_registered, 10.0)
                write_chain(folder, block=3, registered=False)
                await asyncio.sleep(1.1)  # the file is looked at once a second
                await load.more(scale.count(5, 2000))
                write_chain(folder, block=4)
                again = await happens(registered, 10.0)
    tally = load.tally
    times = sum("is not registered on subnet" in line for line in lines)
    claims.hold(noticed is not None, "it was not noticed")
    claims.hold(again is not None, "the new registration was not noticed")
    claims.hold(times == 1, f"told {times} times")
    claims.hold(tally.answered == len(tally.answers), "a validator was not answered")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    return Outcome(
        {
            **tally.figures(),
            "told_times": times,
            "noticed_seconds": figure(noticed),
            "registered_again_seconds": figure(again),
        },
        tuple(claims.broken),
    )
