"""From the image field of a synapse to bytes."""

from __future__ import annotations

import binascii

from natix_miner.errors import EmptyPictureError, NotBase64Error

_DROP_BLANKS = str.maketrans("", "", " \t\r\n\f\v")


def decode_base64(text: str) -> bytes:
    """The bytes that `text` holds in the standard base64 alphabet with padding (RFC 4648, 4).

    Blanks and line breaks (as `base64.encodebytes` and mail programs put in) are tolerated
    anywhere; anything else that is not base64 is refused: a missing or surplus padding, the
    URL-safe alphabet, a `data:` prefix. No part of the text goes into a message.

    Raises EmptyPictureError when there is nothing or nothing but blanks, else NotBase64Error.
    """
    data = _decoded(text)
    if data is None:
        data = _decoded(text.translate(_DROP_BLANKS))
    if data is None:
        raise NotBase64Error(
            f"the image field ({len(text)} characters) is not base64; send the standard alphabet"
            " with padding and no data: prefix"
        )
    if not data:
        raise EmptyPictureError("the image field is empty; send the base64 of a picture")
    return data


def _decoded(text: str) -> bytes | None:
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error is one; characters outside ASCII raise it plainly
        return None
    # Surplus padding gets past the strict mode of Python 3.11 and 3.12.
    return data if len(text) == 4 * ((len(data) + 2) // 3) else None
