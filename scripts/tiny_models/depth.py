"""Depth Anything V2 on a tiny DINOv2: one that tells metres, one that does not, one that says ten
metres everywhere, so that sizes can be worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

#: The preprocessing of the real ones (there 518), on a smaller picture.
SIDE = 56
MAX_DEPTH = 80
EVERYWHERE = 10.0
_PREPROCESSING = {
    "do_normalize": True,
    "do_pad": False,
    "do_rescale": True,
    "do_resize": True,
    "ensure_multiple_of": 14,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "DPTImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "keep_aspect_ratio": True,
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"height": SIDE, "width": SIDE},
    "size_divisor": None,
}


def _model(kind: str) -> Any:
    import torch
    import transformers

    backbone = transformers.Dinov2Config(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=70,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        initializer_range=0.3,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=24,
        neck_hidden_sizes=[8, 12, 16, 16],
        fusion_hidden_size=12,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=MAX_DEPTH if kind == "metric" else 1,
        initializer_range=0.15,
    )
    torch.manual_seed(5)
    return transformers.DepthAnythingForDepthEstimation(config)


def _save(folder: Path, model: Any) -> None:
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(_PREPROCESSING))


def metric(folder: Path) -> None:
    """The metric type, with metres that differ from place to place."""
    _save(folder, _model("metric"))


def relative(folder: Path) -> None:
    """The relative type, whose numbers are no metres."""
    _save(folder, _model("relative"))


def ten_metres(folder: Path) -> None:
    """The metric type with a last layer that says ten metres, whatever it sees."""
    import torch

    model = _model("metric")
    share = EVERYWHERE / MAX_DEPTH
    with torch.no_grad():
        model.head.conv3.weight.zero_()
        model.head.conv3.bias.fill_(math.log(share / (1.0 - share)))
    _save(folder, model)


MODELS = {
    "depth-anything-v2-metric": metric,
    "depth-anything-v2-relative": relative,
    "depth-anything-v2-ten-metres": ten_metres,
}
#: Depth is no expert of its own: a detector's section names it under `depth`.
#: The view that a camera of this field of view has makes the pictures' sizes known.
EXPERTS = {
    "d-fine-with-depth": (
        "d-fine",
        {
            "type": "transformers-detector",
            "threshold": 0.3,
            "depth": {"folder": "depth-anything-v2-ten-metres", "horizontal_degrees": 65},
        },
    )
}
