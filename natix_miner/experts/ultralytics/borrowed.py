"""The loaded checkpoint that an expert uses, shared with others of the same file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from natix_miner.errors import ModelError
from natix_miner.experts.family import Surroundings
from natix_miner.experts.ultralytics.phrases import read_phrases
from natix_miner.experts.ultralytics.running import Runner, Source, load_runner
from natix_miner.experts.ultralytics.settings import UltralyticsSettings
from natix_miner.experts.weights.shared import Shared
from natix_miner.images.frame import Pixels

#: What the package calls the things that a checkpoint can do, by what an expert does with them.
TASKS = {"detect": ("detect", "segment"), "classify": ("classify",)}


class Borrowed:
    """The runner that an expert uses, shared with others of the same file."""

    def __init__(
        self, name: str, settings: UltralyticsSettings, surroundings: Surroundings
    ) -> None:
        self._name = name
        self._settings = settings
        self._models = surroundings.models
        embeddings = settings.phrase_embeddings
        self._source = Source(
            file=(surroundings.folder / settings.file).resolve(),
            sha256=settings.sha256,
            device=settings.device,
            precision=settings.precision,
            phrase_embeddings=(surroundings.folder / embeddings).resolve() if embeddings else None,
            phrases=tuple(settings.phrases),
        )
        self._shared: Shared[Runner] | None = None

    def load(self) -> Runner:
        """The runner, loaded when nobody has it yet; raises ModelError, also for another task."""
        self.give_back()
        self._shared = self._models.acquire(self._source, self._loaded)
        runner = self._shared.value
        if runner.task not in TASKS[self._settings.task]:
            self.give_back()
            raise ModelError(
                f"expert {self._name!r}: {self._source.file} is made to {runner.task}, the profile "
                f"says `task: {self._settings.task}`"
            )
        return runner

    def _loaded(self) -> Runner:
        file, wanted = self._source.phrase_embeddings, self._source.phrases
        phrases = read_phrases(self._name, file) if file is not None else None
        if phrases is not None and file is not None and wanted:
            phrases = phrases.only(wanted, file)
        return load_runner(self._name, self._source, phrases)

    def look(
        self, pictures: list[Pixels], threshold: float, wanted: Sequence[int] | None = None
    ) -> list[Any]:
        """What the package says of each picture (see `Runner.look`); one caller at a time."""
        if self._shared is None:
            raise ModelError(f"expert {self._name!r} was asked before it was loaded")
        with self._shared.lock:
            return self._shared.value.look(pictures, self.size, threshold, wanted)

    @property
    def size(self) -> int:
        """The side in pixels at which the network sees a view."""
        trained_at = self._shared.value.image_size if self._shared is not None else 640
        return self._settings.image_size or trained_at

    def give_back(self) -> None:
        """The last one who does lets the model go; may be called twice."""
        if self._shared is not None:
            self._shared = None
            self._models.release(self._source)
