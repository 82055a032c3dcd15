"""Depth Anything 3 in its metric form (DA3METRIC-LARGE), through its own package.

Written against depth_anything_3 0.1.1 as published. Its README: metres = focal * output / 300, with
the focal length in pixels, the mean of fx and fy. The pixels are those of the picture as the
network sees it (`apply_metric_scaling` in its utils/alignment.py takes the intrinsics at that
scale), not those of the file.

The package pins numpy below 2, which the rest of this miner does not run with: it needs a virtual
environment of its own, made by whoever wants it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.depth.model import DepthMap, DepthModel
from natix_miner.experts.weights.locating import Place
from natix_miner.experts.weights.placement import Placement, digest_of, loading, refuse_made_up
from natix_miner.experts.weights.settings import ModelSettings
from natix_miner.images.frame import Pixels

#: Focal length in pixels for which the network's output is metres.
FOR_FOCAL = 300.0
#: Presets of the package whose output is meant so; its other networks tell relative depth, or
#: metres already.
METRIC = frozenset({"da3metric-large"})


class DepthAnythingV3(DepthModel):
    """`depth_anything_3.api.DepthAnything3`, which scales, batches and picks its number format by
    itself."""

    def __init__(self, model: Any, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(digest_of(model), clock)
        self._model = model

    @classmethod
    def load(
        cls, name: str, weights: ModelSettings, place: Place, clock: Clock = SYSTEM_CLOCK
    ) -> DepthAnythingV3:
        """Raises MissingExtraError without the package; ModelError: not there, torn, not metric."""
        # Else it tells the time of every step on standard output.
        os.environ.setdefault("DA3_LOG_LEVEL", "WARN")
        try:
            from depth_anything_3.api import DepthAnything3
        except ImportError as error:
            raise MissingExtraError(
                f"expert {name!r}: Depth Anything 3 needs its own package ({error}). It wants "
                "numpy<2 and does not go with this miner's other packages: make a virtual "
                "environment of its own with `pip install xformers depth_anything_3`, or take "
                "`loader: depth-anything-v2`, which 'natix-miner[detectors]' brings"
            ) from error
        placement = Placement.of(weights)
        where = place.location
        which: dict[str, Any] = (
            {"local_files_only": True} if place.local else {"revision": place.revision}
        )
        model = loading(
            name,
            "Depth Anything 3",
            where,
            lambda: DepthAnything3.from_pretrained(where, **which),
        )
        if model.model_name not in METRIC:
            raise ModelError(
                f"expert {name!r}: {where} is {model.model_name!r}, whose output is not made "
                f"metres by the focal length; take one of {', '.join(sorted(METRIC))}"
            )
        if place.local:
            # The package takes a file that lacks weights as it is, and draws those at random.
            made_up = set(model.state_dict()) - _names_in(Path(where))
            refuse_made_up(name, "a depth model", where, made_up)
        return cls(model.to(placement.device).eval(), clock)

    def look_at(self, pixels: Pixels) -> DepthMap:
        said = self._model.inference([np.ascontiguousarray(pixels)])
        values = np.array(said.depth[0], np.float32)
        if said.sky is not None:
            values[np.asarray(said.sky[0], bool)] = np.nan
        return DepthMap(values, for_focal=FOR_FOCAL)


def _names_in(folder: Path) -> set[str]:
    """The weights that a saved model has."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return set(file.keys())
