"""Which real pictures are never trained on."""

from __future__ import annotations

import numpy as np

from natix_miner.training.samples import HELD_GROUPS, Picture, held_out


def picture(group: str, fold: str) -> Picture:
    return Picture(np.zeros((4, 4, 3), np.uint8), False, group, fold)


def test_the_fold_and_the_held_drives_are_left_out_of_training():
    pictures = [picture("a", "0"), picture("b", "1"), picture(HELD_GROUPS[0], ""), picture("c", "")]
    taught, held = held_out(pictures, "1")
    assert [p.group for p in taught] == ["a", "c"]
    assert [p.group for p in held] == ["b", HELD_GROUPS[0]]


def test_without_a_fold_everything_is_taught():
    pictures = [picture("a", ""), picture(HELD_GROUPS[1], "")]
    assert held_out(pictures, "") == (pictures, [])
