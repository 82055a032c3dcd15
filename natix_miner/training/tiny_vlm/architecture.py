"""The architecture: a Qwen3-VL with every measure shrunk, about 2.6 million parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from natix_miner.training.tiny_vlm.tokenizer import VOCABULARY, make_tokenizer

PATCH, MERGE = 16, 2
TOKEN = PATCH * MERGE  # pixels along a side that one picture token stands for
#: Pixels of a picture after resizing: 49 to 100 tokens. A validator's square is left alone.
SMALLEST, LARGEST = 49 * TOKEN**2, 100 * TOKEN**2


def make_config() -> Qwen3VLConfig:
    """The configuration; head_dim 64 is among the sizes that vLLM's CPU attention takes."""
    tokens = make_tokenizer()

    def token(word: str) -> int:
        number = tokens.token_to_id(word)
        if number is None:
            raise LookupError(f"the tokenizer lacks {word}")
        return int(number)

    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [12, 10, 10],
            "mrope_interleaved": True,
        },
        "tie_word_embeddings": True,
        "bos_token_id": token("<|endoftext|>"),
        "eos_token_id": token("<|im_end|>"),
        "pad_token_id": token("<|endoftext|>"),
    }
    vision = {
        "depth": 3,
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_heads": 4,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "out_hidden_size": 128,
        "num_position_embeddings": 256,
        "deepstack_visual_indexes": [0, 1],
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
        dtype="float32",
    )


def make_model(seed: int) -> Qwen3VLForConditionalGeneration:
    """An untrained model, its weights drawn from `seed`.

    The usual deviation of 0.02 is meant for thousands of inputs; with 128 of them a layer would
    hardly pass anything on, so it is one over the square root of their number here. The patch
    embedding starts as a cosine transform (`cosine_filters`).
    """
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(make_config()).eval()
    with torch.no_grad():
        for module in model.model.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(0.0, module.in_features**-0.5)
        embedding = model.model.visual.patch_embed.proj
        filters = cosine_filters(embedding.out_channels)
        embedding.weight.copy_((filters / 2)[:, :, None].expand_as(embedding.weight))
        embedding.bias.zero_()
        model.model.visual.pos_embed.weight.zero_()
    return model


def cosine_filters(count: int) -> torch.Tensor:
    """The `count` coarsest two-dimensional cosines of a patch, (count, 3, 16, 16).

    Half of them look at brightness, a quarter each at red against green and at yellow against
    blue. Finer ones are weaker in pictures, about as one over their frequency, and amplified
    as much; colours are weaker than brightness.
    """
    places = (torch.arange(PATCH) + 0.5) * torch.pi / PATCH
    waves = sorted(
        ((high, wide) for high in range(PATCH) for wide in range(PATCH)),
        key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair),
    )
    colours = {(1.0, 1.0, 1.0): count // 2, (1.0, -1.0, 0.0): count // 4, (0.5, 0.5, -1.0): 0}
    made: list[torch.Tensor] = []
    for colour, wanted in colours.items():
        for high, wide in waves[: wanted or count - len(made)]:
            wave = torch.outer(torch.cos(places * high), torch.cos(places * wide))
            loud = max(1.0, (high**2 + wide**2) ** 0.5 * 2)
            tone = torch.tensor(colour) / sum(abs(part) for part in colour)
            gain = loud * (8 if min(colour) > 0 else 24) / PATCH**2
            made.append(tone[:, None, None] * wave * gain)
    return torch.stack(made)


class LinearPatches(nn.Module):
    """The patch embedding as one matrix product; same weights, a third of the vision time less.

    A still picture is handed over twice (two frames), so that the two halves of the convolution
    may be added up first: patches come as (n, 3 x 2 x 16 x 16), the halves equal.
    """

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.convolution = convolution  # shares its parameters

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(n, 1536) to (n, hidden)."""
        weight = self.convolution.weight
        hidden, channels, frames = weight.shape[:3]
        still = patches.view(len(patches), channels, frames, -1)[:, :, 0].reshape(len(patches), -1)
        joined = weight.sum(2).reshape(hidden, -1)
        return nn.functional.linear(still, joined, self.convolution.bias)


def parameters_of(model: Any) -> int:
    """How many numbers the model learns; the tied output matrix counts once."""
    return sum(weight.numel() for weight in model.parameters())
