"""The actors of one run: employed, given work, replaced when they die."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from natix_miner import __version__
from natix_miner.errors import ConfigurationError, QuerySourceError
from natix_miner.scoring.engines.ray_cluster import RayCluster, RayOptions
from natix_miner.scoring.engines.shares import Place
from natix_miner.scoring.engines.worker import Introduction, Worker
from natix_miner.scoring.row import ScoredQuery

#: Deaths one after the other, without a row between them, after which more of it is no use.
MOST_BARREN = 4
_PATIENCE_SECONDS = 30.0
_CLOSING_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class Hand:
    """One actor: `joined` says what it is, None while it starts; `in_hand` are its calls.

    `alone` is set while it has a suspect, and nothing else, in hand.
    """

    number: int
    actor: Any
    joining: Any
    joined: Introduction | None = None
    alone: bool = False
    in_hand: dict[Any, Sequence[Place]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Happened:
    """What became of calls: rows that are ready, and the hands that died."""

    rows: list[ScoredQuery]
    died: list[Hand]


class Crew:
    """As many workers as the cluster was asked for, each with its own CPUs and GPUs.

    `make` are the arguments of `Worker`; `identity` is that of the saved queries where the run was
    started. An actor that differs from the first in what it judges with ends the run, one that dies
    is replaced, and `tell` hears of it.
    """

    def __init__(
        self,
        cluster: RayCluster,
        options: RayOptions,
        make: tuple[Any, ...],
        identity: str,
        tell: Callable[[str], None],
    ) -> None:
        self._ray = cluster.ray
        self._cluster = cluster
        self._make = make
        self._identity = identity
        self._tell = tell
        self._actors = self._ray.remote(Worker).options(
            num_cpus=options.cpus, num_gpus=options.gpus, max_restarts=0, max_task_retries=0
        )
        self._hired = 0
        self._barren = 0
        self._hands: list[Hand] = []
        self._first: Introduction | None = None
        #: How many died so far.
        self.deaths = 0
        for _ in range(cluster.workers):
            self._hire()

    def ready(self) -> list[Hand]:
        """The workers that can be given something."""
        return [hand for hand in self._hands if hand.joined is not None]

    def give(self, hand: Hand, places: Sequence[Place], *, alone: bool = False) -> None:
        """Have places judged by a worker."""
        hand.in_hand[hand.actor.score.remote(places)] = places
        hand.alone = alone

    def wait(self) -> Happened:
        """Wait until something has happened; raises what `Worker` does, ConfigurationError when
        workers differ, or die one after the other."""
        while not (ready := self._finished(_PATIENCE_SECONDS)):
            if not self.ready():
                self._tell(f"no worker is ready yet ({self._cluster.told_resources()})")
        return self._heard(ready)

    def finished(self) -> Happened:
        """What has happened already, without waiting."""
        return self._heard(self._finished(0.0))

    def close(self) -> None:
        """Have the judges closed; at most ten seconds."""
        closing = [hand.actor.close.remote() for hand in self.ready()]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSING_SECONDS)

    def end(self) -> None:
        """End all workers, whatever they are doing."""
        for hand in self._hands:
            self._ray.kill(hand.actor)

    def _hire(self) -> None:
        self._hired += 1
        actor = self._actors.remote(*self._make)
        self._hands.append(Hand(self._hired, actor, actor.introduce.remote()))

    def _finished(self, seconds: float) -> list[Any]:
        calls = [call for hand in self._hands for call in hand.in_hand]
        calls += [hand.joining for hand in self._hands if hand.joined is None]
        if not calls:
            return []
        ready, waiting = self._ray.wait(calls, num_returns=1, timeout=seconds)
        if ready and waiting:
            more, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
            ready += more
        return list(ready)

    def _heard(self, calls: Sequence[Any]) -> Happened:
        errors = self._ray.exceptions
        rows: list[ScoredQuery] = []
        died: list[Hand] = []
        by_call = {call: hand for hand in self._hands for call in (hand.joining, *hand.in_hand)}
        for call in calls:
            hand = by_call[call]
            try:
                said = self._ray.get(call)
            except errors.RayActorError:
                if hand not in died:
                    died.append(hand)
            except errors.RayTaskError as error:
                raise error.cause from None
            else:
                if call in hand.in_hand:
                    rows += said
                    del hand.in_hand[call]
                else:
                    self._join(hand, said)
        if rows:
            self._barren = 0
        for hand in died:
            self._replace(hand)
        return Happened(rows, died)

    def _join(self, hand: Hand, said: Introduction) -> None:
        first = self._first = self._first or said
        if said.miner != __version__:
            raise ConfigurationError(
                f"{said.host} runs natix-miner {said.miner}, the run was started by {__version__}: "
                "every machine needs the same"
            )
        if said.source != self._identity:
            raise QuerySourceError(
                f"the saved queries on {said.host} are not those of where the run was started: "
                "every machine needs the same files at the same path, copied with their times "
                "(cp -p, rsync -a)"
            )
        if said.versions != first.versions:
            raise ConfigurationError(
                f"workers do not judge alike: {said.host} has {said.versions}, {first.host} has "
                f"{first.versions}; every machine needs the same models"
            )
        hand.joined = said

    def _replace(self, hand: Hand) -> None:
        self._hands.remove(hand)
        self._ray.kill(hand.actor)  # one that is out of reach may still be alive
        self.deaths += 1
        self._barren += 1
        count = sum(map(len, hand.in_hand.values()))
        host = f" on {hand.joined.host}" if hand.joined else ", while it started"
        self._tell(
            f"worker {hand.number}{host} died with {count} queries in hand; another one takes its "
            "place"
        )
        if self._barren > MOST_BARREN:
            raise ConfigurationError(
                f"{self._barren} workers died one after the other and judged nothing: is there "
                "memory for so many? Ray's logs say more (/tmp/ray/session_latest/logs)"
            )
        self._hire()
