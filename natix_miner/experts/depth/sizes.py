"""How high the things of a street are, and how much a box of another height still counts.

With H the height in metres and low..high the range of its class:

    off    = max(0, ln(low / H), ln(H / high))         0 inside the range
    factor = FLOOR + (1 - FLOOR) * exp(-(off / SPREAD)^2 / 2)

The factor is flat about the range on purpose: depth from one picture is often wrong by a fifth, and
by a third from a camera the network never saw. It is never above 1: a fitting size proves nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: What a box counts at least, however odd its size: depth may be wrong, too.
FLOOR = 0.2
#: Twice too large, or half as large as it should be, is one standard deviation.
SPREAD = math.log(2.0)


@dataclass(frozen=True, slots=True)
class Heights:
    """Heights in metres that a thing plausibly has in a picture, and where they were read."""

    low: float
    high: float
    source: str


_MUTCD = "MUTCD 2009, part 6F"
_MEMORY = "from memory"

#: By roadwork class. `tool` has none: it holds shovels and dumpsters alike. Lower ends leave room
#: for things that are partly hidden, upper ends for what is mounted on them.
SIZES: dict[str, Heights] = {
    "cone": Heights(0.25, 1.1, f"{_MUTCD}: 18, 28, 36 in and more; German cones 0.3-1.0 m, memory"),
    "drum": Heights(0.8, 1.3, f"{_MUTCD}: at least 36 in; a warning lamp may stand on it"),
    "barrier": Heights(0.5, 1.7, f"{_MUTCD}: barricades 3 to 5 ft; concrete walls 32 in, memory"),
    "panel": Heights(0.45, 1.5, f"{_MUTCD}: tubular markers 18 or 28 in, vertical panels 36 in"),
    "fence": Heights(0.8, 2.5, f"{_MEMORY}: footway barriers 1.0 m, site fences 2.0 m"),
    "board": Heights(0.6, 4.5, f"{_MUTCD}: arrow boards 24 to 48 in high; 4 m on their trailers"),
    "sign": Heights(0.45, 2.5, f"{_MEMORY}: plates of 18 in to a diamond of 48 in on its stand"),
    "machine": Heights(1.2, 9.0, f"{_MEMORY}: small rollers to excavators with the arm raised"),
    "work-vehicle": Heights(1.4, 4.3, f"{_MEMORY}: pick-ups to 4.0 m (EU) or 14 ft (US) at most"),
    "worker": Heights(1.2, 2.1, f"{_MEMORY}: adults, bent over or with a helmet"),
    "person": Heights(0.8, 2.1, f"{_MEMORY}: children to tall adults"),
    "vest": Heights(0.35, 1.0, f"{_MEMORY}: shoulder to hip"),
    "helmet": Heights(0.12, 0.4, f"{_MEMORY}: a head with its helmet"),
    "truck": Heights(1.4, 4.3, f"{_MEMORY}: as work vehicles"),
    "stop-sign": Heights(0.45, 1.3, f"{_MEMORY}: MUTCD plates of 18 to 48 in"),
}


def factor(kind: str, metres: float, *, cut: bool = False) -> float:
    """How much a thing of this roadwork class and height counts, in [FLOOR, 1].

    `cut` tells that the picture's edge cuts it: it may be higher, so only too high is odd. Classes
    without a size, and heights that are no positive number, count in full: nothing was measured.
    """
    range_ = SIZES.get(kind)
    if range_ is None or not (math.isfinite(metres) and metres > 0.0):
        return 1.0
    short = 0.0 if cut else math.log(range_.low / metres)
    off = max(0.0, short, math.log(metres / range_.high))
    return FLOOR + (1.0 - FLOOR) * math.exp(-0.5 * (off / SPREAD) ** 2)
