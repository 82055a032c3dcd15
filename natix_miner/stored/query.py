"""A query that was judged before: what was said of it, by whom, and what was true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from natix_miner.cascade.trace import Trace


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """One judged query of a journal, its export or a scored folder.

    `trace` is the whole story, opinions included, so that nothing has to be judged again; `label`
    is 1, 0 or None, `labels` what each source said (source, label), the newest of each; `group`
    names what must stay together when data are divided (drive, clip), empty where nobody said;
    `generation` the kind of validator picture that it was made into, empty for real ones;
    `total_ms` from arrival to verdict; `prediction` the answer in [0, 1] or -1.
    """

    id: str
    sha256: str
    received_at: float
    prediction: float
    label: int | None
    trace: Trace
    group: str = ""
    generation: str = ""
    labels: tuple[tuple[str, int], ...] = ()
    name: str = ""
    total_ms: float | None = None
    _picture: Callable[[], bytes | None] | None = field(default=None, repr=False, compare=False)

    def picture(self) -> bytes | None:
        """The encoded picture, read now; None when it was not kept."""
        return self._picture() if self._picture else None
