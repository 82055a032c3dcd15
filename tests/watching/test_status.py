"""The report: from metrics, journal and snapshot to words, with any of them missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from natix_miner.neuron import RunSettings
from natix_miner.watching import Seen, build, look, metered
from natix_miner.watching.records import Record, read_record
from natix_miner.watching.report import JournalPart, StatusReport
from natix_miner.watching.samples import Samples
from natix_miner.watching.showing import document, parts
from natix_miner.watching.subnet import Kept, read_kept
from tests.watching.conftest import (
    NOW,
    SCRAPE,
    neurons,
    row,
    write_journal,
    write_snapshot_file,
)


class At:
    """A clock that stands still."""

    def time(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def kept_of(folder: Path, rows: list[dict]) -> Kept:
    write_snapshot_file(folder / "chain-72.json", rows)
    return read_kept(RunSettings(state_dir=folder), NOW)


def report_of(
    folder: Path,
    rows: list[dict] | None,
    *,
    scrape: str | None = SCRAPE,
    record: Record | None = None,
) -> StatusReport:
    return build(
        Seen(
            at=NOW,
            url="http://127.0.0.1:9100/metrics",
            samples=None if scrape is None else Samples.of(scrape),
            why=None if scrape is not None else "nobody answers",
            journal=None if record is None else Path("journal.sqlite3"),
            record=record,
            journal_why=None if record else "none kept",
            kept=read_kept(RunSettings(state_dir=folder), NOW)
            if rows is None
            else kept_of(folder, rows),
            netuid=72,
        )
    )


def without(scrape: str, *names: str) -> str:
    return "".join(
        line + "\n" for line in scrape.splitlines() if not any(name in line for name in names)
    )


def silent_record() -> Record:
    """A journal that took nothing today."""
    from natix_miner.watching.report import QueryWindow

    none = tuple(QueryWindow(name, 0, 0, 0, 0, 0) for name in ("hour", "day", "all"))
    return Record(JournalPart("journal.sqlite3", queries=0), none, (), None, {}, (), 0)


def test_the_metrics_alone_tell_of_the_miner(tmp_path: Path):
    report = report_of(tmp_path, None)

    miner = report.miner
    assert (miner.running, miner.ready, miner.version, miner.profile) == (
        True, True, "1.2.3", "embedded",
    )  # fmt: skip
    assert NOW - miner.since == 7200
    (start,) = report.windows
    assert (start.queries, start.answered, start.no_answer, start.picture_errors, start.late) == (
        100, 93, 5, 2, 1,
    )  # fmt: skip
    assert report.levels == {"fast": 80, "close": 20}
    assert list(report.refusals.items()) == [("forged", 9), ("no-permit", 4)]
    assert (report.journal.queue, report.journal.losses) == (3, {"disk-full": 2})
    (server,) = report.servers
    assert (server.name, server.up, server.state, server.restarts) == ("vlm", False, "resting", 3)
    assert report.subnet.word == "paying"  # by the gauge, as there is no snapshot
    assert (report.chain.uid, report.chain.state, report.chain.age_seconds) == (7, "fresh", 42.0)


def test_percentiles_of_a_histogram_are_prometheus_own():
    # histogram_quantile by hand: rank 50 ends the first bucket; 95 lies half way from 0.2 to 7.
    latency = metered.latency_of(Samples.of(SCRAPE))

    assert latency.p50 == pytest.approx(0.1)
    assert latency.p95 == pytest.approx(0.2 + (7.0 - 0.2) * 5 / 10)
    assert latency.p99 == pytest.approx(0.2 + (7.0 - 0.2) * 9 / 10)


def test_beyond_the_last_bound_that_bound_is_told():
    text = 'natix_answer_seconds_bucket{le="1"} 1\nnatix_answer_seconds_bucket{le="+Inf"} 10\n'
    assert metered.latency_of(Samples.of(text)).p99 == 1.0


def test_experts_of_the_journal_get_their_standing_from_the_miner(tmp_path: Path):
    path = write_journal(tmp_path / "journal.sqlite3", [row(0)])
    report = report_of(tmp_path, None, record=read_record(path, NOW))

    (net,) = report.experts
    assert (net.asked, net.agreement, net.reliability) == (1, 0.9, 0.5)
    assert (net.drifted, net.breaker_open) == (True, False)
    assert "expert net drifts from the fit: its vote counts less" in report.sentences


def test_a_burning_subnet_is_told_apart_from_a_broken_miner(tmp_path: Path):
    report = report_of(tmp_path, neurons(ours=0.0, owner=1.0), record=silent_record())

    said = report.sentences[0]
    assert said.startswith("nobody asks because the subnet is burning: uid 1 holds 100.0%")
    assert "The miner is not broken" in said


def test_a_silent_subnet_is_told_as_silent(tmp_path: Path):
    rows = neurons(ours=0.5, owner=0.5, updated=10)
    assert (
        report_of(tmp_path, rows, record=silent_record())
        .sentences[0]
        .startswith("nobody asks because the subnet is silent")
    )


def test_a_paying_subnet_on_which_nobody_asks_says_where_to_look(tmp_path: Path):
    rows = neurons(ours=0.3, owner=0.5)
    rows[2]["ip"] = "0.0.0.0"
    said = report_of(tmp_path, rows, record=silent_record()).sentences[0]

    assert said.startswith("the subnet pays but nobody asks you: look at the axon (none is")
    assert "the refusals (9 forged" in said
    assert "natix-miner doctor" in said
    assert "registration" not in said  # it is registered


def test_a_deregistered_miner_is_sent_to_its_registration_first(tmp_path: Path):
    scrape = SCRAPE.replace("natix_registered 1.0", "natix_registered 0.0")
    scrape = scrape.replace("natix_uid 7.0", "natix_uid -1.0")
    report = report_of(
        tmp_path, neurons(ours=0.3, owner=0.5), scrape=scrape, record=silent_record()
    )

    assert "look at the registration (the hotkey has no uid" in report.sentences[0]
    assert report.chain.uid is None


def test_queries_on_a_burning_subnet_are_told_as_unpaid(tmp_path: Path):
    path = write_journal(tmp_path / "journal.sqlite3", [row(0)])
    rows = neurons(ours=0.0, owner=1.0)
    said = report_of(tmp_path, rows, record=read_record(path, NOW)).sentences[0]

    assert said.startswith("queries come (1 in the last hour), but the subnet is burning")


def test_without_a_journal_the_miners_own_count_of_the_hour_is_told(tmp_path: Path):
    scrape = SCRAPE + "natix_queries_last_hour 17\n"
    said = report_of(tmp_path, neurons(ours=0.3, owner=0.5), scrape=scrape).sentences[0]

    assert said.startswith("queries come: 17 in the last hour; the subnet pays")


def test_an_hour_without_queries_after_a_day_with_some_is_told(tmp_path: Path):
    path = write_journal(tmp_path / "journal.sqlite3", [row(0, received_at=NOW - 7200.0)])
    said = report_of(tmp_path, neurons(ours=0.3, owner=0.5), record=read_record(path, NOW))

    assert said.sentences[0].startswith("queries come: 1 in the last day, none in the last hour;")


def test_queries_that_the_journal_lost_are_queries(tmp_path: Path):
    scrape = SCRAPE + "natix_queries_last_hour 17\n"
    rows = neurons(ours=0.3, owner=0.5)
    said = report_of(tmp_path, rows, scrape=scrape, record=silent_record()).sentences

    assert said[0].startswith("queries come: 17 in the last hour")
    assert "the journal lost 2 verdicts (disk-full)" in said


def test_a_miner_that_does_not_run_is_told_first_and_the_rest_is_shown(tmp_path: Path):
    path = write_journal(tmp_path / "journal.sqlite3", [row(0)])
    report = report_of(
        tmp_path, neurons(ours=0.3, owner=0.5), scrape=None, record=read_record(path, NOW)
    )

    assert report.sentences[0].startswith("the miner does not run, or cannot be asked: nobody")
    assert report.journal.queries == 1
    assert report.subnet.word == "paying"
    assert [part.title for part in parts(report)][-2:] == ["journal", "chain"]


@pytest.mark.parametrize(
    "gone",
    ["natix_build_info", "natix_ready", "natix_uid", "natix_queries", "natix_answer", "natix_ch"],
)
def test_an_older_miner_without_some_metric_gives_dashes(tmp_path: Path, gone: str):
    report = report_of(tmp_path, None, scrape=without(SCRAPE, gone))

    assert report.miner.running
    cells = [cell for part in parts(report) for line in part.rows for cell in line]
    assert any("-" in cell for cell in cells)
    assert "None" not in " ".join(cells)


def test_a_miner_of_which_nothing_but_life_is_known_is_shown(tmp_path: Path):
    report = report_of(tmp_path, None, scrape="natix_in_flight 0\n")

    assert report.miner.ready is None
    assert list(parts(report))
    json.dumps(document(report), allow_nan=False)


def test_the_document_holds_every_field(tmp_path: Path):
    path = write_journal(tmp_path / "journal.sqlite3", [row(0)])
    shown = document(report_of(tmp_path, None, record=read_record(path, NOW)))

    assert set(shown) == set(StatusReport.__dataclass_fields__)
    assert shown["windows"][0]["answer_rate"] == 1.0
    assert shown["validators"][0]["windows"][1]["queries"] == 1
    json.dumps(shown, allow_nan=False)


def test_looking_notes_what_is_missing_instead_of_failing(tmp_path: Path):
    settings = RunSettings(state_dir=tmp_path, netuid=323)
    seen = look(settings, None, tmp_path / "none.sqlite3", At())

    assert "--metrics-port" in seen.why
    assert "there is no journal" in seen.journal_why
    assert "cannot be read" in seen.kept.why
    build(seen)


def test_a_snapshot_of_another_subnet_is_not_taken(tmp_path: Path):
    path = write_snapshot_file(tmp_path / "chain.json", neurons(ours=1.0, owner=0.0))
    kept = read_kept(RunSettings(chain_snapshot=path, netuid=323), NOW)

    assert kept.snapshot is None
    assert "is of subnet 72" in kept.why
