"""The miner: everything tied together, from the first check to the last closed file.

Order of starting: what can be wrong without loading anything (settings, wallet, port, snapshot
file) comes first; the axon accepts only our own rehearsal until a whole question has gone through
the real socket. Order of stopping: no new requests, wait for those in flight, refuse the rest,
close the judge, then the journal, within the drain time of the profile; servers of
vision-language models may take their own `stop_seconds` beyond it."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Protocol

from loguru import logger

from natix_miner import __version__
from natix_miner.cascade.verdict import NO_ANSWER
from natix_miner.clock import Clock
from natix_miner.journal import JournalWriter
from natix_miner.judge import ServerStatus
from natix_miner.neuron.admission import Admission, AdmissionRules
from natix_miner.neuron.answering import Answering, AsksJudge
from natix_miner.neuron.axon import LeanAxon, bind
from natix_miner.neuron.chain import ChainWatch
from natix_miner.neuron.chain_setup import start_chain
from natix_miner.neuron.guard import raise_descriptor_limit
from natix_miner.neuron.health import LOSS_SECONDS, Health, Phase
from natix_miner.neuron.metrics import Metrics
from natix_miner.neuron.otlp import SpanSender
from natix_miner.neuron.rate import RateLimit
from natix_miner.neuron.refusals import RefusalLog
from natix_miner.neuron.rehearsal import rehearse
from natix_miner.neuron.reload import ConsensusReload, TakesConsensus, tell_watch
from natix_miner.neuron.server import AxonApp
from natix_miner.neuron.settings import RunSettings
from natix_miner.neuron.verify import SeenNonces, Verifier
from natix_miner.neuron.wallet import MinerKeys
from natix_miner.profile import Profile

#: Seconds that the last steps of stopping are kept free of the drain time.
_CLOSING_SECONDS = 2.5
#: Seconds that spans have at the end to reach their collector.
_SPANS_SECONDS = 1.0
_MEGABYTE = 1_000_000


class RunsJudge(AsksJudge, TakesConsensus, Protocol):
    """A judge that runs off the axon's loop (`natix_miner.judge.JudgeThread`)."""

    async def start(self) -> None:
        """Load and warm up."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...

    def server_status(self) -> Mapping[str, ServerStatus]:
        """How the servers are doing that its experts ask."""
        ...

    def asked(self) -> Mapping[str, bool]:
        """Whether each expert is asked at present."""
        ...

    def batch_sizes(self) -> Mapping[str, Mapping[int, int]]:
        """How many batches of which size each expert has run."""
        ...


class Miner:
    """One miner process. `say` prints the ready line, `on_drain` is called when it begins to refuse
    new queries; `rng` is for the jitter of retries."""

    def __init__(
        self,
        settings: RunSettings,
        profile: Profile,
        keys: MinerKeys,
        judge: RunsJudge,
        clock: Clock,
        rng: random.Random,
        say: Callable[[str], None],
        on_drain: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._profile = profile
        self._limits = profile.neuron
        self._keys = keys
        self._judge = judge
        self._clock = clock
        self._rng = rng
        self._say = say
        self._on_drain = on_drain
        self._metrics = Metrics(profile.deadline_seconds, clock)
        self._metrics.tell_build(__version__, profile.name, profile.digest)
        self._reload = ConsensusReload(profile, judge, self._metrics)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ask the miner to end; `run` returns when it has."""
        self._stop.set()

    def reload(self) -> None:
        """Ask the miner to read its fitted consensus again; while it starts, once it has."""
        self._reload.ask()

    async def run(self) -> None:
        """Serve until `stop`; raises NatixMinerError when it cannot start."""
        async with AsyncExitStack() as closing:
            starting = asyncio.ensure_future(self._start(closing))
            stopped = asyncio.ensure_future(self._stop.wait())
            try:
                await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not starting.done():
                    logger.info("stopped while starting")
                    starting.cancel()
                    await asyncio.wait({starting})
                    return
                axon, admission, answering = starting.result()
                await stopped
            finally:
                stopped.cancel()
            await self._drain(axon, admission, answering)

    async def _start(self, closing: AsyncExitStack) -> tuple[LeanAxon, Admission, Answering]:
        settings, limits = self._settings, self._limits
        raise_descriptor_limit()
        health = self._watch_health()
        listener = bind(settings.axon_host, settings.axon_port)
        closing.callback(listener.close)
        if settings.metrics_port is not None:
            from natix_miner.neuron.metrics.server import serve_watching

            closing.callback(
                serve_watching(
                    settings.metrics_host,
                    settings.metrics_port,
                    self._metrics.registry,
                    health,
                    self._clock,
                )
            )
        chain = start_chain(
            settings, limits, self._keys, int(listener.getsockname()[1]), self._clock, self._rng
        )
        closing.callback(chain.stop, 0.5)
        health.chain = chain
        self._metrics.watch_chain(chain, self._keys.address)
        spans = None
        if settings.otlp_endpoint is not None:
            sender = SpanSender(settings.otlp_endpoint, self._metrics.registry, self._clock)
            closing.push_async_callback(asyncio.to_thread, sender.close, _SPANS_SECONDS)
            spans = sender.record
        record = None
        if self._profile.journal.enabled:
            journal = self._open_journal()
            closing.push_async_callback(asyncio.to_thread, journal.close, _CLOSING_SECONDS / 2)
            record = journal.record
            self._watch_journal(health, journal)
        closing.push_async_callback(self._close_judge)
        self._metrics.watch_judge(self._judge)
        await self._judge.start()
        health.judge = self._judge
        tell_watch(self._profile, self._judge.standings())

        workers = ThreadPoolExecutor(2, thread_name_prefix="axon")
        closing.callback(workers.shutdown, wait=False, cancel_futures=True)
        answering = Answering(
            self._judge,
            record,
            self._metrics,
            self._clock,
            self._profile.deadline_seconds,
            workers,
            spans=spans,
        )
        admission = self._admission(chain)
        app = AxonApp(
            self._keys.hotkey,
            admission,
            answering,
            RefusalLog(self._metrics, self._clock),
            self._clock,
            workers,
            body_seconds=self._profile.deadline_seconds,
        )
        axon = LeanAxon(
            listener,
            app,
            keep_alive_seconds=limits.keep_alive_seconds,
            head_seconds=limits.head_seconds,
            clock=self._clock,
        )
        self._metrics.watch_axon(lambda: admission.in_flight)
        health.axon_up = lambda: axon.up
        admission.rehearsing = True
        await axon.start()
        closing.push_async_callback(axon.stop, 1.0)
        prediction = await rehearse(
            axon.address, self._keys.hotkey, self._clock, self._profile.deadline_seconds + 2.0
        )
        if prediction == NO_ANSWER:
            logger.warning("the rehearsal got no answer: no expert has a usable opinion")
        logger.info("rehearsal answered {:.4f} through {}:{}", prediction, *axon.address)
        admission.rehearsing = False
        reloading = asyncio.ensure_future(self._reload.run())
        closing.callback(reloading.cancel)
        health.phase = Phase.SERVING
        self._ready(axon, chain)
        return axon, admission, answering

    def _watch_health(self) -> Health:
        self._health = Health(asyncio.get_running_loop(), self._clock)
        self._metrics.watch_ready(lambda: self._health.readiness().ready)
        return self._health

    def _watch_journal(self, health: Health, journal: JournalWriter) -> None:
        def why_not() -> str | None:
            return journal.refuses() or self._metrics.journal_loss_within(LOSS_SECONDS)

        self._metrics.watch_journal(lambda: journal.stats().queued)
        health.journal = why_not

    def _open_journal(self) -> JournalWriter:
        journal = self._profile.journal
        if self._settings.journal is not None:
            journal = journal.model_copy(update={"path": self._settings.journal})
        writer = JournalWriter(journal, clock=self._clock, on_loss=self._metrics.journal_lost)
        return writer.start()

    def _admission(self, chain: ChainWatch) -> Admission:
        limits, window = self._limits, self._limits.nonce_window_seconds
        own = self._keys.address
        body = self._settings.max_body_megabytes or limits.max_body_megabytes
        return Admission(
            own,
            Verifier(own, window, self._clock),
            SeenNonces(2 * window, limits.max_nonces, self._clock),
            lambda: chain.snapshot,
            AdmissionRules(
                max_body_bytes=int(body * _MEGABYTE),
                max_held_bytes=int(max(body, limits.max_in_flight_megabytes) * _MEGABYTE),
                max_in_flight=limits.max_in_flight,
                max_in_flight_per_hotkey=limits.max_in_flight_per_hotkey,
                require_permit=self._settings.force_validator_permit,
            ),
            RateLimit(limits.max_per_minute_per_hotkey, limits.burst_per_hotkey, self._clock),
        )

    def _ready(self, axon: LeanAxon, chain: ChainWatch) -> None:
        host, port = axon.address
        uid = "-" if chain.uid is None else chain.uid
        profile = self._profile
        self._say(
            f"ready axon={host}:{port} uid={uid} hotkey={self._keys.address}"
            f" profile={profile.name} digest={profile.digest}"
        )

    async def _drain(self, axon: LeanAxon, admission: Admission, answering: Answering) -> None:
        patience = max(0.0, self._limits.drain_seconds - _CLOSING_SECONDS)
        logger.info("stopping: {} requests in flight, {:g} s", admission.in_flight, patience)
        self._health.phase = Phase.DRAINING
        axon.refuse_new()
        self._on_drain()
        give_up_at = self._clock.monotonic() + patience
        while admission.in_flight and self._clock.monotonic() < give_up_at:
            await asyncio.sleep(0.02)
        if admission.in_flight:
            logger.warning("{} requests in flight are refused", admission.in_flight)
        answering.give_up()

    async def _close_judge(self) -> None:
        closing = asyncio.ensure_future(self._judge.close())
        stops = [server.stop_seconds for server in self._profile.servers.values()]
        patience = _CLOSING_SECONDS / 2 + (max(stops) + _CLOSING_SECONDS if stops else 0.0)
        _, stuck = await asyncio.wait({closing}, timeout=patience)
        if stuck:
            closing.cancel()
            logger.error("the judge did not close in time; it is left behind")


def listen_to_signals(miner: Miner, exit_at_once: Callable[[int], None]) -> None:
    """SIGTERM and SIGINT stop the miner in order; a second one ends the process at once. SIGHUP has
    it read its fitted consensus again."""
    loop = asyncio.get_running_loop()
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        if len(received) > 1:
            exit_at_once(128 + number)
        logger.info("{} received", signal.Signals(number).name)
        miner.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    loop.add_signal_handler(signal.SIGHUP, miner.reload)
