"""What an expert saw, drawn onto the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from natix_miner.cascade.trace import EvidenceTrace, ExpertTrace
from natix_miner.images import Frame

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

#: The most telling evidence is drawn last and in the first of these colours.
COLOURS = ("#ff2a2a", "#ff9f1a", "#ffe81a", "#5ad1ff", "#9d7bff")
#: Pictures are brought to at least this width, so that words can be read on a small square.
WIDTH = 640


def drawn(frame: Frame, expert: ExpertTrace) -> Image | None:
    """The frame with boxes, outlines and scores of one expert's evidence; None where it has no
    place in the picture."""
    from PIL import Image, ImageDraw

    placed = [seen for seen in expert.evidence if seen.box is not None]
    if not placed:
        return None
    scale = max(1.0, WIDTH / frame.width)
    size = (round(frame.width * scale), round(frame.height * scale))
    picture = Image.fromarray(frame.pixels).resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for number, seen in reversed(list(enumerate(placed))):
        _draw(pen, seen, COLOURS[min(number, len(COLOURS) - 1)], scale, size)
    return picture


def _draw(
    pen: ImageDraw, seen: EvidenceTrace, colour: str, scale: float, size: tuple[int, int]
) -> None:
    if seen.box is None:
        return
    left, top, right, bottom = (side * scale for side in seen.box)
    pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=2)
    if len(seen.outline) >= 3:
        corners = [(x * scale, y * scale) for x, y in seen.outline]
        pen.line([*corners, corners[0]], fill=colour, width=3)
    words = f"{seen.what} {seen.score:.2f}"
    wide, high = pen.textbbox((0, 0), words)[2:]
    x = min(max(0.0, left), max(0.0, size[0] - wide - 4))
    y = top - high - 4 if top - high - 4 >= 0 else min(top + 2, size[1] - high - 4)
    pen.rectangle((x, y, x + wide + 4, y + high + 4), fill="black")
    pen.text((x + 2, y + 1), words, fill=colour)
