"""The miner's request to itself before it serves: the first validator must not be the one who finds
the cold caches, or a socket that cannot be reached."""

from __future__ import annotations

import asyncio

import numpy as np

from natix_miner.clock import Clock
from natix_miner.errors import NeuronError
from natix_miner.neuron.client import SigningKey, exchange, http_request, signed_headers
from natix_miner.neuron.client import synapse_body as make_body

_SIDE = 224


def rehearsal_picture() -> bytes:
    """A grey ramp as a small JPEG: nothing to see on it, everything to decode."""
    import cv2

    ramp = np.tile(np.linspace(40, 200, _SIDE, dtype=np.uint8)[:, None, None], (1, _SIDE, 3))
    encoded, data = cv2.imencode(".jpg", ramp)
    if not encoded:
        raise NeuronError("OpenCV cannot encode a JPEG; install opencv-python-headless again")
    return bytes(data.tobytes())


async def rehearse(
    address: tuple[str, int], key: SigningKey, clock: Clock, seconds: float
) -> float:
    """Ask ourselves one signed question through the real socket; the prediction that came back.

    Raises NeuronError when no answer came within `seconds`.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])
    headers = signed_headers(key, key.ss58_address, int(clock.time() * 1e9))
    request = http_request(headers, make_body(rehearsal_picture()))
    try:
        async with asyncio.timeout(seconds):
            status, reply = await exchange(host, address[1], request)
    except (
        OSError,
        ValueError,
        asyncio.IncompleteReadError,
    ) as error:  # TimeoutError is an OSError
        raise NeuronError(
            f"the miner does not answer itself on {host}:{address[1]}"
            f" ({type(error).__name__}: {error}); check --axon-host and firewall rules"
        ) from error
    if status != 200:
        raise NeuronError(f"the rehearsal ended with status {status}: {reply.get('message')}")
    return float(reply["prediction"])
