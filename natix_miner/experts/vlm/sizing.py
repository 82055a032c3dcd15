"""How large a picture is sent: within a budget of pixels, on the grid that the models see."""

from __future__ import annotations

import math
from collections.abc import Iterable

#: Qwen3-VL sees cells of 32 x 32 pixels (patches of 16, merged two by two).
GRID = 32
#: Bringing the sides to the grid may change the aspect (their ratio) by this factor less one.
STRETCH = 0.03

Size = tuple[int, int]


def sized(width: int, height: int, least: int, most: int) -> Size:
    """The size (width, height) to send: an area between `least` and `most` pixels, aspect kept.

    `most` always holds. Of what else is to be had: an area of at least `least` comes first (it
    cannot always be met when the two are nearly equal), then sides that are multiples of 32, where
    that changes the aspect by 3 % or less: the server's processor would resize to such sides
    anyway, and so it happens only once. Then the area that is nearest. No side is 0, so very long
    pictures lose their aspect.
    """
    area = width * height
    target = min(max(area, least), most)
    scale = math.sqrt(target / area)
    ideal = (width * scale, height * scale)

    def stretch(size: Size) -> float:
        return abs(math.log(size[0] * height / (size[1] * width)))

    def worth(size: Size) -> tuple[bool, bool, float]:
        sent = size[0] * size[1]
        off_grid = bool(size[0] % GRID or size[1] % GRID)
        return sent < least, off_grid, abs(math.log(sent / target))

    on_grid = [size for size in _around(ideal, GRID) if stretch(size) <= math.log1p(STRETCH)]
    fitting = [size for size in (*on_grid, *_around(ideal, 1)) if size[0] * size[1] <= most]
    if fitting:
        return min(fitting, key=worth)
    wide = min(max(1, math.floor(ideal[0])), most)
    return wide, min(max(1, math.floor(ideal[1])), most // wide)


def _around(ideal: tuple[float, float], step: int) -> Iterable[Size]:
    """The sizes next to the ideal one whose sides are multiples of `step`."""
    below = [math.floor(side / step) * step for side in ideal]
    for wide in (below[0], below[0] + step):
        for high in (below[1], below[1] + step):
            if wide and high:
                yield wide, high
