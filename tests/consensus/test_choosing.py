"""Which weight set is used: the rules one by one, and that there is always one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.consensus import Pool, choose_pool


def pools(*names):
    return tuple(Pool(weights=dict.fromkeys(name, 1.0)) for name in names)


@pytest.mark.parametrize(
    ("sets", "present", "asked", "chosen"),
    [
        # Just the voters, before just those asked.
        (["abc", "ab"], "ab", "abc", "ab"),
        # Nobody knows just the voters: just those asked, before a set that is nearer.
        (["abcd", "abc", "a"], "ab", "abcd", "abcd"),
        # Neither: most of the voters, then fewest others.
        (["abcde", "abcd", "c"], "ab", "abf", "abcd"),
        (["a", "b", "cd"], "cd", "abcd", "cd"),
        # The first of equals.
        (["ax", "ay"], "a", "ab", "ax"),
        # Names that no set has are left out: tellers of conditions, newcomers.
        (["abc", "ab"], "ab" + "z", "abc", "ab"),
        (["abc", "a"], "ab", "abc" + "z", "abc"),
    ],
)
def test_rules(sets, present, asked, chosen):
    found = choose_pool(pools(*sets), frozenset(present), frozenset(asked))
    assert "".join(sorted(found.weights)) == chosen


names = st.sets(st.sampled_from("abcde"))


@given(
    sets=st.lists(names, min_size=1, max_size=5),
    voters=names.filter(bool),
    lost=names,
)
def test_there_is_always_one_and_none_covers_more_unless_the_exact_one_is_there(sets, voters, lost):
    made = pools(*sets)
    found = choose_pool(made, frozenset(voters), frozenset(voters | lost))
    covered = len(found.weights.keys() & voters)
    known = set().union(*sets)
    exact = [s for s in sets if s in (voters & known, (voters | lost) & known)]
    if exact:
        assert set(found.weights) in exact
    else:
        assert covered == max(len(s & voters) for s in sets)
