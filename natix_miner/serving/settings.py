"""The `servers` section of a profile: what to serve, how to spawn it, how to watch it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from natix_miner.errors import ServerCommandError
from natix_miner.sections import Section
from natix_miner.serving.flags import check_extra, gone

Engine = Literal["vllm", "sglang", "lmdeploy"]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class EngineArguments(Section):
    """Flags of the engine, by vLLM's names of today; None leaves the engine's default.

    `extra` holds further flags as separate words (`["--max-cudagraph-capture-size", "32"]`).
    """

    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = None
    quantization: str | None = None
    tensor_parallel_size: PositiveInt = 1
    gpu_memory_utilization: Share | None = None
    kv_cache_memory_bytes: PositiveInt | None = None
    kv_cache_dtype: str | None = None
    block_size: PositiveInt | None = None
    max_model_len: PositiveInt | None = None
    max_num_seqs: PositiveInt | None = None
    max_num_batched_tokens: PositiveInt | None = None
    max_num_queued_reqs: NonNegativeInt | None = None
    limit_mm_per_prompt: dict[str, Any] | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    mm_encoder_tp_mode: Literal["weights", "data"] | None = None
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    enforce_eager: bool = False
    speculative_config: dict[str, Any] | None = None
    kv_transfer_config: dict[str, Any] | None = None
    reasoning_parser: str | None = None
    generation_config: str | None = "vllm"
    shutdown_timeout: NonNegativeInt | None = 5
    trust_remote_code: bool = False
    extra: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _no_gone_flags(cls, value: Any) -> Any:
        for name in value if isinstance(value, Mapping) else ():
            if said := gone(str(name)):
                raise ValueError(said)
        return value


class RestartLimits(Section):
    """More than `most` restarts within `window_seconds` switch a server off; the pauses between
    them double from `first_seconds` to `longest_seconds`, with jitter."""

    most: PositiveInt = 5
    window_seconds: PositiveFloat = 600.0
    first_seconds: PositiveFloat = 1.0
    longest_seconds: PositiveFloat = 60.0


class ServerBreakerSettings(Section):
    """When a server is not asked for a while: after `failures` in a row, or when at least
    `failure_rate` of the requests of the last `window_seconds` failed (from `least_requests` on).
    The rest begins with `rest_seconds` and doubles up to `longest_rest_seconds`."""

    failures: PositiveInt = 5
    failure_rate: Share = 0.5
    window_seconds: PositiveFloat = 30.0
    least_requests: PositiveInt = 10
    rest_seconds: PositiveFloat = 30.0
    longest_rest_seconds: PositiveFloat = 300.0


class ServerSettings(Section):
    """One server.

    `model` is a key of the catalogue or a folder (a path with a slash, counted from the profile's
    folder); with `base_url` it is the name that the remote server goes by, and nothing is spawned.
    `gpus` are the indices it sees (CUDA_VISIBLE_DEVICES), none on a CPU. `port` 0 takes any free
    one. `executable` is the engine's command; without one, `.venv-vllm/bin/vllm` beside the
    profile's folder, then the search path.
    """

    engine: Engine = "vllm"
    model: Annotated[str, Field(min_length=1)]
    revision: str | None = None
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    api_key_file: Path | None = None
    executable: Path | None = None
    gpus: tuple[NonNegativeInt, ...] = ()
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    arguments: EngineArguments = EngineArguments()
    environment: Annotated[dict[str, str], Field(default_factory=dict)]
    logprobs: Literal["chosen", "top"] | None = None
    max_in_flight: PositiveInt = 16
    start_seconds: PositiveFloat = 900.0
    stop_seconds: PositiveFloat = 10.0
    canary_every_seconds: PositiveFloat = 10.0
    canary_seconds: PositiveFloat = 5.0
    restarts: RestartLimits = RestartLimits()
    breaker: ServerBreakerSettings = ServerBreakerSettings()

    @property
    def remote(self) -> bool:
        """Whether somebody else runs it."""
        return self.base_url is not None

    @property
    def token_logprobs(self) -> Literal["chosen", "top"]:
        """How log-probabilities are asked for: of chosen tokens (vLLM) or the top twenty."""
        return self.logprobs or ("chosen" if self.engine == "vllm" else "top")

    @model_validator(mode="after")
    def _sound_extra(self) -> ServerSettings:
        try:
            keys = EngineArguments.model_fields.keys() - {"extra"}
            check_extra(self.arguments.extra, keys, self.engine)
        except ServerCommandError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _remote_has_no_command(self) -> ServerSettings:
        if self.remote and (self.executable or self.gpus or self.port):
            raise ValueError("a server with `base_url` is not spawned: leave out executable, "
                             "gpus and port")  # fmt: skip
        if not self.remote and self.api_key_file:
            raise ValueError("`api_key_file` is for a `base_url`; servers of our own get a key")
        if self.gpus and len(self.gpus) != self.arguments.tensor_parallel_size:
            raise ValueError(
                f"tensor_parallel_size {self.arguments.tensor_parallel_size} needs as many gpus, "
                f"there are {len(self.gpus)}: {list(self.gpus)}"
            )
        return self


class ServingSettings(Section):
    """About all servers: `wait_seconds` is how long a starting miner waits for them before it
    serves without; `folder` is where their logs and records lie (counted from where the miner is
    started)."""

    wait_seconds: Annotated[float, Field(ge=0.0)] = 0.0
    folder: Path = Path("out/servers")
    log_megabytes: PositiveFloat = 20.0
    log_files: PositiveInt = 3
