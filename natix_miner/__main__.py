"""`python -m natix_miner` is `natix-miner`."""

from __future__ import annotations

from natix_miner.cli import main

if __name__ == "__main__":
    main()
