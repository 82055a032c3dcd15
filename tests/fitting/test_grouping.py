"""Queries of one scene stay together, whichever way the scene is recognised."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from natix_miner.cascade.trace import Answer, QueryTrace, Trace
from natix_miner.errors import FittingError
from natix_miner.fitting.grouping import NEAR_BITS, Kin, group_queries, groups_of
from natix_miner.stored import StoredQuery

DAY = 86_400.0


def scene(seed: int) -> Image.Image:
    """A picture with structure of its own."""
    noise = np.random.default_rng(seed).normal(size=(160, 240, 3))
    smooth = gaussian_filter(noise, (12, 12, 0))
    spread = (smooth - smooth.min()) / np.ptp(smooth)
    return Image.fromarray((spread * 255).astype(np.uint8))


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def query(number: int, picture: bytes | None = None, *, group="", name="", sha256="", day=0):
    received = 1_700_000_000.0 + day * DAY
    trace = Trace(
        query=QueryTrace(
            id=f"q{number}",
            sha256=sha256 or f"{number:064x}",
            source="axon",
            asked_by=None,
            received_at=received,
            bytes=1,
            deadline_ms=7000.0,
        ),
        picture=None,
        levels=(),
        answer=Answer(prediction=-1.0, reason="", level=None),
        stages_ms={},
        versions={},
    )
    return StoredQuery(
        id=f"q{number}",
        sha256=trace.query.sha256,
        received_at=received,
        prediction=-1.0,
        label=None,
        trace=trace,
        group=group,
        name=name,
        _picture=lambda: picture,
    )


def parts(groups: tuple[str, ...]) -> set[frozenset[int]]:
    return {frozenset(n for n, one in enumerate(groups) if one == group) for group in set(groups)}


def test_copies_of_a_picture_stay_together_and_others_apart():
    first, second = scene(1), scene(2)
    queries = [
        query(0, jpeg(first)),
        query(1, jpeg(first, quality=30)),
        query(2, jpeg(first.resize((480, 320)))),
        query(3, jpeg(first.point(lambda value: int(value * 0.8)))),
        query(4, jpeg(second)),
        query(5, jpeg(scene(3))),
    ]
    for by in ("auto", "hash"):
        found = parts(group_queries(queries, by))
        assert found == {frozenset({0, 1, 2, 3}), frozenset({4}), frozenset({5})}


def test_given_groups_draws_of_one_name_and_same_bytes_are_joined_and_that_is_passed_on():
    queries = [
        query(0, group="drive-1"),
        query(1, group="drive-1", name="a.jpg"),
        query(2, name="a.jpg"),  # another draw of the picture before
        query(3, sha256="ff" * 32),
        query(4, sha256="ff" * 32),
        query(5, group="drive-2"),
    ]
    expected = {frozenset({0, 1, 2}), frozenset({3, 4}), frozenset({5})}
    assert parts(group_queries(queries, "given")) == expected


def test_by_day_is_by_the_day_of_arrival_in_utc():
    # 1_700_000_000 is 22:13:20 UTC: two hours later it is the next day.
    queries = [query(0, day=0), query(1, day=0.05), query(2, day=2 / 24), query(3, day=5)]
    assert parts(group_queries(queries, "day")) == {
        frozenset({0, 1}),
        frozenset({2}),
        frozenset({3}),
    }


def test_who_has_neither_group_nor_picture_belongs_to_its_day_and_that_is_told():
    remarks: list[str] = []
    queries = [
        query(0, jpeg(scene(1)), day=0),
        query(1, day=0),
        query(2, day=0),
        query(3, day=1),
        query(4, group="drive", day=0),
    ]
    groups = group_queries(queries, "auto", remarks=remarks)
    assert parts(groups) == {frozenset({0}), frozenset({1, 2}), frozenset({3}), frozenset({4})}
    assert any("3 of 5 queries have neither" in one for one in remarks)


def test_one_large_group_is_told():
    remarks: list[str] = []
    group_queries([query(n, group="one") for n in range(5)], "given", remarks=remarks)
    assert any("one group holds 5 of 5" in one for one in remarks)


def test_flat_pictures_are_not_all_of_one_scene():
    flat = [jpeg(Image.new("RGB", (100, 80), (level,) * 3)) for level in (20, 90, 200)]
    assert len(set(group_queries([query(n, one) for n, one in enumerate(flat)], "hash"))) == 3


def test_what_is_no_picture_stands_alone():
    queries = [query(0, b"no picture"), query(1, jpeg(scene(1)))]
    assert len(set(group_queries(queries, "hash"))) == 2


@pytest.mark.parametrize(
    ("by", "word"),
    [("given", "not one query has a group"), ("hash", "not one picture"), ("moon", "not known")],
)
def test_a_way_that_cannot_be_gone_is_refused(by, word):
    with pytest.raises(FittingError, match=word):
        group_queries([query(0), query(1)], by)


def test_no_queries_make_no_groups():
    assert group_queries([]) == ()


def test_names_of_groups_do_not_depend_on_how_they_were_found():
    kin = [Kin("a", "", "1", "d"), Kin("b", "", "2", "d"), Kin("a", "", "3", "d")]
    assert groups_of(kin) == ("g0", "g1", "g0")


@given(
    st.lists(
        st.one_of(st.none(), st.integers(0, 5000), st.integers(2**64 - 90, 2**64 - 1)), max_size=60
    )
)
@settings(deadline=None)
def test_hashes_join_just_those_that_a_slow_comparison_joins(hashes):
    parent = list(range(len(hashes)))

    def root(one: int) -> int:
        return one if parent[one] == one else root(parent[one])

    for a, one in enumerate(hashes):
        for b, other in enumerate(hashes[:a]):
            if None not in (one, other) and bin(one ^ other).count("1") <= NEAR_BITS:
                parent[root(a)] = root(b)
    slowly = parts(tuple(str(root(n)) for n in range(len(hashes))))
    kin = [Kin("", "", str(n), "", one, looked=True) for n, one in enumerate(hashes)]
    assert parts(groups_of(kin, "hash")) == slowly


def test_ten_thousand_pictures_are_compared_in_a_few_seconds():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**64, 5000, dtype=np.uint64)
    near = base ^ (np.uint64(1) << rng.integers(0, 64, 5000).astype(np.uint64))
    hashes = [int(one) for one in np.concatenate([base, near])]
    started = time.perf_counter()
    kin = [Kin("", "", str(n), "", one, looked=True) for n, one in enumerate(hashes)]
    groups = groups_of(kin, "hash")
    assert time.perf_counter() - started < 10.0
    assert len(set(groups)) == 5000
    assert all(groups[n] == groups[n + 5000] for n in range(5000))
    assert NEAR_BITS < 16  # random hashes differ in 32 bits, hardly ever in fewer than 16
