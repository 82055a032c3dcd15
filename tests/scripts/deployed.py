"""The commands of vLLM as the files for deployment make them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / "scripts" / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
VALUES = yaml.safe_load((DEPLOY / "kubernetes" / "production-stack.values.yaml").read_text())


def compose_words() -> list[str]:
    words = shlex.split(COMPOSE["services"]["vllm"]["command"][0])
    return words[words.index("vllm") :]


def chart_words() -> list[str]:
    """What the chart's template makes of our values (read in vllm-stack's deployment template)."""
    (spec,) = VALUES["servingEngineSpec"]["modelSpec"]
    config = dict(spec["vllmConfig"])
    words = ["vllm", "serve", spec["modelURL"], "--host", "0.0.0.0", "--port", "8000"]
    words.append(f"--{'' if config.pop('enableChunkedPrefill') else 'no-'}enable-chunked-prefill")
    words.append(f"--{'' if config.pop('enablePrefixCaching') else 'no-'}enable-prefix-caching")
    extra = config.pop("extraArgs")
    for name, value in config.items():
        words += ["--" + re.sub("([A-Z])", r"-\1", name).lower(), str(value)]
    return words + extra
