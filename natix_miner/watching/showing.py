"""The report as tables of words; the command decides how they are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from natix_miner.watching.report import QueryWindow, StatusReport

#: What stands where nothing is known.
UNKNOWN = "-"
_WINDOWS = {"hour": "last hour", "day": "last day", "all": "journal", "start": "since start"}


@dataclass(frozen=True, slots=True)
class Part:
    """One table: its title, the heads of its columns, its rows."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def document(report: StatusReport) -> dict[str, Any]:
    """All of the report as plain values, with the answer rate of every window."""
    plain = asdict(report)
    plain["windows"] = [_window_document(window) for window in report.windows]
    for validator, part in zip(plain["validators"], report.validators, strict=True):
        validator["windows"] = [_window_document(window) for window in part.windows]
    return plain


def parts(report: StatusReport) -> Iterator[Part]:
    """The tables that have something to tell, in reading order."""
    yield Part("miner", ("miner", "is"), tuple(_miner(report)))
    if report.windows:
        heads = ("queries", "asked", "answered", "rate", "no answer", "picture errors", "late")
        yield Part("queries", heads, tuple(_window(window) for window in report.windows))
    if report.validators:
        yield _validators(report)
    if report.levels:
        total = sum(report.levels.values())
        shares = tuple((k, str(n), f"{n / total:.0%}") for k, n in report.levels.items())
        yield Part(f"levels reached{_over(report)}", ("level", "queries", "share"), shares)
    if report.experts:
        yield _experts(report)
    if report.servers:
        yield _servers(report)
    yield Part("journal", ("journal", "is"), tuple(_journal(report)))
    yield Part("chain", ("chain", "is"), tuple(_chain(report)))


def _miner(report: StatusReport) -> Iterator[tuple[str, ...]]:
    miner = report.miner
    word = "not running" if not miner.running else "not ready" if miner.ready is False else "up"
    yield ("state", word)
    yield ("asked at", miner.url or UNKNOWN)
    if miner.running:
        since = UNKNOWN if miner.since is None else _moment(miner.since)
        up = UNKNOWN if miner.since is None else _span(report.at - miner.since)
        yield ("up since (UTC)", f"{since} ({up})")
        yield ("version", miner.version or UNKNOWN)
        yield ("profile", f"{miner.profile or UNKNOWN} {miner.digest or ''}".strip())
        yield ("in flight", _or(miner.in_flight))
        yield ("refused", _counts(report.refusals))
    latency = report.latency
    if latency is not None:
        times = ", ".join(
            f"{name} {value * 1000:.0f} ms"
            for name, value in (("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99))
        )
        yield ("time to answer", f"{times} ({latency.queries} queries, {latency.source})")


def _window(window: QueryWindow) -> tuple[str, ...]:
    rate = window.answer_rate
    return (
        _WINDOWS[window.name],
        str(window.queries),
        str(window.answered),
        UNKNOWN if rate is None else f"{rate:.1%}",
        _or(window.no_answer),
        _or(window.picture_errors),
        _or(window.late),
    )


def _validators(report: StatusReport) -> Part:
    heads = (
        "hotkey", "hour", "day", "journal", "rate (day)", "labelled", "reward", "mcc", "accuracy",
    )  # fmt: skip
    rows = []
    for part in report.validators:
        hour, day = part.windows
        rate = day.answer_rate
        paid = (part.reward, part.mcc, part.accuracy)
        rows.append(
            (
                part.hotkey,
                str(hour.queries),
                str(day.queries),
                str(part.queries),
                UNKNOWN if rate is None else f"{rate:.1%}",
                str(part.labelled),
                *(UNKNOWN if value is None else f"{value:.3f}" for value in paid),
            )
        )
    return Part("who asked; reward where labels are known", heads, tuple(rows))


def _experts(report: StatusReport) -> Part:
    heads = ("expert", "asked", "statuses", "median ms", "agreement", "standing")
    rows = []
    for part in report.experts:
        told = [
            word
            for word, holds in (("drifts", part.drifted), ("rests", part.breaker_open))
            if holds
        ]
        known = part.drifted is not None or part.breaker_open is not None
        rows.append(
            (
                part.name,
                str(part.asked),
                ", ".join(f"{word} {share:.0%}" for word, share in part.statuses.items())
                or UNKNOWN,
                UNKNOWN if part.seconds is None else f"{part.seconds * 1000:.1f}",
                UNKNOWN if part.agreement is None else f"{part.agreement:.0%}",
                " and ".join(told) or ("good" if known else UNKNOWN),
            )
        )
    return Part(f"experts{_over(report)}", heads, tuple(rows))


def _servers(report: StatusReport) -> Part:
    rows = tuple(
        (
            part.name,
            part.state or ("up" if part.up else "not up"),
            _or(part.restarts),
            _counts(part.requests),
        )
        for part in report.servers
    )
    return Part("servers", ("server", "state", "restarts", "questions"), rows)


def _journal(report: StatusReport) -> Iterator[tuple[str, ...]]:
    journal = report.journal
    yield ("file", journal.path or UNKNOWN)
    if journal.why is not None:
        yield ("not read", journal.why)
    else:
        yield ("queries", f"{journal.queries}, {journal.labelled} labelled")
        first, last = (UNKNOWN if t is None else _moment(t) for t in (journal.first, journal.last))
        yield ("first and last (UTC)", f"{first}, {last}")
        size = UNKNOWN if journal.used_bytes is None else f"{journal.used_bytes / 1e6:.1f} MB"
        yield ("size", f"{size}, {journal.pictures} pictures")
    if report.miner.running:
        yield ("waiting to be written", _or(journal.queue))
        yield ("lost", _counts(journal.losses))


def _chain(report: StatusReport) -> Iterator[tuple[str, ...]]:
    chain, subnet = report.chain, report.subnet
    yield ("subnet", f"{chain.netuid}: {subnet.word}")
    yield ("why", subnet.reason or UNKNOWN)
    age = UNKNOWN if chain.age_seconds is None else _span(chain.age_seconds)
    yield ("heard", f"{chain.state or UNKNOWN}, {age} ago, block {_or(chain.block)}")
    if chain.why is not None:
        yield ("snapshot", chain.why)
    if not report.miner.running:
        return
    uid = "not registered" if chain.registered is False else _or(chain.uid)
    yield ("uid", uid)
    yield ("axon on chain", chain.axon or UNKNOWN)
    yield ("incentive", UNKNOWN if chain.incentive is None else f"{chain.incentive:.6f}")
    emission = UNKNOWN if chain.emission is None else f"{chain.emission:.6f} alpha per tempo"
    yield ("emission", emission)


def _window_document(window: QueryWindow) -> dict[str, Any]:
    return {**asdict(window), "answer_rate": window.answer_rate}


def _over(report: StatusReport) -> str:
    return f" (newest {report.looked_at} queries)" if report.looked_at else " (since the start)"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items()) or "none"


def _or(value: object) -> str:
    return UNKNOWN if value is None else str(value)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _span(seconds: float) -> str:
    """A length of time in its two largest units: 3 d 4 h, 12 min 5 s."""
    left = max(0, int(seconds))
    told: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= size or (unit == "s" and not told):
            told.append(f"{left // size} {unit}")
            left %= size
    return " ".join(told[:2])
