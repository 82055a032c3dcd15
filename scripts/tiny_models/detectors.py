"""Detectors of the transformers family: RT-DETRv2, D-FINE, RF-DETR and DEIMv2, and the older
classes that the same code serves.

Labels are those of the data set that the real weights know: COCO for RT-DETRv2 and DEIMv2,
Objects365 (which has traffic cones) for D-FINE, the ROADWork classes for RF-DETR, as one trained
on that data set would have them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

COCO = ("person", "bicycle", "car", "truck", "traffic light", "stop sign")
OBJECTS365 = ("Person", "Traffic cone", "Barrel/bucket", "Machinery Vehicle", "Truck", "Dog")
ROADWORK = ("Cone", "Fence", "Drum", "Barricade", "TTC Sign", "Worker", "Work Vehicle")

#: The preprocessing of the real ones, on a smaller picture.
SIDE = 128
_CENTRED = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def _labels(names: Sequence[str]) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
    }


def _stirred(model: Any, seed: int) -> Any:
    """Weights that say something: a fresh detector sees next to nothing, and all boxes alike.

    Weights spread by the number of inputs, so that signals neither die nor blow up; the classes'
    biases low, so that few scores are high.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)

    def draw(tensor: Any, spread: float) -> None:
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread)

    with torch.no_grad():
        for name, part in model.named_parameters():
            classes = "class" in name or "score_head" in name
            if name.endswith("bias"):
                if classes:
                    part.fill_(-3.0)
                elif "sampling_offsets" not in name:
                    draw(part, 0.05)
            elif part.dim() >= 2:
                queries = any(word in name for word in ("quer", "refpoint", "tokens", "position"))
                inputs = 1.0 if queries else part.numel() / part.shape[0]
                draw(part, (3.0 if classes else 1.5) / math.sqrt(inputs))
            elif name.endswith("weight"):
                part.fill_(1.0)  # norms: these classes begin with them near zero
    return model


def _save(folder: Path, model: Any, processor: Any, seed: int = 3) -> None:
    _stirred(model, seed).save_pretrained(folder)
    processor.save_pretrained(folder)


def _decoder(labels: Sequence[str]) -> dict[str, Any]:
    """What RT-DETRv2, D-FINE and DEIMv2 have in common, small."""
    return {
        "encoder_hidden_dim": 32,
        "encoder_in_channels": [16, 24, 32],
        "encoder_ffn_dim": 32,
        "encoder_attention_heads": 4,
        "hidden_expansion": 0.5,
        "d_model": 32,
        "num_queries": 20,
        "decoder_in_channels": [32, 32, 32],
        "decoder_ffn_dim": 32,
        "decoder_layers": 2,
        "decoder_attention_heads": 4,
        "num_denoising": 0,
        **_labels(labels),
    }


def _square() -> Any:
    from transformers import RTDetrImageProcessor

    return RTDetrImageProcessor(size={"height": SIDE, "width": SIDE})


def _resnet() -> dict[str, Any]:
    return {
        "model_type": "rt_detr_resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_indices": [2, 3, 4],
    }


def _hgnet() -> dict[str, Any]:
    return {
        "model_type": "hgnet_v2",
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "stem_channels": [3, 8, 8],
        "stage_in_channels": [8, 8, 16, 24],
        "stage_mid_channels": [4, 4, 8, 8],
        "stage_out_channels": [8, 16, 24, 32],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_numb_of_layers": [1, 1, 1, 1],
        "out_indices": [2, 3, 4],
    }


def rt_detr_v2(folder: Path, labels: Sequence[str] = COCO) -> None:
    """RT-DETRv2 with the classes of COCO."""
    import transformers

    config = transformers.RTDetrV2Config(backbone_config=_resnet(), **_decoder(labels))
    _save(folder, transformers.RTDetrV2ForObjectDetection(config), _square())


def rt_detr(folder: Path) -> None:
    """RT-DETR, the first of the line."""
    import transformers

    config = transformers.RTDetrConfig(backbone_config=_resnet(), **_decoder(OBJECTS365))
    _save(folder, transformers.RTDetrForObjectDetection(config), _square())


def d_fine(folder: Path, labels: Sequence[str] = OBJECTS365) -> None:
    """D-FINE with classes of Objects365."""
    import transformers

    config = transformers.DFineConfig(backbone_config=_hgnet(), depth_mult=0.34, **_decoder(labels))
    _save(folder, transformers.DFineForObjectDetection(config), _square())


def deimv2(folder: Path) -> None:
    """DEIMv2 on its smaller kind of backbone, with the classes of COCO."""
    import transformers

    config = transformers.Deimv2Config(backbone_config=_hgnet(), depth_mult=0.34, **_decoder(COCO))
    _save(folder, transformers.Deimv2ForObjectDetection(config), _square())


def rf_detr(folder: Path) -> None:
    """RF-DETR with the classes of ROADWork."""
    import transformers

    config = transformers.RfDetrConfig(
        backbone_config={
            "model_type": "rf_detr_dinov2",
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "mlp_ratio": 2,
            "image_size": SIDE,
            "patch_size": 16,
            "num_windows": 2,
            "out_indices": [2, 3],
        },
        c2f_num_blocks=1,
        d_model=32,
        decoder_ffn_dim=32,
        decoder_layers=2,
        decoder_self_attention_heads=4,
        decoder_cross_attention_heads=4,
        decoder_n_points=2,
        num_queries=20,
        group_detr=2,
        intermediate_size=32,
        **_labels(ROADWORK),
    )
    processor = transformers.RfDetrImageProcessor(size={"height": SIDE, "width": SIDE}, **_CENTRED)
    _save(folder, transformers.RfDetrForObjectDetection(config), processor)


def yolos(folder: Path) -> None:
    """YOLOS: keeps the aspect, has a class for nothing."""
    import transformers

    config = transformers.YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        image_size=[SIDE, SIDE],
        num_detection_tokens=20,
        use_mid_position_embeddings=False,
        **_labels(OBJECTS365),
    )
    processor = transformers.YolosImageProcessor(
        size={"shortest_edge": 96, "longest_edge": 160}, **_CENTRED
    )
    _save(folder, transformers.YolosForObjectDetection(config), processor)


def detr(folder: Path) -> None:
    """DETR: keeps the aspect, has a class for nothing."""
    import transformers

    config = transformers.DetrConfig(
        backbone_config={
            "model_type": "resnet",
            "embedding_size": 8,
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "layer_type": "basic",
            "out_features": ["stage4"],
        },
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=20,
        **_labels(OBJECTS365),
    )
    processor = transformers.DetrImageProcessor(
        size={"shortest_edge": 96, "longest_edge": 160}, **_CENTRED
    )
    _save(folder, transformers.DetrForObjectDetection(config), processor)


def lw_detr(folder: Path) -> None:
    """LW-DETR."""
    import transformers

    config = transformers.LwDetrConfig(
        backbone_config={
            "model_type": "lw_detr_vit",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "mlp_ratio": 2,
            "image_size": SIDE,
            "pretrain_image_size": SIDE,
            "num_windows": 4,
            "window_block_indices": [0],
            "out_indices": [1, 2],
        },
        projector_scale_factors=[1.0],
        c2f_num_blocks=1,
        d_model=32,
        decoder_ffn_dim=32,
        decoder_layers=2,
        decoder_self_attention_heads=4,
        decoder_cross_attention_heads=4,
        num_queries=20,
        group_detr=2,
        **_labels(OBJECTS365),
    )
    processor = transformers.DeformableDetrImageProcessor(
        size={"height": SIDE, "width": SIDE}, do_pad=False, **_CENTRED
    )
    _save(folder, transformers.LwDetrForObjectDetection(config), processor)


MODELS = {
    "rt-detr-v2": rt_detr_v2,
    "d-fine": d_fine,
    "rf-detr": rf_detr,
    "deimv2": deimv2,
    "rt-detr": rt_detr,
    "lw-detr": lw_detr,
    "detr": detr,
    "yolos": yolos,
    "detector-unknown-labels": partial(d_fine, labels=tuple(f"LABEL_{n}" for n in range(6))),
}

EXPERTS = {
    name: (name, {"type": "transformers-detector", "threshold": 0.3})
    for name in ("rt-detr-v2", "d-fine", "rf-detr", "deimv2")
}
