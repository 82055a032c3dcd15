"""How much memory of a GPU one server takes: the formula, and what it needs to know of a model.

For one server on T GPUs (tensor parallel), on each of them, in bytes:

    total = W + K + A + G + C

    W = (weights - vision) / T + vision / (T, or 1 with mm_encoder_tp_mode "data")
        weights: linear parameters x bytes of their format (bf16 2, fp8 1, w4 0.5195, nvfp4
        0.5625), embeddings, output head and vision tower x 2
    K = sequences x ( ceil(tokens / 16) x 16 x 2 x layers x kv_heads x head_dim x bytes
                      / min(T, kv_heads) + state of linear attention / T )
        bytes of an element: bf16 2, fp8 1, nvfp4 0.5625. Where `kv_cache_memory_bytes` is set,
        that is taken instead; without it vLLM takes all that its share of the GPU leaves.
    A = batched_tokens x (2 x hidden + 3 x intermediate / T) x 2 + 3 x sequences x vocabulary x 4
        + patches of the largest picture x 32 x vision_hidden + encoder cache
        (the vision term: eight tensors of the tower's width and two of four times that, 2 bytes)
    G = CUDA graphs, 0.1 to 1.5 GB, the fewer capture sizes the less
    C = CUDA context and workspaces 1.0 GB, with NCCL 1.5 GB

Sources. W and K are the sizes of the tensors themselves, as vLLM 0.32 lays them out (gpu_worker.py,
kv_cache_interface.py); they were compared with published checkpoints. A is an upper estimate of the
tensors that are alive in one forward pass of a gated-MLP transformer in 16 bit, plus the profiling
run's logits in 32. G and C are within the ranges that vLLM's logs of starts show. A, G and C have
not been measured by us: no GPU was at hand.

vLLM's own two rules (`request_memory` and `determine_available_memory` there) are in `planner`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from natix_miner.serving.settings import EngineArguments, ServerSettings

GB = 1e9
#: Tokens of a block of vLLM's cache on a GPU.
BLOCK = 16
#: vLLM's defaults for its OpenAI server on H100 and H200; elsewhere they are smaller.
DEFAULT_BATCHED_TOKENS = 8192
DEFAULT_SEQUENCES = 1024
#: What vLLM takes of a GPU when nothing is said.
DEFAULT_UTILIZATION = 0.92
#: Where nothing bounds the pictures: the most pixels that Qwen-VL processors leave a picture.
UNBOUNDED_PIXELS = 16_777_216
PATCH_PIXELS = 16 * 16
#: Pixels that become one token: 784 in InternVL, 1024 in Qwen3-VL.
TOKEN_PIXELS = 784
#: Words around the picture: the definitions in configs/prompts/large come near it, none exceeds it.
TEXT_TOKENS = 200
#: InternVL cuts pictures into tiles of this size and adds a small copy of the whole.
TILE_PIXELS = 448 * 448
MOST_CAPTURED = 512
#: Encoder outputs of Qwen3-VL come with three more levels of features ("deepstack").
ENCODER_LEVELS = 4


@dataclass(frozen=True, slots=True)
class ModelSize:
    """What the formula needs of a model; bytes and counts of one whole copy.

    `elements_per_token` are keys and values that one token caches (2 x layers x heads x head size),
    `state_bytes` what linear attention keeps for a sequence.
    """

    name: str
    weights: float
    vision: float = 0.0
    elements_per_token: int = 0
    kv_heads: int = 1
    state_bytes: float = 0.0
    hidden: int = 0
    intermediate: int = 0
    vocabulary: int = 0
    vision_hidden: int = 0
    context: int | None = None
    #: All parameters at 4.16 bit, the least of any format in use; None when nobody counted.
    floor: float | None = None

    @property
    def has_shape(self) -> bool:
        """Whether more than the weights is known."""
        return self.elements_per_token > 0 and self.hidden > 0


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that one server takes on each of its GPUs, by what for."""

    weights: float
    cache: float
    activations: float
    graphs: float
    context: float

    @property
    def total(self) -> float:
        """W + K + A + G + C."""
        return self.weights + self.cache + self.activations + self.graphs + self.context


def need_of(size: ModelSize, settings: ServerSettings, gpu_bytes: float | None = None) -> Need:
    """The formula of this module for one server on each of its GPUs.

    With `kv_cache_memory_bytes` the cache is that. Without it, it is what the server's share of a
    GPU of `gpu_bytes` leaves, as vLLM takes it, and never less than needed; without `gpu_bytes`
    just what is needed.
    """
    arguments = settings.arguments
    fixed = Need(
        weights=weights_on_one(size, arguments),
        cache=0.0,
        activations=activations(size, arguments),
        graphs=graphs(arguments),
        context=context(arguments),
    )
    if arguments.kv_cache_memory_bytes is not None:
        return replace(fixed, cache=float(arguments.kv_cache_memory_bytes))
    left = 0.0 if gpu_bytes is None else utilization(arguments) * gpu_bytes - fixed.total
    return replace(fixed, cache=max(left, cache_needed(size, settings)))


def utilization(arguments: EngineArguments) -> float:
    """The share of a GPU that the server claims, vLLM's default where none is set."""
    return arguments.gpu_memory_utilization or DEFAULT_UTILIZATION


def weights_on_one(size: ModelSize, arguments: EngineArguments) -> float:
    """W: the share of the weights that one GPU holds."""
    parallel = arguments.tensor_parallel_size
    of_vision = 1 if arguments.mm_encoder_tp_mode == "data" else parallel
    return (size.weights - size.vision) / parallel + size.vision / of_vision


def cache_of(size: ModelSize, arguments: EngineArguments, sequences: int, tokens: int) -> float:
    """K for so many sequences of so many tokens each, on one GPU."""
    blocks = math.ceil(tokens / BLOCK) * BLOCK
    parallel = arguments.tensor_parallel_size
    keys_and_values = blocks * size.elements_per_token * element_bytes(arguments)
    # More GPUs than heads: the heads are kept twice, so the share does not fall further.
    return sequences * (
        keys_and_values / min(parallel, size.kv_heads) + size.state_bytes / parallel
    )


def cache_needed(size: ModelSize, settings: ServerSettings) -> float:
    """The least cache that a server works with, on one GPU: one sequence of its longest length
    (vLLM does not start with less), or all that may be in flight of prompts as long as ours."""
    arguments = settings.arguments
    longest = arguments.max_model_len or size.context
    if longest is None or not size.has_shape:
        return 0.0
    at_once = min(settings.max_in_flight, arguments.max_num_seqs or DEFAULT_SEQUENCES)
    prompt = min(longest, TEXT_TOKENS + math.ceil(largest_picture(arguments) / TOKEN_PIXELS))
    return max(cache_of(size, arguments, 1, longest), cache_of(size, arguments, at_once, prompt))


def element_bytes(arguments: EngineArguments) -> float:
    """Bytes of one cached key or value."""
    kind = arguments.kv_cache_dtype or "auto"
    if kind.startswith("nvfp4"):
        return 0.5625
    if kind.startswith("int4") or "4bit" in kind:
        return 0.5
    if kind.startswith(("fp8", "int8")):
        return 1.0
    return 4.0 if arguments.dtype == "float32" else 2.0


def activations(size: ModelSize, arguments: EngineArguments) -> float:
    """A: a forward pass of the largest batch, logits, the largest picture, encoder outputs."""
    tokens = arguments.max_num_batched_tokens or DEFAULT_BATCHED_TOKENS
    sequences = arguments.max_num_seqs or DEFAULT_SEQUENCES
    width = 2 * size.hidden + 3 * size.intermediate / arguments.tensor_parallel_size
    patches = largest_picture(arguments) / PATCH_PIXELS
    language = tokens * width * 2 + 3 * sequences * size.vocabulary * 4
    if not size.vision_hidden:
        return language
    outputs = max(tokens, patches / 4) * size.hidden * 2 * ENCODER_LEVELS
    return language + patches * 32 * size.vision_hidden + outputs


def largest_picture(arguments: EngineArguments) -> float:
    """Pixels of the largest picture that the settings let through to the vision tower."""
    bounds: list[float] = []
    given = arguments.mm_processor_kwargs or {}
    for value in (given.get("max_pixels"), (given.get("size") or {}).get("longest_edge")):
        if isinstance(value, (int, float)):
            bounds.append(value)
    if isinstance(tiles := given.get("max_dynamic_patch"), int):
        bounds.append((tiles + (tiles > 1)) * TILE_PIXELS)
    image = (arguments.limit_mm_per_prompt or {}).get("image")
    if image == 0:
        return 0.0
    if isinstance(image, dict) and image.get("width") and image.get("height"):
        bounds.append(float(image["width"]) * float(image["height"]))
    return min(bounds, default=float(UNBOUNDED_PIXELS))


def graphs(arguments: EngineArguments) -> float:
    """G: grows with the sizes captured, which follow the sequences at once."""
    if arguments.enforce_eager:
        return 0.0
    captured = _capture_size(arguments.extra)
    if captured is None:
        captured = 2 * (arguments.max_num_seqs or DEFAULT_SEQUENCES)
    return (0.1 + 1.4 * min(captured, MOST_CAPTURED) / MOST_CAPTURED) * GB


def context(arguments: EngineArguments) -> float:
    """C: CUDA context and workspaces, with more than one GPU also those of NCCL."""
    return (1.0 if arguments.tensor_parallel_size == 1 else 1.5) * GB


def _capture_size(extra: tuple[str, ...]) -> int | None:
    words = [part for word in extra for part in word.split("=", 1)]
    for flag, value in itertools.pairwise(words):
        if flag == "--max-cudagraph-capture-size" and value.isdigit():
            return int(value)
    return None
