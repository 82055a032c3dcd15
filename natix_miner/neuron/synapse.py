"""The synapse of subnet 72, exactly as it goes over the wire.

For those who speak through the SDK: dendrites in tests, in the demo and in tools. The miner itself
does not need it (`wire.py` reads and writes the same bytes), so importing the SDK here costs nobody
who does not want it.
"""

from __future__ import annotations

from natix_miner.neuron.sdk import load_sdk

bt = load_sdk()


class ImageSynapse(bt.Synapse):  # type: ignore[name-defined]
    """One picture asked for, one prediction answered. The class name is the HTTP route."""

    testnet_label: int = -1  # the true label (0 none, 1 roadwork) where a testnet tells it
    image: str = ""  # base64 of a JPEG
    prediction: float = -1.0  # probability of roadwork in [0, 1], or -1 for no answer

    def deserialize(self) -> float:
        """The prediction alone."""
        return self.prediction
