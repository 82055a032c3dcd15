"""Detections with a label: what the rule for boxes is fitted on."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from natix_miner.atomic import write_whole
from natix_miner.errors import QuerySourceError
from natix_miner.experts.detection.rule import Found


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture: its label (1 roadwork, 0 none) and what a detector found in it. Pictures of one
    `group` (a clip, a drive) are never fitted on and measured on at once."""

    label: int
    objects: tuple[Found, ...]
    group: str = ""


def read_samples(path: Path) -> list[Sample]:
    """Samples of a JSON-lines file, `{"label": 1, "group": "clip-3", "objects": [{"kind": "cone",
    "score": 0.8, "area": 0.01, "bottom": 0.7}]}`; `group` may be left out, an object may have
    `plausible`.

    Raises QuerySourceError naming the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise QuerySourceError(f"samples cannot be read from {path}: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_sample(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise QuerySourceError(f"{path}, line {number}: no sample ({error!r})") from error
    return found


def write_samples(samples: Sequence[Sample], path: Path) -> None:
    """The same, the other way round."""
    write_whole(path, "".join(_line(sample) + "\n" for sample in samples))


def digest_of_samples(samples: Sequence[Sample]) -> str:
    """Short digest of samples, whatever their order."""
    lines = "\n".join(sorted(_line(sample) for sample in samples))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _line(sample: Sample) -> str:
    return json.dumps(asdict(sample), sort_keys=True)


def _sample(said: dict[str, Any]) -> Sample:
    objects = tuple(
        Found(
            kind=str(one["kind"]),
            score=_share(one, "score"),
            area=_share(one, "area"),
            bottom=_share(one, "bottom"),
            plausible=_share({"plausible": 1.0, **one}, "plausible"),
        )
        for one in said["objects"]
    )
    if said["label"] not in (0, 1):
        raise ValueError(f"a label is 1 (roadwork) or 0 (none), not {said['label']!r}")
    return Sample(int(said["label"]), objects, str(said.get("group", "")))


def _share(said: dict[str, Any], key: str) -> float:
    value = float(said[key])
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{key} is {value}, which is not within 0 and 1")
    return value


def shown(samples: Sequence[Sample]) -> Counter[str]:
    """In how many pictures each class was found."""
    return Counter(kind for s in samples for kind in {found.kind for found in s.objects})


def folds_of(samples: Sequence[Sample], folds: int) -> list[int]:
    """The fold of each sample, by its group (without one: by its content), and never by chance."""
    groups = [sample.group or _line(sample) for sample in samples]
    order = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).digest())
    number = {group: index % folds for index, group in enumerate(order)}
    return [number[group] for group in groups]
