"""The others' evidence in words, for a judge that reads and does not see."""

from __future__ import annotations

from collections.abc import Iterable

from natix_miner.experts.opinion import Evidence, Opinion
from natix_miner.images import Frame

MOST_PLACES = 3
MOST_OPINIONS = 24


def told(frame: Frame, heard: Iterable[Opinion]) -> str:
    """What the experts said and what is known of the picture, a line each.

    Always in the same order, of bounded length, and without a word that a sender wrote.
    """
    usable = sorted((o for o in heard if o.usable), key=lambda opinion: opinion.expert)
    lines = [f"Picture: {frame_facts(frame)}."]
    lines += [f"- {_opinion(frame, opinion)}" for opinion in usable[:MOST_OPINIONS]]
    return "\n".join(lines)


def frame_facts(frame: Frame) -> str:
    """Size class, light, blur and tilt."""
    geometry = frame.geometry
    facts = [
        f"{frame.original_width} x {frame.original_height} pixels",
        "dark" if geometry.dark else "light",
    ]
    if geometry.blurred:
        facts.append("blurred")
    if geometry.tilt_degrees:
        facts.append(f"tilted by {geometry.tilt_degrees:.0f} degrees")
    return ", ".join(facts)


def _opinion(frame: Frame, opinion: Opinion) -> str:
    probability = opinion.probability if opinion.probability is not None else 0.5
    places = sorted(opinion.evidence, key=lambda seen: -seen.score)[:MOST_PLACES]
    saw = "; ".join(_place(frame, seen) for seen in places)
    return f"{opinion.expert}: roadwork with probability {probability:.2f}" + (
        f" (saw {saw})" if saw else ""
    )


def _place(frame: Frame, seen: Evidence) -> str:
    if seen.box is None:
        return f"{seen.what} {seen.score:.2f}"
    left, top, right, bottom = seen.box
    across, down = (left + right) / 2 / frame.width, (top + bottom) / 2 / frame.height
    share = (right - left) * (bottom - top) / (frame.width * frame.height)
    if share > 0.9:
        return f"{seen.what} {seen.score:.2f}"
    side = "left" if across < 1 / 3 else "right" if across > 2 / 3 else "middle"
    height = "top" if down < 1 / 3 else "bottom" if down > 2 / 3 else "centre"
    return f"{seen.what} {seen.score:.2f} at the {height} {side}, {share:.0%} of the picture"
