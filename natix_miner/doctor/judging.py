"""Can the profile judge in time on this machine? A few pictures through its real experts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from natix_miner.assembly import build_judge, build_servers
from natix_miner.cascade import Verdict
from natix_miner.cascade.trace import LevelTrace
from natix_miner.consensus import DriftSettings
from natix_miner.doctor.row import Finding, fail, ok, skipped, warn, worst_of
from natix_miner.errors import QuerySourceError
from natix_miner.profile import Profile
from natix_miner.profile.profile import ConsensusSettings
from natix_miner.query import Query
from natix_miner.scoring.all_levels import with_all_levels

#: Pictures through the judge; the first warms it up and is not counted.
PICTURES = 7
#: Deadline of a trial query: what is measured must not be cut off by what it is compared with.
_PATIENT_SECONDS = 60.0
#: An expert that misses more of the pictures is as good as not there.
_MISSING_SHARE = 0.5
_WITHOUT = "what asks servers is measured with --start-servers, once they are up"


@dataclass(frozen=True, slots=True)
class LevelTime:
    """How long one level took, in seconds: the median and the slowest of the trial pictures.
    `missing` are its experts that had no opinion: on which share of the pictures, and why."""

    name: str
    median: float
    slowest: float
    missing: Mapping[str, tuple[float, str]]


def check_servers(profile: Profile, start: bool) -> Finding:
    """Do the servers come up and answer one picture? Each is started as the miner would, which
    takes minutes; only where `start` says so."""
    if not profile.servers:
        return skipped("the profile has none")
    servers = build_servers(profile)  # raises where an engine is missing or nothing fits
    if not start:
        return skipped("takes minutes; --start-servers starts them and asks each one picture")

    async def trial() -> dict[str, str]:
        await servers.start()
        try:
            await servers.settled(patience_for(profile))
            return {
                name: "" if str(status.state) == "up" else f"{status.state}: {status.reason}"
                for name, status in servers.status().items()
            }
        finally:
            await servers.close()

    down = {name: why for name, why in asyncio.run(trial()).items() if why}
    if down:
        told = "; ".join(f"{name} {' '.join(why.split())[:400]}" for name, why in down.items())
        return fail(told, f"read its log in {profile.serving.folder}; natix-miner serve check")
    return ok(f"{', '.join(profile.servers)}: started, one picture answered, stopped")


def patience_for(profile: Profile) -> float:
    """Seconds in which every server should be up or given up."""
    starts = [server.start_seconds for server in profile.servers.values()]
    return max([profile.serving.wait_seconds, *starts])


def check_deadline(profile: Profile, pictures: Path, with_servers: bool) -> Finding:
    """Does every level end in time? Measured with all levels entered, on bundled pictures.

    Without `with_servers` the experts that ask servers are left out, and told.
    """
    left_out = () if with_servers else _asking(profile)
    trial = without(profile, left_out) if left_out else profile
    if trial is None:
        return skipped(f"all experts ask servers; {_WITHOUT}")
    levels = measure_levels(trial, trial_pictures(pictures))
    finding = judge_times(trial, levels)
    if not left_out:
        return finding
    note = skipped(f"left out: {', '.join(left_out)}; {_WITHOUT}")
    return worst_of([finding, note])


def measure_levels(profile: Profile, pictures: Sequence[bytes]) -> list[LevelTime]:
    """Time every level of a profile. Raises NatixMinerError where the judge cannot be built."""
    open_ended = [level.model_copy(update={"needs_seconds": 0.0}) for level in profile.levels]
    opened = with_all_levels(profile.model_copy(update={"levels": tuple(open_ended)}))
    verdicts = asyncio.run(_judged(opened, pictures))
    return [
        _time([verdict.trace.levels[number] for verdict in verdicts[1:]])
        for number in range(len(opened.levels))
    ]


def judge_times(profile: Profile, levels: Sequence[LevelTime]) -> Finding:
    """The measured times against the deadline, and against what each level says that it needs."""
    budget = profile.deadline_seconds - profile.reserve_seconds
    told = ", ".join(
        f"{level.name} {level.median * 1000:.0f} ms (slowest {level.slowest * 1000:.0f})"
        for level in levels
    )
    findings = [ok(f"{told}; the deadline leaves {budget:g} s")]
    for level, settings in zip(levels, profile.levels, strict=True):
        for expert, (share, why) in level.missing.items():
            told_of = fail if share > _MISSING_SHARE else warn
            findings.append(
                told_of(
                    f"expert {expert} has no opinion on {share:.0%} of the pictures: {why}",
                    "see the rows models, gpu and servers, or give it more timeout_seconds",
                )
            )
        if 0.0 < settings.needs_seconds < level.slowest:
            findings.append(
                warn(
                    f"level {level.name} took {level.slowest:.2f} s, its needs_seconds says"
                    f" {settings.needs_seconds:g}: it is begun when there is no time for it",
                    f"set needs_seconds of {level.name} to {level.slowest * 1.2:.2f}",
                )
            )
    spent = sum(level.slowest for level in levels)
    if levels[0].slowest > budget:
        findings.append(
            fail(
                f"the first level alone takes {levels[0].slowest:.1f} s of {budget:g} s",
                "take a lighter --profile, or a faster machine",
            )
        )
    elif spent > budget:
        findings.append(
            warn(
                f"all levels together take {spent:.1f} s of {budget:g} s: the last are cut off",
                "take out what is slow, or take a lighter --profile",
            )
        )
    return worst_of(findings)


def without(profile: Profile, experts: Sequence[str]) -> Profile | None:
    """The profile without these sections of experts and without servers; equal weights, since a
    fit is for all of them. None where no expert is left."""
    levels = tuple(
        level.model_copy(update={"experts": kept})
        for level in profile.levels
        if (kept := tuple(name for name in level.experts if name not in experts))
    )
    if not levels:
        return None
    kept_experts = {name: each for name, each in profile.experts.items() if name not in experts}
    return profile.model_copy(
        update={
            "levels": levels,
            "experts": kept_experts,
            "servers": {},
            "consensus": ConsensusSettings(drift=DriftSettings(enabled=False)),
        }
    )


def trial_pictures(folder: Path, count: int = PICTURES) -> list[bytes]:
    """The first pictures of each generation in turn. Raises QuerySourceError without any."""
    by_kind: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.jpg")):
        by_kind.setdefault(path.stem.rpartition("-")[0], []).append(path)
    if not by_kind:
        raise QuerySourceError(f"no pictures in {folder}; install the package again")
    turns = [path for group in zip(*by_kind.values(), strict=False) for path in group]
    return [path.read_bytes() for path in turns[:count]]


def _asking(profile: Profile) -> tuple[str, ...]:
    return tuple(name for name, settings in profile.experts.items() if settings.asks)


async def _judged(profile: Profile, pictures: Sequence[bytes]) -> list[Verdict]:
    judge = build_judge(profile, wait_for_servers=patience_for(profile))
    try:
        await judge.start()
        return [
            await judge.judge(Query.of(picture, source="doctor", seconds=_PATIENT_SECONDS))
            for picture in pictures
        ]
    finally:
        await judge.close()


def _time(traces: Sequence[LevelTrace]) -> LevelTime:
    seconds = sorted(trace.ms / 1000.0 for trace in traces)
    missing: dict[str, list[str]] = {}
    for trace in traces:
        for expert in trace.experts:
            if expert.status != "ok":
                missing.setdefault(expert.name, []).append(f"{expert.status} {expert.detail}")
    return LevelTime(
        traces[0].name,
        seconds[len(seconds) // 2],
        seconds[-1],
        {name: (len(why) / len(traces), why[0].strip()) for name, why in missing.items()},
    )
