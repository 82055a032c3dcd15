"""Florence-2, tiny, as saved in florence-community/Florence-2-large."""

from __future__ import annotations

from pathlib import Path

SIDE = 64


def florence_tokenizer():
    """BART's byte pairs without a merge, the 1000 places and the other tokens of Florence-2."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import BartTokenizer

    names = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    tokenizer = BartTokenizer(
        vocab={name: number for number, name in enumerate(names)},
        merges=[],
        extra_special_tokens={"image_token": "<image>"},
    )
    marks = ("od", "ocr", "cap", "ncap", "dcap", "poly", "grounding", "region_to_segmentation")
    added = ["<sep>", *(f"<{end}{mark}>" for mark in marks for end in ("", "/"))]
    tokenizer.add_tokens([*(f"<loc_{place}>" for place in range(1000)), *added])
    return tokenizer


def florence(folder: Path) -> None:
    """Writes words and places at random, each about as likely."""
    import torch
    import transformers as tf

    torch.manual_seed(4)
    tokenizer = florence_tokenizer()
    config = tf.Florence2Config(
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "max_position_embeddings": 256,
            "init_std": 0.3,
        },
        vision_config={
            "embed_dim": (8, 16, 16, 16),
            "num_heads": (1, 2, 2, 2),
            "num_groups": (1, 2, 2, 2),
            "depths": (1, 1, 1, 1),
            "window_size": 2,
            "projection_dim": 16,
            "initializer_range": 0.3,
        },
        image_token_id=tokenizer.image_token_id,
    )
    model = tf.Florence2ForConditionalGeneration(config)
    model.generation_config = tf.GenerationConfig(
        bos_token_id=0,
        decoder_start_token_id=2,
        eos_token_id=2,
        forced_bos_token_id=0,
        forced_eos_token_id=2,
        num_beams=3,
        early_stopping=True,
        no_repeat_ngram_size=3,
        pad_token_id=1,
    )
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    pictures = tf.CLIPImageProcessor(size=size, crop_size=size, do_center_crop=False)
    pictures.image_seq_length = (SIDE // 32) ** 2 + 1
    tf.Florence2Processor(
        pictures,
        tokenizer,
        post_processor_config={
            "ocr": {"AREA_THRESHOLD": 0.0},
            "phrase_grounding": {"banned_grounding_tokens": ["it", "they", "the image"]},
            "pure_text": {},
            "description_with_bboxes": {},
            "description_with_polygons": {},
            "polygons": {},
            "bboxes": {},
            "description_with_bboxes_or_polygons": {},
        },
    ).save_pretrained(folder)


MODELS = {"florence": florence}

EXPERTS = {
    "florence": (
        "florence",
        {"type": "florence", "view_size": 224, "max_new_tokens": 24, "threshold": 0.01},
    ),
}
