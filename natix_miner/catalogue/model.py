"""Rows of the catalogue: one model, its checkpoints, what the planner has to know of its shape."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from natix_miner.sections import Section

Kind = Literal[
    "vision-language",
    "detector",
    "classifier",
    "backbone",
    "zero-shot",
    "depth",
    "text",
    "other",
]
KINDS: tuple[str, ...] = get_args(Kind)
#: `verified`: stands in a file or on a page that was read; `computed`: from parameter counts;
#: `unverified`: from memory or one unconfirmed word.
Evidence = Literal["verified", "computed", "unverified"]
#: The first four bind whoever uses the weights and have to be accepted before they are fetched.
Trap = Literal[
    "gated",
    "agpl",
    "non-commercial",
    "custom-terms",
    "thinking",
    "text-only",
    "video-only",
    "pickle",
]
BINDING: frozenset[str] = frozenset({"gated", "agpl", "non-commercial", "custom-terms"})
FAMILY = r"^[a-z0-9][a-z0-9-]*$"
Format = Literal["fp32", "bf16", "fp8", "w4", "nvfp4"]

#: Bytes that one parameter of a linear layer takes. w4 is four bits and a 16-bit scale and zero
#: point for 128 weights (AWQ, GPTQ), nvfp4 four bits and an 8-bit scale for 16.
BYTES_PER_PARAMETER: dict[str, float] = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "w4": 0.5195,
    "nvfp4": 0.5625,
}


class LoadsWith(Section):
    """What loads the model: the architecture's name in vLLM and the class in transformers, each
    with the first version that has it, or another package."""

    vllm: str | None = None
    vllm_since: str | None = None
    transformers: str | None = None
    transformers_since: str | None = None
    package: str | None = None


class Parameters(Section):
    """Parameters in billions. `vision` and `embeddings` (with the head, once where they are one
    tensor) are part of `total`; quantised checkpoints keep both in bfloat16."""

    total: PositiveFloat
    active: PositiveFloat | None = None
    vision: NonNegativeFloat = 0.0
    embeddings: NonNegativeFloat = 0.0

    @property
    def linear(self) -> float:
        """Billions that a quantisation makes smaller."""
        return self.total - self.vision - self.embeddings

    @model_validator(mode="after")
    def _parts_fit(self) -> Parameters:
        if self.linear < 0:
            raise ValueError(f"vision and embeddings exceed the total of {self.total}")
        return self


class Shape(Section):
    """The text model as its configuration gives it, for key-value cache and activations.

    `cached_layers` are those that keep keys and values (all, except in hybrids with linear
    attention, which instead keep `state_megabytes` for each sequence). `intermediate` is the width
    that one token passes through: for a mixture, that of its chosen experts together.
    """

    layers: PositiveInt
    cached_layers: PositiveInt | None = None
    kv_heads: PositiveInt
    head_dim: PositiveInt
    hidden: PositiveInt
    intermediate: PositiveInt
    vocabulary: PositiveInt
    vision_hidden: PositiveInt | None = None
    state_megabytes: NonNegativeFloat = 0.0
    context: PositiveInt | None = None

    def cache_elements_per_token(self) -> int:
        """Keys and values of one token: 2 x layers x heads x head size."""
        return 2 * (self.cached_layers or self.layers) * self.kv_heads * self.head_dim


class Tokens(Section):
    """Tokens that a picture becomes: at 224 x 224, at 1920 x 1080, and the whole prompt at 224."""

    image_224: PositiveInt | None = None
    image_full_frame: PositiveInt | None = None
    prompt_224: PositiveInt | None = None


class Checkpoint(Section):
    """One set of weights. `revision` is a commit, where one is known: without it nothing pins what
    is downloaded. `gigabytes` (10^9 bytes) are those of the weights; `size` says how they came."""

    format: Format
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    gigabytes: PositiveFloat | None = None
    size: Evidence = "computed"
    note: str | None = None


class Asset(Section):
    """Weights that lie on no model hub: a package or a project offers the file under this name."""

    file: Annotated[str, Field(min_length=1)]
    gigabytes: PositiveFloat
    size: Evidence = "computed"


class Licence(Section):
    """`verified` is false where the name comes from memory; name `unknown` where nobody knows."""

    name: Annotated[str, Field(min_length=1)]
    verified: bool = True


class Model(Section):
    """One row. A model that does not exist says `why`, and `instead` names keys that do.

    `adapter` is the family of experts that loads it (the `type` of a profile), `depth` for models
    that a detector's `depth` section names; where there is none, `note` says why. `done_by` are the
    families that do the job of a model that does not exist. `in_plans`: the plans for this miner
    name it. `pass_gb`: what one picture's pass takes beside the weights, in fp32 (GB).
    """

    name: Annotated[str, Field(min_length=1)]
    kind: Kind
    exists: bool = True
    why: str | None = None
    instead: tuple[str, ...] = ()
    loads_with: LoadsWith = LoadsWith()
    adapter: Annotated[str, Field(pattern=FAMILY)] | None = None
    done_by: tuple[Annotated[str, Field(pattern=FAMILY)], ...] = ()
    in_plans: bool = False
    parameters: Parameters | None = None
    shape: Shape | None = None
    tokens: Tokens = Tokens()
    checkpoints: tuple[Checkpoint, ...] = ()
    asset: Asset | None = None
    pass_gb: NonNegativeFloat | None = None
    licence: Licence = Licence(name="unknown", verified=False)
    traps: tuple[Trap, ...] = ()
    remote_code: bool = False
    plan_claim_gb: tuple[PositiveFloat, ...] = ()
    evidence: Evidence
    source: Annotated[str, Field(min_length=1)]
    note: str | None = None

    def gigabytes_as(self, form: str) -> float | None:
        """What the weights take in a format, by parameter counts (10^9 bytes); None without them.

        Linear layers in the format, embeddings, head and vision tower in bfloat16: what published
        quantised checkpoints of these families do.
        """
        if self.parameters is None:
            return None
        counts, width = self.parameters, BYTES_PER_PARAMETER[form]
        kept = max(width, BYTES_PER_PARAMETER["bf16"])
        return counts.linear * width + (counts.vision + counts.embeddings) * kept

    @property
    def floor_gigabytes(self) -> float | None:
        """All parameters at 4.16 bit, the least that any of the formats takes of each."""
        return (
            None if self.parameters is None else self.parameters.total * BYTES_PER_PARAMETER["w4"]
        )

    @property
    def must_accept(self) -> bool:
        """Whether its terms have to be accepted by name before it is fetched or loaded."""
        return self.exists and (bool(BINDING & set(self.traps)) or self.licence.name == "unknown")

    @property
    def terms(self) -> str:
        """What is particular about its terms, in words."""
        binding = sorted(BINDING & set(self.traps))
        return ", ".join(binding) or "nobody has read its terms"

    @model_validator(mode="after")
    def _hangs_together(self) -> Model:
        if not self.exists and not self.why:
            raise ValueError("a model that does not exist needs `why`")
        if not self.exists and self.checkpoints:
            raise ValueError("a model that does not exist has no checkpoints")
        if not self.exists and self.adapter:
            raise ValueError("nothing loads a model that does not exist: say `done_by`")
        if self.exists and self.done_by:
            raise ValueError("`done_by` is for models that do not exist: say `adapter`")
        formats = [checkpoint.format for checkpoint in self.checkpoints]
        if len(set(formats)) < len(formats):
            raise ValueError(f"one checkpoint a format, since the key names it: {formats}")
        return self
