"""The model folder: everything that transformers and vLLM read, written file by file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import Qwen3VLForConditionalGeneration

from natix_miner.atomic import write_whole
from natix_miner.training.tiny_vlm.architecture import (
    LARGEST,
    MERGE,
    PATCH,
    SMALLEST,
    make_config,
)
from natix_miner.training.tiny_vlm.tokenizer import SPECIAL, make_tokenizer

WEIGHTS = "model.safetensors"
#: Parts of a message keep their order: a prompt may put its text before the picture.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type in ('image', 'image_url') or 'image' in part or 'image_url' in part -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif part.type == 'video' or 'video' in part -%}
{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
{%- elif 'text' in part -%}
{{- part.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def write_folder(model: Qwen3VLForConditionalGeneration, folder: Path) -> None:
    """Write or renew the whole folder; a reader never sees half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    config = make_config()
    config.architectures = ["Qwen3VLForConditionalGeneration"]
    write_whole(folder / "config.json", config.to_json_string(use_diff=False))
    for name, content in _descriptions(config).items():
        write_whole(folder / name, json.dumps(content, indent=2) + "\n")
    write_whole(folder / "tokenizer.json", make_tokenizer().to_str(pretty=False))
    write_whole(folder / "chat_template.jinja", CHAT_TEMPLATE)
    save_weights(model, folder / WEIGHTS)


def save_weights(model: Qwen3VLForConditionalGeneration, path: Path) -> None:
    """Write float16 weights under the names that the architecture publishes."""
    kept = {
        name: value.detach().half().contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    beside = path.with_name(f".{path.name}.new")
    save_file(kept, beside, metadata={"format": "pt"})
    os.chmod(beside, 0o644)
    os.replace(beside, path)


def load_model(folder: Path) -> Qwen3VLForConditionalGeneration:
    """The model as saved, in float32 and evaluation mode."""
    model = Qwen3VLForConditionalGeneration(make_config())
    state = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    if set(missing) - {"lm_head.weight"} or unexpected:
        raise ValueError(f"{folder / WEIGHTS} is of another model: {missing} {unexpected}")
    model.tie_weights()
    return model.float().eval()


def _descriptions(config: Any) -> dict[str, dict[str, Any]]:
    size = {"shortest_edge": SMALLEST, "longest_edge": LARGEST}
    pictures = {
        "size": size,
        "patch_size": PATCH,
        "temporal_patch_size": 2,
        "merge_size": MERGE,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    text = config.text_config
    return {
        "generation_config.json": {
            "bos_token_id": text.bos_token_id,
            "eos_token_id": [text.eos_token_id, text.pad_token_id],
            "pad_token_id": text.pad_token_id,
            "do_sample": False,
        },
        "preprocessor_config.json": {
            **pictures,
            "processor_class": "Qwen3VLProcessor",
            "image_processor_type": "Qwen2VLImageProcessorFast",
        },
        "video_preprocessor_config.json": {
            **pictures,
            "processor_class": "Qwen3VLProcessor",
            "video_processor_type": "Qwen3VLVideoProcessor",
        },
        "tokenizer_config.json": {
            "tokenizer_class": "Qwen2TokenizerFast",
            "processor_class": "Qwen3VLProcessor",
            "model_max_length": text.max_position_embeddings,
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "additional_special_tokens": list(SPECIAL[1:]),
            "add_bos_token": False,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
        },
    }
