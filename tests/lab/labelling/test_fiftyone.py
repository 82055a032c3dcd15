"""The folder for FiftyOne, read by the rules of its documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from natix_miner.cascade.trace import EvidenceTrace
from natix_miner.errors import JournalError
from natix_miner.journal import Journal, Label
from natix_miner.lab.labelling.fiftyone import ExportedPictures, export_fiftyone
from tests.lab.labelling.journals import START, Asked, jpeg, make_journal

EVIDENCE = (
    EvidenceTrace(what="cone", score=0.8, box=(16.0, 12.0, 32.0, 24.0)),
    EvidenceTrace(what="words", score=7.0, box=None),
    EvidenceTrace(what="drum", score=7.0, box=(0.0, 0.0, 64.0, 48.0)),
)


def read(folder: Path, labels_file: str) -> dict[Path, Any]:
    """As the importer does: file names without their endings are the keys."""
    pictures = {path.stem: path for path in (folder / "data").iterdir()}
    document = json.loads((folder / labels_file).read_text())
    assert set(document) == {"classes", "labels"}
    return {
        pictures[name]: document["classes"][target] if isinstance(target, int) else target
        for name, target in document["labels"].items()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    same = jpeg(1)
    asked = [
        Asked(1, picture=same, labels=(Label(0, "testnet", START),)),
        Asked(2, picture=same, labels=(Label(1, "testnet", START),), evidence=EVIDENCE),
        Asked(
            3,
            probability=0.2,
            labels=(Label(1, "label:a/b", START), Label(0, "label:a b", START + 1)),
        ),
        Asked(4, kept=False, labels=(Label(1, "testnet", START),)),
        Asked(5),
        Asked(6, probability=None, labels=(Label(1, "testnet", START),)),
    ]
    path = make_journal(tmp_path / "journal.sqlite3", asked)
    with Journal(path) as journal:
        done = export_fiftyone(journal, tmp_path / "out")
    assert done == ExportedPictures(pictures=3, copies=1, not_kept=1)
    return tmp_path / "out"


def test_every_labelled_picture_is_there_once_with_the_label_that_holds(folder: Path) -> None:
    found = read(folder, "labels.json")
    assert {path.read_bytes(): label for path, label in found.items()} == {
        jpeg(1): "roadwork",
        Asked(3).bytes: "none",
        Asked(6).bytes: "roadwork",
    }
    assert {path.suffix for path in found} == {".jpg"}
    assert len(list((folder / "data").iterdir())) == 3


def test_the_miners_answers_and_each_source_are_files_of_the_same_kind(folder: Path) -> None:
    assert {p.read_bytes(): label for p, label in read(folder, "predictions.json").items()} == {
        jpeg(1): "none",
        Asked(3).bytes: "none",
    }
    # Two names that make one file name are told apart.
    files = {path.name for path in (folder / "sources").iterdir()}
    assert files == {"testnet.json", "label_a_b-1.json", "label_a_b-2.json"}
    both = [read(folder, f"sources/label_a_b-{n}.json") for n in (1, 2)]
    assert sorted(label for found in both for label in found.values()) == ["none", "roadwork"]


def test_boxes_are_shares_of_the_picture(folder: Path) -> None:
    document = json.loads((folder / "evidence.json").read_text())
    (boxes,) = document["labels"].values()
    assert document["classes"] == ["cone", "drum"]
    assert boxes[0]["bounding_box"] == [0.25, 0.25, 0.25, 0.25]
    assert boxes[0]["confidence"] == 0.8
    assert boxes[1]["bounding_box"] == [0.0, 0.0, 1.0, 1.0]
    assert "confidence" not in boxes[1]
    assert boxes[1]["attributes"] == {"expert": "network", "score": 7.0}


def test_a_folder_that_holds_something_is_left_alone(folder: Path, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite3") as journal:
        with pytest.raises(JournalError, match="not empty"):
            export_fiftyone(journal, folder)
        with pytest.raises(JournalError, match="not empty"):
            export_fiftyone(journal, tmp_path / "journal.sqlite3")
