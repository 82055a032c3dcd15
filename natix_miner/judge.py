"""The judge: from the bytes of a query to a verdict, always in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

from natix_miner.cascade import NO_ANSWER, Verdict
from natix_miner.cascade.cascade import OUT_OF_TIME, Cascade
from natix_miner.cascade.trace import Answer, LevelTrace, PictureTrace, QueryTrace, Trace
from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.consensus import Consensus, DriftWatch, Standing
from natix_miner.errors import PictureError
from natix_miner.experts import Expert
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.images import Frame, decode_picture
from natix_miner.query import REHEARSAL, Query
from natix_miner.sections import PictureLimits


class ServerStatus(Protocol):
    """How a server is doing: its state in a word, the reason for it, restarts and requests."""

    @property
    def state(self) -> str:
        """starting, up, down, off or closed."""
        ...

    @property
    def reason(self) -> str:
        """Why it is not up, in a sentence."""
        ...

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        ...

    @property
    def requests(self) -> Mapping[str, int]:
        """What became of the questions to it so far, by a fixed word each."""
        ...


class RunsServers(Protocol):
    """The servers that experts ask, as one thing that is started and closed."""

    async def start(self) -> None:
        """Begin to spawn them; does not wait until they are up."""
        ...

    async def settled(self, seconds: float) -> None:
        """Wait until each is up or given up, at most so long."""
        ...

    async def close(self) -> None:
        """Stop them all."""
        ...

    def status(self) -> Mapping[str, ServerStatus]:
        """How each of them is doing; may be called from any thread."""
        ...


class JudgeLike(Protocol):
    """What a neuron, a demo or a scoring run needs of a judge; `servers` are those its experts ask,
    None without any."""

    servers: RunsServers | None

    async def start(self) -> None:
        """Load and warm up all experts."""
        ...

    async def judge(self, query: Query) -> Verdict:
        """The verdict on one query."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...


class SwapsConsensus(JudgeLike, Protocol):
    """A judge whose consensus can be exchanged while it judges."""

    @property
    def consensus_version(self) -> str:
        """The consensus that queries begin with at present."""
        ...

    def swap_consensus(self, consensus: Consensus, drift: DriftWatch | None) -> None:
        """Begin all further queries with this one; on the judge's own loop."""
        ...

    def standings(self) -> Mapping[str, Standing]:
        """How the experts stand against the fit; may be called from any thread."""
        ...


@runtime_checkable
class Transparent(Protocol):
    """A judge that lets one look at its experts' breakers and batches, from any thread."""

    def asked(self) -> Mapping[str, bool]:
        """Whether each expert is asked at present (its breaker is closed)."""
        ...

    def batch_sizes(self) -> Mapping[str, Mapping[int, int]]:
        """How many batches of which size each expert that forms batches has run."""
        ...


class Judge:
    """Decodes pictures in worker threads and runs the cascade on the event loop it is started on.

    `experts` are all experts of the cascade, each once; `versions` go into every trace; `servers`
    are started before the experts and waited for `wait_for_servers` seconds at most.
    """

    def __init__(
        self,
        cascade: Cascade,
        experts: tuple[Expert, ...],
        limits: PictureLimits,
        versions: dict[str, Any],
        *,
        decoders: int = 2,
        clock: Clock = SYSTEM_CLOCK,
        servers: RunsServers | None = None,
        wait_for_servers: float = 0.0,
    ) -> None:
        self.cascade = cascade
        self.servers = servers
        self._wait_for_servers = wait_for_servers
        self.experts = experts
        self._limits = limits
        self._versions = versions
        self._clock = clock
        self._decoders = ThreadPoolExecutor(decoders, thread_name_prefix="decode")

    async def start(self) -> None:
        """Load and warm up every expert; raises ModelError naming the one that does not load."""
        if self.servers is not None:
            await self.servers.start()
        for expert in self.experts:
            await expert.start()
        if self.servers is not None:
            await self.servers.settled(self._wait_for_servers)
        self._versions = {
            **self._versions,
            "experts": {expert.name: expert.version for expert in self.experts},
        }

    @property
    def consensus_version(self) -> str:
        """The consensus that queries begin with at present."""
        return self.cascade.consensus.version

    def swap_consensus(self, consensus: Consensus, drift: DriftWatch | None) -> None:
        """Begin all further queries with this consensus and this watch; those that are being judged
        end with what they began with. Must be called on the loop that judges."""
        self.cascade.consensus, self.cascade.drift = consensus, drift

    def standings(self) -> Mapping[str, Standing]:
        """How the experts stand against the fit, empty where drift is not watched; may be called
        from any thread."""
        drift = self.cascade.drift
        return drift.standings if drift else {}

    def asked(self) -> Mapping[str, bool]:
        """Whether each expert is asked at present; may be called from any thread."""
        return self.cascade.asked()

    def batch_sizes(self) -> Mapping[str, Mapping[int, int]]:
        """How many batches of which size each in-process expert has run; from any thread."""
        return {
            expert.name: expert.batch_sizes()
            for expert in self.experts
            if isinstance(expert, InProcessExpert)
        }

    async def judge(self, query: Query) -> Verdict:
        """The verdict; a bad picture gives one without a probability and with `error` set."""
        begun = self._clock.monotonic()
        try:
            frame = await self._decode(query)
        except PictureError as error:
            return self._refused(query, begun, f"picture: {error.reason}", error)
        except TimeoutError:
            return self._refused(query, begun, f"{OUT_OF_TIME} (still decoding)")
        decoded = self._clock.monotonic()
        outcome = await self.cascade.run(frame, query.deadline, counts=query.source != REHEARSAL)
        judged = self._clock.monotonic()
        return self._verdict(
            query,
            answer=outcome.answer,
            levels=outcome.levels,
            frame=frame,
            stages={
                "decode": (decoded - begun) * 1000.0,
                "judge": (judged - decoded) * 1000.0,
            },
            begun=begun,
            consensus=outcome.consensus,
        )

    async def close(self) -> None:
        """Close all experts and the decoders; may be called twice."""
        closing = [expert.close() for expert in self.experts]
        if self.servers is not None:
            closing.append(self.servers.close())
        await asyncio.gather(*closing)
        self._decoders.shutdown(wait=False, cancel_futures=True)

    async def _decode(self, query: Query) -> Frame:
        left = query.deadline.remaining()
        if left <= 0.0:
            raise TimeoutError
        decoding = asyncio.get_running_loop().run_in_executor(
            self._decoders, decode_picture, query.picture, self._limits
        )
        # Not wait_for: before Python 3.12 that can swallow a cancellation that meets a result.
        async with asyncio.timeout(left):
            return await decoding

    def _refused(
        self, query: Query, begun: float, reason: str, error: PictureError | None = None
    ) -> Verdict:
        answer = Answer(prediction=NO_ANSWER, reason=reason, level=None)
        decode = {"decode": (self._clock.monotonic() - begun) * 1000.0}
        return self._verdict(
            query, answer=answer, levels=(), frame=None, stages=decode, begun=begun, error=error
        )

    def _verdict(
        self,
        query: Query,
        *,
        answer: Answer,
        levels: tuple[LevelTrace, ...],
        frame: Frame | None,
        stages: dict[str, float],
        begun: float,
        error: PictureError | None = None,
        consensus: str | None = None,
    ) -> Verdict:
        # The deadline is the only moment of arrival there is: what came before `begun` was waiting.
        arrived = query.deadline.at - query.seconds
        stages = {
            "waiting": max(0.0, begun - arrived) * 1000.0,
            **stages,
            "total": (self._clock.monotonic() - arrived) * 1000.0,
        }
        trace = Trace(
            query=QueryTrace.of(query),
            picture=_picture_trace(frame) if frame else None,
            levels=levels,
            answer=answer,
            stages_ms=stages,
            versions={**self._versions, "consensus": consensus or self.consensus_version},
        )
        probability = None if answer.prediction == NO_ANSWER else answer.prediction
        return Verdict(query=query, probability=probability, trace=trace, error=error)


class JudgeThread:
    """A judge on an event loop and thread of its own; `judge` may be awaited from any loop.

    So that whatever an expert does, the loop that talks to validators never waits for it.
    """

    def __init__(self, judge: SwapsConsensus) -> None:
        self._judge = judge
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="judge", daemon=True)

    async def start(self) -> None:
        """Start the thread and, on it, the judge."""
        self._thread.start()
        await self._there(self._judge.start())

    async def judge(self, query: Query) -> Verdict:
        """The verdict; cancelling this await cancels the judging."""
        return await self._there(self._judge.judge(query))

    def server_status(self) -> Mapping[str, ServerStatus]:
        """How each server is doing; may be called from any thread."""
        servers = self._judge.servers
        return servers.status() if servers else {}

    @property
    def consensus_version(self) -> str:
        """The consensus that queries begin with at present."""
        return self._judge.consensus_version

    async def swap_consensus(self, consensus: Consensus, drift: DriftWatch | None) -> None:
        """Begin all further queries with this consensus and this watch, between two steps of the
        judge's loop."""

        async def swap() -> None:
            self._judge.swap_consensus(consensus, drift)

        await self._there(swap())

    def standings(self) -> Mapping[str, Standing]:
        """How the experts stand against the fit; may be called from any thread."""
        return self._judge.standings()

    def asked(self) -> Mapping[str, bool]:
        """Whether each expert is asked at present; empty when the judge does not tell."""
        return self._judge.asked() if isinstance(self._judge, Transparent) else {}

    def batch_sizes(self) -> Mapping[str, Mapping[int, int]]:
        """How many batches of which size each expert has run; empty when it is not told."""
        return self._judge.batch_sizes() if isinstance(self._judge, Transparent) else {}

    async def close(self) -> None:
        """Close the judge and end the thread; may be called twice."""
        if not self._thread.is_alive():
            return
        await self._there(self._judge.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join, 5.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _there(self, work: Coroutine[Any, Any, Any]) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


def _picture_trace(frame: Frame) -> PictureTrace:
    geometry = frame.geometry
    return PictureTrace(
        format=frame.picture_format,
        original_width=frame.original_width,
        original_height=frame.original_height,
        width=frame.width,
        height=frame.height,
        size_class=geometry.size_class.value,
        padding_share=geometry.padding_share,
        black_corner_share=geometry.black_corner_share,
        tilt_degrees=geometry.tilt_degrees,
        brightness=geometry.brightness,
        sharpness=geometry.sharpness,
        dark=geometry.dark,
        blurred=geometry.blurred,
    )
