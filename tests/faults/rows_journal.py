"""The journal cannot be written: queries are answered in time all the same, what it did not keep is
counted by reason, and it goes on by itself."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from pathlib import Path

from natix_miner.journal import Pacing
from tests.faults.doubles_asking import Load, Tally, figure, happens, pictures, told
from tests.faults.doubles_disk import SmallDisk, locked_elsewhere
from tests.faults.doubles_miner import RunningMiner, running
from tests.faults.frame import Claims, Outcome, Scale, fault

#: Gives up a batch after a fifth of a second; in the long run the miner's own pacing does, 8 s.
HASTY = Pacing(
    batch_rows=10,
    batch_seconds=0.01,
    first_wait=0.01,
    longest_wait=0.05,
    busy_seconds=0.05,
    attempts=3,
)


def pacing_of(scale: Scale) -> Pacing | None:
    """The miner's own where there is time for it."""
    return HASTY if scale.factor < 2.0 else None


async def losses(miner: RunningMiner, reason: str) -> float:
    """As /metrics tells them."""
    return await miner.count("natix_journal_losses_total", reason=reason)


async def written_again(miner: RunningMiner, seconds: float = 30.0) -> float | None:
    """Seconds until the journal has one more verdict."""
    before = miner.miner.writer.stats().written
    return await happens(lambda: miner.miner.writer.stats().written > before, seconds)


def hold_journal(
    claims: Claims, tally: Tally, path: Path, lost: float, lines: list[str]
) -> dict[str, float | int | str]:
    """What must hold once the miner has stopped; figures."""
    connection = sqlite3.connect(path)
    (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
    (kept,) = connection.execute("SELECT count(*) FROM queries").fetchone()
    connection.close()
    left = sorted(each.name for each in path.parent.iterdir() if each.name.startswith("journal"))
    complaints = sum("journal lost" in line for line in lines)
    claims.hold(tally.answered == len(tally.answers), "a query got no answer")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    claims.hold(lost > 0, "nothing was lost: the journal was never in trouble")
    claims.hold(kept + lost == len(tally.answers), f"{kept} kept + {lost:g} lost")
    claims.hold(sound == "ok", f"the journal is not sound: {sound}")
    claims.hold(left == ["journal.sqlite3"], f"files left behind: {left}")
    claims.hold(0 < complaints < 10, f"told {complaints} times")
    return {**tally.figures(), "kept": kept, "lost": int(lost), "told_times": complaints}


@fault("disk-full", "the disk of the journal is full")
async def disk_full(scale: Scale, folder: Path) -> Outcome:
    claims = Claims()
    with ExitStack() as closing:
        lines = closing.enter_context(told())
        disk = closing.enter_context(SmallDisk(folder / "disk", 1_000_000))
        journal = disk.folder / "journal.sqlite3"
        async with running(folder, journal=journal, pacing=pacing_of(scale)) as miner:
            async with Load(miner, pictures(16, scale.seed, side=224)) as load:

                async def losing() -> bool:
                    return await losses(miner, disk.loss) > 0

                full = await happens(losing, 60.0)
                await load.more(scale.count(8, 2000), 120.0)
                disk.make_room()
                again = await written_again(miner)
                await load.more(10)
            miner.miner.writer.flush(20.0)
            lost = await losses(miner, disk.loss)
            every = await miner.count("natix_journal_losses_total")
        claims.hold(full is not None, "the disk never was full")
        claims.hold(every == lost, f"{every - lost:g} were lost for another reason")
        claims.hold(again is not None, "it was not written again")
        figures = hold_journal(claims, load.tally, journal, lost, lines)
    return Outcome(
        {**figures, "made_by": disk.way, "written_again_seconds": figure(again)},
        tuple(claims.broken),
    )


@fault("journal-locked", "another process locks the journal for longer than the writer waits")
async def locked(scale: Scale, folder: Path) -> Outcome:
    claims = Claims()
    journal = folder / "journal.sqlite3"
    with told() as lines:
        async with running(folder, pacing=pacing_of(scale)) as miner:
            async with Load(miner, pictures(16, scale.seed)) as load:
                await load.more(5)
                miner.miner.writer.flush(10.0)
                with locked_elsewhere(journal):

                    async def losing() -> bool:
                        return await losses(miner, "locked") > 0

                    gone = await happens(losing, 60.0)
                    await load.more(scale.count(10, 1000), 120.0)
                again = await written_again(miner)
                await load.more(10)
            miner.miner.writer.flush(20.0)
            lost = await losses(miner, "locked")
            every = await miner.count("natix_journal_losses_total")
    claims.hold(gone is not None, "nothing was given up")
    claims.hold(every == lost, f"{every - lost:g} were lost for another reason")
    claims.hold(again is not None, "it was not written again")
    figures = hold_journal(claims, load.tally, journal, lost, lines)
    return Outcome(
        {
            **figures,
            "given_up_after_seconds": figure(gone),
            "written_again_seconds": figure(again),
        },
        tuple(claims.broken),
    )
