"""A Metrics object in which every series has a sample: doubles for chain, judge and journal, a real
verdict counted."""

from __future__ import annotations

from natix_miner.cascade.trace import Answer, ExpertTrace, LevelTrace, QueryTrace, Trace
from natix_miner.cascade.verdict import NO_ANSWER, Verdict
from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.consensus import Standing
from natix_miner.neuron.chain import ChainState
from natix_miner.neuron.metrics import Metrics
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron
from natix_miner.query import Query
from natix_miner.serving.state import ServerStatus, State

VALIDATOR, MINER, STRANGER = "5Validator", "5Miner", "5Stranger"


class ChainDouble:
    """Stands for a watched chain: our miner is uid 7, a validator with permit uid 0."""

    def __init__(self, *, registered: bool = True, paying: bool = True) -> None:
        self.state = ChainState.FRESH
        rows = [Neuron(0, VALIDATOR, 1e5, True, "1.2.3.4", 1, 0.0, 0.0, 990)]
        if registered:
            rows.append(Neuron(7, MINER, 1.0, False, "1.2.3.5", 1, 0.25, 3.5, 0))
        if paying:
            rows.append(Neuron(8, "5Else", 1.0, False, "1.2.3.6", 1, 0.75, 10.5, 0))
        self.snapshot: ChainSnapshot | None = ChainSnapshot(72, 1000, tuple(rows))
        self.age: float | None = 12.0

    def age_seconds(self) -> float | None:
        return self.age


class JudgeDouble:
    """Stands for a judge: one server is up, one off; one expert is not asked."""

    def __init__(self) -> None:
        self.servers = {
            "fast": ServerStatus(State.UP, requests={"asked": 7, "timed_out": 2}),
            "power": ServerStatus(State.OFF, "gone", restarts=6),
        }
        self.rests = {"network": True, "vlm": False}
        self.batches = {"network": {1: 4, 3: 2, 100: 1}}

    def server_status(self):
        return self.servers

    def standings(self):
        drifts = Standing("network", 40, 0.5, drifted=True, agreement=0.75, missing=0.125)
        return {"network": drifts}

    def asked(self):
        return self.rests

    def batch_sizes(self):
        return self.batches


def expert(name: str, status: str = "ok", ms: float = 12.0) -> ExpertTrace:
    return ExpertTrace(
        name=name,
        status=status,
        probability=0.7 if status == "ok" else None,
        calibrated=None,
        log_odds=None,
        weight=1.0,
        ms=ms,
        detail="",
        evidence=(),
    )


def verdict(
    asked_by: str = VALIDATOR,
    probability: float | None = 0.75,
    experts: tuple[ExpertTrace, ...] = (),
) -> Verdict:
    """A verdict of one level."""
    query = Query.of(b"picture", source="axon", asked_by=asked_by, clock=SYSTEM_CLOCK)
    level = LevelTrace(
        name="glance",
        entered=True,
        why="always entered",
        experts=experts,
        log_odds=None,
        probability=None,
        disagreement=None,
        ms=12.0,
    )
    prediction = NO_ANSWER if probability is None else probability
    trace = Trace(
        query=QueryTrace.of(query),
        picture=None,
        levels=(level,),
        answer=Answer(prediction=prediction, reason="double", level="glance"),
        stages_ms={},
        versions={},
    )
    return Verdict(query, probability, trace)


def populated(clock: Clock = SYSTEM_CLOCK) -> Metrics:
    """Every figure that a miner shows, with at least one sample each."""
    metrics = Metrics(7.0, clock)
    metrics.tell_build("1.2.3", "embedded", "0c1f")
    metrics.watch_ready(lambda: True)
    metrics.watch_axon(lambda: 2)
    metrics.watch_chain(ChainDouble(), MINER)
    metrics.watch_journal(lambda: 3)
    metrics.watch_judge(JudgeDouble())
    experts = (expert("network"), expert("vlm", "timed-out", 6000.0))
    metrics.answered(verdict(experts=experts), 0.03)
    metrics.answered(verdict(probability=None, experts=experts), 7.1)
    metrics.picture_refused("not-a-picture", STRANGER)
    metrics.refused(403, "unregistered", None)
    metrics.journal_lost("disk-full", 2)
    metrics.reloaded("swapped")
    return metrics
