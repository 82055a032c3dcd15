"""Models that several experts share: loaded once, given back when the last of them closes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Model = TypeVar("Model")


@dataclass(slots=True)
class Shared(Generic[Model]):
    """A loaded model; hold `lock` while running one that bears no two callers at once."""

    value: Model
    lock: threading.Lock = field(default_factory=threading.Lock)


class SharedModels:
    """Loaded models by a key that says all that makes them one: place, revision, device, precision.

    Thread-safe. Two experts that ask for the same key at the same time wait for one loading.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._loading: dict[Hashable, threading.Lock] = {}
        self._kept: dict[Hashable, Shared[Any]] = {}
        self._users: dict[Hashable, int] = {}

    def acquire(self, key: Hashable, load: Callable[[], Model]) -> Shared[Model]:
        """The model of this key, by `load` when nobody has it yet; whatever that raises is raised
        and nothing is kept."""
        with self._guard:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            if key not in self._kept:
                self._kept[key] = Shared(load())
            with self._guard:
                self._users[key] = self._users.get(key, 0) + 1
            found: Shared[Model] = self._kept[key]
            return found

    def release(self, key: Hashable) -> None:
        """One user less; the last one lets the model go."""
        with self._guard:
            left = self._users.get(key, 0) - 1
            if left > 0:
                self._users[key] = left
                return
            self._users.pop(key, None)
            self._kept.pop(key, None)

    def users(self, key: Hashable) -> int:
        """How many hold the model of this key."""
        with self._guard:
            return self._users.get(key, 0)
