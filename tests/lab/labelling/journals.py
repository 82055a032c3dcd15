"""Journals for tests of labelling: real pictures, traces that say what a test wants."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from natix_miner.cascade.trace import (
    Answer,
    EvidenceTrace,
    ExpertTrace,
    LevelTrace,
    PictureTrace,
    QueryTrace,
    Trace,
)
from natix_miner.journal import Label, Row
from natix_miner.journal.connection import open_for_writing
from natix_miner.journal.rows import insert
from natix_miner.log_odds import logit

START = 1_700_000_000.0


def jpeg(number: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A small picture of its own for every number."""
    colours = np.random.default_rng(number).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(colours).resize(size, Image.Resampling.NEAREST).save(out, "JPEG")
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of a journal, as far as labelling looks at it."""

    number: int
    probability: float | None = 0.5
    disagreement: float = 0.0
    votes: Mapping[str, float | None] = field(default_factory=lambda: {"network": 0.5})
    novelty: float | None = None
    labels: tuple[Label, ...] = ()
    picture: bytes | None = None
    kept: bool = True
    error: str | None = None
    evidence: tuple[EvidenceTrace, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.number:032x}"

    @property
    def bytes(self) -> bytes:
        return jpeg(self.number) if self.picture is None else self.picture

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.bytes).hexdigest()

    def trace(self) -> Trace:
        experts = tuple(
            ExpertTrace(
                name=name,
                status="ok" if p is not None else "timed-out",
                probability=p,
                calibrated=p,
                log_odds=None if p is None else logit(p),
                weight=0.0 if p is None else 1.0,
                ms=3.0,
                detail="",
                evidence=self.evidence if place == 0 else (),
                conditions={}
                if self.novelty is None or place
                else {"novelty": self.novelty, "night": 0.1},
            )
            for place, (name, p) in enumerate(self.votes.items())
        )
        p = self.probability
        return Trace(
            query=QueryTrace(
                id=self.id,
                sha256=self.sha256,
                source="axon",
                asked_by="5Validator",
                received_at=START + self.number,
                bytes=len(self.bytes),
                deadline_ms=7000.0,
            ),
            picture=PictureTrace(
                format="JPEG",
                original_width=64,
                original_height=48,
                width=64,
                height=48,
                size_class="frame",
                padding_share=0.0,
                black_corner_share=0.0,
                tilt_degrees=0.0,
                brightness=0.5,
                sharpness=100.0,
                dark=False,
                blurred=False,
            ),
            levels=(
                LevelTrace(
                    name="first",
                    entered=True,
                    why="always entered",
                    experts=experts,
                    log_odds=None if p is None else logit(p),
                    probability=p,
                    disagreement=None if p is None else self.disagreement,
                    ms=4.0,
                ),
            ),
            answer=Answer(prediction=-1.0 if p is None else p, reason="all-levels", level="first"),
            stages_ms={"total": 5.0},
            versions={"miner": "0.1.0"},
        )

    def row(self) -> Row:
        p = self.probability
        return Row(
            id=self.id,
            sha256=self.sha256,
            picture_bytes=len(self.bytes),
            source="axon",
            asked_by="5Validator",
            received_at=START + self.number,
            prediction=-1.0 if p is None else p,
            reason="all-levels",
            level="first",
            late=False,
            error=self.error,
            total_ms=5.0,
            profile="embedded",
            miner="0.1.0",
            trace=self.trace().model_dump_json(),
            picture=self.bytes if self.kept else None,
            labels=self.labels,
        )


def make_journal(path: Path, asked: Iterable[Asked]) -> Path:
    """Write a journal as the miner does."""
    connection = open_for_writing(path)
    connection.execute("BEGIN")
    insert(connection, [one.row() for one in asked])
    connection.execute("COMMIT")
    connection.close()
    return path
