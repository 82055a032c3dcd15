"""Files go bad under a running miner: the fitted consensus, a model, the disk of the log."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from natix_miner.consensus import FittedConsensus, Pool, save_fitted
from tests.faults.doubles_asking import Load, figure, happens, pictures
from tests.faults.doubles_disk import SmallDisk
from tests.faults.doubles_miner import COLOUR, NETWORK, RunningMiner, running, write_profile
from tests.faults.frame import Claims, Outcome, Scale, fault

GARBAGE = {
    "nothing": b"",
    "noise": bytes(range(256)) * 8,
    "half": b'{"format": 1, "calibrations": {"col',
    "other_json": b'["not", "a", "consensus"]',
    "endless_nesting": b"[" * 100_000,
}


def fitted(bias: float) -> FittedConsensus:
    """A consensus of the two embedded experts."""
    weights = {"network": 0.5, "colour": 0.5}
    return FittedConsensus(calibrations={}, pools=(Pool(weights=weights, bias=bias),))


@fault("consensus-garbage", "the fitted consensus is overwritten with garbage before SIGHUPs")
async def consensus_garbage(scale: Scale, folder: Path) -> Outcome:
    """The signal's handler is called as the signal would call it."""
    claims, path = Claims(), folder / "consensus.json"
    old, new = fitted(0.0), fitted(0.5)
    save_fitted(old, path)
    profile = write_profile(folder, consensus={"fitted": "consensus.json"})

    async def reload(miner: RunningMiner, outcome: str) -> bool:
        before = await miner.count("natix_consensus_reloads_total", outcome=outcome)
        miner.miner.reload()

        async def more() -> bool:
            return await miner.count("natix_consensus_reloads_total", outcome=outcome) > before

        return await happens(more, 10.0) is not None

    async with running(folder, profile=profile) as miner:
        async with Load(miner, pictures(16, scale.seed)) as load:
            await load.more(5)
            for _ in range(scale.count(1, 100)):
                for kind, content in GARBAGE.items():
                    path.write_bytes(content)
                    claims.hold(await reload(miner, "refused"), f"{kind} was not refused")
                path.unlink()
                claims.hold(await reload(miner, "refused"), "a missing file was not refused")
            await load.more(5)
            save_fitted(new, path)
            claims.hold(await reload(miner, "swapped"), "the good file was not taken")
            await load.more(5)
        refused = await miner.count("natix_consensus_reloads_total", outcome="refused")
        failed = await miner.count("natix_consensus_reloads_total", outcome="failed")
        versions = list(
            dict.fromkeys(trace.versions["consensus"] for trace in await miner.traces())
        )
    tally = load.tally
    wanted = [f"log-odds:{each.digest()}" for each in (old, new)]
    claims.hold(versions == wanted, f"judged with {versions}, not {wanted}")
    claims.hold(failed == 0, f"{failed:g} reloads failed in an unforeseen way")
    claims.hold(tally.answered == len(tally.answers), "a query got no answer")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    return Outcome({**tally.figures(), "reloads_refused": int(refused)}, tuple(claims.broken))


@fault("model-vanishes", "the files of the models are deleted under a running miner")
async def model_vanishes(scale: Scale, folder: Path) -> Outcome:
    claims = Claims()
    models = folder / "models"
    models.mkdir()
    experts = {}
    for name, settings in (("network", NETWORK), ("colour", COLOUR)):
        source = Path(str(settings["model"]))
        for beside in source.parent.glob(f"{source.stem}.*"):
            shutil.copy(beside, models)
        experts[name] = {**settings, "model": str(models / source.name)}
    profile = write_profile(folder, experts=experts)
    async with running(folder, profile=profile) as miner:
        async with Load(miner, pictures(16, scale.seed)) as load:
            await load.more(10)
            shutil.rmtree(models)
            await load.more(scale.count(10, 5000), 600.0)
        missing = sum(
            expert.status != "ok"
            for trace in await miner.traces()
            for level in trace.levels
            for expert in level.experts
        )
    tally = load.tally
    claims.hold(tally.answered == len(tally.answers), "a query got no answer")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    claims.hold(missing == 0, f"{missing} opinions are missing")
    return Outcome({**tally.figures(), "opinions_missing": missing}, tuple(claims.broken))


@contextlib.contextmanager
def own_logs(file: Path) -> Iterator[io.StringIO]:
    """The logs of a miner process, taken down again; what it writes to standard error."""
    from loguru import logger

    from natix_miner.neuron.logging import set_up_logs

    names = ("", "uvicorn.error", "asyncio", "bittensor")
    before = [(logging.getLogger(n), list(logging.getLogger(n).handlers)) for n in names]
    kept = [(each.propagate, each.level) for each, _ in before]
    with contextlib.redirect_stderr(io.StringIO()) as terminal:
        try:
            set_up_logs("warning", file)
            yield terminal
        finally:
            logger.remove()
            for (each, handlers), (propagate, level) in zip(before, kept, strict=True):
                each.handlers[:] = handlers
                each.propagate = propagate
                each.setLevel(level)


def is_whole(line: str) -> bool:
    """Whether a line of the log is a JSON document."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@fault("log-disk-full", "the disk of the log file is full")
async def log_disk_full(scale: Scale, folder: Path) -> Outcome:
    claims = Claims()
    with SmallDisk(folder / "disk", 100_000) as disk:
        file = disk.folder / "miner.jsonl"
        with own_logs(file) as terminal:
            async with running(folder) as miner, Load(miner, pictures(16, scale.seed)) as load:
                full = await happens(lambda: "cannot be written" in terminal.getvalue(), 30.0)
                await load.more(scale.count(10, 5000), 600.0)
                size = file.stat().st_size
                disk.make_room()
                again = await happens(lambda: file.stat().st_size > size, 10.0)
                await load.more(10)
        lines = file.read_text(errors="replace").splitlines()
        cut = sum(not is_whole(line) for line in lines)
    tally = load.tally
    said = terminal.getvalue().splitlines()
    claims.hold(full is not None, "it is not told that the log cannot be written")
    claims.hold(again is not None, "the log was not written again")
    claims.hold(len(said) < 20, f"{len(said)} lines on the terminal: {said[:3]}")
    claims.hold(tally.answered == len(tally.answers), "a query got no answer")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    claims.hold(cut <= 1, f"{cut} lines of the log are cut")
    return Outcome(
        {
            **tally.figures(),
            "made_by": disk.way,
            "log_lines": len(lines),
            "cut_lines": cut,
            "terminal_lines": len(said),
            "written_again_seconds": figure(again),
        },
        tuple(claims.broken),
    )
