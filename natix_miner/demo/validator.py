"""The demo's validator: a process of its own that asks a miner through a real signed dendrite.

    python -m natix_miner.demo.validator --wallets DIR --miner HOTKEY --port PORT --queries DIR

Prints one JSON line for each query: file, prediction, status, seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import csv
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from natix_miner.demo.wallets import HOTKEY, VALIDATOR
from natix_miner.neuron.sdk import load_sdk

#: What the validators of the subnet wait for an answer, seconds.
TIMEOUT_SECONDS = 9.0


@dataclass(frozen=True, slots=True)
class SampleQuery:
    """One bundled query: its file below the folder, label (1 roadwork, 0 none), generation."""

    file: str
    label: int
    generation: str


def sample_queries(folder: Path, seed: int = 72) -> list[SampleQuery]:
    """The bundled queries in a drawn order, as labels come mixed from a validator."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        found = [
            SampleQuery(row["file"], int(row["label"] == "roadwork"), row["generation"])
            for row in csv.DictReader(file)
        ]
    random.Random(seed).shuffle(found)
    return found


async def _ask_all(options: argparse.Namespace) -> None:
    from natix_miner.neuron.synapse import ImageSynapse

    bt = load_sdk()

    from bittensor.utils import networking

    # A dendrite asks hosts on the internet for its own address; on loopback nobody needs it.
    networking.get_external_ip = lambda: "127.0.0.1"
    wallet = bt.Wallet(name=VALIDATOR, hotkey=HOTKEY, path=str(options.wallets))
    wallet.unlock_hotkey()
    miner = bt.AxonInfo(
        version=1,
        ip="127.0.0.1",
        port=options.port,
        ip_type=4,
        hotkey=options.miner,
        coldkey="",
    )
    at_once = asyncio.Semaphore(options.at_once)
    async with bt.Dendrite(wallet=wallet) as dendrite:

        async def ask(query: SampleQuery) -> None:
            picture = (options.queries / query.file).read_bytes()
            synapse = ImageSynapse(image=base64.b64encode(picture).decode("ascii"))
            async with at_once:
                answer = await dendrite(
                    axons=[miner], synapse=synapse, deserialize=False, timeout=TIMEOUT_SECONDS
                )
            told = answer[0]
            line = {
                "file": query.file,
                "prediction": told.prediction,
                "status": told.dendrite.status_code,
                "message": told.dendrite.status_message,
                "seconds": float(told.dendrite.process_time or 0.0),
            }
            print(json.dumps(line), flush=True)

        await asyncio.gather(*(ask(query) for query in sample_queries(options.queries)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask everything once; exit code 0 when the miner could be reached at all."""
    parser = argparse.ArgumentParser(prog="natix_miner.demo.validator")
    parser.add_argument("--wallets", type=Path, required=True)
    parser.add_argument("--miner", required=True, help="hotkey of the miner (SS58)")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--at-once", type=int, default=2)
    asyncio.run(_ask_all(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
