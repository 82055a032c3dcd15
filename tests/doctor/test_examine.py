"""One check never spoils another: whatever it raises or however long it hangs, it is one row."""

from __future__ import annotations

import threading

import pytest

from natix_miner.doctor import Check, Finding, Status, examine, failed
from natix_miner.doctor.row import fail, ok, skipped, warn, worst_of
from natix_miner.errors import WalletError
from natix_miner.neuron.hiding import Hiding


def raising(error):
    def look():
        raise error

    return look


def test_an_error_raised_on_purpose_becomes_a_row_with_its_advice():
    error = WalletError("no hotkey at /x; give --wallet-name of a wallet that exists")
    (row,) = examine([Check("wallet", raising(error))])
    assert (row.status, row.detail) == (Status.FAIL, "no hotkey at /x")
    assert row.advice == "give --wallet-name of a wallet that exists"


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit(3), RecursionError("deep")])
def test_an_unforeseen_error_is_named_and_the_other_rows_stay(error):
    rows = examine([Check("one", raising(error)), Check("two", lambda: ok("fine"))])
    assert [row.status for row in rows] == [Status.FAIL, Status.OK]
    assert type(error).__name__ in rows[0].detail
    assert rows[0].advice


def test_a_check_that_hangs_is_left_behind():
    over = threading.Event()

    def hang() -> Finding:
        over.wait(30)
        return ok("late")

    rows = examine([Check("mute", hang, seconds=0.05), Check("next", lambda: ok("fine"))])
    over.set()
    assert [row.status for row in rows] == [Status.FAIL, Status.OK]
    assert "within 0.05 s" in rows[0].detail


def test_begin_and_end_are_told_in_order_and_rows_are_plain_values():
    told = []
    rows = examine(
        [Check("a", lambda: ok("1")), Check("b", lambda: skipped("no"))],
        lambda name: told.append(name),
        lambda row: told.append(row.document()),
    )
    assert told == [
        "a",
        {"check": "a", "status": "ok", "detail": "1", "advice": ""},
        "b",
        {"check": "b", "status": "skipped", "detail": "no", "advice": ""},
    ]
    assert not failed(rows)


def test_secrets_are_taken_out_of_what_is_told():
    error = WalletError("wss://chain/0123456789abcdef refused; give another than 0123456789abcdef")
    (row,) = examine([Check("chain", raising(error))], clean=Hiding(["0123456789abcdef"]).clean)
    assert (row.detail, row.advice) == ("wss://chain/*** refused", "give another than ***")


def test_of_several_findings_the_most_serious_counts_and_is_told_first():
    found = worst_of([ok("a"), fail("b", "do b"), warn("c", "do c"), skipped("d")])
    assert found == Finding(Status.FAIL, "b; c; a; d", "do b; do c")
