"""Conditions of the frame: measured without a model, and by a tiny classifier of the weather."""

from __future__ import annotations

import json
from pathlib import Path

LABELS = ("cloudy/overcast", "fog/smog", "rain/storm", "snow/frosty", "sun/clear")
SIDE = 64


def make_weather(folder: Path) -> None:
    """A SigLIP classifier with five kinds of weather, as published ones are laid out."""
    import torch
    import transformers

    torch.manual_seed(21)
    config = transformers.SiglipConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 16,
        },
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    model = transformers.SiglipForImageClassification(config)
    for weights in model.parameters():
        if weights.ndim >= 2:
            # Random weights of the usual size give every picture the same answer.
            torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder)
    preprocessing = {
        "image_processor_type": "SiglipImageProcessor",
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": SIDE, "width": SIDE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2))


MODELS = {"weather": make_weather}
EXPERTS: dict[str, tuple[str | None, dict[str, object]]] = {
    "conditions": (None, {"type": "conditions"})
}
