"""kill -9 of a real miner in the middle of its work: what the journal still holds."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import signal
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from natix_miner.demo.processes import MinerProcess, processes_of_session
from natix_miner.demo.wallets import MINER, VALIDATOR, make_snapshot, make_wallet
from natix_miner.journal import Journal
from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body

EMBEDDED = Path(__file__).parents[2] / "configs" / "embedded.yaml"
QUERIES, KILL_AFTER = 200, 120
#: What may still wait for the writer thread: it commits within a tenth of a second.
MAY_BE_QUEUED = 60


def pictures() -> list[bytes]:
    rng = np.random.default_rng(5)
    made = []
    for _ in range(QUERIES):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(out, "JPEG")
        made.append(out.getvalue())
    return made


@pytest.fixture
def wallets(tmp_path):
    miner = make_wallet(tmp_path / "wallets", MINER).hotkey
    validator = make_wallet(tmp_path / "wallets", VALIDATOR).hotkey
    make_snapshot(tmp_path / "chain.json", miner.ss58_address, validator.ss58_address)
    return miner.ss58_address, validator


async def ask_until_killed(process, hotkey, key) -> list[str]:
    """Digests of the pictures that were answered, in the order of the answers."""
    answered: list[str] = []
    gate = asyncio.Semaphore(8)

    async def ask(picture: bytes) -> None:
        async with gate:
            if len(answered) >= KILL_AFTER:
                return
            request = http_request(
                signed_headers(key, hotkey, time.time_ns()), synapse_body(picture)
            )
            try:
                status, _ = await exchange("127.0.0.1", process.port, request)
            except (OSError, asyncio.IncompleteReadError):
                return
            assert status == 200
            answered.append(hashlib.sha256(picture).hexdigest())
            if len(answered) == KILL_AFTER:
                os.kill(process.pid, signal.SIGKILL)

    await asyncio.gather(*(ask(picture) for picture in pictures()))
    return answered


def test_the_journal_holds_every_answered_query_but_those_still_queued(tmp_path, wallets):
    hotkey, key = wallets
    with MinerProcess(EMBEDDED, tmp_path) as process:
        answered = asyncio.run(ask_until_killed(process, hotkey, key))
        session = process.pid
    assert len(answered) >= KILL_AFTER
    assert processes_of_session(session) == []
    path = tmp_path / "journal.sqlite3"
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()
    journal = Journal(path)
    held = {entry.sha256 for entry in journal.entries()}
    journal.close()
    missing = [place for place, digest in enumerate(answered) if digest not in held]
    assert all(place >= len(answered) - MAY_BE_QUEUED for place in missing), (
        "only the latest answers may be missing"
    )
