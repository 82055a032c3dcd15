"""SIGHUP: the fitted consensus is read again and exchanged between two queries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from loguru import logger

from natix_miner.assembly import build_consensus, build_drift
from natix_miner.consensus import Consensus, DriftWatch, Standing
from natix_miner.errors import FittedFileError
from natix_miner.neuron.metrics import Metrics
from natix_miner.profile import Profile


class TakesConsensus(Protocol):
    """The part of a judge that a reload needs (`natix_miner.judge.JudgeThread`)."""

    @property
    def consensus_version(self) -> str:
        """The consensus that queries begin with at present."""
        ...

    async def swap_consensus(self, consensus: Consensus, drift: DriftWatch | None) -> None:
        """Begin all further queries with this one."""
        ...

    def standings(self) -> Mapping[str, Standing]:
        """How the experts stand against the fit."""
        ...


class ConsensusReload:
    """Reads the fitted file of the profile whenever asked to, one reload at a time.

    A file that is missing, cut off, or of other experts is refused with the reason, and the
    consensus in use stays. What the profile itself says is not read again.
    """

    def __init__(self, profile: Profile, judge: TakesConsensus, metrics: Metrics) -> None:
        self._profile = profile
        self._judge = judge
        self._metrics = metrics
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have it read again soon; asking twice before that is asking once."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever asked, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            reloading = asyncio.ensure_future(self._reload())
            await asyncio.wait({reloading})
            # Looked at instead of caught: whatever went wrong, the next signal is heard.
            failure = reloading.exception()
            if failure is not None:
                self._metrics.reloaded("failed")
                logger.opt(exception=failure).error("reloading the consensus failed")

    async def _reload(self) -> None:
        settings, old = self._profile.consensus, self._judge.consensus_version
        if settings.fitted is None:
            self._metrics.reloaded("none")
            logger.warning("the profile names no fitted consensus: nothing to read again")
            return
        try:
            consensus = await asyncio.to_thread(build_consensus, self._profile)
        except FittedFileError as error:
            self._metrics.reloaded("refused")
            logger.error("fitted consensus refused, {} stays in use: {}", old, error)
            return
        if consensus.version == old:
            self._metrics.reloaded("unchanged")
            logger.info("fitted consensus read again: {} as before", old)
            return
        drift = build_drift(self._profile, consensus, tell_drift)
        await self._judge.swap_consensus(consensus, drift)
        self._metrics.reloaded("swapped")
        logger.info("fitted consensus exchanged: {} instead of {}", consensus.version, old)
        tell_watch(self._profile, self._judge.standings())


def tell_watch(profile: Profile, standings: Mapping[str, Standing]) -> None:
    """Say once whether experts are watched for drift."""
    if standings:
        logger.info("watching {} experts for drift from the fit", len(standings))
    elif profile.consensus.drift.enabled:
        logger.info("no watch for drift: the fitted consensus does not say how its experts behaved")


def tell_drift(standing: Standing) -> None:
    """Say that an expert has begun or ended to drift."""
    if not standing.drifted:
        logger.info("expert {} no longer drifts from the fit", standing.expert)
        return
    said = {
        "mean moved by": None if standing.shift is None else f"{standing.shift:+.2f} spreads",
        "agreement": None if standing.agreement is None else f"{standing.agreement:.2f}",
        "missing": None if standing.missing is None else f"{standing.missing:.2f}",
    }
    logger.warning(
        "expert {} drifts from the fit by its {}, {:.2f} times the limit ({}; {} votes); its trust"
        " is multiplied by {:.2f}",
        standing.expert,
        standing.cause,
        standing.score,
        ", ".join(f"{what} {value}" for what, value in said.items() if value is not None),
        standing.votes,
        standing.reliability,
    )
