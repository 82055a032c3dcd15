"""Write the network: ONNX for use, float16 safetensors for keeping, JSON to describe both."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from natix_miner.atomic import write_whole
from natix_miner.training.network import PatchNetwork, fused

INPUT, OUTPUTS = "pixels", ("logit", "patch_logits")


def save_weights(network: PatchNetwork, path: Path) -> PatchNetwork:
    """Save float16 weights and return the network as they load again, so that both agree."""
    half = {name: value.half().contiguous() if value.is_floating_point() else value.contiguous()
            for name, value in network.state_dict().items()}  # fmt: skip
    save_file(half, path, metadata={"format": "pt"})
    path.chmod(0o644)
    return load_weights(path)


def load_weights(path: Path) -> PatchNetwork:
    """Load a network saved by ``save_weights``, in float32 and evaluation mode."""
    state = {name: value.float() if value.is_floating_point() else value
             for name, value in load_file(path).items()}  # fmt: skip
    network = PatchNetwork(state["early.conv.weight"].shape[0])
    network.load_state_dict(state)
    return network.eval()


def save_onnx(network: PatchNetwork, path: Path) -> str:
    """Export for ONNX Runtime; returns the file's SHA-256, the network's version.

    Input ``pixels`` uint8 (n, 3, height, width), RGB; outputs ``logit`` float32 (n,) and
    ``patch_logits`` float32 (n, rows, columns), one score for each 8 x 8 pixels.
    """
    example = torch.zeros((1, 3, 64, 96), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            fused(network),
            (example,),
            str(path),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_axes={
                INPUT: {0: "n", 2: "height", 3: "width"},
                OUTPUTS[0]: {0: "n"},
                OUTPUTS[1]: {0: "n", 1: "rows", 2: "columns"},
            },
            opset_version=17,
            dynamo=False,
        )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_description(path: Path, description: dict[str, Any]) -> None:
    """Write the JSON that goes with the weights, keys in their order."""
    write_whole(path, json.dumps(description, indent=2) + "\n")
