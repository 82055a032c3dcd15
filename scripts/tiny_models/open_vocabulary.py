"""Grounding DINO, MM Grounding DINO, OWLv2, OWL-ViT and OmDet-Turbo, tiny, as saved on the hub."""

from __future__ import annotations

from pathlib import Path

#: Words the tiny tokenizers know as a whole; everything else is spelt.
WORDS = ("traffic", "cone", "construction", "barrel", "fence", "road", "work", "sign", "worker")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def bert_tokenizer():
    """WordPiece with the ids of BERT for what Grounding DINO has built in: [CLS], [SEP], . and ?"""
    from transformers import BertTokenizer

    names = [f"[unused{number}]" for number in range(1100)]
    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    for number, name in {**fixed, 1012: ".", 1029: "?", 1011: "-", 1010: ","}.items():
        names[number] = name
    for number, letter in enumerate(LETTERS):
        names[110 + number] = letter
        names[160 + number] = f"##{letter}"
    for number, word in enumerate(WORDS):
        names[210 + number] = word
    return BertTokenizer(vocab={name: number for number, name in enumerate(names)})


def clip_tokenizer(length: int):
    """CLIP's byte pairs: every byte, every byte at the end of a word, no merges but one."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    names = [*letters, *(f"{letter}</w>" for letter in letters), "ro", "roa"]
    names += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={name: number for number, name in enumerate(names)},
        merges=[("r", "o"), ("ro", "a")],
        model_max_length=length,
    )


def _swin(image_size: int = 64):
    from transformers import SwinConfig

    return SwinConfig(
        image_size=image_size,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )


def _grounding(folder: Path, kind: str, scale: float) -> None:
    import torch
    import transformers as tf

    torch.manual_seed(3)
    config = getattr(tf, f"{kind}Config")(
        backbone_config=_swin(),
        text_config=tf.BertConfig(
            vocab_size=1100,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=20,
        max_text_len=256,
        init_std=0.3,
    )
    model = getattr(tf, f"{kind}ForObjectDetection")(config)
    # Fresh heads shift no box and score everything alike.
    for head in model.model.decoder.bbox_embed:
        torch.nn.init.normal_(head.layers[-1].weight, std=0.5)
    model.model.decoder.layer_norm.weight.data *= scale
    torch.nn.init.normal_(model.model.query_position_embeddings.weight, std=4.0)
    for layer in model.model.decoder.layers:
        layer.encoder_attn_text.out_proj.weight.data *= 0.1
        layer.fc2.weight.data *= 0.1
    for head in getattr(model, "class_embed", ()):
        if hasattr(head, "bias"):
            torch.nn.init.zeros_(head.bias)
    model.save_pretrained(folder)
    processor = tf.GroundingDinoProcessor(
        tf.GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160}),
        bert_tokenizer(),
    )
    processor.save_pretrained(folder)


def grounding_dino(folder: Path) -> None:
    """The format of IDEA-Research/grounding-dino-base."""
    _grounding(folder, "GroundingDino", 0.2)


def mm_grounding_dino(folder: Path) -> None:
    """The format of iSEE-Laboratory/llmdet_large."""
    _grounding(folder, "MMGroundingDino", 1.0)


def _owl(folder: Path, kind: str, processor: str) -> None:
    import torch
    import transformers as tf

    torch.manual_seed(5)
    tokenizer = clip_tokenizer(32)
    config = getattr(tf, f"{kind}Config")(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "initializer_range": 0.3,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
            "initializer_range": 0.3,
        },
        projection_dim=16,
    )
    model = getattr(tf, f"{kind}ForObjectDetection")(config)
    torch.nn.init.normal_(model.box_head.dense2.weight, std=0.05)
    torch.nn.init.normal_(model.class_head.dense0.weight, std=1.0)
    torch.nn.init.constant_(model.class_head.logit_scale.bias, 3.0)
    torch.nn.init.constant_(model.class_head.logit_shift.bias, -0.3)
    model.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    pictures = getattr(tf, f"{kind}ImageProcessor")(size=size)
    getattr(tf, processor)(pictures, tokenizer).save_pretrained(folder)


def owlv2(folder: Path) -> None:
    """The format of google/owlv2-base-patch16-ensemble."""
    _owl(folder, "Owlv2", "Owlv2Processor")


def owlvit(folder: Path) -> None:
    """The format of google/owlvit-base-patch32."""
    _owl(folder, "OwlViT", "OwlViTProcessor")


def omdet_turbo(folder: Path) -> None:
    """The format of omlab/omdet-turbo-swin-tiny-hf, with a backbone of transformers' own."""
    import torch
    import transformers as tf

    torch.manual_seed(9)
    tokenizer = clip_tokenizer(77)
    config = tf.OmDetTurboConfig(
        backbone_config=_swin(),
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": len(tokenizer),
            "hidden_size": 24,
            "intermediate_size": 32,
            "projection_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 77,
            "initializer_range": 0.3,
        },
        apply_layernorm_after_vision_backbone=False,
        image_size=64,
        text_projection_in_dim=24,
        text_projection_out_dim=24,
        class_embed_dim=24,
        task_encoder_hidden_dim=32,
        num_queries=20,
        encoder_hidden_dim=16,
        vision_features_channels=[16, 16, 16],
        encoder_in_channels=[16, 32, 64],
        encoder_attention_heads=2,
        encoder_dim_feedforward=32,
        decoder_hidden_dim=16,
        decoder_num_heads=2,
        decoder_num_layers=2,
        decoder_dim_feedforward=32,
        init_std=0.3,
    )
    model = tf.OmDetTurboForObjectDetection(config)
    torch.nn.init.normal_(model.language_backbone.text_projection, std=0.3)
    model.save_pretrained(folder)
    pictures = tf.DetrImageProcessor(size={"height": 64, "width": 64}, do_pad=False)
    tf.OmDetTurboProcessor(pictures, tokenizer).save_pretrained(folder)


MODELS = {
    "grounding-dino": grounding_dino,
    "mm-grounding-dino": mm_grounding_dino,
    "owlv2": owlv2,
    "owlvit": owlvit,
    "omdet-turbo": omdet_turbo,
}

EXPERTS = {
    name: (model, {"type": "open-vocabulary", "view_size": 224})
    for name, model in {
        "grounding-dino": "grounding-dino",
        "llmdet": "mm-grounding-dino",
        "owlv2": "owlv2",
    }.items()
}
