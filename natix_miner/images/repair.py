"""Mending pictures for experts that were trained on better ones: contrast and darkness.

Validators darken and flatten pictures (docs/front-end.md measures whether mending helps).
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from natix_miner.images.frame import Pixels

Repair = Literal["contrast", "darkness"]

#: Mean luma that a dark picture is brought to, and above which nothing is done.
WANTED_LUMA = 0.42
#: Never brighter than by this gamma: below it noise is all that is left.
LOWEST_GAMMA = 0.4
#: Shares of the luma that count as black and as white when contrast is stretched.
LOW_SHARE, HIGH_SHARE = 0.5, 99.5
#: A stretch by more than this only makes noise.
MOST_STRETCH = 2.5
#: Luma at or below this is black border (padding, corners), which says nothing of the picture.
BORDER_LUMA = 3


def repaired(pixels: Pixels, step: Repair) -> Pixels:
    """The picture (h, w, 3) mended by one step; a good one comes back as it is.

    `contrast` stretches the luma so that 99 % of it spans the range, colours with it; `darkness`
    raises a dark picture by a gamma towards a mean luma of 0.42.
    """
    luma = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    proper = luma[luma > BORDER_LUMA]
    if not proper.size:
        return pixels
    table = _stretch(proper) if step == "contrast" else _brighten(proper)
    if table is None:
        return pixels
    return np.asarray(cv2.LUT(pixels, table), np.uint8)


def _stretch(luma: Pixels) -> Pixels | None:
    low, high = np.percentile(luma, (LOW_SHARE, HIGH_SHARE))
    factor = min(MOST_STRETCH, 255.0 / max(1.0, float(high - low)))
    if factor < 1.05:
        return None
    values = (np.arange(256) - float(low)) * factor
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _brighten(luma: Pixels) -> Pixels | None:
    mean = float(luma.mean()) / 255.0
    if mean >= WANTED_LUMA:
        return None
    gamma = max(LOWEST_GAMMA, float(np.log(WANTED_LUMA) / np.log(max(mean, 1e-3))))
    return np.rint(255.0 * (np.arange(256) / 255.0) ** gamma).astype(np.uint8)
