"""What people skipped, and which pictures were drawn at random: a small file beside the journal.

A skip is no label and must not touch what holds in the journal, so it is kept here. One JSON line
an event, only ever appended:

    {"at": 1700000000.0, "who": "ada", "sha256": "...", "did": "label", "drawn": true}

`did` is `label`, `skip` or `undo`; `drawn` tells whether the picture came from the random share.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.errors import JournalError

SUFFIX = ".labelling.jsonl"

Did = Literal["label", "skip", "undo"]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    at: float
    who: str
    sha256: str
    did: Did
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """The last thing that a person did with a picture, and whether it was drawn at random."""

    did: Did
    drawn: bool


class Notes:
    """The notes beside one journal, as far as one look into the file tells, and what is added."""

    def __init__(self, journal: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Raises JournalError when there is a file of notes that cannot be read."""
        self.path = journal.with_name(journal.name + SUFFIX)
        self._clock = clock
        self._notes: dict[tuple[str, str], Note] = {}
        self._cut = False
        for event in self._read():
            self._take(event)

    def of(self, who: str, sha256: str) -> Note | None:
        """What this person did last with this picture; None for nothing, or when it was undone."""
        return self._notes.get((who, sha256))

    def skipped(self, who: str) -> frozenset[str]:
        """The pictures that this person skipped."""
        return frozenset(
            sha256
            for (name, sha256), note in self._notes.items()
            if name == who and note.did == "skip"
        )

    def drawn(self) -> frozenset[tuple[str, str]]:
        """Person and picture of every label that was given to a picture drawn at random."""
        return frozenset(
            key for key, note in self._notes.items() if note.did == "label" and note.drawn
        )

    def add(self, who: str, sha256: str, did: Did, *, drawn: bool = False) -> None:
        """Write down one event. Raises JournalError when the file cannot be written."""
        event = _Event(at=self._clock.time(), who=who, sha256=sha256, did=did, drawn=drawn)
        line = ("\n" if self._cut else "") + json.dumps(event.model_dump()) + "\n"
        try:
            # One write of one line: of two processes that append, neither cuts the other's line.
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(handle, line.encode())
            finally:
                os.close(handle)
        except OSError as error:
            raise JournalError(f"the notes {self.path} cannot be written: {error}") from error
        self._cut = False
        self._take(event)

    def restore(self, who: str, sha256: str, former: Note | None) -> None:
        """Undo the last event: what held before it holds again."""
        if former is None:
            self.add(who, sha256, "undo")
        else:
            self.add(who, sha256, former.did, drawn=former.drawn)

    def _take(self, event: _Event) -> None:
        key = (event.who, event.sha256)
        if event.did == "undo":
            self._notes.pop(key, None)
        else:
            self._notes[key] = Note(event.did, event.drawn)

    def _read(self) -> list[_Event]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalError(f"the notes {self.path} cannot be read: {error}") from error
        self._cut = bool(content) and not content.endswith(b"\n")
        events = []
        for number, line in enumerate(content.split(b"\n"), 1):
            # A crash in the middle of writing leaves a line without its end: that event is lost.
            if not line.rstrip().endswith(b"}"):
                continue
            try:
                events.append(_Event.model_validate_json(line))
            except ValidationError as error:
                raise JournalError(
                    f"line {number} of the notes {self.path} is not understood "
                    f"({error.errors()[0]['msg']}): repair the line or take it out"
                ) from error
        return events
