"""Why an engine ended, read off its log: the line that says it, and what to do.

Engines end with a long stack that says "see root cause above"; the cause stands earlier. The
patterns were collected from vLLM 0.32 (the CPU build, by provoking each) and its sources.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: How many lines of the log go into a message.
LAST_LINES = 15
_MOST_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Cause:
    """`lasting` causes are not mended by starting it again."""

    sentence: str
    lasting: bool


@dataclass(frozen=True, slots=True)
class _Known:
    pattern: re.Pattern[str]
    cause: Cause


def _known(pattern: str, sentence: str, *, lasting: bool) -> _Known:
    return _Known(re.compile(pattern), Cause(sentence, lasting))


#: The first that matches any line counts.
_KNOWN = (
    _known(
        r"unrecognized arguments:|error: argument .*(invalid|expected)|error: the following arg"
        r"|error: ambiguous option",
        "the engine refuses its command; correct the server's `arguments` and run "
        "`natix-miner serve check`",
        lasting=True,
    ),
    _known(
        r"^warden: cannot run ",
        "its executable cannot be run; install the engine or correct `executable`",
        lasting=True,
    ),
    _known(
        r"Address already in use|\[Errno 98\]",
        "its port is taken; choose another `port`, or 0 for any that is free",
        lasting=False,
    ),
    _known(
        r"out of memory|OutOfMemoryError|MemoryError|Cannot allocate memory"
        r"|No available memory for the cache|less than desired GPU memory utilization"
        r"|less than requested memory|larger than the available KV cache memory",
        "its memory does not suffice; see `natix-miner plan`, or lower gpu_memory_utilization, "
        "kv_cache_memory_bytes, max_model_len or max_num_seqs",
        lasting=False,
    ),
    _known(
        r"LocalEntryNotFoundError|HFValidationError|RepositoryNotFoundError|RevisionNotFoundError"
        r"|GatedRepoError|Invalid repository ID or local directory|SafetensorError"
        r"|does not appear to have a file named|Cannot find any model weights|Can't load .* for '"
        r"|It looks like the config file at .* is not a valid JSON|Unrecognized model in",
        "the model's folder is missing, incomplete or broken; fetch it again "
        "(`natix-miner models fetch KEY`) or correct `model`",
        lasting=True,
    ),
    _known(
        r"Failed to infer device type|no NVIDIA driver|CUDA driver version is insufficient"
        r"|No CUDA GPUs are available|invalid device ordinal",
        "the engine finds no GPU that it can use; check the driver and `gpus`",
        lasting=True,
    ),
    _known(
        r"validation errors? for \w+Config"
        r"|(ValueError|NotImplementedError): .*(quantiz|not support)",
        "the engine refuses these settings; correct the server's `arguments` and run "
        "`natix-miner serve check`",
        lasting=True,
    ),
    _known(
        r"^warden: the engine ended by itself \(signal SIGKILL\)",
        "it was killed from outside; when that was the kernel, the machine's memory ran out",
        lasting=False,
    ),
)
#: What begins a line: the process that says it and, in vLLM's and torch's logs, the level.
_HARMLESS = re.compile(r"^(\(\S+ pid=\d+\) )?(DEBUG|INFO|WARNING|[IW]\d{4}) ")
_ERROR = re.compile(r"(^|\] )([A-Za-z_]\w*\.)*[A-Za-z_]\w*(Error|Exception): ")


def find_cause(lines: Sequence[str]) -> Cause | None:
    """Why it ended: the known cause with the line that says so, else the first error in the log;
    None when there is not even that. Lines of a level below ERROR do not count."""
    lines = [line for line in lines if not _HARMLESS.match(line)]
    for known in _KNOWN:
        for line in lines:
            if known.pattern.search(line):
                said = _shortened(line)
                return Cause(f"{known.cause.sentence} ({said})", known.cause.lasting)
    for line in lines:
        if _ERROR.search(line):
            return Cause(_shortened(line), lasting=False)
    return None


def with_last_lines(sentence: str, lines: Sequence[str], log: object) -> str:
    """The sentence, and below it what the log ends with."""
    if not lines:
        return f"{sentence} (nothing in its log {log})"
    last = "\n".join(f"  {_shortened(line)}" for line in lines[-LAST_LINES:])
    return f"{sentence}; the last lines of {log}:\n{last}"


def _shortened(line: str) -> str:
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"
