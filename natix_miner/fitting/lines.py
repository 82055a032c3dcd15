"""Votes from JSON lines, so that anything that can print can be fitted (`docs/consensus.md`)."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from natix_miner.errors import FittingError
from natix_miner.fitting.votes import UNLABELLED, Votes

LEVEL_WITHOUT_HEADER = "all"

_Model = TypeVar("_Model", bound=BaseModel)
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Levels = tuple[tuple[str, tuple[str, ...]], ...]


class _Header(BaseModel):
    """The first line, where there is one: levels in order, each with its experts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: Annotated[Levels, Field(min_length=1)]

    @field_validator("levels")
    @classmethod
    def _each_once(cls, levels: Levels) -> Levels:
        names = [name for _, experts in levels for name in experts]
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ValueError(f"experts sit in more than one level: {twice}")
        if not names:
            raise ValueError("no level has an expert")
        return levels


class _Row(BaseModel):
    """One query. An expert that is absent from `opinions` was not asked, null is a missing vote."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Annotated[str, Field(min_length=1)]
    opinions: dict[str, float | None]
    label: Annotated[int | None, Field(ge=0, le=1)] = None
    group: str = ""
    sha256: str = ""
    trust: dict[str, Share] = Field(default_factory=dict)
    ms: dict[str, Annotated[float, Field(ge=0.0, allow_inf_nan=False)]] = Field(
        default_factory=dict
    )
    size_class: str | None = None
    conditions: dict[str, Share] = Field(default_factory=dict)
    generation: str = ""
    received_at: float = math.nan
    prediction: float = math.nan
    total_ms: float = math.nan

    @property
    def picture(self) -> str:
        """What a label is about: the picture by its digest, or the query itself."""
        return self.sha256 or self.id


def votes_from_lines(lines: Iterable[str | bytes]) -> Votes:
    """Votes of JSON lines: a header with the levels (or none: one level), then a query a line.

    Opinions that are not finite or outside [0, 1] count as missing votes. Exact duplicates are kept
    once; queries whose picture has both labels are left out; `left_out` counts both. A query
    without `group` is one of its own. Raises FittingError naming the line that is wrong, or when
    there is no query at all.
    """
    levels: Levels | None = None
    rows: list[_Row] = []
    seen: set[str | bytes] = set()
    repeated = 0
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        if text in seen:
            repeated += 1
            continue
        value = _parsed(text, number)
        if not rows and levels is None and "levels" in value:
            levels = _checked(_Header, value, number).levels
            continue
        seen.add(text)
        row = _checked(_Row, value, number)
        _check_known(row, levels, number)
        rows.append(row)
    if not rows:
        raise FittingError("no votes: not one line with a query came in")
    return _votes(rows, levels or _one_level(rows), repeated)


def _parsed(text: str | bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise FittingError(f"line {number} of the votes is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise FittingError(
            f"line {number} of the votes is a {type(value).__name__}, not an object such as "
            '{"id": "q1", "label": 1, "opinions": {"expert": 0.9}}'
        )
    return value


def _checked(model: type[_Model], value: dict[str, Any], number: int) -> _Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise FittingError(
            f"line {number} of the votes: {place}: {first['msg']} (given: {first['input']!r:.80})"
        ) from None


def _check_known(row: _Row, levels: Levels | None, number: int) -> None:
    known = {name for _, names in levels or () for name in names} if levels else row.opinions
    unknown = sorted((set(row.opinions) | set(row.trust) | set(row.ms)) - set(known))
    if unknown:
        where = "levels of the header" if levels else "opinions of this line"
        raise FittingError(f"line {number} of the votes names {unknown}, not among the {where}")


def _one_level(rows: Iterable[_Row]) -> Levels:
    names = dict.fromkeys(name for row in rows for name in row.opinions)
    if not names:
        raise FittingError("no votes: not one query names an expert under `opinions`")
    return ((LEVEL_WITHOUT_HEADER, tuple(names)),)


def _votes(rows: list[_Row], levels: Levels, repeated: int) -> Votes:
    said: dict[str, set[int]] = {}
    for row in rows:
        if row.label is not None:
            said.setdefault(row.picture, set()).add(row.label)
    kept = [row for row in rows if len(said.get(row.picture, ())) < 2]
    conflicting = len(rows) - len(kept)
    if not kept:
        raise FittingError(f"all {conflicting} queries have conflicting labels; nothing is left")
    experts = tuple(name for _, names in levels for name in names)
    shape = (len(kept), len(experts))
    place = {name: column for column, name in enumerate(experts)}
    probability, ms = np.full(shape, np.nan), np.full(shape, np.nan)
    asked, trust = np.zeros(shape, bool), np.ones(shape)
    names = sorted({name for row in kept for name in row.conditions})
    conditions = {name: np.zeros(len(kept)) for name in names}
    unusable: Counter[str] = Counter()
    for at, row in enumerate(kept):
        for name, opinion in row.opinions.items():
            asked[at, place[name]] = True
            if opinion is None:
                continue
            if 0.0 <= opinion <= 1.0:
                probability[at, place[name]] = opinion
            else:
                unusable[name] += 1
        for name, value in row.trust.items():
            trust[at, place[name]] = value
        for name, value in row.ms.items():
            ms[at, place[name]] = value
        for name, value in row.conditions.items():
            conditions[name][at] = value
    return Votes(
        ids=tuple(row.id for row in kept),
        levels=levels,
        probability=probability,
        asked=asked,
        trust=trust,
        ms=ms,
        label=np.array([UNLABELLED if r.label is None else r.label for r in kept], np.int8),
        groups=tuple(row.group or row.picture for row in kept),
        size_class=tuple(row.size_class for row in kept),
        conditions=conditions,
        generation=tuple(row.generation for row in kept),
        prediction=np.array([row.prediction for row in kept]),
        total_ms=np.array([row.total_ms for row in kept]),
        received_at=np.array([row.received_at for row in kept]),
        left_out={
            reason: count
            for reason, count in (("duplicates", repeated), ("conflicting labels", conflicting))
            if count
        },
        remarks=_remarks(unusable),
    )


def _remarks(unusable: Counter[str]) -> tuple[str, ...]:
    if not unusable:
        return ()
    which = ", ".join(f"{name} {count}" for name, count in sorted(unusable.items()))
    return (
        f"{unusable.total()} opinions are no probability in [0, 1] and count as missing: {which}",
    )
