"""The server of a vision-language model goes wrong while pictures are asked of it: the rest of the
experts answer every query in time, and it is asked again when it is well."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from natix_miner.cascade.trace import ExpertTrace
from natix_miner.serving import canary
from tests.faults.doubles_asking import Load, figure, happens, pictures
from tests.faults.doubles_miner import RunningMiner, running
from tests.faults.doubles_servers import EXPERT, ROOT, SERVER, WatchedJudge, profile_with_server
from tests.faults.frame import Claims, Outcome, Scale, fault
from tests.serving import misbehaving
from tests.serving.launching import tell

#: The factor of a soak of an hour.
VLLM_FROM_FACTOR = 12.0
Break = Callable[[WatchedJudge, RunningMiner, Load], Awaitable[None]]


async def asked(miner: RunningMiner) -> list[ExpertTrace]:
    """What became of the expert in all queries, in the order in which they came."""
    return [
        expert
        for trace in await miner.traces()
        for level in trace.levels
        for expert in level.experts
        if expert.name == EXPERT
    ]


async def used_again(miner: RunningMiner, seconds: float) -> float | None:
    """Seconds until one more query has an opinion of the server."""
    before = await miner.count("natix_expert_total", expert=EXPERT, status="ok")

    async def more() -> bool:
        return await miner.count("natix_expert_total", expert=EXPERT, status="ok") > before

    return await happens(more, seconds)


async def broken_server(
    scale: Scale, folder: Path, profile: Path, break_it: Break, *, seconds: float = 20.0
) -> tuple[dict[str, float | int | str], Claims, list[ExpertTrace], WatchedJudge]:
    """Ask, break the server, ask on until it is used again (at most `seconds`), and hold what must
    hold whatever was broken. `break_it` returns when the server can be well again."""
    watched, claims = WatchedJudge(), Claims()
    async with running(folder, profile=profile, make_judge=watched.make) as miner:
        claims.hold(watched.up, "the server was not up at the start")
        async with Load(miner, pictures(16, scale.seed)) as load:
            await load.more(6)
            claims.hold(
                await miner.count("natix_expert_total", expert=EXPERT, status="ok") > 0,
                "the server was never used before it was broken",
            )
            begun = time.monotonic()
            await break_it(watched, miner, load)
            again = await used_again(miner, seconds)
            back = None if again is None else time.monotonic() - begun
            await load.more(scale.count(6, 5000))
        seen = await asked(miner)
        missing = Counter(each.status for each in seen if each.status != "ok")
        counted = {
            status: await miner.count("natix_expert_total", expert=EXPERT, status=status)
            for status in missing
        }
        restarts = await miner.count("natix_server_restarts_total", server=SERVER)
    tally = load.tally
    claims.hold(tally.answered == len(tally.answers), "a query got no answer")
    claims.hold(tally.late == 0, f"{tally.late} answers were late")
    claims.hold(bool(missing), "no trace says that the server was not heard")
    claims.hold(counted == dict(missing), f"/metrics says {counted}, traces {dict(missing)}")
    claims.hold(back is not None, "the server was not used again")
    figures: dict[str, float | int | str] = {
        **tally.figures(),
        "opinions_ok": len(seen) - missing.total(),
        **{f"opinions_{status.replace('-', '_')}": n for status, n in sorted(missing.items())},
        "server_restarts": int(restarts),
        "breaker_openings": watched.openings,
        "used_again_seconds": figure(back),
    }
    return figures, claims, seen, watched


@fault("server-killed", "the server's process is killed (kill -9) while pictures are asked")
async def killed(scale: Scale, folder: Path) -> Outcome:
    async def kill(watched: WatchedJudge, miner: RunningMiner, load: Load) -> None:
        for _ in range(scale.count(1, 10)):
            restarts = watched.restarts
            await happens(lambda: watched.up and watched.processes, 20.0)
            os.kill(watched.processes[0].pid, signal.SIGKILL)
            await happens(lambda before=restarts: watched.restarts > before, 20.0)
            await happens(lambda: watched.up, 20.0)

    figures, claims, _, _ = await broken_server(scale, folder, profile_with_server(folder), kill)
    kills = scale.count(1, 10)
    claims.hold(figures["server_restarts"] == kills, f"not restarted {kills} times")
    return Outcome({"kills": kills, **figures}, tuple(claims.broken))


@fault("server-hung", "the server's process is stopped (SIGSTOP): it takes questions and is mute")
async def hung(scale: Scale, folder: Path) -> Outcome:
    marked: list[float | None] = []

    async def stop(watched: WatchedJudge, miner: RunningMiner, load: Load) -> None:
        (server, *_) = watched.processes
        os.kill(server.pid, signal.SIGSTOP)
        marked.append(await happens(lambda: not watched.up, 20.0))
        await happens(lambda: watched.restarts > 0 and watched.up, 20.0)

    figures, claims, _, watched = await broken_server(
        scale, folder, profile_with_server(folder), stop
    )
    claims.hold(marked[0] is not None, "it was never marked down")
    claims.hold(figures["server_restarts"] == 1, "it was not restarted once")
    claims.hold(watched.processes == [], "a process of it is left")
    return Outcome({**figures, "marked_down_seconds": figure(marked[0])}, tuple(claims.broken))


@fault("server-slow", "the server answers well, but a second after its time is over")
async def slow(scale: Scale, folder: Path) -> Outcome:
    """Its canary has patience, so that it is not restarted: the breaker lets it rest."""

    async def slow_down(watched: WatchedJudge, miner: RunningMiner, load: Load) -> None:
        await asyncio.to_thread(tell, watched.url, "slow")
        await happens(lambda: watched.openings > 0, 20.0)
        await load.more(scale.count(6, 2000))
        await asyncio.to_thread(tell, watched.url, "right")

    profile = profile_with_server(folder, timeout_seconds=0.3, canary_seconds=5.0)
    figures, claims, seen, _ = await broken_server(scale, folder, profile, slow_down)
    claims.hold(int(figures["breaker_openings"]) > 0, "its breaker never opened")
    claims.hold(figures["server_restarts"] == 0, "it was restarted for being slow")
    said = any("failures in a row, next try" in each.detail for each in seen)
    claims.hold(said, "no trace says that it rests")
    return Outcome(figures, tuple(claims.broken))


def strange_ids(seen: misbehaving.Seen) -> dict[str, float]:
    """Log-probabilities of tokens that no vocabulary has and nobody asked for."""
    return {"token_id:99999999": -0.1, "token_id:-1": -0.2, "token_id:x": -0.3}


def of_logprobs(value: object) -> misbehaving.Behaviour:
    """The right form, with this in the place of every log-probability."""

    async def behave(seen: misbehaving.Seen, transport: asyncio.Transport) -> None:
        listed = dict.fromkeys(misbehaving.numbered(seen), value)
        await misbehaving.answer(200, misbehaving.completion(listed))(seen, transport)  # type: ignore[arg-type]

    return behave


async def out_of_range(seen: misbehaving.Seen, transport: asyncio.Transport) -> None:
    """Token ids that were not asked for."""
    await misbehaving.answer(200, misbehaving.completion(strange_ids(seen)))(seen, transport)


GARBAGE: dict[str, misbehaving.Behaviour] = {
    "html": misbehaving.answer(200, b"<html><body>502 Bad Gateway</body></html>"),
    "bytes": misbehaving.answer(200, bytes(range(256))),
    "other_json": misbehaving.answer(200, ["not", "an", "object"]),
    "empty_object": misbehaving.answer(200, {}),
    "empty_choices": misbehaving.answer(200, {"choices": []}),
    "null_choice": misbehaving.answer(200, {"choices": [None]}),
    "cut_json": misbehaving.answer(200, b'{"choices": [{"index": 0, "logpr'),
    "token_ids_out_of_range": out_of_range,
    "words_for_numbers": of_logprobs("very likely"),
    "not_a_number": of_logprobs(float("nan")),
    "probability_above_one": of_logprobs(5.0),
    "no_http": misbehaving.raw(b"\x00\x01 this is no HTTP\r\n\r\n"),
}


@fault("server-garbage", "the server answers nonsense: HTML, wrong JSON, no choices, odd tokens")
async def garbage(scale: Scale, folder: Path) -> Outcome:
    """Somebody else's server (`base_url`): it cannot be restarted, only asked again. Every question
    of the expert is answered by the next kind of nonsense, only the canary well."""
    served: Counter[str] = Counter()
    kinds = itertools.cycle(GARBAGE)

    async def nonsense(seen: misbehaving.Seen, transport: asyncio.Transport) -> None:
        if canary.TEXT.encode() in seen.body:
            await misbehaving.right()(seen, transport)
            return
        kind = next(kinds)
        served[kind] += 1
        await GARBAGE[kind](seen, transport)

    async with misbehaving.Misbehaving().running() as server:

        async def talk_nonsense(watched: WatchedJudge, miner: RunningMiner, load: Load) -> None:
            server.script = [nonsense]
            wanted = scale.count(1, 30)
            await happens(
                lambda: len(served) == len(GARBAGE) and min(served.values()) >= wanted, 60.0
            )
            server.script = [misbehaving.right()]

        profile = profile_with_server(
            folder,
            rest_seconds=0.05,
            base_url=server.url,
            breaker={"failures": 3, "rest_seconds": 0.05, "longest_rest_seconds": 0.05},
        )
        figures, claims, seen, _ = await broken_server(scale, folder, profile, talk_nonsense)
    claims.hold(len(served) == len(GARBAGE), f"not every kind was served: {dict(served)}")
    heard = [each for each in seen if each.status == "ok" and not is_right(each)]
    claims.hold(not heard, f"nonsense was taken for an opinion: {heard[:1]}")
    claims.hold(
        any(each.status in ("failed", "invalid") for each in seen), "no nonsense was noticed"
    )
    return Outcome(
        {**figures, "kinds_of_nonsense": len(served), "nonsense_answers": served.total()},
        tuple(claims.broken),
    )


def is_right(opinion: ExpertTrace) -> bool:
    """What the server says when it is well: as much mass on yes as on no."""
    return opinion.probability is not None and abs(opinion.probability - 0.5) < 0.01


@fault("vllm-killed", "the real vLLM's engine is killed (kill -9), on the CPU", needs="vllm")
async def vllm_killed(scale: Scale, folder: Path) -> Outcome:
    """In a long run only, as it takes two minutes: tests/demo/test_vlm_faults.py does the same in
    every run of the tests."""
    if scale.factor < VLLM_FROM_FACTOR:
        return Outcome({"only_in_the_long_run": "see tests/demo/test_vlm_faults.py"})
    import yaml

    shipped = yaml.safe_load((ROOT / "configs" / "embedded-vlm.yaml").read_text())
    server = shipped["servers"]["tiny"]

    async def kill(watched: WatchedJudge, miner: RunningMiner, load: Load) -> None:
        (engine,) = [
            each.pid for each in watched.processes if named(each.pid).startswith("VLLM::EngineCor")
        ]
        os.kill(engine, signal.SIGKILL)
        await happens(lambda: watched.restarts > 0 and watched.up, 200.0)

    profile = profile_with_server(
        folder,
        timeout_seconds=2.0,
        wait_seconds=240.0,
        **{
            **server,
            "model": str(ROOT / "models" / "tiny-vlm"),
            "executable": str(ROOT / ".venv-vllm" / "bin" / "vllm"),
            "canary_every_seconds": 5,
            "stop_seconds": 10.0,
            "canary_seconds": 5.0,
        },
    )
    figures, claims, _, _ = await broken_server(scale, folder, profile, kill, seconds=60.0)
    return Outcome(figures, tuple(claims.broken))


def named(pid: int) -> str:
    """What a process calls itself; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return ""
