"""Everything that looks at a frame and has an opinion."""

from __future__ import annotations

from natix_miner.experts.base import Expert
from natix_miner.experts.opinion import Evidence, Look, Opinion, Status

__all__ = ["Evidence", "Expert", "Look", "Opinion", "Status"]
