"""A labelled journal as a folder that FiftyOne reads.

The layout is the documented one of `FiftyOneImageClassificationDataset` (it has no version number):
pictures under `data/`, and a JSON file {"classes": [...], "labels": {<file name without ending>:
<index of its class>}}. Beside `labels.json` (the label that holds) lie `predictions.json` (what the
miner answered) and one file a source in `sources/`, all of the same layout, and `evidence.json`
(boxes that experts saw) in the layout of `FiftyOneImageDetectionDataset`. Source:
https://docs.voxel51.com/user_guide/import_datasets.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from natix_miner.atomic import write_whole
from natix_miner.cascade.trace import Trace
from natix_miner.errors import JournalError
from natix_miner.journal import Filter, Journal, JournalEntry, newest_by_source

CLASSES = ("none", "roadwork")
_ENDINGS = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG", "png"), (b"RIFF", "webp"))


@dataclass(frozen=True, slots=True)
class ExportedPictures:
    """How many pictures were written, and how many labelled ones are left out: copies of the same
    picture, and those that the journal does not keep."""

    pictures: int
    copies: int
    not_kept: int


@dataclass(slots=True)
class _Files:
    labels: dict[str, int] = field(default_factory=dict)
    predictions: dict[str, int] = field(default_factory=dict)
    sources: dict[str, dict[str, int]] = field(default_factory=dict)
    evidence: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)


def export_fiftyone(journal: Journal, out: Path) -> ExportedPictures:
    """Write every labelled picture once, with the label of its newest query.

    Raises JournalError when `out` is there and not empty, or cannot be written.
    """
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise JournalError(f"{out} is there already and not empty: give another folder")
        (out / "data").mkdir(parents=True, exist_ok=True)
        (out / "sources").mkdir(exist_ok=True)
        return _write(journal, out)
    except OSError as error:
        raise JournalError(f"the folder {out} cannot be written: {error}") from error


def _write(journal: Journal, out: Path) -> ExportedPictures:
    files = _Files()
    seen: set[str] = set()
    copies = not_kept = 0
    for entry in journal.entries(Filter(labelled=True), newest_first=True):
        if entry.sha256 in seen:
            copies += 1
            continue
        seen.add(entry.sha256)
        picture = entry.picture()
        if picture is None:
            not_kept += 1
            continue
        (out / "data" / f"{entry.sha256}.{_ending(picture)}").write_bytes(picture)
        _take(entry, files)
    _dump(out / "labels.json", CLASSES, files.labels)
    _dump(out / "predictions.json", CLASSES, files.predictions)
    for source, labels in files.sources.items():
        _dump(out / "sources" / f"{_file_name(source, files.sources)}.json", CLASSES, labels)
    _dump(out / "evidence.json", tuple(files.classes), files.evidence)
    return ExportedPictures(len(files.labels), copies, not_kept)


def _take(entry: JournalEntry, files: _Files) -> None:
    """Put one entry into the files that are written at the end."""
    name = entry.sha256
    files.labels[name] = int(entry.label or 0)
    if entry.prediction >= 0.0:
        files.predictions[name] = int(entry.prediction > 0.5)
    for source, label in newest_by_source(entry.labels()).items():
        files.sources.setdefault(source, {})[name] = int(label.label or 0)
    try:
        trace = entry.read_trace()
    except ValueError:
        return
    boxes = list(_boxes(trace, files.classes))
    if boxes:
        files.evidence[name] = boxes


def _boxes(trace: Trace, classes: dict[str, int]) -> Iterable[dict[str, Any]]:
    """What experts saw, with boxes as FiftyOne wants them: left, top, width and height as shares
    of the picture."""
    if trace.picture is None:
        return
    wide, high = trace.picture.width, trace.picture.height
    for expert in (expert for level in trace.levels for expert in level.experts):
        for seen in expert.evidence:
            if seen.box is None:
                continue
            left, top, right, bottom = seen.box
            told: dict[str, Any] = {
                "label": classes.setdefault(seen.what, len(classes)),
                "bounding_box": [
                    left / wide,
                    top / high,
                    (right - left) / wide,
                    (bottom - top) / high,
                ],
                "attributes": {"expert": expert.name, "score": seen.score},
            }
            # Scores are on the scale of each expert; only those that look like a probability are.
            if 0.0 <= seen.score <= 1.0:
                told["confidence"] = seen.score
            yield told


def _dump(path: Path, classes: tuple[str, ...], labels: dict[str, Any]) -> None:
    document = {"classes": list(classes), "labels": labels}
    write_whole(path, json.dumps(document, indent=1) + "\n")


def _file_name(source: str, sources: Iterable[str]) -> str:
    """A source as a file name; a number is put behind it where two would get the same."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", source)
    same = [other for other in sources if re.sub(r"[^A-Za-z0-9._-]", "_", other) == plain]
    return plain if len(same) == 1 else f"{plain}-{same.index(source) + 1}"


def _ending(picture: bytes) -> str:
    return next((ending for start, ending in _ENDINGS if picture.startswith(start)), "bin")
