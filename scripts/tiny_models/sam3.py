"""SAM 3, tiny, as saved on the hub: facebook/sam3 holds the video model with the detector in it."""

from __future__ import annotations

from pathlib import Path

from .open_vocabulary import clip_tokenizer

SIDE = 56


def _detector(words: int) -> dict:
    part = {
        "hidden_size": 32,
        "num_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "initializer_range": 0.2,
    }
    return {
        "model_type": "sam3",
        "vision_config": {
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": SIDE,
                "patch_size": 14,
                "window_size": 2,
                "global_attn_indexes": [1],
                "pretrain_image_size": 28,
                "initializer_range": 0.2,
            },
            "fpn_hidden_size": 32,
            "initializer_range": 0.2,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": words,
            "hidden_size": 16,
            "intermediate_size": 32,
            "projection_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "initializer_range": 0.3,
        },
        "geometry_encoder_config": part,
        "detr_encoder_config": part,
        "detr_decoder_config": {**part, "num_queries": 12},
        "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
        "initializer_range": 0.2,
    }


def _spread(model) -> None:
    """Boxes and masks apart from each other: fresh heads put them all in one place."""
    from torch.nn.init import normal_

    decoder, masks = model.detr_decoder, model.mask_decoder
    normal_(decoder.reference_points.weight, std=1.0)
    for head in (decoder.box_head, decoder.presence_head):
        normal_(head.layer2.weight, std=0.4)
        normal_(head.layer3.weight, std=0.2)
    normal_(masks.instance_projection.weight, std=0.5)
    for layer in masks.mask_embedder.layers:
        normal_(layer.weight, std=0.4)


def _tracker() -> dict:
    return {
        "model_type": "sam3_tracker_video",
        "vision_config": {**_detector(0)["vision_config"], "model_type": "sam3_vision_model"},
        "prompt_encoder_config": {"hidden_size": 32, "image_size": SIDE},
        "mask_decoder_config": {
            "hidden_size": 32,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
        "image_size": SIDE,
        "memory_attention_hidden_size": 32,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 32,
        "memory_encoder_hidden_size": 32,
        "memory_encoder_output_channels": 16,
        "mask_downsampler_embed_dim": 32,
        "memory_fuser_num_layers": 1,
        "memory_fuser_embed_dim": 32,
        "memory_fuser_intermediate_dim": 32,
    }


def sam3(folder: Path) -> None:
    """The format of facebook/sam3: configuration and weights of the video model."""
    import torch
    import transformers as tf

    torch.manual_seed(11)
    tokenizer = clip_tokenizer(32)
    config = tf.Sam3VideoConfig(
        detector_config=_detector(len(tokenizer)), tracker_config=_tracker()
    )
    model = tf.Sam3VideoModel(config)
    _spread(model.detector_model)
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    processor = tf.Sam3VideoProcessor(
        tf.Sam3ImageProcessor(size=size), tf.Sam2VideoVideoProcessor(size=size), tokenizer
    )
    processor.save_pretrained(folder)


def detector(folder: Path) -> None:
    """The detector alone, as save_pretrained() of Sam3Model writes it."""
    import torch
    import transformers as tf

    torch.manual_seed(11)
    tokenizer = clip_tokenizer(32)
    config = tf.Sam3Config(**_detector(len(tokenizer)))
    model = tf.Sam3Model(config)
    _spread(model)
    model.save_pretrained(folder)
    pictures = tf.Sam3ImageProcessor(size={"height": SIDE, "width": SIDE})
    tf.Sam3Processor(pictures, tokenizer).save_pretrained(folder)


def lite_text(folder: Path) -> None:
    """The format of the SAM 3 detectors with a light text encoder."""
    import torch
    import transformers as tf

    torch.manual_seed(11)
    tokenizer = clip_tokenizer(32)
    said = _detector(len(tokenizer))
    text = {**said["text_config"], "model_type": "sam3_lite_text_text_model"}
    text |= {"num_hidden_layers": 3, "layer_scale_init_value": 1.0}
    model = tf.Sam3LiteTextModel(
        tf.Sam3LiteTextConfig(**{**said, "model_type": "sam3_lite_text", "text_config": text})
    )
    _spread(model)
    model.save_pretrained(folder)
    pictures = tf.Sam3ImageProcessor(size={"height": SIDE, "width": SIDE})
    tf.Sam3Processor(pictures, tokenizer).save_pretrained(folder)


MODELS = {"sam3": sam3, "sam3-image": detector, "sam3-lite-text": lite_text}

#: Detector and segmenter are one model, loaded once.
EXPERTS = {
    "sam3-detector": ("sam3", {"type": "sam3", "view_size": 224, "threshold": 0.1}),
    "sam3-segmenter": (
        "sam3",
        {
            "type": "sam3",
            "view_size": 224,
            "threshold": 0.1,
            "masks": True,
            "phrases": {"construction machine": "machine", "construction fence": "fence"},
        },
    ),
}
