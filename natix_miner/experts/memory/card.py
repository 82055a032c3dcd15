"""What is written beside the vectors of an index: where they come from, and their names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from natix_miner.experts.memory.features import Scaling


class IndexCard(BaseModel):
    """`features` and `features_version` say what the vectors are, `dimension` numbers each;
    `roadwork` and `none` count the labels, `sources` who said the ones that hold, `left_out` what
    could not be used, by reason.

    `made_from` is a digest of the pictures, labels and reliabilities; `made_by` the version of the
    code, `made_at` unix seconds. `vectors` is the file of the numbers, `vectors_sha256` its
    digest; `ids` name the entries, in their order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["natix-miner/memory"] = "natix-miner/memory"
    format_version: Literal[1] = 1
    features: str
    features_version: str
    scaling: Scaling
    dimension: PositiveInt
    roadwork: PositiveInt
    none: PositiveInt
    sources: dict[str, PositiveInt]
    left_out: dict[str, NonNegativeInt]
    made_from: str
    made_by: str
    made_at: float
    vectors: Annotated[str, Field(pattern=r"^(vectors-[0-9a-f]{16}\.safetensors)?$")] = ""
    vectors_sha256: str = ""
    ids: tuple[str, ...]
