"""The embedded network as a teacher: where a real picture shows the roadwork its label claims."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from natix_miner.training.export import load_weights
from natix_miner.training.network import STRIDE
from natix_miner.training.tiny_vlm.architecture import PATCH


class Teacher:
    """Gives each patch of 16 x 16 pixels the probability of roadwork that the network sees."""

    def __init__(self, weights: Path) -> None:
        """`weights`: the safetensors of `models/embedded`."""
        self._network = load_weights(weights)

    def patches(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """RGB uint8 (H, W, 3), sides multiples of 16, to float32 (H / 16, W / 16) in [0, 1]."""
        height, width = pixels.shape[:2]
        large = cv2.resize(pixels, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
        shown = torch.from_numpy(np.ascontiguousarray(large.transpose(2, 0, 1)))[None]
        with torch.inference_mode():
            logits = self._network(shown)[1][0].numpy()
        rows, columns, step = height // PATCH, width // PATCH, 2 * PATCH // STRIDE
        cells = logits.reshape(rows, step, columns, step).max((1, 3))
        return np.asarray(1 / (1 + np.exp(-np.clip(cells, -30, 30))), np.float32)
