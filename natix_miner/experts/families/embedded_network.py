"""The embedded network: a small convolutional net that scores patches, on ONNX Runtime (or
OpenVINO).

Needs neither torch nor transformers. How it was trained and what it can do: models/README.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import NonNegativeInt

from natix_miner.errors import ModelError
from natix_miner.experts.family import Family, Surroundings
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.experts.looking import LookingSettings, cut_views
from natix_miner.experts.opinion import Evidence, Look
from natix_miner.experts.weights.onnx_files import OnnxRuntimeName, RunOnnx, open_onnx
from natix_miner.images import Frame, View
from natix_miner.images.network_input import LONG_SIDE, network_input
from natix_miner.log_odds import expit


class EmbeddedNetworkSettings(LookingSettings):
    """`model` is the ONNX file; of the views of a frame the most alarming one (`combine: max`) or
    the average log-odds (`mean`) counts; `runtime` openvino needs the extra detectors; `threads` 0
    takes all cores."""

    type: Literal["embedded-network"] = "embedded-network"
    model: Path
    combine: Literal["max", "mean"] = "mean"
    runtime: OnnxRuntimeName = "onnxruntime"
    threads: NonNegativeInt = 1


class EmbeddedNetwork(InProcessExpert):
    """One opinion a frame from the network's logit on each view."""

    def __init__(
        self, name: str, settings: EmbeddedNetworkSettings, surroundings: Surroundings
    ) -> None:
        super().__init__(name, settings.batch_limits())
        self._settings = settings
        self._path = surroundings.folder / settings.model
        self._network: RunOnnx | None = None

    def load(self) -> None:
        if not self._path.is_file():
            raise ModelError(
                f"no network at {self._path}: give `model` of expert {self.name!r} an ONNX file "
                "(scripts/train_embedded.py makes one)"
            )
        network, names = open_onnx(self._path, self._settings.runtime, self._settings.threads)
        if not {"logit", "patch_logits"} <= names:
            raise ModelError(
                f"{self._path} has outputs {sorted(names)}; an embedded network has "
                "'logit' and 'patch_logits' (scripts/train_embedded.py writes them)"
            )
        self._network = network
        self.version = hashlib.sha256(self._path.read_bytes()).hexdigest()[:16]
        self._run([np.zeros((3, 224, 224), np.uint8)])

    def views(self, frame: Frame) -> list[View]:
        return cut_views(frame, self._settings, LONG_SIDE)

    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        views = [(index, view) for index, frame in enumerate(frames) for view in self.views(frame)]
        outputs = self._run([network_input(view.pixels) for _, view in views])
        by_frame: list[list[tuple[float, Evidence]]] = [[] for _ in frames]
        for (index, view), (logit, patches) in zip(views, outputs, strict=True):
            by_frame[index].append((logit, _strongest_patch(view, patches)))
        return [self._combine(seen) for seen in by_frame]

    def _combine(self, seen: list[tuple[float, Evidence]]) -> Look:
        logits = [logit for logit, _ in seen]
        pooled = max(logits) if self._settings.combine == "max" else sum(logits) / len(logits)
        strongest = max(seen, key=lambda pair: pair[0])[1]
        return Look(probability=expit(pooled), evidence=(strongest,))

    def _run(self, inputs: list[np.ndarray]) -> list[tuple[float, np.ndarray]]:
        """The (logit, patch logits) of each input; inputs of one size share a forward pass."""
        if self._network is None:
            raise ModelError(f"expert {self.name!r} was asked before it was loaded")
        outputs: list[tuple[float, np.ndarray]] = [(0.0, np.empty((0, 0)))] * len(inputs)
        order = sorted(range(len(inputs)), key=lambda index: inputs[index].shape)
        for _, group in groupby(order, key=lambda index: inputs[index].shape):
            chosen = list(group)
            found = self._network(np.stack([inputs[index] for index in chosen]))
            for index, logit, patch in zip(
                chosen, found["logit"], found["patch_logits"], strict=True
            ):
                outputs[index] = (float(logit), patch)
        return outputs


def _strongest_patch(view: View, patches: np.ndarray) -> Evidence:
    """The patch with the highest logit, as a box in the decoded frame."""
    rows, columns = patches.shape
    row, column = divmod(int(patches.argmax()), columns)
    height, width = view.pixels.shape[:2]
    wide, high = width / columns, height / rows
    in_view = np.array([[column * wide, row * high, (column + 1) * wide, (row + 1) * high]])
    left, top, right, bottom = (float(side) for side in view.placed_boxes(in_view)[0])
    return Evidence(
        what=f"patch of {view.name}",
        score=expit(float(patches[row, column])),
        box=(left, top, right, bottom),
    )


FAMILY = Family(type="embedded-network", settings=EmbeddedNetworkSettings, build=EmbeddedNetwork)
