"""All fault rows for as long as one likes: `python -m tests.faults.soak --minutes 20`.

First every row once, at a size for the time given: the small ones, then the three that count
(signatures, pictures, queries), which share what is left, the queries most of it. Then the small
ones again in turn, with other seeds, until the minutes are up. Every run has a process of its own
and is cut off when it hangs; the whole ends at most a minute after its time. What counts stops when
its share is over and says how far it came. Exit code 0 when every row ran and held, else 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path

from tests.faults.every_row import every_row, missing
from tests.faults.frame import FaultRow, Scale
from tests.faults.one_row import Run, run_apart
from tests.faults.soak_table import print_run, print_summary

#: Rows that count to a hundred thousand and more, in this order, and their shares of the time.
COUNTING = {"distinct-nonces": 0.28, "mutated-jpegs": 0.2, "queries-in-a-row": 0.52}
#: The factor at which the last of them is at its full size, reached with so many minutes.
FULL_FACTOR, FULL_MINUTES = 70.0, 20.0
#: Seconds that a small row has at least before it is cut off: one that starts a server, any other.
SERVER_SECONDS, ROW_SECONDS = 300.0, 90.0
#: And one that counts, beyond its share: for starting and ending its processes.
GRACE_SECONDS = 60.0


def soak(rows: dict[str, FaultRow], minutes: float) -> Iterator[Run]:
    """The runs as they end."""
    begun = time.monotonic()
    end = begun + 60.0 * minutes
    small = [name for name in rows if name not in COUNTING]
    counting = [name for name in COUNTING if name in rows]
    for place, name in enumerate(small):
        left = end - time.monotonic()
        # The small rows together may have a third of the time when there are counting ones too.
        room = (left - (0.67 * 60.0 * minutes if counting else 0.0)) / (len(small) - place)
        factor = max(1.0, minutes / 5.0) if room > 10.0 else 1.0
        patience = SERVER_SECONDS if rows[name].needs else ROW_SECONDS
        yield _run(name, Scale(factor), min(left, max(patience, 3.0 * room)), left)
    factor = FULL_FACTOR * min(1.0, (minutes / FULL_MINUTES) ** 2)
    for place, name in enumerate(counting):
        left = end - time.monotonic()
        share = COUNTING[name] / sum(COUNTING[other] for other in counting[place:])
        until = time.monotonic() + share * left
        yield _run(name, Scale(factor, until=until), share * left + GRACE_SECONDS, left)
    taken: dict[str, float] = {}
    for turn in count(1):
        again = [name for name in small if taken.get(name, 0.0) < end - time.monotonic()]
        if not again:
            return
        for name in again:
            left = end - time.monotonic()
            if left > max(10.0, taken.get(name, 0.0)):
                run = _run(name, Scale(1.0, 72 + turn), left + GRACE_SECONDS / 2, left)
                taken[name] = 1.2 * run.seconds
                yield run
            else:
                taken[name] = float("inf")


def _run(name: str, scale: Scale, limit: float, left: float) -> Run:
    if left < 5.0:
        return Run(name, scale.factor, 0.0, broken=("not run: the time was up",))
    return run_apart(name, scale, limit)


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (20)")
    parser.add_argument("--row", action="append", help="only this row; may be given again")
    parser.add_argument("--json", type=Path, help="write every run with its figures to this file")
    parser.add_argument("--list", action="store_true", help="print the rows and end")
    options = parser.parse_args(arguments)
    rows = every_row()
    if options.list:
        print(*(f"{name}: {row.what}" for name, row in rows.items()), sep="\n")
        return 0
    if unknown := set(options.row or ()) - set(rows):
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(rows)}")
    if options.row:
        rows = {name: rows[name] for name in options.row}
    skipped = {name: needs for name, row in rows.items() if (needs := missing(row)) is not None}
    wanted = {name: row for name, row in rows.items() if name not in skipped}
    runs: list[Run] = []
    begun = time.monotonic()
    try:
        for run in soak(wanted, options.minutes):
            runs.append(run)
            print_run(run, time.monotonic() - begun)
    except KeyboardInterrupt:
        print("stopped by hand")
    seconds = time.monotonic() - begun
    print_summary(rows, skipped, runs, seconds)
    if options.json is not None:
        content = {"minutes": options.minutes, "seconds": round(seconds, 1), "skipped": skipped}
        told = [{**asdict(run), "what": rows[run.row].what} for run in runs]
        options.json.write_text(json.dumps({**content, "runs": told}, indent=1))
    ran = {run.row for run in runs}
    return int(any(run.broken for run in runs) or ran != set(wanted))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
