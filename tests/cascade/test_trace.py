"""The trace against its published schema, by an independent validator."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from natix_miner.cascade.trace import Answer, Trace

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "trace.schema.json").read_text())


@pytest.fixture
def document() -> dict:
    return {
        "format": 1,
        "query": {
            "id": "0123456789abcdef",
            "sha256": "00" * 32,
            "source": "axon",
            "asked_by": None,
            "received_at": 1.7e9,
            "bytes": 12,
            "deadline_ms": 7000.0,
        },
        "picture": None,
        "levels": [
            {
                "name": "glance",
                "entered": True,
                "why": "always entered",
                "experts": [
                    {
                        "name": "network",
                        "status": "ok",
                        "probability": 0.9,
                        "calibrated": 0.8,
                        "log_odds": 1.39,
                        "weight": 0.5,
                        "ms": 2.5,
                        "detail": "",
                        "evidence": [
                            {
                                "what": "cone",
                                "score": 0.7,
                                "box": [1.0, 2.0, 3.0, 4.0],
                                "outline": [[1.0, 2.0], [3.0, 2.0], [2.0, 4.0]],
                            }
                        ],
                        "trust": 0.9,
                        "by": "fast",
                        "conditions": {"night": 0.25},
                        "reliability": 0.75,
                        "calls": [{"server": "fast", "after_ms": 0.5, "ms": 2.0, "outcome": "ok"}],
                    }
                ],
                "log_odds": 1.39,
                "probability": 0.8,
                "disagreement": 0.0,
                "ms": 2.6,
                "slowest": "network",
                "bias": -0.25,
            }
        ],
        "answer": {"prediction": 0.8, "reason": "all-levels", "level": "glance"},
        "stages_ms": {"waiting": 0.1, "decode": 0.5, "judge": 2.7, "total": 3.3},
        "versions": {"miner": "0.1.0"},
    }


def test_the_published_schema_is_that_of_the_code():
    assert Trace.model_json_schema(mode="serialization") == SCHEMA, (
        "write docs/trace.schema.json anew from Trace.model_json_schema(mode='serialization')"
    )


def test_a_trace_passes_the_schema_and_comes_back_whole(document):
    trace = Trace.model_validate(document)
    written = json.loads(trace.model_dump_json())
    jsonschema.validate(written, SCHEMA)
    assert written == document


@pytest.mark.parametrize("change", [{"answer": {"prediction": float("nan")}}, {"more": 1}])
def test_what_is_no_trace_is_refused(document, change):
    with pytest.raises(ValueError, match=r"answer|more"):
        Trace.model_validate({**document, **change})


def test_every_field_is_explained_in_the_document():
    named = set(re.findall(r"`([a-z0-9_]+)(?:\[\])?`", (DOCS / "trace.md").read_text()))
    fields = set(SCHEMA["properties"])
    for part in SCHEMA["$defs"].values():
        fields |= set(part["properties"])
    assert not fields - named - {"evidence", "experts", "levels"}


def test_the_line_for_the_terminal_names_answer_level_and_votes(document):
    line = Trace.model_validate(document).line()
    assert "p=0.8000" in line
    assert "glance" in line
    assert "network=0.900" in line
    silent = Answer(prediction=-1.0, reason="no-usable-opinion", level=None).model_dump()
    assert "no answer" in Trace.model_validate({**document, "answer": silent}).line()
