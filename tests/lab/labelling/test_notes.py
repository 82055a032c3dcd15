"""The small file beside the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from natix_miner.errors import JournalError
from natix_miner.lab.labelling.notes import Note, Notes

SHA = "a" * 64


def test_skips_are_kept_by_person_and_can_be_undone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    notes = Notes(path)
    notes.add("ada", SHA, "skip")
    notes.add("bob", SHA, "label", drawn=True)
    for seen in (notes, Notes(path)):
        assert seen.skipped("ada") == {SHA}
        assert seen.skipped("bob") == frozenset()
        assert seen.drawn() == {("bob", SHA)}
    notes.restore("ada", SHA, None)
    assert Notes(path).of("ada", SHA) is None


def test_undo_of_a_label_brings_the_skip_back(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "journal.sqlite3")
    notes.add("ada", SHA, "skip", drawn=True)
    former = notes.of("ada", SHA)
    notes.add("ada", SHA, "label")
    notes.restore("ada", SHA, former)
    again = Notes(tmp_path / "journal.sqlite3")
    assert again.of("ada", SHA) == Note("skip", drawn=True)


def test_a_line_that_was_cut_off_is_lost_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    notes = Notes(path)
    notes.add("ada", SHA, "skip")
    notes.add("ada", "b" * 64, "skip")
    whole = notes.path.read_bytes()
    notes.path.write_bytes(whole[:-20])
    cut = Notes(path)
    assert cut.skipped("ada") == {SHA}
    cut.add("ada", "c" * 64, "skip")
    assert Notes(path).skipped("ada") == {SHA, "c" * 64}


def test_a_line_of_something_else_is_named(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "journal.sqlite3")
    notes.add("ada", SHA, "skip")
    with notes.path.open("a") as file:
        file.write('{"did": "dance"}\n')
    with pytest.raises(JournalError, match=r"line 2 of the notes .* repair the line"):
        Notes(tmp_path / "journal.sqlite3")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "gone" / "journal.sqlite3")
    with pytest.raises(JournalError, match="cannot be written"):
        notes.add("ada", SHA, "skip")
    assert notes.of("ada", SHA) is None
