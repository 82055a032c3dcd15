"""Loading the Bittensor SDK so that it leaves our process alone.

Importing it makes directories under the home folder unless READ_ONLY is set, turns every stdlib
logger down to CRITICAL and starts a logging thread. Nothing here may use `bt.logging.set_*`: those
fight with the interception."""

from __future__ import annotations

import importlib
import logging
import os
from types import ModuleType


def load_sdk() -> ModuleType:
    """The `bittensor` module, imported on first use (about 2 s), its loggers handed to loguru."""
    os.environ.setdefault("READ_ONLY", "1")
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    module = importlib.import_module("bittensor")
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)

    from natix_miner.neuron.logging import intercept

    intercept("bittensor")
    return module
