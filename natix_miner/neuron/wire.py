"""The bytes of the axon protocol: headers and body of a request in, headers and body of a reply
out.

The same wire as `bt.Axon` and `bt.Dendrite` of 9.x and 10.x (a test runs both beside this one),
with three differences on purpose. The picture is not echoed. Requests that the SDK answers with 500
get a 4xx that says what is wrong. What the sender is told about himself is read from the headers,
which were checked, and not from the copy of them in the body."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from natix_miner.errors import RefusedRequestError
from natix_miner.images.base64_picture import decode_base64

SYNAPSE = "ImageSynapse"
ROUTE = f"/{SYNAPSE}"

#: The synapse has no hashed fields, so its body hash is that of nothing, whatever the picture.
EMPTY_BODY_HASH = hashlib.sha3_256(b"").hexdigest()

#: A body has some thirty JSON members; more than this is made to fill memory while it is parsed.
_MAX_MEMBERS = 1000
_ADDRESS = re.compile(r"[1-9A-HJ-NP-Za-km-z]{40,60}\Z")
AXON_PREFIX, DENDRITE_PREFIX = "bt_header_axon_", "bt_header_dendrite_"
_KNOWN = {"timeout", "total_size", "header_size", "computed_body_hash", "content-type"}

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the headers of a request say; nothing of it is verified yet. None: not sent."""

    hotkey: str | None
    nonce: int | None
    uuid: str | None
    signature: str | None
    version: int | None
    ip: str | None
    axon_hotkey: str | None
    axon_ip: str | None
    axon_port: int | None
    body_hash: str | None
    timeout: float | None
    total_size: int | None
    content_type: str | None


@dataclass(frozen=True, slots=True)
class RequestBody:
    """What the body of a request says: the encoded picture and the label (-1: not told)."""

    picture: bytes
    label: int


def parse_head(headers: Iterable[tuple[bytes, bytes]]) -> RequestHead:
    """Read the headers of a request (names in lower case, as ASGI has them).

    Raises RefusedRequestError (400) for a number that is none.
    """
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1")
        if name.startswith("bt_header_") or name in _KNOWN:
            found[name] = raw_value.decode("latin-1")
    return RequestHead(
        hotkey=_address(found, f"{DENDRITE_PREFIX}hotkey"),
        nonce=_integer(found, f"{DENDRITE_PREFIX}nonce"),
        uuid=found.get(f"{DENDRITE_PREFIX}uuid"),
        signature=found.get(f"{DENDRITE_PREFIX}signature"),
        version=_integer(found, f"{DENDRITE_PREFIX}version"),
        ip=found.get(f"{DENDRITE_PREFIX}ip"),
        axon_hotkey=_address(found, f"{AXON_PREFIX}hotkey"),
        axon_ip=found.get(f"{AXON_PREFIX}ip"),
        axon_port=_integer(found, f"{AXON_PREFIX}port"),
        body_hash=found.get("computed_body_hash"),
        timeout=_seconds(found, "timeout"),
        total_size=_integer(found, "total_size"),
        content_type=found.get("content-type"),
    )


def _address(found: dict[str, str], name: str) -> str | None:
    text = found.get(name)
    if text and not _ADDRESS.match(text):
        raise _malformed(f"header {name} is not an SS58 address; send the address of a hotkey")
    return text or None


def _integer(found: dict[str, str], name: str) -> int | None:
    text = found.get(name)
    if not text:
        return None
    if len(text) > 20 or not (text.isascii() and text.isdigit()):
        raise _malformed(f"header {name} is not a whole number of at most 20 digits")
    return int(text)


def _seconds(found: dict[str, str], name: str) -> float | None:
    text = found.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise _malformed(f"header {name} is not a number of seconds") from None
    if not math.isfinite(value):
        raise _malformed(f"header {name} is not a finite number of seconds")
    return value


def _malformed(message: str) -> RefusedRequestError:
    return RefusedRequestError(400, "malformed-header", message)


def _bad_body(message: str) -> RefusedRequestError:
    return RefusedRequestError(400, "malformed-body", message)


def parse_body(body: bytes) -> RequestBody:
    """Read the body of a request: one JSON object with `image` and `testnet_label`.

    Other members are ignored, as the SDK does. Raises RefusedRequestError (400) for what is not
    such an object, EmptyPictureError or NotBase64Error for its picture."""
    if not body:
        raise _bad_body("the body is empty; send an ImageSynapse as JSON")
    if body.count(b",") > _MAX_MEMBERS:  # depth is bounded by the parser itself
        raise _bad_body(f"the body has more than {_MAX_MEMBERS} members; send an ImageSynapse")
    try:
        fields = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise _bad_body("the body is not UTF-8; send an ImageSynapse as JSON") from None
    except (ValueError, RecursionError):
        raise _bad_body("the body is not JSON; send an ImageSynapse as JSON") from None
    if not isinstance(fields, dict):
        raise _bad_body("the body is not a JSON object; send an ImageSynapse")
    image, label = fields.get("image", ""), fields.get("testnet_label", -1)
    if not isinstance(image, str):
        raise _bad_body("member image is not a string; send the base64 of a picture")
    if isinstance(label, bool) or not isinstance(label, int) or not -1 <= label <= 1:
        raise _bad_body("member testnet_label is not -1, 0 or 1")
    return RequestBody(picture=decode_base64(image), label=label)
