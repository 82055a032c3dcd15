"""The miner under the path that operators of this subnet start: the same as `natix-miner run`."""

from __future__ import annotations

import sys

from natix_miner.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["run"]
    main()
