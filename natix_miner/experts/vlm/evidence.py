"""The others' evidence in words, for a judge that reads and does not see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from natix_miner.experts.opinion import Evidence, Opinion
from natix_miner.experts.vlm.votes import ELSEWHERE
from natix_miner.images import Frame

#: Places told of one opinion, at most.
MOST_PLACES = 3
#: Some five hundred tokens: prompts are made for servers with a context of 1024.
MOST_CHARACTERS = 2000
_MOST_NAME = 60


def heard_by(heard: Iterable[Opinion]) -> list[Opinion]:
    """The opinions worth telling, by name: usable ones in which there is any trust."""
    return sorted(
        (opinion for opinion in heard if opinion.usable and opinion.trust > 0.0),
        key=lambda opinion: opinion.expert,
    )


def told(frame: Frame, heard: Iterable[Opinion]) -> str:
    """What the experts said and what is known of the picture, a line each.

    In the order of their names, at most 2000 characters, and without a word that a sender wrote:
    the names are the profile's, the things seen are named by the experts. Where it would be too
    long fewer places are told of each opinion, then fewer opinions, and the text says so.
    """
    opinions = heard_by(heard)
    picture = f"Picture: {frame_facts(frame)}."
    for places in range(MOST_PLACES, -1, -1):
        lines = [picture, *(f"- {_opinion(frame, opinion, places)}" for opinion in opinions)]
        if _length(lines) <= MOST_CHARACTERS:
            return "\n".join(lines)
    kept = lines
    while _length([*kept, last := f"- {len(lines) - len(kept)} more"]) > MOST_CHARACTERS:
        kept = kept[:-1]
    return "\n".join([*kept, last])


def frame_facts(frame: Frame) -> str:
    """Size, light, blur and tilt."""
    geometry = frame.geometry
    facts = [
        f"{frame.original_width} x {frame.original_height} pixels",
        "dark" if geometry.dark else "light",
    ]
    if geometry.blurred:
        facts.append("blurred")
    if degrees := round(geometry.tilt_degrees):
        facts.append(f"tilted by {degrees} degrees")
    return ", ".join(facts)


def _length(lines: Sequence[str]) -> int:
    return sum(map(len, lines)) + len(lines) - 1


def _opinion(frame: Frame, opinion: Opinion, most_places: int) -> str:
    probability = opinion.probability if opinion.probability is not None else 0.5
    seen = [evidence for evidence in opinion.evidence if evidence.what != ELSEWHERE]
    places = sorted(seen, key=lambda evidence: -evidence.score)[:most_places]
    text = f"{_short(opinion.expert)}: roadwork with probability {probability:.2f}"
    if opinion.trust < 1.0:
        text += f", trusted {opinion.trust:.0%}"
    if places:
        text += f" (saw {'; '.join(_place(frame, evidence) for evidence in places)})"
    return text


def _place(frame: Frame, seen: Evidence) -> str:
    what = f"{_short(seen.what)} {seen.score:.2f}"
    if seen.box is None:
        return what
    left, top, right, bottom = seen.box
    across, down = (left + right) / 2 / frame.width, (top + bottom) / 2 / frame.height
    share = (right - left) * (bottom - top) / (frame.width * frame.height)
    if share > 0.9:
        return what
    side = "left" if across < 1 / 3 else "right" if across > 2 / 3 else "middle"
    height = "top" if down < 1 / 3 else "bottom" if down > 2 / 3 else "centre"
    return f"{what} at the {height} {side}, {share:.0%} of the picture"


def _short(words: str) -> str:
    """One line, of bounded length."""
    return " ".join(words.split())[:_MOST_NAME]
