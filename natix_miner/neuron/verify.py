"""Is this request really from the hotkey that it names, for us, and new?

What is signed is `nonce.dendrite_hotkey.axon_hotkey.uuid.computed_body_hash` (sr25519). The synapse
of this subnet declares no hashed fields, so that last part is the hash of nothing: **the picture is
not covered by the signature**. Who can alter a request on its way can swap the picture; only
transport encryption would help, and the network has none. What the signature does secure is who
asked, and that one signature is answered once.

The SDK's own check lets a sender widen the nonce window by unsigned headers (`timeout`, `version`),
takes nonces from the future and forgets none. Here the window is ours, on both sides of now.
"""

from __future__ import annotations

import hashlib
from collections import deque

from natix_miner.clock import Clock
from natix_miner.errors import RefusedRequestError
from natix_miner.neuron.wire import EMPTY_BODY_HASH, RequestHead


class Verifier:
    """Checks signature and nonce window for one axon hotkey.

    `window_seconds` bounds the age of a nonce (unix nanoseconds of the moment of signing) as well
    as how far it may lie ahead. Nonces from before this object was made are refused, so a restart
    does not open the door to what the last process has already answered. How long ago that was is
    told by the monotonic clock: a wall clock that is set right later changes nothing about it."""

    def __init__(self, hotkey: str, window_seconds: float, clock: Clock) -> None:
        self._hotkey = hotkey
        self._window = window_seconds
        self._clock = clock
        self._born = clock.monotonic()

    def verify(self, head: RequestHead) -> bytes:
        """A key that stands for this one signature, for `SeenNonces`.

        Raises RefusedRequestError (401) and says why.
        """
        from bittensor_wallet import Keypair

        if head.hotkey is None:
            raise _refused("no-hotkey", "missing hotkey: send bt_header_dendrite_hotkey")
        if head.nonce is None:
            raise _refused("no-nonce", "missing nonce: send bt_header_dendrite_nonce")
        if not head.signature:
            raise _refused("unsigned", "missing signature: send bt_header_dendrite_signature")
        if head.axon_hotkey is not None and head.axon_hotkey != self._hotkey:
            raise _refused("other-axon", f"addressed to another axon; this one is {self._hotkey}")
        self._check_window(head.nonce)
        if head.body_hash != EMPTY_BODY_HASH:
            raise _refused(
                "body-hash", f"computed_body_hash of an ImageSynapse must be {EMPTY_BODY_HASH}"
            )
        message = f"{head.nonce}.{head.hotkey}.{self._hotkey}.{head.uuid}.{head.body_hash}"
        try:
            genuine = Keypair(ss58_address=head.hotkey).verify(message, head.signature)
        except ValueError:  # no SS58 address, no hex, not 64 bytes
            raise _refused("malformed-signature", "hotkey or signature is malformed") from None
        if not genuine:
            raise _refused("forged", "signature does not match; sign nonce, hotkeys, uuid, hash")
        return hashlib.blake2b(message.encode(), digest_size=16).digest()

    def _check_window(self, nonce: int) -> None:
        age = self._clock.time() - nonce / 1e9
        if age > min(self._window, self._clock.monotonic() - self._born):
            raise _refused(
                "stale-nonce", f"nonce is too old; sign at most {self._window:g} s before sending"
            )
        if -age > self._window:
            raise _refused(
                "future-nonce", f"nonce is over {self._window:g} s in the future; set your clock"
            )


class SeenNonces:
    """The signatures that were answered and could still be sent again.

    An entry lives for `lifetime_seconds`: twice the nonce window, after which the window itself
    refuses a repetition. Holds at most `capacity` entries (some 200 bytes each). When all of them
    are alive a new one is **refused with 503**: forgetting a live one would open the door to
    replays, and only permitted hotkeys get this far, at a pace that a loop which verifies
    signatures cannot exceed."""

    def __init__(self, lifetime_seconds: float, capacity: int, clock: Clock) -> None:
        self._lifetime = lifetime_seconds
        self._capacity = capacity
        self._clock = clock
        self._keys: set[bytes] = set()
        self._expiry: deque[tuple[float, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._keys)

    def remember(self, key: bytes) -> None:
        """Take note of one signature; raises RefusedRequestError when it was seen (401) or no
        room is left (503)."""
        now = self._clock.monotonic()
        while self._expiry and self._expiry[0][0] <= now:
            self._keys.discard(self._expiry.popleft()[1])
        if key in self._keys:
            raise _refused("replayed", "nonce was used before; sign every request anew")
        if len(self._keys) >= self._capacity:
            raise RefusedRequestError(
                503, "nonces-full", f"over {self._capacity} requests in {self._lifetime:g} s"
            )
        self._keys.add(key)
        self._expiry.append((now + self._lifetime, key))


def _refused(reason: str, message: str) -> RefusedRequestError:
    return RefusedRequestError(401, reason, f"not verified: {message}")
