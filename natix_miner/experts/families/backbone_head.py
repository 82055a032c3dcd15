"""A frozen backbone and a head of our own: DINOv3, DINOv2, SigLIP 2, PE-Core through timm.

The head is fitted on labelled pictures by scripts/fit_head.py, in minutes on a CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import ModelError
from natix_miner.experts.by_view import ByViewExpert, ByViewSettings
from natix_miner.experts.family import Family, Surroundings
from natix_miner.experts.weights.backbone import Backbone
from natix_miner.experts.weights.head import Feature, Head
from natix_miner.images.frame import Pixels


class BackboneHeadSettings(ByViewSettings):
    """`head` is the fitted file, counted from the profile; it says itself which feature of the
    backbone it looks at. `feature`, where given, is what the profile relies on: a head that was
    fitted on another one is refused."""

    type: Literal["backbone-head"] = "backbone-head"
    head: Path
    feature: Feature | None = None


class BackboneHead(ByViewExpert):
    """The head's log-odds of each view."""

    def __init__(
        self, name: str, settings: BackboneHeadSettings, surroundings: Surroundings
    ) -> None:
        super().__init__(name, settings, surroundings.clock)
        self._settings = settings
        self._surroundings = surroundings
        self._head: Head | None = None
        self._backbone: Backbone | None = None

    def load(self) -> None:
        settings = self._settings
        path = self._surroundings.folder / settings.head
        head = Head.load(path)
        if settings.feature not in (None, head.feature):
            raise ModelError(
                f"expert {self.name!r} wants a head of the feature {settings.feature!r}; {path} "
                f"was fitted on {head.feature!r}"
            )
        backbone = Backbone.load(self.name, settings, self._surroundings, head.feature)
        if backbone.digest != head.backbone or backbone.dimension != head.dimension:
            backbone.close()
            raise ModelError(
                f"the head {path} was fitted on the backbone {head.backbone} ({head.dimension} "
                f"numbers a vector), the one of expert {self.name!r} is {backbone.digest} "
                f"({backbone.dimension}); fit it anew with scripts/fit_head.py"
            )
        self._head, self._backbone = head, backbone
        self.side = backbone.side
        self.version = f"{backbone.digest}:{head.version}"

    def log_odds(self, pictures: list[Pixels]) -> NDArray[np.float32]:
        if self._head is None or self._backbone is None:
            raise ModelError(f"expert {self.name!r} was asked before it was loaded")
        return self._head.log_odds(self._backbone.of(pictures))

    async def close(self) -> None:
        await super().close()
        if self._backbone is not None:
            self._backbone.close()
            self._backbone = self._head = None


FAMILY = Family(type="backbone-head", settings=BackboneHeadSettings, build=BackboneHead)
