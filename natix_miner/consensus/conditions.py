"""What a consensus may know of a frame besides the votes: conditions, each in [0, 1].

The names begin with `frame-`, so that they never meet those that experts tell (night, haze).
"""

from __future__ import annotations

from typing import Protocol

#: A tilt of so many degrees or more counts whole.
WHOLE_TILT_DEGREES = 10.0

DARK, BLURRED, TILTED, PADDED = "frame-dark", "frame-blurred", "frame-tilted", "frame-padded"
FRAME_CONDITIONS = (DARK, BLURRED, TILTED, PADDED)


class Measured(Protocol):
    """What was measured on a frame: its geometry, or the picture in a trace."""

    @property
    def dark(self) -> bool:
        """Whether it is dark."""
        ...

    @property
    def blurred(self) -> bool:
        """Whether it is blurred."""
        ...

    @property
    def tilt_degrees(self) -> float:
        """How far it was rotated."""
        ...

    @property
    def padding_share(self) -> float:
        """Share of its area that is bars, in [0, 1]."""
        ...


def frame_conditions(measured: Measured) -> dict[str, float]:
    """The conditions of a frame, by name."""
    return {
        DARK: float(measured.dark),
        BLURRED: float(measured.blurred),
        TILTED: min(1.0, abs(measured.tilt_degrees) / WHOLE_TILT_DEGREES),
        PADDED: min(1.0, max(0.0, measured.padding_share)),
    }
