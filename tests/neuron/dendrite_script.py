"""A validator in another process: a real dendrite of whatever SDK this interpreter has.

Reads lines of JSON from standard input: `seed` (hex, of the hotkey), `axons` (list of {hotkey, ip,
port}), `queries` (list of {image, testnet_label}), `timeout`, `concurrent`. Answers each with one
line of JSON: SDK version and for every axon the list of returned synapses.
"""

import asyncio
import json
import os
import sys

os.environ["READ_ONLY"] = "1"
sys.argv = sys.argv[:1]  # 9.12.2 parses the command line when it is imported

import bittensor as bt  # noqa: E402
from bittensor.core.chain_data import AxonInfo  # noqa: E402
from bittensor.utils import networking  # noqa: E402

networking.get_external_ip = lambda: "192.0.2.1"  # would ask the internet


class ImageSynapse(bt.Synapse):
    """A definition of its own, as validators have one."""

    testnet_label: int = -1
    image: str = ""
    prediction: float = -1.0

    def deserialize(self):
        return self.prediction


async def answer(request):
    keypair = bt.Keypair.create_from_seed(request["seed"])
    dendrite = bt.Dendrite(wallet=keypair)
    answers = []
    for axon in request["axons"]:
        info = AxonInfo(
            version=0,
            ip=axon["ip"],
            port=axon["port"],
            ip_type=4,
            hotkey=axon["hotkey"],
            coldkey=axon["hotkey"],
        )

        async def ask(query, info=info):
            return await dendrite(
                info,
                ImageSynapse(**query),
                timeout=request.get("timeout", 9),
                deserialize=False,
            )

        if request.get("concurrent"):
            synapses = await asyncio.gather(*(ask(query) for query in request["queries"]))
        else:
            synapses = [await ask(query) for query in request["queries"]]
        answers.append([json.loads(synapse.model_dump_json()) for synapse in synapses])
    await dendrite.aclose_session()
    print(json.dumps({"sdk": bt.__version__, "answers": answers}), flush=True)


for line in sys.stdin:
    asyncio.run(answer(json.loads(line)))
