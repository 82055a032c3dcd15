"""Tiny image-text models: CLIP, MetaCLIP 2, SigLIP 2 at a fixed size and at any size (NaFlex).

Each is laid out as the repositories of its family are: weights, preprocessing and a tokenizer of
the family's own kind, whose words are those of a few sentences about streets.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SENTENCES = (
    "a photo of orange traffic cones and barrels on a road",
    "a photo of an open road without any construction",
    "road workers in high visibility vests beside an excavator",
    "a street with parked cars, trees and houses in ordinary traffic",
    "a picture of a temporary lane closure with barriers and warning signs",
)
WIDTH = 32
SIDE = 64
PATCH = 16
TEXT_LENGTH = 64
WORDS = 320
#: Towers of random weights differ more between pictures with larger weights than usual.
SPREAD = 0.4
TOWER: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def make_clip(folder: Path) -> None:
    """As openai/clip-vit-base-patch16: BPE in lower case, shortest side brought to size, centre
    cropped."""
    import transformers

    torch = _seeded(11)
    tokenizer = _clip_words()
    config = transformers.CLIPConfig(
        text_config={
            **TOWER,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 77,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**TOWER, "image_size": SIDE, "patch_size": PATCH},
        projection_dim=WIDTH,
    )
    _save(folder, transformers.CLIPModel(config), tokenizer, torch)
    _write_clip_preprocessing(folder)


def make_metaclip_2(folder: Path) -> None:
    """As facebook/metaclip-2-*: the tokenizer of XLM-RoBERTa, which knows capital letters."""
    import transformers

    torch = _seeded(12)
    tokenizer = _xlm_words()
    config = transformers.MetaClip2Config(
        text_config={
            **TOWER,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 77,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**TOWER, "image_size": SIDE, "patch_size": PATCH},
        projection_dim=WIDTH,
    )
    _save(folder, transformers.MetaClip2Model(config), tokenizer, torch)
    _write_clip_preprocessing(folder)


def make_siglip_2(folder: Path) -> None:
    """As google/siglip2-base-patch16-224: SigLIP's class with Gemma's words and no mask."""
    import transformers

    torch = _seeded(13)
    tokenizer = _gemma_words()
    config = transformers.SiglipConfig(
        text_config=_siglip_text(len(tokenizer)),
        vision_config={**TOWER, "image_size": SIDE, "patch_size": PATCH},
    )
    _save(folder, transformers.SiglipModel(config), tokenizer, torch)
    _write_preprocessing(
        folder,
        image_processor_type="SiglipImageProcessor",
        size={"height": SIDE, "width": SIDE},
        resample=2,
    )


def make_siglip_2_naflex(folder: Path) -> None:
    """As google/siglip2-base-patch16-naflex: the picture keeps its shape, up to 16 patches."""
    import transformers

    torch = _seeded(14)
    tokenizer = _gemma_words()
    config = transformers.Siglip2Config(
        text_config=_siglip_text(len(tokenizer)),
        vision_config={**TOWER, "num_patches": 16, "patch_size": PATCH},
    )
    _save(folder, transformers.Siglip2Model(config), tokenizer, torch)
    _write_preprocessing(
        folder,
        image_processor_type="Siglip2ImageProcessor",
        max_num_patches=16,
        patch_size=PATCH,
        resample=2,
    )


def _seeded(seed: int) -> Any:
    import torch

    torch.manual_seed(seed)
    return torch


def _siglip_text(words: int) -> dict[str, Any]:
    return {
        **TOWER,
        "vocab_size": words,
        "max_position_embeddings": TEXT_LENGTH,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
    }


def _save(folder: Path, model: Any, tokenizer: Any, torch: Any) -> None:
    for name, weights in model.named_parameters():
        if weights.ndim >= 2:
            torch.nn.init.normal_(weights, std=SPREAD / (1.0 if "embedding" in name else 2.0))
    if hasattr(model, "logit_bias"):
        # SigLIP learns a scale of about 112 and a bias of about -16.6; milder here.
        torch.nn.init.constant_(model.logit_scale, 2.3)
        torch.nn.init.constant_(model.logit_bias, -3.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _write_clip_preprocessing(folder: Path) -> None:
    _write_preprocessing(
        folder,
        image_processor_type="CLIPImageProcessor",
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        do_center_crop=True,
        do_convert_rgb=True,
        image_mean=[0.48145466, 0.4578275, 0.40821073],
        image_std=[0.26862954, 0.26130258, 0.27577711],
        resample=3,
    )


def _write_preprocessing(folder: Path, **values: Any) -> None:
    common = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "rescale_factor": 1 / 255,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps({**common, **values}, indent=2))


def _trained(tokenizer: Any, trainer: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges learnt from the sentences by the pipeline of `tokenizer`."""
    tokenizer.train_from_iterator(SENTENCES, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    return learnt["vocab"], [tuple(pair) for pair in learnt["merges"]]


def _clip_words() -> Any:
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer
    from transformers import CLIPTokenizer

    special = ["<|startoftext|>", "<|endoftext|>"]
    trainer = BpeTrainer(
        vocab_size=2 * WORDS,
        special_tokens=special,
        initial_alphabet=ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    vocab, merges = _trained(CLIPTokenizer().backend_tokenizer, trainer)
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)


def _gemma_words() -> Any:
    from tokenizers.trainers import BpeTrainer
    from transformers import GemmaTokenizer

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trainer = BpeTrainer(vocab_size=WORDS, special_tokens=special, show_progress=False)
    vocab, merges = _trained(GemmaTokenizer().backend_tokenizer, trainer)
    return GemmaTokenizer(
        vocab=vocab,
        merges=merges,
        add_bos_token=False,
        add_eos_token=True,
        padding_side="right",
        model_input_names=["input_ids"],
        model_max_length=TEXT_LENGTH,
    )


def _xlm_words() -> Any:
    from tokenizers.trainers import UnigramTrainer
    from transformers import XLMRobertaTokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = UnigramTrainer(
        vocab_size=WORDS, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer = XLMRobertaTokenizer().backend_tokenizer
    tokenizer.train_from_iterator(SENTENCES, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]["vocab"]
    return XLMRobertaTokenizer(vocab=[tuple(piece) for piece in learnt], model_max_length=77)


MODELS = {
    "zero-shot-clip": make_clip,
    "zero-shot-metaclip-2": make_metaclip_2,
    "zero-shot-siglip-2": make_siglip_2,
    "zero-shot-siglip-2-naflex": make_siglip_2_naflex,
}
EXPERTS = {
    name: (name, {"type": "zero-shot", "prompts": "prompts/zero-shot.yaml"}) for name in MODELS
}
