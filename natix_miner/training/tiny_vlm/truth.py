"""What a drawn scene says about the four questions: for the picture, and for every patch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from natix_miner.scenes import ROADWORK_KINDS, Scene
from natix_miner.training.samples import ENOUGH_WORK
from natix_miner.training.tiny_vlm.architecture import PATCH
from natix_miner.training.tiny_vlm.questions import KINDS, NAMES

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
UNKNOWN = -1.0
UNSURE = 128  # in a map of kinds: something that says nothing
CODES = {kind: code for code, name in enumerate(KINDS, 1) for kind in KINDS[name]}
OTHER = len(KINDS) + 1  # roadwork that none of the narrower questions asks for


def kind_map(scene: Scene) -> Pixels:
    """What each pixel shows: 0 nothing, 128 unsure, else the code of the question it answers.

    The boxes of the drawing overlap; where two kinds do, the nearer one is taken.
    """
    kinds = np.zeros(scene.mask.shape, np.uint8)
    for kind, (left, top, right, low) in scene.objects:
        if kind in ROADWORK_KINDS:
            kinds[top:low, left:right] = CODES.get(kind, OTHER)
    work = scene.mask == 255
    kinds[work & (kinds == 0)] = OTHER
    kinds[~work] = 0
    kinds[scene.mask == UNSURE] = UNSURE
    return kinds


def truth_of(kinds: Pixels) -> Floats:
    """The answers to the four questions: 1, 0, or -1 where too little of it can be seen."""
    counts = np.bincount(kinds.ravel(), minlength=256)
    seen = [int(counts[1 : OTHER + 1].sum()), *(int(counts[code]) for code in range(1, OTHER))]
    return np.array(
        [0.0 if count == 0 else 1.0 if count >= ENOUGH_WORK else UNKNOWN for count in seen],
        np.float32,
    )


def patch_truth(kinds: Pixels) -> Floats:
    """The same for every patch of 16 x 16 pixels: yes where a tenth shows it, no where none."""
    rows, columns = kinds.shape[0] // PATCH, kinds.shape[1] // PATCH
    blocks = kinds.reshape(rows, PATCH, columns, PATCH).transpose(0, 2, 1, 3)
    cells = blocks.reshape(rows, columns, -1)
    made = np.zeros((rows, columns, len(NAMES)), np.float32)
    unsure = (cells == UNSURE).any(-1)
    for column in range(len(NAMES)):
        found = (cells > 0) & (cells <= OTHER) if column == 0 else cells == column
        share = found.mean(-1)
        made[..., column] = np.where(share >= 0.1, 1.0, np.where(share > 0, UNKNOWN, 0.0))
        made[..., column][unsure & (share < 0.1)] = UNKNOWN
    return made
