"""Experts that no longer vote as they did in the data of the fit weigh less (`drift` has the rule).

Nothing here reads a clock or throws dice: the same opinions in the same order give the same
factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from natix_miner.consensus.drift import AGREEMENT, SHIFT, DriftSettings, scores
from natix_miner.consensus.fitted import Expected
from natix_miner.consensus.pooled import Pooled
from natix_miner.consensus.window import Said, Window
from natix_miner.experts import Opinion

#: An expert that never changed its mind in the fit has no spread to measure a shift in (log-odds).
LEAST_SPREAD = 0.1
#: A drift that has been told is over below this score: no line for every query about the limit.
OVER = 0.75


@dataclass(frozen=True, slots=True)
class Standing:
    """How an expert stands against the fit.

    `reliability` in [floor, 1] is the factor of its trust, `score` how near it is to the limits (1:
    at one of them), `cause` which limit that is, empty while nothing can be said. `shift` in
    spreads, `agreement` and `missing` are over the window, None before there is enough in it.
    """

    expert: str
    votes: int = 0
    reliability: float = 1.0
    drifted: bool = False
    score: float = 0.0
    cause: str = ""
    shift: float | None = None
    agreement: float | None = None
    missing: float | None = None


class DriftWatch:
    """Compares experts with `expected`, each with those that were asked in the same queries.

    `levels` names the experts of each level in the order of the cascade; `tell` is called whenever
    an expert begins or ends to drift. Belongs to one thread; `standings` may be read from any.
    """

    def __init__(
        self,
        expected: Mapping[str, Expected],
        levels: Sequence[Iterable[str]],
        settings: DriftSettings,
        tell: Callable[[Standing], None],
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._expected = {name: one for name, one in expected.items() if one.n > 0}
        self._levels = [tuple(n for n in names if n in self._expected) for names in levels]
        # The later levels see only the queries that the first were unsure of, so each level is
        # judged in a window of its own, next to those before it in the very same queries.
        self._windows = [
            Window(tuple(n for one in self._levels[: depth + 1] for n in one), settings.window)
            for depth in range(len(self._levels))
        ]
        self.standings: Mapping[str, Standing] = {
            name: Standing(name) for names in self._levels for name in names
        }

    def factors(self) -> dict[str, float]:
        """The factor of each expert whose votes weigh less at present, in [floor, 1)."""
        return {
            name: standing.reliability
            for name, standing in self.standings.items()
            if standing.reliability < 1.0
        }

    def observe(self, opinions: Iterable[Opinion], pooled: Pooled | None) -> None:
        """Take in one query: all its opinions and what they pool to without any factor."""
        said = self._said(opinions, pooled)
        standings = dict(self.standings)
        for names, window in zip(self._levels, self._windows, strict=True):
            if said.keys().isdisjoint(names):
                continue
            window.add(said)
            found = scores(window, self._expected, self._settings)
            for name in names:
                standings[name] = self._standing(name, window, found.get(name, {}))
        before, self.standings = self.standings, standings
        for name, standing in standings.items():
            if standing.drifted != before[name].drifted:
                self._tell(standing)

    def _said(self, opinions: Iterable[Opinion], pooled: Pooled | None) -> dict[str, Said]:
        votes = {vote.expert: vote.log_odds for vote in pooled.votes} if pooled else {}
        side = pooled is not None and pooled.log_odds > 0.0
        said = {}
        for name in {opinion.expert for opinion in opinions} & self._expected.keys():
            log_odds = votes.get(name)
            if log_odds is None:
                said[name] = Said()
                continue
            expected = self._expected[name]
            shift = (log_odds - expected.mean) / max(expected.spread, LEAST_SPREAD)
            said[name] = Said(shift, (log_odds > 0.0) == side)
        return said

    def _standing(self, name: str, window: Window, found: Mapping[str, float]) -> Standing:
        tally = window.tallies[name]
        if not found:
            return Standing(name, tally.votes)
        cause, score = max(found.items(), key=lambda one: one[1])
        # A vote that is missing has no weight anyway; those that come are as good as before.
        worst = max(found.get(SHIFT, 0.0), found.get(AGREEMENT, 0.0))
        floor = self._settings.floor
        lost = (1.0 - floor) * min(1.0, max(0.0, worst - 1.0))
        voted = tally.votes >= self._settings.minimum
        return Standing(
            expert=name,
            votes=tally.votes,
            reliability=max(floor, 1.0 - lost),
            drifted=score > (OVER if self.standings[name].drifted else 1.0),
            score=score,
            cause=cause if score > 0.0 else "",
            shift=tally.shift if voted else None,
            agreement=tally.agreement if voted else None,
            missing=tally.missing,
        )
