"""Depth Anything V2, fine-tuned for metres, through transformers.

Its authors say that the metric models give metres as they are ("HxW depth map in meters",
metric_depth/README.md of DepthAnything/Depth-Anything-V2) and take no camera: the one for streets
was trained on Virtual KITTI 2, up to 80 m. A camera whose field of view is much wider or narrower
than KITTI's makes them too far or too near; the flat top of the size factor is for that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.errors import ModelError
from natix_miner.experts.depth.model import DepthMap, DepthModel
from natix_miner.experts.weights.locating import Place
from natix_miner.experts.weights.placement import Placement, digest_of, loading, refuse_made_up
from natix_miner.experts.weights.settings import ModelSettings
from natix_miner.images.frame import Pixels
from natix_miner.torch_stack import torch_stack

#: Share of the greatest depth a network can tell beyond which it says "far away" only.
REACH = 0.95


class DepthAnythingV2(DepthModel):
    """`DepthAnythingForDepthEstimation` of the metric type."""

    def __init__(
        self, model: Any, processor: Any, placement: Placement, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        super().__init__(digest_of(model), clock)
        self._reach = REACH * float(model.config.max_depth)
        self._processor = processor
        self._placement = placement
        self._model = placement.put(model)

    @classmethod
    def load(
        cls, name: str, weights: ModelSettings, place: Place, clock: Clock = SYSTEM_CLOCK
    ) -> DepthAnythingV2:
        """Raises ModelError: not there, torn, another architecture, or one without metres."""
        stack = torch_stack(name)
        placement = Placement.of(weights)
        auto, where = stack.transformers, place.location
        config = loading(
            name,
            "a depth model",
            where,
            lambda: auto.AutoConfig.from_pretrained(where, **place.arguments()),
        )
        _refuse_without_metres(name, config, where)
        processor, (model, told) = loading(
            name,
            "a depth model",
            where,
            lambda: (
                auto.AutoImageProcessor.from_pretrained(where, backend="pil", **place.arguments()),
                auto.AutoModelForDepthEstimation.from_pretrained(
                    where,
                    dtype=placement.dtype,
                    use_safetensors=True,
                    output_loading_info=True,
                    **place.arguments(),
                ),
            ),
        )
        refuse_made_up(name, "a depth model", where, told["missing_keys"])
        return cls(model, processor, placement, clock)

    def look_at(self, pixels: Pixels) -> DepthMap:
        batch = self._processor(images=[np.ascontiguousarray(pixels)], return_tensors="pt")
        with self._placement.running():
            said = self._model(**self._placement.send(dict(batch))).predicted_depth
            values = said[0].float().cpu().numpy()
        return DepthMap(values, reach=self._reach)


def _refuse_without_metres(name: str, config: Any, where: str) -> None:
    if config.model_type != "depth_anything":
        raise ModelError(
            f"expert {name!r}: {where} is a {config.model_type!r} model; `depth` wants Depth "
            "Anything V2 in its metric form (Depth-Anything-V2-Metric-Outdoor-*-hf)"
        )
    if config.depth_estimation_type != "metric" or not (config.max_depth or 0) > 1:
        raise ModelError(
            f"expert {name!r}: {where} tells relative depth (depth_estimation_type "
            f"{config.depth_estimation_type!r}, max_depth {config.max_depth}), which are no "
            "metres; take a metric model (Depth-Anything-V2-Metric-Outdoor-*-hf)"
        )
