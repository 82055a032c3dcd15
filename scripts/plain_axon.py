"""A plain miner to compare with: the SDK's axon, a blocking forward, torch in fp32, no batching.

Does what a simple miner of the subnet does: base64, Pillow, the transformers pipeline, one query at
a time on the axon's own event loop. Written for scripts/bench.py; not a miner to run.

    python scripts/plain_axon.py --model DIR --wallets DIR --wallet NAME --validator HOTKEY --port N
"""

# No `from __future__ import annotations` here: the SDK compares annotations to the letter.

import argparse
import base64
import io
import sys
import time
import typing
from pathlib import Path


def main() -> int:
    """Serve until killed; prints `ready` when the first request may come."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--wallets", type=Path, required=True)
    parser.add_argument("--wallet", required=True)
    parser.add_argument("--validator", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()

    from natix_miner.neuron.sdk import load_sdk

    bt = load_sdk()

    from PIL import Image

    from natix_miner.torch_stack import make_torchvision_importable

    make_torchvision_importable()
    from transformers import pipeline

    from natix_miner.neuron.synapse import ImageSynapse

    classify = pipeline("image-classification", model=str(options.model), device="cpu")

    async def forward(synapse: ImageSynapse) -> ImageSynapse:
        picture = Image.open(io.BytesIO(base64.b64decode(synapse.image))).convert("RGB")
        scores = {row["label"]: row["score"] for row in classify(picture)}
        synapse.prediction = scores["Roadwork"]
        return synapse

    async def blacklist(synapse: ImageSynapse) -> typing.Tuple[bool, str]:  # noqa: UP006
        return synapse.dendrite.hotkey != options.validator, "not the validator"

    wallet = bt.Wallet(name=options.wallet, hotkey="default", path=str(options.wallets))
    axon = bt.Axon(wallet=wallet, port=options.port, external_ip="127.0.0.1")
    axon.fast_config.host = "127.0.0.1"
    axon.attach(forward_fn=forward, blacklist_fn=blacklist)
    axon.start()
    while not axon.fast_server.started:
        time.sleep(0.05)
    print("ready", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
