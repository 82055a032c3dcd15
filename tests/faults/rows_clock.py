"""The wall clock is wrong: who signs by the true time is refused while it is, and answered as soon
as it is right again; deadlines run on the monotonic clock and do not notice."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body
from tests.faults.doubles_asking import Answered, Load, Tally, pictures
from tests.faults.doubles_clock import WrongClock
from tests.faults.doubles_miner import RunningMiner, running
from tests.faults.frame import Claims, Outcome, Scale, fault

HOUR = 3600.0
AT_ONCE = 3


async def ask_all(
    miner: RunningMiner, tally: Tally, made: list[bytes], ahead: float = 0.0
) -> Counter[int]:
    """Ask all pictures one by one, signed `ahead` of the true time; statuses."""
    answers = [await miner.ask(each, signed_at=time.time() + ahead) for each in made]
    tally.answers.extend(answers)
    return Counter(answer.status for answer in answers)


@fault("clock-jumps", "the miner's wall clock jumps an hour ahead, back, and an hour behind")
async def jumps(scale: Scale, folder: Path) -> Outcome:
    """Its validators keep the true time."""
    claims, clock = Claims(), WrongClock()
    made = pictures(scale.count(4, 300), scale.seed)
    async with running(folder, clock=clock) as miner:
        tally = Tally(miner.deadline_seconds)
        for name, offset in (("ahead", HOUR), ("behind", -HOUR)):
            for step, wrong in (("before", 0.0), (name, offset), ("after", 0.0)):
                clock.jump(wrong)
                seen = await ask_all(miner, tally, made)
                expected = 401 if wrong else 200
                claims.hold(
                    seen == {expected: len(made)}, f"{step} ({name}): statuses {dict(seen)}"
                )
        stale = await miner.count("natix_refusals_total", reason="stale-nonce")
        future = await miner.count("natix_refusals_total", reason="future-nonce")
    claims.hold(stale == future == len(made), f"/metrics: {stale} stale, {future} future")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    return Outcome(
        {
            "queries": len(tally.answers),
            "answered": tally.answered,
            "refused": int(stale + future),
            "late": tally.late,
            "slowest_answer_seconds": round(tally.slowest, 3),
        },
        tuple(claims.broken),
    )


@fault("clock-corrected", "the miner started an hour ahead or behind, and its clock is set right")
async def corrected(scale: Scale, folder: Path) -> Outcome:
    """As when the first word of a time server comes after the start; queries that were signed
    before the start stay refused all the same."""
    claims = Claims()
    made = pictures(scale.count(4, 300), scale.seed)
    figures: dict[str, float | int | str] = {}
    for name, offset in (("ahead", HOUR), ("behind", -HOUR)):
        clock = WrongClock()
        clock.jump(offset)
        part = folder / name
        part.mkdir()
        signed_before = time.time()
        async with running(part, clock=clock) as miner:
            tally = Tally(miner.deadline_seconds)
            wrong = await ask_all(miner, tally, made)
            clock.jump(0.0)
            right = await ask_all(miner, tally, made)
            replayed = await miner.ask(made[0], signed_at=signed_before)
        claims.hold(wrong == {401: len(made)}, f"{name}: statuses {dict(wrong)}")
        claims.hold(right == {200: len(made)}, f"{name}, corrected: statuses {dict(right)}")
        claims.hold(replayed.status == 401, f"{name}: signed before the start: {replayed.status}")
        figures[f"{name}_answered_when_corrected"] = right[200]
    return Outcome({**figures, "queries_each": len(made)}, tuple(claims.broken))


@fault("clock-jumps-everywhere", "the wall clocks of miner and validators jump together under load")
async def everywhere(scale: Scale, folder: Path) -> Outcome:
    """Only what is on its way at a jump is refused, no deadline moves, a signature that was used
    stays used, and the journal keeps the order of arrival whatever its times say."""
    claims, clock = Claims(), WrongClock()

    class Validator:
        """Asks by the wrong clock too."""

        def __init__(self, miner: RunningMiner) -> None:
            self.deadline_seconds = miner.deadline_seconds
            self._miner = miner

        async def ask(self, picture: bytes) -> Answered:
            return await self._miner.ask(picture, signed_at=clock.time())

    async with running(folder, clock=clock) as miner:
        validator = Validator(miner)
        async with Load(validator, pictures(16, scale.seed), at_once=AT_ONCE) as load:
            for _ in range(scale.count(1, 50)):
                for offset in (HOUR, 0.0, -HOUR, 0.0):
                    await load.more(8)
                    clock.jump(offset)
            await load.more(8)
        at = clock.time()
        picture = pictures(1, scale.seed + 1)[0]
        sent = signed_headers(miner.validator, miner.hotkey, int(at * 1e9))
        request = http_request(sent, synapse_body(picture))
        twice = [(await exchange(*miner.address, request))[0]]
        clock.jump(5.0)
        twice.append((await exchange(*miner.address, request))[0])
        miner.miner.writer.flush(10.0)
    tally = load.tally
    connection = sqlite3.connect(folder / "journal.sqlite3")
    times = [t for (t,) in connection.execute("SELECT received_at FROM queries ORDER BY number")]
    connection.close()
    backwards = sum(later < earlier - HOUR / 2 for earlier, later in pairwise(times))
    all_jumps = 4 * scale.count(1, 50)
    refused = len(tally.answers) - tally.answered
    claims.hold(set(statuses(tally)) <= {200, 401}, f"statuses {statuses(tally)}")
    claims.hold(refused <= AT_ONCE * all_jumps, f"{refused} refused in {all_jumps} jumps")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    claims.hold(twice == [200, 401], f"the same request before and after a jump: {twice}")
    claims.hold(len(times) == tally.answered + 1, f"{len(times)} in the journal")
    claims.hold(backwards == all_jumps // 2, f"{backwards} steps back in the journal's times")
    return Outcome(
        {
            **tally.figures(),
            "refused": refused,
            "journal_entries": len(times),
            "jumps": all_jumps,
        },
        tuple(claims.broken),
    )


def statuses(tally: Tally) -> dict[int, int]:
    """How often each."""
    return dict(Counter(answer.status for answer in tally.answers))


@fault("clock-slews", "the miner's wall clock drifts off by seconds and is slewed back")
async def slews(scale: Scale, folder: Path) -> Outcome:
    """That is within the nonce window of thirteen seconds: nobody is refused."""
    claims, clock = Claims(), WrongClock()
    furthest = 0.0
    async with (
        running(folder, clock=clock) as miner,
        Load(miner, pictures(16, scale.seed), pause=0.05) as load,
    ):
        # Behind first: how long the miner has been there is told by its monotonic clock, and what
        # seems to be older is refused.
        for rate in (-2.0, 2.0, 2.0, -2.0) * scale.count(1, 2):
            clock.slew(rate)
            await asyncio.sleep(0.3 if scale.factor < 2.0 else 2.5)
            furthest = max(furthest, abs(clock.error))
    tally = load.tally
    claims.hold(tally.answered == len(tally.answers), f"refused: {statuses(tally)}")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    claims.hold(furthest > 0.5, f"it drifted by {furthest:.1f} s only")
    figures = {**tally.figures(), "furthest_off_seconds": round(furthest, 1)}
    return Outcome(figures, tuple(claims.broken))
