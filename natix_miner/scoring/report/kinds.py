"""Decisions by kind of picture: generation, size, light, tilt, bars, blur, told conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from natix_miner.cascade.trace import PictureTrace
from natix_miner.consensus.conditions import WHOLE_TILT_DEGREES
from natix_miner.scoring.metrics import Confusion, Interval, measure
from natix_miner.scoring.report.facts import Facts

#: A condition told with at least this much counts as met.
MET = 0.5
NO_PICTURE = "not a picture"


@dataclass(frozen=True, slots=True)
class KindLine:
    """Labelled decisions of one kind of picture; `interval` is that of the accuracy."""

    name: str
    queries: int
    missing: int
    confusion: Confusion
    accuracy: float | None
    interval: Interval | None
    mcc: float | None


@dataclass(frozen=True, slots=True)
class Division:
    """The same decisions divided by one property; `overlap` where a query may be in several."""

    name: str
    lines: tuple[KindLine, ...]
    overlap: bool = False


def divisions_of(facts: Iterable[Facts]) -> list[Division]:
    """All labelled decisions, then divided each way; a division into one kind is left out (a single
    generation is named in the first line). Empty without labels."""
    labelled = [one for one in facts if one.row.label is not None]
    if not labelled:
        return []
    generations = {one.row.generation for one in labelled}
    only = f" ({generations.pop()})" if len(generations) == 1 and "" not in generations else ""
    found = [Division("All", (_line(f"all labelled queries{only}", labelled),))]
    for name, kind in _WAYS.items():
        kinds: dict[str, list[Facts]] = {}
        for one in labelled:
            kinds.setdefault(kind(one), []).append(one)
        if len(set(kinds) - {NO_PICTURE}) > 1:
            lines = [_line(key, kinds[key]) for key in sorted(kinds, key=_place)]
            found.append(Division(name, tuple(lines)))
    told = sorted({name for one in labelled for name in one.conditions})
    lines = [
        _line(name, [one for one in labelled if one.conditions.get(name, 0.0) >= MET])
        for name in told
    ]
    met = tuple(line for line in lines if line.queries)
    return [*found, Division("Told by experts", met, overlap=True)] if met else found


def kind_words(facts: Facts) -> list[str]:
    """What is worth saying of one picture, in words: size, tilt, bars, light, blur, conditions."""
    if facts.picture is None:
        return [facts.row.size_class] if facts.row.size_class else []
    words = [facts.picture.size_class]
    if facts.picture.tilt_degrees:
        words.append(f"tilted {facts.picture.tilt_degrees:+.0f}°")
    if facts.picture.padding_share:
        words.append(f"{100 * facts.picture.padding_share:.0f} % bars")
    words += [word for word in ("dark", "blurred") if getattr(facts.picture, word)]
    return words + [name for name, value in sorted(facts.conditions.items()) if value >= MET]


def share_interval(hits: int, of: int) -> Interval | None:
    """Where a share lies with a confidence of 95 %, by Wilson's score interval; None of nothing.

    Source: E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference,
    Journal of the American Statistical Association 22 (1927).
    """
    from scipy.stats import binomtest

    if not of:
        return None
    found = binomtest(hits, of).proportion_ci(0.95, method="wilson")
    return Interval(float(found.low), float(found.high))


def _line(name: str, members: Sequence[Facts]) -> KindLine:
    quality = measure(
        [one.row.prediction for one in members], [one.row.label or 0 for one in members]
    )
    found = quality.confusion
    interval = share_interval(found.tp + found.tn, quality.answered)
    return KindLine(
        name, quality.n, quality.missing, found, quality.accuracy, interval, quality.mcc
    )


def _of_picture(kind: Callable[[PictureTrace], str]) -> Callable[[Facts], str]:
    return lambda one: NO_PICTURE if one.picture is None else kind(one.picture)


def _tilt(picture: PictureTrace) -> str:
    tilt = abs(picture.tilt_degrees)
    if not tilt:
        return "upright"
    side = "below" if tilt < WHOLE_TILT_DEGREES else "from"
    return f"tilted, {side} {WHOLE_TILT_DEGREES:g}°"


_WAYS: dict[str, Callable[[Facts], str]] = {
    "Generation": lambda one: one.row.generation or "not told",
    "Size": lambda one: one.row.size_class or NO_PICTURE,
    "Light": _of_picture(lambda picture: "dark" if picture.dark else "day"),
    "Tilt": _of_picture(_tilt),
    "Bars": _of_picture(lambda picture: "letterboxed" if picture.padding_share else "no bars"),
    "Focus": _of_picture(lambda picture: "blurred" if picture.blurred else "sharp"),
}
_ORDER = ("validator-square", "frame", "large-frame", "day", "upright", "no bars", "sharp")


def _place(name: str) -> tuple[int, str]:
    """The usual kind first, what is no picture last."""
    if name == NO_PICTURE:
        return len(_ORDER) + 1, name
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER)), name
