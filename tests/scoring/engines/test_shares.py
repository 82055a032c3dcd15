"""Work is handed out once, block by block, and what kills is found."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natix_miner.errors import QuerySourceError
from natix_miner.journal.connection import make_journal
from natix_miner.scoring import ScoreSettings, open_source
from natix_miner.scoring.engines.shares import MOST_DEATHS, Place, Shares, places
from natix_miner.scoring.runner import ordered


def blocks(*sizes: int) -> list[list[Place]]:
    found, position = [], 0
    for size in sizes:
        found.append([Place(n, 0, n, f"q{n}") for n in range(position, position + size)])
        position += size
    return found


def test_a_worker_stays_in_its_block_while_there_are_others():
    shares = Shares(blocks(4, 4, 4))
    first, second = shares.next_for(1, 2), shares.next_for(2, 2)
    assert [place.position for place in first + second] == [0, 1, 4, 5]
    assert [place.position for place in shares.next_for(1, 3)] == [2, 3]
    assert [place.position for place in shares.next_for(1, 3)] == [8, 9, 10]


def test_who_has_nothing_left_takes_from_the_end_of_the_longest():
    shares = Shares(blocks(10))
    assert [place.position for place in shares.next_for(1, 2)] == [0, 1]
    assert [place.position for place in shares.next_for(2, 3)] == [7, 8, 9]
    assert [place.position for place in shares.next_for(1, 8)] == [2, 3, 4, 5, 6]
    assert shares.next_for(2, 3) == shares.next_for(1, 3) == []


def test_empty_blocks_do_not_end_the_work():
    shares = Shares([[], [], *blocks(1), []])
    assert len(shares.next_for(1, 8)) == 1


def test_what_a_dead_worker_had_comes_back_alone_and_is_given_up_the_second_time():
    shares = Shares(blocks(6))
    in_hand = shares.next_for(1, 4)
    assert shares.died(1, in_hand) == []
    assert shares.suspected
    alone = shares.suspect()
    assert alone == in_hand[0]
    assert shares.died(2, [alone]) == [alone]
    assert [shares.suspect() for _ in range(4)] == [*in_hand[1:], None]
    assert [place.position for place in shares.next_for(3, 8)] == [4, 5]


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), max_size=6),
    turns=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5), st.booleans()), max_size=80),
)
def test_every_query_is_judged_or_given_up_exactly_once(sizes, turns):
    made = blocks(*sizes)
    shares = Shares(made)
    done: list[Place] = []

    def turn(worker: int, most: int, dies: bool) -> bool:
        suspect = shares.suspect()
        some = [suspect] if suspect else shares.next_for(worker, most)
        done.extend(shares.died(worker, some) if dies else some)
        return bool(some)

    for worker, most, dies in turns:
        turn(worker, most, dies)
    while turn(0, 3, False):
        pass
    assert MOST_DEATHS == 2
    assert sorted(done, key=lambda place: place.position) == [one for part in made for one in part]


@pytest.mark.parametrize("keep_order", [True, False])
@pytest.mark.parametrize("limit", [None, 5, 16, 99])
def test_places_are_the_order_of_a_run_in_process(picture_folder, keep_order, limit):
    asked = ScoreSettings(seed=4, repeats=2, limit=limit, keep_order=keep_order)
    source = open_source(picture_folder)
    wanted = [(p, r, s.index, s.name) for r in (0, 1) for p, s in enumerate(ordered(source, asked))]
    found = [one for block in places(source, asked) for one in block]
    assert [(one.position, one.repeat, one.index, one.name) for one in found] == wanted


def test_a_journal_has_to_be_exported_first(tmp_path):
    make_journal(tmp_path / "journal.sqlite3")
    with pytest.raises(QuerySourceError, match="journal export"):
        list(places(open_source(tmp_path / "journal.sqlite3"), ScoreSettings()))
