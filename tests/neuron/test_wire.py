"""Headers and bodies, whatever they hold."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.errors import PictureError, RefusedRequestError
from natix_miner.neuron.reply import refusal_reply, success_reply
from natix_miner.neuron.wire import parse_body, parse_head

NAMES = st.sampled_from(
    ["timeout", "total_size", "computed_body_hash", "content-type"]
    + [
        f"bt_header_{side}_{field}"
        for side in ("axon", "dendrite")
        for field in ("hotkey", "nonce", "uuid", "signature", "version", "port", "ip", "else")
    ]
)


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(body):
    with contextlib.suppress(RefusedRequestError, PictureError):
        parse_body(body)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_image_member_is_read_or_refused(image):
    with contextlib.suppress(RefusedRequestError, PictureError):
        parse_body(json.dumps({"image": image}).encode())


@given(st.lists(st.tuples(NAMES, st.text(st.characters(max_codepoint=255), max_size=40))))
def test_any_headers_are_read_or_refused_and_can_be_replied_to(headers):
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    try:
        head = parse_head(raw)
    except RefusedRequestError:
        return
    for reply, body in (
        success_reply(head, -1, 0.25, 0.1),
        refusal_reply(403, "no", 0.1, head, None, ("127.0.0.1", 5)),
    ):
        json.loads(body)
        for name, value in reply:
            assert name.isascii()
            assert b"\r" not in value
            assert b"\n" not in value
            assert b"\0" not in value


def test_the_picture_arrives_and_the_label_with_it():
    body = json.dumps({"image": base64.b64encode(b"abc").decode(), "testnet_label": 1, "x": [1]})
    parsed = parse_body(body.encode())
    assert (parsed.picture, parsed.label) == (b"abc", 1)


def test_a_label_that_is_not_sent_is_unknown():
    assert parse_body(b'{"image": "QUJD"}').label == -1


@pytest.mark.parametrize("label", ["true", "0.0", '"1"', "null", "2"])
def test_a_label_is_a_whole_number_or_refused(label):
    with pytest.raises(RefusedRequestError, match="testnet_label"):
        parse_body(b'{"image": "QUJD", "testnet_label": ' + label.encode() + b"}")


def test_the_reply_holds_no_picture_and_is_small():
    head = parse_head([(b"timeout", b"9.0")])
    _, body = success_reply(head, 1, 0.75, 0.01)
    assert json.loads(body)["image"] == ""
    assert json.loads(body)["prediction"] == 0.75
    assert len(body) < 1000


def test_a_message_with_line_breaks_cannot_add_headers():
    headers, _ = refusal_reply(400, "one\r\nbt_header_axon_status_code: 200", 0.1)
    value = dict(headers)[b"bt_header_axon_status_message"]
    assert b"\r" not in value
    assert b"\n" not in value
