"""The story for a terminal: lines of styled words, and the same without styles elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from natix_miner.cascade.trace import ExpertTrace
from natix_miner.lab.story import LevelStory, Span, Story, seen_in_words

#: Columns of the log-odds axis, an odd number so that zero has a column of its own.
AXIS = 31
_TIME = 40
_INDENT = "  "
_OUTCOME = {"right": "bold green", "wrong": "bold red", "silent": "yellow", "unknown": "dim"}
NONE, ROADWORK = "cyan", "dark_orange"

#: A line is words with their style ("" for none).
Line = list[tuple[str, str]]


def lines_of(story: Story) -> Iterator[Line]:
    """The whole story, line by line; no line holds a control character."""
    for line in _lines(story):
        yield [(_tame(words), style) for words, style in line]


def _lines(story: Story) -> Iterator[Line]:
    query = story.trace.query
    yield [("query ", "dim"), (query.id, "bold"), (f"  {story.query.name}".rstrip(), "")]
    yield [("asked ", "dim"), (story.asked, "")]
    yield [("picture ", "dim"), (", ".join(story.picture), "")]
    yield [("answer ", "dim"), (story.answer, "bold")]
    yield [("worth ", "dim"), (story.outcome_line, _OUTCOME[story.outcome])]
    for level in story.levels:
        yield []
        yield from _level(level, story.range)
    yield []
    yield from _times(story)
    yield []
    for name, value in story.versions:
        yield [(f"{name} ", "dim"), (value, "")]


def plain(line: Line) -> str:
    """The words alone."""
    return "".join(words for words, _ in line).rstrip()


def _tame(words: str) -> str:
    """Without control characters: what an expert says must not steer the terminal."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in words)


def _level(level: LevelStory, reach: float) -> Iterator[Line]:
    trace = level.trace
    entered = "entered" if trace.entered else "not entered"
    yield [
        (f"level {trace.name} ", "bold"),
        (f"{entered}: {trace.why}", "" if trace.entered else "dim"),
        (f" ({trace.ms:.1f} ms)" if trace.entered else "", "dim"),
    ]
    if not trace.entered:
        return
    names = [one.name for one in trace.experts] + [f"+ {step.name}" for step in level.steps]
    wide = min(34, max(len(name) for name in [*names, "pooled"]))
    yield [
        (_INDENT + " " * wide + "  ", ""),
        (f"{-reach:<+6.0f}none".ljust(AXIS // 2), NONE),
        ("0", "dim"),
        (f"roadwork{reach:>+6.0f}".rjust(AXIS // 2), ROADWORK),
    ]
    for one in trace.experts:
        yield from _expert(one, wide, reach)
    yield from _pooling(level, wide, reach)


def _expert(one: ExpertTrace, wide: int, reach: float) -> Iterator[Line]:
    head: tuple[str, str] = (f"{_INDENT}{one.name:<{wide}}  ", "")
    if one.log_odds is not None:
        said = "" if one.probability is None else f"said {one.probability:.3f}, "
        trust = f", trust {one.trust:.2f}" if one.trust != 1.0 else ""
        trust += f" (of it {one.reliability:.2f} for drifting)" if one.reliability != 1.0 else ""
        words = (
            f"  {said}calibrated {one.calibrated or 0.0:.3f} ({one.log_odds:+.2f}), weight "
            f"{one.weight:.2f}{trust}: {one.weight * one.log_odds:+.2f}, {one.ms:.1f} ms"
        )
        yield [head, *_bar(0.0, one.log_odds, reach), (words, "")]
    else:
        what = "tells conditions only" if one.status == "ok" else one.status
        if one.status == "ok" and one.probability is not None:
            what = f"said {one.probability:.3f}, not pooled"
        style = "dim" if one.status in ("ok", "skipped") else "red"
        yield [head, *_axis(), (f"  {what}, {one.ms:.1f} ms", style)]
    remarks = [*seen_in_words(one)]
    if one.by:
        remarks.append(f"answered by {one.by}")
    if one.detail:
        remarks.append(one.detail)
    for remark in remarks:
        for part in remark.splitlines():
            yield [(f"{_INDENT * 2}{part}", "dim")]


def _pooling(level: LevelStory, wide: int, reach: float) -> Iterator[Line]:
    trace = level.trace
    if trace.log_odds is None:
        yield [(f"{_INDENT}{'pooled':<{wide}}  ", "bold"), *_axis(), ("  nothing usable", "red")]
        return
    for step in level.steps:
        yield [
            (f"{_INDENT}{'+ ' + step.name:<{wide}.{wide}}  ", "dim"),
            *_bar(step.start, step.end, reach),
            (f"  {step.value:+.2f} to {step.end:+.2f}", "dim"),
        ]
    spread = f", votes disagree by {trace.disagreement:.2f}" if trace.disagreement else ""
    yield [
        (f"{_INDENT}{'pooled':<{wide}}  ", "bold"),
        *_bar(0.0, trace.log_odds, reach, "▓"),
        (f"  log-odds {trace.log_odds:+.2f}, probability {trace.probability or 0.0:.4f}", "bold"),
        (spread, ""),
    ]
    if level.pooling:
        yield [(f"{_INDENT}({level.pooling})", "dim")]


def _column(value: float, reach: float) -> int:
    """The column of a value on the axis; what lies outside is shown at its end."""
    half = AXIS // 2
    return half + max(-half, min(half, round(value / reach * half)))


def _axis() -> Line:
    half = AXIS // 2
    return [("·" * half, "dim"), ("│", "dim"), ("·" * half, "dim")]


def _bar(start: float, end: float, reach: float, fill: str = "█") -> Line:
    """A bar from one value to the other; its colour says which way it goes."""
    first, last = sorted((_column(start, reach), _column(end, reach)))
    cells = ["·"] * AXIS
    cells[AXIS // 2] = "│"
    cells[first : last + 1] = [fill] * (last + 1 - first)
    if end == start:
        cells[first] = "▏"
    elif start == 0.0 and first != last:
        cells[AXIS // 2] = "│"
    style = ROADWORK if end > start else NONE
    return [
        ("".join(cells[:first]), "dim"),
        ("".join(cells[first : last + 1]), style),
        ("".join(cells[last + 1 :]), "dim"),
    ]


def _times(story: Story) -> Iterator[Line]:
    total = story.total_ms
    if total is None:
        yield [("time line ", "bold"), ("not kept", "dim")]
        return
    share = total / story.deadline_ms if story.deadline_ms > 0 else 0.0
    late = ", LATE" if story.late else ""
    yield [
        ("time line ", "bold"),
        (f"{total:.1f} ms of {story.deadline_ms:,.0f} ms ({share:.1%} of the time there was)", ""),
        (late, "bold red"),
    ]
    reach = max([total, *(span.start + span.ms for span in story.spans)], default=0.0)
    names = [len(span.name) + 2 * span.depth for span in story.spans]
    wide = max([len("deadline"), *names])
    used = min(_TIME, max(1, round(share * _TIME)))
    yield [
        (f"{_INDENT}{'deadline':<{wide}}  ", ""),
        ("▓" * used, "red" if story.late else "blue"),
        ("·" * (_TIME - used), "dim"),
        (f"  {story.deadline_ms:,.0f} ms", ""),
    ]
    for span in story.spans:
        yield _span(span, reach, wide)


def _span(span: Span, reach: float, wide: int) -> Line:
    scale = _TIME / reach if reach > 0 else 0.0
    first = min(_TIME - 1, int(span.start * scale))
    last = min(_TIME, max(first + 1, round((span.start + span.ms) * scale)))
    bar = "·" * first + ("━" if span.depth else "█") * (last - first) + "·" * (_TIME - last)
    name = "  " * span.depth + span.name
    return [
        (f"{_INDENT}{name:<{wide}}  ", ""),
        (bar, "red" if span.alarm else "dim" if span.depth else "blue"),
        (f"  {span.ms:.1f} ms", ""),
    ]
