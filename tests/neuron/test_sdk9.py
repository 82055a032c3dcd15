"""Validators that still run SDK 9.12.2 get their answers too.

Needs an interpreter with bittensor 9.12.2, named by NATIX_SDK9_PYTHON; skipped without it. One is
made by `pip install bittensor==9.12.2 "async-substrate-interface<2"` in a virtual environment of
its own (the release itself does not hold the newer, incompatible one off).
"""

from __future__ import annotations

import base64


def test_a_dendrite_of_9_12_2_gets_answers_and_refusals(old_dendrite, shared_miners, seeds):
    miner = shared_miners.start("echo")
    axon = {"hotkey": miner.hotkey, "ip": miner.host, "port": miner.port}
    query = {"image": base64.b64encode(b"\x40picture").decode(), "testnet_label": 1}

    answered = old_dendrite(seeds["validator"], [axon], [query, query])
    refused = old_dendrite(seeds["stranger"], [axon], [query])

    assert answered["sdk"] == "9.12.2"
    assert [synapse["prediction"] for synapse in answered["answers"][0]] == [0.25, 0.25]
    assert [synapse["dendrite"]["status_code"] for synapse in answered["answers"][0]] == [200, 200]
    assert refused["answers"][0][0]["dendrite"]["status_code"] == 403
    assert refused["answers"][0][0]["prediction"] == -1.0
