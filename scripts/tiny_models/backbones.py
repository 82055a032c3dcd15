"""Frozen backbones: DINOv3, DINOv2, SigLIP 2 and PE-Core of timm, each with a head beside it.

The head of a real one is fitted by scripts/fit_head.py; these are drawn at random, and say that
they belong to their backbone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_models.classifiers import (
    IMAGENET,
    PATCH,
    SIDE,
    TOWER,
    stirred,
    write_preprocessing,
)

HEAD = "head.safetensors"
WIDTH = TOWER["hidden_size"]


def make_dinov3(folder: Path) -> None:
    """As facebook/dinov3-vitl16-pretrain-lvd1689m: a class token, four registers, patches."""
    import transformers

    config = transformers.DINOv3ViTConfig(
        **TOWER, image_size=SIDE, patch_size=PATCH, num_register_tokens=4
    )
    stirred(transformers.DINOv3ViTModel(config), 21).save_pretrained(folder)
    write_preprocessing(
        folder,
        "DINOv3ViTImageProcessorFast",
        size={"height": SIDE, "width": SIDE},
        data_format="channels_first",
        **IMAGENET,
    )


def make_dinov2(folder: Path) -> None:
    """As facebook/dinov2-base."""
    import transformers

    config = transformers.Dinov2Config(
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=56,
        patch_size=14,
    )
    stirred(transformers.Dinov2Model(config), 22).save_pretrained(folder)
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
    """As google/siglip2-so400m-*: both towers in one file, of which the seeing one is taken."""
    import transformers

    config = transformers.SiglipConfig(
        text_config={**TOWER, "vocab_size": 32, "max_position_embeddings": 8},
        vision_config={**TOWER, "image_size": SIDE, "patch_size": PATCH},
    )
    stirred(transformers.SiglipModel(config), 23).save_pretrained(folder)
    write_preprocessing(folder, "SiglipImageProcessor", size={"height": SIDE, "width": SIDE})


def make_pe_core(folder: Path) -> None:
    """As timm/vit_pe_core_large_patch14_336.fb: attention pooling at the end."""
    import timm

    arguments = {"embed_dim": WIDTH, "depth": 2, "num_heads": 2, "img_size": SIDE}
    model = timm.create_model("vit_pe_core_tiny_patch16_384", num_classes=8, **arguments)
    timm.models.save_for_hf(
        stirred(model, 24), folder, model_args=arguments, safe_serialization=True
    )


def with_head(make: Callable[[Path], None], feature: str) -> Callable[[Path], None]:
    """A maker of the same backbone with a head of this feature in its folder."""

    def made(folder: Path) -> None:
        make(folder)
        random_head(folder, feature, seed=31).save(folder / HEAD)

    return made


def random_head(folder: Path, feature: str, seed: int, heads: int = 2) -> Any:
    """A head for the backbone saved in `folder`, drawn at random."""
    import numpy as np

    from natix_miner.experts.family import Surroundings
    from natix_miner.experts.weights.backbone import Backbone
    from natix_miner.experts.weights.head import Head
    from natix_miner.experts.weights.settings import ModelSettings

    settings = ModelSettings(type="backbone-head", folder=folder)
    backbone = Backbone.load(folder.name, settings, Surroundings(Path()), feature)
    width = backbone.dimension
    rng = np.random.default_rng(seed)
    seen = backbone.of(list(rng.integers(0, 256, (6, 48, 48, 3), dtype=np.uint8)))
    seen = seen.reshape(-1, width)
    attentive = feature == "tokens"
    rows = heads if attentive else 1
    head = Head(
        kind="attentive" if attentive else "linear",
        feature=feature,
        backbone=backbone.digest,
        mean=seen.mean(0),
        std=seen.std(0) + 0.1,
        weight=(rng.normal(0, 1, (1, rows * width)) / np.sqrt(width)).astype(np.float32),
        bias=np.zeros(1, np.float32),
        query=rng.normal(0, 2, (heads, width)).astype(np.float32) if attentive else None,
    )
    backbone.close()
    return head


MODELS = {
    "dinov3-backbone": with_head(make_dinov3, "tokens"),
    "dinov2-backbone": with_head(make_dinov2, "cls"),
    "siglip-2-backbone": with_head(make_siglip_2, "pooler"),
    "pe-core-backbone": with_head(make_pe_core, "pooler"),
}
EXPERTS = {
    name: (name, {"type": "backbone-head", "folder": "{model}", "head": f"{{model}}/{HEAD}"})
    for name in MODELS
}
