"""The vision-language tier on this machine: what the client costs over a bare HTTP request to the
same server, what of a bare loop's rate it reaches, and what the start of a second server does to
the answers of the first. Serves the tiny model as configs/embedded-vlm.yaml does."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import math
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
from bench import Figure
from bench_judge import bundled

from natix_miner.assembly import build_servers
from natix_miner.clock import SYSTEM_CLOCK, Deadline
from natix_miner.experts.vlm.port import Question, Server
from natix_miner.images import decode_picture
from natix_miner.images.generations import encode_jpeg
from natix_miner.profile import Profile, load_profile
from natix_miner.sections import PictureLimits

PROFILE = Path(__file__).parents[1] / "configs" / "embedded-vlm.yaml"
TEXT = "Is there roadwork in this street picture? Answer yes or no."
SECONDS = 30.0
RUNS, PAIRS, AT_ONCE, BURST = 5, 24, 8, 48
#: Between two pictures while the second server starts: two cores have to do for both.
PAUSE_SECONDS = 0.5
SECOND_SECONDS = 75.0

Ask = Callable[[bytes], Awaitable[None]]


def measure_vlm() -> list[Figure]:
    """All figures of the tier; takes about three minutes."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Figure]:
    profile = load_profile(PROFILE)
    one = dict(profile.servers)
    two = {"first": one["tiny"], "second": one["tiny"]}
    profile = _with(profile, {"first": one["tiny"]}, folder / "one")
    servers = build_servers(profile, SYSTEM_CLOCK)
    pictures = new_pictures()
    try:
        await servers.start()
        await servers.settled(math.inf)
        server = servers.by_name()["first"]
        url, key, model = servers.address("first")
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS) as bare_client:
            bare = _bare(bare_client, url, key, model, await _ids(bare_client, url, key, model))
            ours = _ours(server)
            for _ in range(10):
                await bare(next(pictures))
                await ours(next(pictures))
            figures = await _overhead(bare, ours, pictures)
            figures += await _rates(bare, ours, pictures)
            figures += await _second_start(
                ours, pictures, _with(profile, {"second": two["second"]}, folder / "two")
            )
    finally:
        await servers.close()
    return figures


def new_pictures() -> Iterator[bytes]:
    """The bundled 224 px queries again and again, each time with other noise: none is the same as
    one before, so that no cache of the server answers for it."""
    frames = [
        decode_picture(picture, PictureLimits()).pixels
        for picture in bundled("cropped", "letterboxed")
    ]
    rng = np.random.default_rng(72)
    for pixels in itertools.cycle(frames):
        noise = rng.integers(-6, 7, pixels.shape, np.int16)
        yield encode_jpeg(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _with(profile: Profile, servers: dict, folder: Path) -> Profile:
    return profile.model_copy(
        update={
            "servers": servers,
            "serving": profile.serving.model_copy(update={"folder": folder}),
        }
    )


def _ours(server: Server) -> Ask:
    async def ask(picture: bytes) -> None:
        await server.ask(Question(before=TEXT, picture=picture), Deadline.after(SECONDS))

    return ask


async def _ids(client: httpx.AsyncClient, url: str, key: str, model: str) -> list[int]:
    ids = []
    for word in ("yes", "Yes", "no", "No"):
        answer = await client.post(
            f"{url}/tokenize",
            headers={"Authorization": f"Bearer {key}"},
            json={"model": model, "prompt": word, "add_special_tokens": False},
        )
        ids += answer.raise_for_status().json()["tokens"]
    return ids


def _bare(client: httpx.AsyncClient, url: str, key: str, model: str, ids: list[int]) -> Ask:
    """The least that asks the same: one prepared body, posted; the answer parsed, not looked at."""
    start = json.dumps(
        {
            "model": model,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "logprob_token_ids": ids,
        }
    )[:-1]
    words = f', "messages": [{{"role": "user", "content": [{{"type": "text", "text": "{TEXT}"}}, '
    head = start + words + '{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,'
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    async def ask(picture: bytes) -> None:
        body = head.encode() + base64.b64encode(picture) + b'"}}]}]}'
        answer = await client.post(f"{url}/v1/chat/completions", headers=headers, content=body)
        answer.raise_for_status().json()

    return ask


async def _timed(ask: Ask, picture: bytes) -> float:
    begun = time.perf_counter()
    await ask(picture)
    return (time.perf_counter() - begun) * 1000.0


async def _overhead(bare: Ask, ours: Ask, pictures: Iterator[bytes]) -> list[Figure]:
    """Bare and ours in turn, one request at a time."""
    extra, p50, p99, rate = [], [], [], []
    for _ in range(RUNS):
        pairs = [
            (await _timed(bare, next(pictures)), await _timed(ours, next(pictures)))
            for _ in range(PAIRS)
        ]
        theirs, mine = zip(*pairs, strict=True)
        extra.append(statistics.median(mine) - statistics.median(theirs))
        p50.append(statistics.median(mine))
        p99.append(float(np.quantile(mine, 0.99)))
        rate.append(1000.0 * len(mine) / sum(mine))
    return [
        Figure("client, extra over a bare request, median", tuple(extra), "ms", 3.0),
        Figure("one picture at a time, p50", tuple(p50), "ms"),
        Figure("one picture at a time, p99", tuple(p99), "ms"),
        Figure("one picture at a time, rate", tuple(rate), "pictures/s", more_is_better=True),
    ]


async def _burst(ask: Ask, pictures: Iterator[bytes]) -> float:
    """Pictures a second with AT_ONCE under way."""
    gate = asyncio.Semaphore(AT_ONCE)
    made = [next(pictures) for _ in range(BURST)]

    async def one(picture: bytes) -> None:
        async with gate:
            await ask(picture)

    begun = time.perf_counter()
    await asyncio.gather(*(one(picture) for picture in made))
    return BURST / (time.perf_counter() - begun)


async def _rates(bare: Ask, ours: Ask, pictures: Iterator[bytes]) -> list[Figure]:
    runs = [(await _burst(bare, pictures), await _burst(ours, pictures)) for _ in range(RUNS)]
    return [
        Figure(
            f"{AT_ONCE} at once, rate",
            tuple(mine for _, mine in runs),
            "pictures/s",
            more_is_better=True,
        ),
        Figure(
            f"{AT_ONCE} at once, rate over that of a bare loop",
            tuple(mine / theirs for theirs, mine in runs),
            "ratio",
            0.9,
            more_is_better=True,
        ),
    ]


async def _second_start(ours: Ask, pictures: Iterator[bytes], second: Profile) -> list[Figure]:
    """The first server's answers, one at a time, before and while a second server starts."""
    before = [await _timed(ours, next(pictures)) for _ in range(2 * PAIRS)]
    servers = build_servers(second, SYSTEM_CLOCK)
    try:
        await servers.start()
        starting = asyncio.ensure_future(servers.settled(SECOND_SECONDS))
        during = []
        while not starting.done():
            during.append(await _timed(ours, next(pictures)))
            await asyncio.sleep(PAUSE_SECONDS)
        state = servers.status()["second"]
    finally:
        await servers.close()
    if state.state != "up":
        print(f"the second server did not come up within {SECOND_SECONDS:g} s: {state.reason}")
    return [
        Figure("first server before a second starts, p50", (statistics.median(before),), "ms"),
        Figure("first server while a second starts, p50", (statistics.median(during),), "ms"),
        Figure(
            "first server while a second starts, slowest of all",
            (max(during),),
            "ms",
        ),
    ]
