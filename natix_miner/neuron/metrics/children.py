"""The labelled children of one metric, kept: looking one up again costs a tenth of `labels()`."""

from __future__ import annotations

from typing import Generic, TypeVar

from prometheus_client.metrics import MetricWrapperBase

Labelled = TypeVar("Labelled", bound=MetricWrapperBase)


class Children(Generic[Labelled]):
    """As many as there are sets of labels; those must be bounded by whoever asks."""

    def __init__(self, metric: Labelled) -> None:
        self._metric = metric
        self._made: dict[tuple[str, ...], Labelled] = {}

    def of(self, *labels: str) -> Labelled:
        """The child with these labels, in the order of the metric's own."""
        child = self._made.get(labels)
        if child is None:
            child = self._made[labels] = self._metric.labels(*labels)
        return child
