"""Opinions as arrays: what every fit is made from, whatever the queries came out of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
UNLABELLED = -1


@dataclass(frozen=True, slots=True)
class Votes:
    """Opinions of m experts on n queries.

    `levels` names each level and its experts, in the order of the cascade; `experts` (m) are all of
    them in that order. Arrays of shape (n, m): `probability` as the expert said it, in [0, 1], NaN
    where there is no usable vote; `asked` whether its level was entered (a vote that is missing was
    asked for); `trust` in [0, 1], the factor of the weight in that query; `ms` the time taken, NaN
    where unknown. Of shape (n,): `label` 1, 0 or UNLABELLED, `prediction` as answered then (-1 no
    answer, NaN unknown), `total_ms` from arrival to verdict (NaN unknown), `received_at` unix
    seconds. `conditions` maps a name to values (n,) in [0, 1] (0 where nobody told). `groups` name
    what must stay together when the queries are divided. `left_out` counts the queries of
    the source that are not here, by reason; `remarks` are sentences on what was odd in it.
    """

    ids: tuple[str, ...]
    levels: tuple[tuple[str, tuple[str, ...]], ...]
    probability: Floats
    asked: NDArray[np.bool_]
    trust: Floats
    ms: Floats
    label: NDArray[np.int8]
    groups: tuple[str, ...]
    size_class: tuple[str | None, ...]
    conditions: Mapping[str, Floats]
    generation: tuple[str, ...]
    prediction: Floats
    total_ms: Floats
    received_at: Floats
    left_out: Mapping[str, int]
    remarks: tuple[str, ...] = ()

    @property
    def experts(self) -> tuple[str, ...]:
        """All experts in the order of levels."""
        return tuple(name for _, names in self.levels for name in names)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int_] | NDArray[np.bool_]) -> Votes:
        """Some of the queries, in the order of `rows` (places, or a mask); places may repeat."""
        places = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        changed: dict[str, object] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, np.ndarray):
                changed[one.name] = value[places]
            elif one.name in ("ids", "groups", "size_class", "generation"):
                changed[one.name] = tuple(value[place] for place in places)
        changed["conditions"] = {name: value[places] for name, value in self.conditions.items()}
        return replace(self, **changed)  # type: ignore[arg-type]

    def labelled(self) -> Votes:
        """The queries with a label."""
        return self.take(self.label != UNLABELLED)
