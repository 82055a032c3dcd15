"""The SDK's own axon with a miner that answers as the `echo` double does; prints its port.

For the parity test: seed of the hotkey and port are the arguments. Its blacklist admits the hotkeys
given after them.
"""

import base64
import os
import sys
import threading
import typing

os.environ["READ_ONLY"] = "1"
import bittensor as bt

seed, port, *admitted = sys.argv[1:]


class ImageSynapse(bt.Synapse):
    testnet_label: int = -1
    image: str = ""
    prediction: float = -1.0


class KeyOnly:
    """As much of a wallet as an axon needs."""

    hotkey = bt.Keypair.create_from_seed(seed)
    coldkeypub = hotkey


def forward(synapse: ImageSynapse) -> ImageSynapse:
    synapse.prediction = base64.b64decode(synapse.image)[0] / 256
    synapse.image = ""
    return synapse


def blacklist(synapse: ImageSynapse) -> typing.Tuple[bool, str]:  # noqa: UP006
    return synapse.dendrite.hotkey not in admitted, "unregistered"


axon = bt.Axon(
    wallet=KeyOnly(),
    port=int(port),
    ip="127.0.0.1",
    external_ip="127.0.0.1",
    external_port=int(port),
)
axon.fast_config.host = "127.0.0.1"
axon.attach(forward_fn=forward, blacklist_fn=blacklist)
axon.start()
while not axon.fast_server.started:
    threading.Event().wait(0.01)
print("ready", flush=True)
sys.stdin.read()
os._exit(0)
