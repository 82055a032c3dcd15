"""Score saved queries; the same as `natix-miner score`."""

from __future__ import annotations

import sys

from natix_miner.cli import app

if __name__ == "__main__":
    app(["score", *sys.argv[1:]])
