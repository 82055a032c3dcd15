"""The command `natix-miner`."""

from __future__ import annotations

from typing import NoReturn

from natix_miner.cli.app import app
from natix_miner.cli.leaving import leave


def main() -> NoReturn:
    """Run a command and end the process, whatever its threads are doing."""
    try:
        app()
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    leave(0)


__all__ = ["app", "main"]
