"""The counters of the miner, and the place where all other figures are hung up to be read.

Labels are drawn from fixed words, from the names of the profile and from the uids of the subnet;
nothing that a sender writes becomes one. What others know already (servers, experts, chain,
journal) is asked for when somebody scrapes and costs a query nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from natix_miner.cascade.verdict import Verdict
from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.consensus import Standing
from natix_miner.judge import ServerStatus
from natix_miner.neuron.metrics.chain import ChainCollector, WatchedChain
from natix_miner.neuron.metrics.children import Children
from natix_miner.neuron.metrics.hours import LastHour
from natix_miner.neuron.metrics.judging import (
    BatchCollector,
    BreakerCollector,
    ExpertCollector,
    ServerCollector,
    WatchedJudge,
)
from natix_miner.neuron.snapshot import ChainSnapshot
from natix_miner.query import DEFAULT_DEADLINE_SECONDS

#: After this many seconds a validator of this subnet waits no longer (shared by all of them).
VALIDATOR_SECONDS = 9.0
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, VALIDATOR_SECONDS, 12)
_EXPERT_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6, 7)
_OUTCOME_VALIDATOR = ["outcome", "validator"]
#: The validator of a query whose sender is not in the snapshot (any more).
OTHER = "other"
#: Losses that are about one verdict and say nothing of the journal.
_OF_ONE_VERDICT = {"duplicate", "unwritable"}


class Metrics:
    """All figures of one miner; also the transport's observer (see `transport.Observer`).

    An answer that takes longer than `deadline_seconds` counts as late.
    """

    def __init__(
        self,
        deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        # When a series began is told by natix_start_time_seconds, once instead of once a series.
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self._deadline = deadline_seconds
        self._clock = clock
        self._snapshot: Callable[[], ChainSnapshot | None] = lambda: None
        self._last_loss: tuple[float, str] | None = None
        self._make_counters({"registry": self.registry})
        self._make_gauges({"registry": self.registry})
        ProcessCollector(registry=self.registry)

    def _make_counters(self, made: dict[str, Any]) -> None:
        self._queries = Children(
            Counter("natix_queries", "Queries by outcome and sender", _OUTCOME_VALIDATOR, **made)
        )
        self._late = Counter("natix_late", "Answers given after the deadline", **made)
        bounds = sorted({*_SECONDS, float(self._deadline)})
        self._latency = Histogram(
            "natix_answer_seconds",
            "Arrival to answer, or to the lack of one",
            buckets=bounds,
            **made,
        )
        self._levels = Children(Counter("natix_level", "Last level entered", ["level"], **made))
        self._experts = Children(
            Counter("natix_expert", "Experts by status", ["expert", "status"], **made)
        )
        self._expert_seconds = Children(
            Histogram(
                "natix_expert_seconds",
                "Time of an expert that was asked",
                ["expert"],
                buckets=_EXPERT_SECONDS,
                **made,
            )
        )
        self._refusals = Counter("natix_refusals", "Refused requests", ["status", "reason"], **made)
        self._pictures = Counter("natix_picture_errors", "Unjudgeable pictures", ["reason"], **made)
        self._losses = Counter("natix_journal_losses", "Lost verdicts", ["reason"], **made)
        self._reloads = Counter(
            "natix_consensus_reloads", "Reloads of the fitted file", ["outcome"], **made
        )

    def _make_gauges(self, made: dict[str, Any]) -> None:
        self._in_flight = Gauge("natix_in_flight", "Requests being worked on", **made)
        self._ready = Gauge("natix_ready", "1 when /readyz says 200", **made)
        self._build = Info("natix_build", "What runs", **made)
        started = Gauge("natix_start_time_seconds", "When it was started, unix seconds", **made)
        started.set(self._clock.time())
        self._last_hour = LastHour(self._clock)
        hour = Gauge("natix_queries_last_hour", "Queries of the last 60 minutes", **made)
        hour.set_function(lambda: float(self._last_hour.count()))

    # -- what happens to queries ---------------------------------------------------------------

    def refused(self, status: int, reason: str, asked_by: str | None) -> None:
        """Count a refusal."""
        self._refusals.labels(str(status), reason).inc()

    def picture_refused(self, reason: str, asked_by: str) -> None:
        """Count a picture that could not be judged."""
        self._pictures.labels(reason).inc()
        self._query("picture-error", asked_by)

    def answered(self, verdict: Verdict, seconds: float) -> None:
        """Count an answer, or the lack of one, with how it came about."""
        self._query(
            "no-answer" if verdict.probability is None else "answered",
            verdict.trace.query.asked_by,
        )
        self._latency.observe(seconds)
        if verdict.probability is not None and seconds > self._deadline:
            self._late.inc()
        self._levels.of(verdict.trace.answer.level or "none").inc()
        for level in verdict.trace.levels:
            for expert in level.experts:
                self._experts.of(expert.name, expert.status).inc()
                if expert.status != "skipped":
                    self._expert_seconds.of(expert.name).observe(expert.ms / 1000.0)

    def _query(self, outcome: str, asked_by: str | None) -> None:
        self._last_hour.add()
        self._queries.of(outcome, self._validator(asked_by)).inc()

    def _validator(self, hotkey: str | None) -> str:
        snapshot = self._snapshot()
        neuron = snapshot.neuron_of(hotkey) if snapshot and hotkey else None
        return OTHER if neuron is None else str(neuron.uid)

    # -- what happens to the miner -------------------------------------------------------------

    def journal_lost(self, reason: str, count: int) -> None:
        """Count verdicts that the journal did not take (called from its thread)."""
        self._losses.labels(reason).inc(count)
        if reason not in _OF_ONE_VERDICT:
            self._last_loss = (self._clock.monotonic(), reason)

    def journal_loss_within(self, seconds: float) -> str | None:
        """Why the journal lost a verdict within so many seconds; None when it did not."""
        last = self._last_loss
        if last is None or self._clock.monotonic() - last[0] > seconds:
            return None
        return last[1]

    def reloaded(self, outcome: str) -> None:
        """Count an attempt to read the fitted file again."""
        self._reloads.labels(outcome).inc()

    # -- what is read whenever somebody scrapes ------------------------------------------------

    def tell_build(self, version: str, profile: str, digest: str) -> None:
        """What runs: version of the miner, name and digest of its profile."""
        self._build.info({"version": version, "profile": profile, "digest": digest})

    def watch_ready(self, ready: Callable[[], bool]) -> None:
        """Whether the miner is ready."""
        self._ready.set_function(lambda: float(ready()))

    def watch_axon(self, in_flight: Callable[[], int]) -> None:
        """The requests inside."""
        self._in_flight.set_function(lambda: float(in_flight()))

    def watch_chain(self, chain: WatchedChain, own_hotkey: str) -> None:
        """The chain as the miner sees it; its snapshot also tells the uids of senders."""
        self._snapshot = lambda: chain.snapshot
        self.registry.register(ChainCollector(chain, own_hotkey))

    def watch_journal(self, queued: Callable[[], int]) -> None:
        """The verdicts that wait for the journal."""
        queue = Gauge("natix_journal_queue", "Verdicts not yet written", registry=self.registry)
        queue.set_function(lambda: float(queued()))

    def watch_judge(self, judge: WatchedJudge) -> None:
        """All that a judge knows by itself."""
        self.watch_servers(judge.server_status)
        self.watch_experts(judge.standings)
        self.registry.register(BreakerCollector(judge.asked))
        self.registry.register(BatchCollector(judge.batch_sizes))

    def watch_servers(self, status: Callable[[], Mapping[str, ServerStatus]]) -> None:
        """The servers' states."""
        self.registry.register(ServerCollector(status))

    def watch_experts(self, standings: Callable[[], Mapping[str, Standing]]) -> None:
        """How the experts stand against the fit."""
        self.registry.register(ExpertCollector(standings))
