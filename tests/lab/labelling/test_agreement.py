"""How far people agree."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from natix_miner.journal import Journal, Label
from natix_miner.lab.labelling.agreement import Comparison, Source, compare_labels
from natix_miner.lab.labelling.notes import Notes
from tests.lab.labelling.journals import START, Asked, jpeg, make_journal


def compared(path: Path) -> Comparison:
    with Journal(path) as journal:
        return compare_labels(journal, Notes(path))


def said(number: int, *labels: tuple[str, int | None], picture: bytes | None = None) -> Asked:
    rows = tuple(Label(label, who, START + n) for n, (who, label) in enumerate(labels))
    return Asked(number, labels=rows, picture=picture)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def test_agreement_and_kappa_are_those_of_the_formula(path: Path) -> None:
    # 20 both yes, 5 only ada yes, 10 only bob yes, 15 both no: the example of Cohen's kappa with
    # observed agreement 0.7, chance 0.5, kappa 0.4.
    table = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    make_journal(
        path,
        [said(n, ("label:ada", a), ("label:bob", b)) for n, (a, b) in enumerate(table)],
    )
    found = compared(path)
    (pair,) = found.pairs
    assert (pair.a, pair.b, pair.n, pair.same) == ("label:ada", "label:bob", 50, 35)
    assert pair.agreement == pytest.approx(0.7)
    assert pair.kappa == pytest.approx(0.4)
    assert len(found.conflicts) == 15
    assert found.sources == {"label:ada": Source(50, 25), "label:bob": Source(50, 30)}


def test_every_pair_is_compared_on_what_both_have_labelled(path: Path) -> None:
    make_journal(
        path,
        [
            said(1, ("label:ada", 1), ("label:bob", 1), ("testnet", 0)),
            said(2, ("label:ada", 0)),
            said(3, ("testnet", 1)),
        ],
    )
    found = compared(path)
    assert {(pair.a, pair.b): (pair.n, pair.same) for pair in found.pairs} == {
        ("label:ada", "label:bob"): (1, 1),
        ("label:ada", "testnet"): (1, 0),
        ("label:bob", "testnet"): (1, 0),
    }
    (conflict,) = found.conflicts
    assert conflict.id == Asked(1).id
    assert conflict.labels == {"label:ada": 1, "label:bob": 1, "testnet": 0}


def test_kappa_has_no_value_where_one_class_is_all(path: Path) -> None:
    make_journal(path, [said(n, ("label:ada", 1), ("label:bob", 1)) for n in range(5)])
    (pair,) = compared(path).pairs
    assert (pair.agreement, pair.kappa) == (1.0, None)


def test_only_the_newest_word_of_each_counts_and_what_was_taken_back_does_not(path: Path) -> None:
    make_journal(
        path,
        [
            said(1, ("label:ada", 1), ("label:ada", 0), ("label:bob", 0)),
            said(2, ("label:ada", 1), ("label:bob", 0), ("label:ada", None)),
        ],
    )
    found = compared(path)
    assert found.conflicts == ()
    assert found.pairs[0].n == 1


def test_two_queries_with_one_picture_are_one(path: Path) -> None:
    same = jpeg(1)
    make_journal(
        path,
        [said(1, ("label:ada", 1), picture=same), said(2, ("label:bob", 0), picture=same)],
    )
    found = compared(path)
    assert found.pairs[0].n == 1
    assert len(found.conflicts) == 1


def test_labels_of_the_random_share_are_counted_apart(path: Path) -> None:
    asked = [said(n, ("label:ada", n % 2)) for n in range(6)]
    make_journal(path, asked)
    notes = Notes(path)
    for one, drawn in zip(asked, (True, True, True, False, False, False), strict=True):
        notes.add("ada", one.sha256, "label", drawn=drawn)
    assert compared(path).drawn == Source(3, 1)


def test_nobody_has_said_anything(path: Path) -> None:
    make_journal(path, [Asked(1)])
    found = compared(path)
    assert (dict(found.sources), found.pairs, found.conflicts) == ({}, (), ())


def test_pairs_without_a_picture_in_common_are_told_in_order(path: Path) -> None:
    make_journal(path, [said(n, (f"label:{name}", 1)) for n, name in enumerate("cab")])
    pairs = [(pair.a, pair.b) for pair in compared(path).pairs]
    assert all(first <= second for first, second in pairwise(pairs))
    assert [pair.n for pair in compared(path).pairs] == [0, 0, 0]
