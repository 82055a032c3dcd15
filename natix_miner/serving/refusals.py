"""From a server's refusal to a sentence that helps, without the picture and the key in it."""

from __future__ import annotations

import json
import re

#: What to do, by HTTP status.
_ADVICE = {
    400: "the picture is broken, or the prompt longer than the server's max_model_len",
    401: "the API key is wrong: check `api_key_file`",
    403: "the API key is wrong or may not do this: check `api_key_file`",
    404: "it does not know this model or address: check `model` and `base_url`",
    405: "this is no server of chat completions: check `base_url`",
    413: "the picture is larger than the server takes: lower the view's max_pixels",
    422: "it does not take requests of this shape: check `engine` and `logprobs`",
    500: "see the server's log",
}
#: Statuses that are about the one request and say nothing against the server.
REQUEST_STATUSES = frozenset({400, 413})
#: Statuses that mean: too much to do, not broken.
FULL_STATUSES = frozenset({429, 503})

_MOST = 200
#: Longer than any word: pieces of pictures and keys look like this.
_ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{40,}")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


def said(body: bytes, key: str | None) -> str:
    """What the server says, on one line of at most 200 characters, fit for logs and traces."""
    text = _message(body)
    if key:
        text = text.replace(key, "…")
    text = _SPACE.sub(" ", _ENCODED.sub("…", text)).strip()
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def refusal(status: int, body: bytes, key: str | None) -> str:
    """The sentence for an HTTP status other than 200."""
    advice = _ADVICE.get(status) or _ADVICE[500 if status >= 500 else 405]
    words = said(body, key)
    return f"refused with {status}{f' ({words})' if words else ''}; {advice}"


def _message(body: bytes) -> str:
    """The message within the error, in the shapes that engines use; otherwise all of it."""
    text = body[:100_000].decode(errors="replace")
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return text
    while isinstance(read, dict):
        read = next((read[k] for k in ("error", "message", "detail") if read.get(k)), None)
    return read if isinstance(read, str) else text
