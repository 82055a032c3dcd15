"""The state of a miner in plain words: a subnet on which nobody asks, told apart from a miner that
nobody asks."""

from __future__ import annotations

from collections.abc import Iterator

from natix_miner.neuron.subnet_state import SubnetWord
from natix_miner.watching.report import QueryWindow, StatusReport

#: Answers below this share of the queries are worth a sentence.
LOW_ANSWER_RATE = 0.95
#: A snapshot older than this is no word on what the subnet does now.
OLD_SNAPSHOT_SECONDS = 3600.0


def sentences(report: StatusReport) -> tuple[str, ...]:
    """What an operator should know, the most important first."""
    return (*_of_miner(report), *_of_asking(report), *_of_chain(report), *_of_answers(report))


def _of_miner(report: StatusReport) -> Iterator[str]:
    miner = report.miner
    if not miner.running:
        yield f"the miner does not run, or cannot be asked: {miner.why}"
    elif miner.ready is False:
        yield "the miner runs but is not ready: it warms up, or /readyz tells what it lacks"


def _of_asking(report: StatusReport) -> Iterator[str]:
    asked, span = _lately(report)
    word, reason = report.subnet.word, report.subnet.reason or "no more is known"
    if word in (SubnetWord.BURNING, SubnetWord.SILENT):
        if asked:
            yield (
                f"queries come ({asked} in the last {span}), but the subnet is {word}: {reason};"
                " no answer is paid now"
            )
        elif asked == 0:
            yield (
                f"nobody asks because the subnet is {word}: {reason}."
                + (" The miner is not broken" if report.miner.running else "")
                + " (docs/network-status.md)"
            )
        else:
            yield f"the subnet is {word}: {reason} (docs/network-status.md)"
    elif asked:
        paid = "the subnet pays" if word == SubnetWord.PAYING else "what it pays is not known"
        yield f"queries come: {asked} in the last {span}; {paid} ({reason})"
    elif asked == 0 and word == SubnetWord.PAYING:
        yield f"the subnet pays but nobody asks you: look at {', '.join(_to_look_at(report))}"
    elif asked == 0:
        yield f"nobody asks, and whether the subnet is alive is not known: {reason}"


def _to_look_at(report: StatusReport) -> Iterator[str]:
    """What keeps queries away from a miner on a subnet that pays; the surest first."""
    chain, refused = report.chain, report.refusals
    if not report.miner.running:
        yield "the miner itself, which does not run"
    if chain.registered is False:
        yield "the registration (the hotkey has no uid: natix-miner register subnet)"
    if chain.axon is not None and chain.axon.startswith("0.0.0.0:"):
        yield "the axon (none is published for our uid)"
    if refused:
        reason, count = next(iter(refused.items()))
        yield f"the refusals ({count} {reason}; docs/running.md tells what each means)"
    yield "whether the axon's port can be reached from outside (natix-miner doctor)"


def _of_chain(report: StatusReport) -> Iterator[str]:
    chain = report.chain
    if report.miner.running and chain.registered is False and report.subnet.word != "paying":
        yield "the hotkey has no uid on the subnet"
    if chain.state in ("stale", "waiting"):
        yield f"the chain is {chain.state}: the miner does not hear from it"
    elif chain.age_seconds is not None and chain.age_seconds > OLD_SNAPSHOT_SECONDS:
        yield (
            f"the snapshot of the chain is {chain.age_seconds / 3600:.1f} hours old: the subnet may"
            " have changed since"
        )


def _of_answers(report: StatusReport) -> Iterator[str]:
    window = next((w for w in report.windows if w.queries), None)
    if window is not None:
        rate = window.answer_rate
        if rate is not None and rate < LOW_ANSWER_RATE:
            yield f"only {rate:.0%} of the queries were answered ({_span(window)})"
        if window.late:
            yield f"{window.late} answers were ready too late ({_span(window)})"
    for expert in report.experts:
        if expert.drifted:
            yield f"expert {expert.name} drifts from the fit: its vote counts less"
        if expert.breaker_open:
            yield f"expert {expert.name} rests after failures in a row"
    for server in report.servers:
        if not server.up:
            yield f"server {server.name} is {server.state or 'not up'}"
    if report.journal.losses:
        lost = sum(report.journal.losses.values())
        yield f"the journal lost {lost} verdicts ({', '.join(report.journal.losses)})"
    elif report.journal.why is not None and report.journal.path is not None:
        yield f"the journal cannot be read: {report.journal.why}"


def _lately(report: StatusReport) -> tuple[int | None, str]:
    """Queries of the shortest stretch that has any, None where nothing tells. The miner's own count
    of the hour stands beside the journal's, which knows nothing of verdicts that it lost."""
    windows = {window.name: window.queries for window in report.windows}
    counts = (windows.get("hour"), report.miner.queries_last_hour)
    hour = max((count for count in counts if count is not None), default=None)
    if hour:
        return hour, "hour"
    if windows.get("day"):
        return windows["day"], "day, none in the last hour"
    if hour is None:
        return windows.get("start"), "run of the miner"
    return 0, "hour"


def _span(window: QueryWindow) -> str:
    return {"start": "since the miner began", "all": "all that the journal holds"}.get(
        window.name, f"last {window.name}"
    )
