"""Which queries must stay together when data are divided: one scene must not teach and test.

Queries belong together when they were given the same group (drive, clip), are draws of one named
picture, have the same bytes, or look alike by perceptual hash; a query of a journal that has
neither a group nor a picture to look at belongs to its day. Belonging is passed on: the groups are
the connected parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import FittingError, MissingExtraError, PictureError
from natix_miner.stored import StoredQuery

GroupBy = Literal["auto", "given", "hash", "day"]
#: Hashes that differ in at most so many of 64 bits are of one scene. Copies of one picture differ
#: in 0 to 6 (`natix_miner.experts.memory.hashes`); unrelated pictures in some 32.
NEAR_BITS = 6
#: Hashes compared with all others at a time.
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Kin:
    """By what one query finds those that it belongs to; `hash` None: not looked at, or flat."""

    group: str
    name: str
    sha256: str
    day: str
    hash: int | None = None
    looked: bool = False


def checked(by: str) -> GroupBy:
    """The way of grouping by its name; raises FittingError for another word."""
    for known in get_args(GroupBy):
        if by == known:
            return known
    raise FittingError(f"group by {by!r} is not known; say one of {', '.join(get_args(GroupBy))}")


class KinReader:
    """Makes the kin of queries one after the other, hashing each picture once."""

    def __init__(self, by: GroupBy) -> None:
        self._hash_of = _hasher(required=by == "hash") if by in ("auto", "hash") else None
        self._hashes: dict[str, tuple[int | None, bool]] = {}
        #: True when pictures were to be hashed and ImageHash is not installed.
        self.cannot_hash = by == "auto" and self._hash_of is None

    def kin_of(self, query: StoredQuery) -> Kin:
        """By what this query is grouped; reads its picture where hashes are wanted."""
        found: tuple[int | None, bool] = (None, False)
        if self._hash_of is not None:
            if query.sha256 not in self._hashes:
                self._hashes[query.sha256] = self._looked(query)
            found = self._hashes[query.sha256]
        day = datetime.fromtimestamp(query.received_at, UTC).strftime("%Y-%m-%d")
        return Kin(query.group, query.name, query.sha256, day, *found)

    def _looked(self, query: StoredQuery) -> tuple[int | None, bool]:
        assert self._hash_of is not None
        picture = query.picture()
        if picture is None:
            return None, False
        try:
            return self._hash_of(picture), True
        except PictureError:
            return None, False


def group_queries(
    queries: Iterable[StoredQuery], by: str = "auto", *, remarks: list[str] | None = None
) -> tuple[str, ...]:
    """The group of each query; raises FittingError, see `groups_of`."""
    reader = KinReader(checked(by))
    kin = [reader.kin_of(query) for query in queries]
    return groups_of(kin, checked(by), cannot_hash=reader.cannot_hash, remarks=remarks)


def groups_of(
    kin: Sequence[Kin],
    by: GroupBy = "auto",
    *,
    cannot_hash: bool = False,
    remarks: list[str] | None = None,
) -> tuple[str, ...]:
    """The name of the group of each query: that of its first member, so that names are stable.

    `auto` joins by all there is, `given` by the group the source tells (who has none stands with
    his own draws), `hash` by pictures that look alike, `day` by the day of arrival (UTC). The same
    bytes always stay together. What should be known is appended to `remarks`.

    Raises FittingError when nobody has a group (`given`) or not one picture is there (`hash`).
    """
    told = remarks if remarks is not None else []
    if not kin:
        return ()
    if by == "given" and not any(one.group for one in kin):
        raise FittingError(
            "not one query has a group of its own (a column `group` in the CSV that was scored): "
            "group by auto, hash or day"
        )
    if by == "hash" and not any(one.looked for one in kin):
        raise FittingError("not one picture is there to be hashed: group by auto, given or day")
    unseen = [one for one in kin if not one.looked and not one.group]
    by_day = [one for one in unseen if not one.name]
    if by == "auto" and cannot_hash:
        told.append("pictures that look alike were not looked for: ImageHash is not installed")
    if by == "auto" and by_day:
        told.append(
            f"{len(by_day)} of {len(kin)} queries have neither a group nor a picture to look at: "
            "they are grouped by day"
        )
    if by == "auto" and len(unseen) > len(by_day) and not cannot_hash:
        told.append(
            f"{len(unseen) - len(by_day)} of {len(kin)} pictures are not there any more: those "
            "that look alike may be in different groups"
        )
    if by == "hash" and (blind := sum(not one.looked for one in kin)):
        told.append(f"{blind} of {len(kin)} pictures are not there and could not be hashed")
    ways: list[Callable[[Kin], str]] = [lambda one: one.sha256]
    if by == "day":
        ways.append(lambda one: one.day)
    if by in ("auto", "given", "hash"):
        ways.append(lambda one: one.name)
    if by in ("auto", "given"):
        ways.append(lambda one: one.group)
    if by == "auto":
        ways.append(lambda one: "" if one.group or one.looked or one.name else one.day)
    edges = [edge for way in ways for edge in _same([way(one) for one in kin])]
    if by in ("auto", "hash"):
        edges.extend(near_pairs([one.hash for one in kin]))
    groups = _connected(len(kin), edges)
    largest = Counter(groups).most_common(1)[0][1]
    if len(kin) > 1 and largest > len(kin) / 2:
        told.append(
            f"one group holds {largest} of {len(kin)} queries: what is measured on the others says "
            "little"
        )
    return groups


def near_pairs(hashes: Sequence[int | None], limit: int = NEAR_BITS) -> list[tuple[int, int]]:
    """Pairs of places that join all hashes of at most `limit` differing bits; None joins nobody."""
    places = [place for place, value in enumerate(hashes) if value is not None]
    if not places:
        return []
    found = np.array([hashes[place] for place in places], np.uint64)
    unique, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    pairs = [(places[first[one]], places[at]) for at, one in enumerate(inverse) if first[one] != at]
    for start in range(0, len(unique), _BLOCK):
        block = unique[start : start + _BLOCK, None]
        later = unique[None, start:]
        rows, columns = np.nonzero(_bits(block ^ later) <= limit)
        above = columns > rows
        pairs.extend(
            (places[first[start + row]], places[first[start + column]])
            for row, column in zip(rows[above], columns[above], strict=True)
        )
    return pairs


def _bits(differing: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return np.asarray(np.bitwise_count(differing), np.uint8)


def _same(values: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs that join the places of one value; the empty one joins nobody."""
    first: dict[str, int] = {}
    return [
        (first[value], place)
        for place, value in enumerate(values)
        if value and first.setdefault(value, place) != place
    ]


def _connected(count: int, edges: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(edges, np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), (count, count))
    _, parts = connected_components(graph, directed=False)
    _, first = np.unique(parts, return_index=True)
    return tuple(f"g{first[part]}" for part in parts)


def _hasher(*, required: bool) -> Callable[[bytes], int | None] | None:
    """From encoded bytes to the hash of the upright picture; None where ImageHash is missing."""
    from natix_miner.experts.memory.features import SIDE, proper
    from natix_miner.experts.memory.hashes import hash_of, require_hashes
    from natix_miner.images.decode import decode_picture
    from natix_miner.sections import PictureLimits

    try:
        require_hashes()
    except MissingExtraError:
        if required:
            raise
        return None
    limits = PictureLimits(
        formats=("JPEG", "PNG", "WEBP"), decode_longer_side=SIDE, max_megapixels=100.0
    )
    return lambda picture: hash_of(proper(decode_picture(picture, limits)))
