"""Secrets from files: NAME_FILE names a file whose content is the value of NAME.

The way in which Docker, Kubernetes and Vault's agent hand secrets to a process: nothing of them
stands in an environment, a command line or a file of settings.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path

from natix_miner.errors import ConfigurationError

#: Secrets that libraries read from the environment by themselves: that of the Hugging Face hub,
#: and the headers (keys) for a collector of spans.
SECRETS = ("HF_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
#: How the variable with the file's name ends.
SUFFIX = "_FILE"
_MOST_BYTES = 64 * 1024


def value_of(name: str, place: Mapping[str, str]) -> tuple[str, str] | None:
    """The value of a variable and the name it was found under (`NAME` or `NAME_FILE`); None when
    neither is set, or set to nothing.

    White space at both ends goes: editors and `echo` end a file with a line break.

    Raises ConfigurationError when both are set, or when the file cannot be read, is empty or is
    no text.
    """
    plain, file = place.get(name), place.get(name + SUFFIX)
    if plain and file:
        raise ConfigurationError(f"both {name} and {name}{SUFFIX} are set; leave one of them out")
    if plain:
        return plain.strip(), name
    return (_content(name + SUFFIX, Path(file)), name + SUFFIX) if file else None


def _content(name: str, path: Path) -> str:
    try:
        with path.expanduser().open("rb") as stream:
            raw = stream.read(_MOST_BYTES + 1)
        text = raw[:_MOST_BYTES].decode("utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"{name}: {path} cannot be read ({error.strerror}); name a file that this user may read"
        ) from error
    except UnicodeDecodeError:  # its own message would hold the content
        raise ConfigurationError(f"{name}: {path} is no text in UTF-8") from None
    if len(raw) > _MOST_BYTES:
        raise ConfigurationError(f"{name}: {path} is larger than {_MOST_BYTES} bytes; no secret is")
    if not text:
        raise ConfigurationError(f"{name}: {path} is empty; write the value into it")
    return text


def fill_in_secrets(
    environment: MutableMapping[str, str], env_file: Mapping[str, str] | None = None
) -> set[str]:
    """Put the secrets of `SECRETS` into `environment`, where libraries look for them, from the
    files that it names or from an env file; the values that are known then.

    Raises ConfigurationError as `value_of` does.
    """
    known: set[str] = set()
    for name in SECRETS:
        found = value_of(name, environment) or value_of(name, env_file or {})
        if found is not None:
            environment[name] = found[0]
            environment.pop(name + SUFFIX, None)  # so that asking twice is no contradiction
            known.add(found[0])
    return known
