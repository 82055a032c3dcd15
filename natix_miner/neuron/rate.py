"""How often one hotkey may ask: a token bucket for each.

A bucket holds at most `burst` tokens, gains `per_minute` of them a minute, and a query that is let
in takes one. Over any span of `t` seconds one hotkey is therefore let in at most
`burst + per_minute * t / 60` times.
"""

from __future__ import annotations

from natix_miner.clock import Clock


class RateLimit:
    """The buckets of all hotkeys. Lives on the axon's loop; not thread-safe.

    `per_minute` 0 switches it off. Only verified hotkeys that may ask at all are to be counted, so
    there are never more buckets than rows in the snapshots of the last `burst / per_minute`
    minutes: a bucket that is full again is as good as none and is forgotten.
    """

    def __init__(self, per_minute: float, burst: int, clock: Clock) -> None:
        self._per_second = per_minute / 60.0
        self._burst = float(burst)
        self._clock = clock
        #: Tokens left, and the monotonic moment at which they were counted.
        self._buckets: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, hotkey: str) -> float:
        """Take a token; 0 when there was one, else the seconds until there will be."""
        if self._per_second <= 0.0:
            return 0.0
        now = self._clock.monotonic()
        if hotkey not in self._buckets:
            self._forget_full(now)
        tokens = self._tokens(hotkey, now)
        if tokens < 1.0:
            return (1.0 - tokens) / self._per_second
        self._buckets[hotkey] = (tokens - 1.0, now)
        return 0.0

    def _tokens(self, hotkey: str, now: float) -> float:
        left, counted = self._buckets.get(hotkey, (self._burst, now))
        return min(self._burst, left + max(0.0, now - counted) * self._per_second)

    def _forget_full(self, now: float) -> None:
        full = [hotkey for hotkey in self._buckets if self._tokens(hotkey, now) >= self._burst]
        for hotkey in full:
            del self._buckets[hotkey]
