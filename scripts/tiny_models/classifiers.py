"""Image classifiers: ViT as the official baseline is saved, DINOv2, SigLIP 2 (fixed size with
labels that do not exclude each other, any size), ConvNeXt V2, and a ViT of timm."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

SIDE, PATCH = 64, 16
LABELS: dict[str, Any] = {
    "id2label": {0: "None", 1: "Roadwork"},
    "label2id": {"None": 0, "Roadwork": 1},
}
TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def stirred(model: Any, seed: int) -> Any:
    """Weights by which pictures differ: spread by the number of inputs, so that signals neither die
    nor blow up; biases 0, scales as they are made."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, part in model.named_parameters():
            if part.dim() >= 2:
                alone = any(word in name for word in ("token", "position", "pos_embed", "grn"))
                inputs = 4.0 if alone else part.numel() / part.shape[0]
                part.copy_(torch.randn(part.shape, generator=generator) * 1.6 / math.sqrt(inputs))
            elif name.endswith("bias"):
                part.zero_()
    return model.eval()


def write_preprocessing(folder: Path, processor: str, **values: Any) -> None:
    """preprocessor_config.json for a class of transformers."""
    common = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": processor,
        "image_std": [0.5, 0.5, 0.5],
        "rescale_factor": 1 / 255,
        "resample": 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps({**common, **values}, indent=2))


def make_vit(folder: Path) -> None:
    """As natix-network-org/roadwork: a picture is squeezed into 224 x 224."""
    import transformers

    config = transformers.ViTConfig(**TOWER, **LABELS)
    stirred(transformers.ViTForImageClassification(config), 1).save_pretrained(folder)
    write_preprocessing(folder, "ViTImageProcessor", size={"height": 224, "width": 224})


def make_dinov2(folder: Path) -> None:
    """As DINOv2 fine-tuned with registers: shorter side to size, centre cropped."""
    import transformers

    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=56,
        patch_size=14,
        **LABELS,
    )
    stirred(transformers.Dinov2WithRegistersForImageClassification(config), 2).save_pretrained(
        folder
    )
    write_preprocessing(
        folder,
        "BitImageProcessor",
        size={"shortest_edge": 64},
        crop_size={"height": 56, "width": 56},
        do_center_crop=True,
        do_convert_rgb=True,
        resample=3,
        **IMAGENET,
    )


def make_siglip_2(folder: Path) -> None:
    """A fine-tuned SigLIP 2 of fixed size with labels that do not exclude each other."""
    import transformers

    names = ("cones", "barriers", "rain")
    config = transformers.SiglipConfig(
        vision_config={**TOWER, "image_size": SIDE, "patch_size": PATCH},
        problem_type="multi_label_classification",
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    stirred(transformers.SiglipForImageClassification(config), 3).save_pretrained(folder)
    write_preprocessing(folder, "SiglipImageProcessor", size={"height": SIDE, "width": SIDE})


def make_siglip_2_naflex(folder: Path) -> None:
    """A fine-tuned SigLIP 2 NaFlex: the picture keeps its shape, up to 16 patches."""
    import transformers

    config = transformers.Siglip2Config(
        vision_config={**TOWER, "num_patches": 16, "patch_size": PATCH}, **LABELS
    )
    stirred(transformers.Siglip2ForImageClassification(config), 4).save_pretrained(folder)
    write_preprocessing(folder, "Siglip2ImageProcessor", max_num_patches=16, patch_size=PATCH)


def make_convnext_v2(folder: Path) -> None:
    """A fine-tuned ConvNeXt V2."""
    import transformers

    config = transformers.ConvNextV2Config(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], image_size=SIDE, **LABELS
    )
    stirred(transformers.ConvNextV2ForImageClassification(config), 5).save_pretrained(folder)
    write_preprocessing(
        folder,
        "ConvNextImageProcessor",
        size={"shortest_edge": SIDE},
        crop_pct=0.875,
        resample=3,
        **IMAGENET,
    )


def make_timm(folder: Path) -> None:
    """A ViT as timm itself saves it for the hub, with names for its classes."""
    import timm

    arguments = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": SIDE}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=2, **arguments)
    timm.models.save_for_hf(
        stirred(model, 6),
        folder,
        model_config={"label_names": ["None", "Roadwork"]},
        model_args=arguments,
        safe_serialization=True,
    )


MODELS = {
    "vit-classifier": make_vit,
    "dinov2-classifier": make_dinov2,
    "siglip-2-classifier": make_siglip_2,
    "siglip-2-naflex-classifier": make_siglip_2_naflex,
    "convnext-v2-classifier": make_convnext_v2,
    "timm-classifier": make_timm,
}
EXPERTS = {
    name: (
        name,
        {"type": "image-classifier"}
        | ({"positive": ["cones", "barriers"]} if name == "siglip-2-classifier" else {}),
    )
    for name in MODELS
}
