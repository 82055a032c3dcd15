"""Replay: what the real judge stored pools to the same bits, and another fit is told apart."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natix_miner.assembly import build_judge
from natix_miner.breaker import Breaker, BreakerLimits
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import EntryRule, Level, Seat
from natix_miner.clock import SYSTEM_CLOCK, Deadline
from natix_miner.consensus import (
    POOLS,
    FittedConsensus,
    Isotonic,
    Platt,
    Pool,
    equal_weights,
    load_fitted,
)
from natix_miner.errors import FittedFileError, FittingError
from natix_miner.experts import Expert
from natix_miner.experts.opinion import Look
from natix_miner.images import Frame
from natix_miner.journal import JournalWriter
from natix_miner.judge import Judge
from natix_miner.lab.replay import PoolChoice, opinions_of, repool
from natix_miner.lab.replay_judging import rejudge
from natix_miner.profile import load_profile
from natix_miner.query import Query
from natix_miner.scoring.metrics import measure
from natix_miner.scoring.reward import rewards
from natix_miner.sections import JournalSettings, PictureLimits
from natix_miner.stored import open_stored

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "configs" / "embedded.yaml"
FITTED = ROOT / "models" / "embedded" / "consensus.json"
QUERIES = ROOT / "natix_miner" / "demo" / "queries"


def sample_queries(step: int) -> list[Query]:
    with (QUERIES / "manifest.csv").open() as handle:
        rows = list(csv.DictReader(handle))[::step]
    return [
        Query.of(
            (QUERIES / row["file"]).read_bytes(),
            source="axon",
            label=int(row["label"] == "roadwork"),
            query_id=row["file"],
        )
        for row in rows
    ]


def journal_of(judge: Judge, queries: list[Query], path: Path, *, pictures: bool = True) -> Path:
    """A journal as a running miner writes it."""

    async def judged() -> list:
        await judge.start()
        try:
            return [await judge.judge(query) for query in queries]
        finally:
            await judge.close()

    keep = JournalSettings(path=path, keep_days=1e6, keep_pictures=pictures)
    verdicts = asyncio.run(judged())
    with JournalWriter(keep) as writer:
        assert all(writer.record(verdict) for verdict in verdicts)
    return path


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four sample queries and one that is no picture, judged with the shipped profile."""
    queries = [*sample_queries(3), Query.of(b"no picture", source="axon")]
    judge = build_judge(load_profile(PROFILE))
    return journal_of(judge, queries, tmp_path_factory.mktemp("j") / "journal.sqlite3")


def pooled_with(journal: Path, fitted: FittedConsensus, **more):
    with open_stored(journal) as source:
        return repool(source, PoolChoice(fitted), **more)


def test_with_the_stored_fit_every_value_is_the_same_to_the_last_bit(journal):
    done = pooled_with(journal, load_fitted(FITTED))
    assert (len(done.queries), done.different, done.flips) == (24, (), ())
    assert sum(done.left_out.values()) == 1
    assert set(done.stored) == set(done.given)
    told = done.as_dict()
    assert told["differences"]["largest"] == 0.0
    assert told["before"] == told["after"]
    assert done.remarks == ()
    # Some were sure after the first level and some were not, or the test would say little.
    assert 0 < done.not_entered["closer"] < 24


def test_the_smallest_change_of_a_weight_is_seen(journal):
    fitted = load_fitted(FITTED)
    first = fitted.pools[0]
    nudged = {**first.weights, "network": np.nextafter(first.weights["network"], 2.0)}
    changed = fitted.model_copy(
        update={"pools": (first.model_copy(update={"weights": nudged}), *fitted.pools[1:])}
    )
    done = pooled_with(journal, changed)
    assert {name for one in done.different for name in one.levels} >= {"glance"}
    assert set(done.stored) != set(done.given)
    assert any("differences are those of the two fits" in one for one in done.remarks)
    assert any("closer" in one and "--rejudge" in one for one in done.remarks)
    assert pooled_with(journal, changed, tolerance=1e-9).different == ()


def test_another_fit_decides_otherwise_and_is_paid_otherwise(journal):
    fitted = load_fitted(FITTED)
    inverted = fitted.model_copy(
        update={
            "pools": tuple(
                pool.model_copy(
                    update={
                        "weights": {name: -weight for name, weight in pool.weights.items()},
                        "bias": -pool.bias,
                        "size_bias": {name: -bias for name, bias in pool.size_bias.items()},
                    }
                )
                for pool in fitted.pools
            )
        }
    )
    done = pooled_with(journal, inverted)
    assert len(done.flips) == 24
    for one in done.queries:
        assert one.after == pytest.approx(1.0 - one.before, abs=3e-4)
    earned = done.earned()
    assert earned is not None
    before, after = earned
    labels = [one.label for one in done.queries]
    assert before.reward == rewards([one.before for one in done.queries], labels).mean()
    assert after.mcc == measure([one.after for one in done.queries], labels).mcc
    assert after.mcc == pytest.approx(-before.mcc)
    assert done.flips[0].by == max(one.by for one in done.flips)


def test_the_kind_of_pool_is_the_stored_one_with_the_stored_fit_and_the_fits_own_otherwise(
    journal,
):
    fitted = load_fitted(FITTED).model_copy(update={"kind": "majority"})
    assert pooled_with(journal, fitted).given == (f"majority:{fitted.digest()}",)
    choice = PoolChoice(fitted)
    stored = f"geometric-mean:{fitted.digest()}"
    assert choice.of(stored).version == stored
    assert PoolChoice(fitted, "log-odds").of(stored).version == f"log-odds:{fitted.digest()}"
    assert choice.of("").version == f"majority:{fitted.digest()}"


def test_a_fit_for_other_experts_is_refused_and_a_partial_one_told(journal):
    with pytest.raises(FittedFileError, match="somebody"):
        pooled_with(journal, equal_weights(frozenset({"somebody"})))
    done = pooled_with(journal, equal_weights(frozenset({"network"})))
    assert any("no weight for closer-network, colour" in one for one in done.remarks)


def test_a_limit_takes_the_first(journal):
    fitted = load_fitted(FITTED)
    whole = pooled_with(journal, fitted)
    assert pooled_with(journal, fitted, limit=5).queries == whole.queries[:5]


def test_judging_again_with_the_same_profile_says_the_same(journal):
    with open_stored(journal) as source:
        done = asyncio.run(rejudge(source, load_profile(PROFILE), concurrency=1))
    assert (done.mode, len(done.queries), done.flips) == ("rejudge", 25, ())
    # Another batch may round otherwise in the network; nothing else may differ.
    assert max(one.by for one in done.queries) < 1e-4
    assert done.queries[-1].before == done.queries[-1].after == -1.0
    assert any("not-a-picture (1)" in one for one in done.remarks)
    assert set(done.stored) == set(done.given)


def test_judging_again_needs_pictures(tmp_path):
    judge = build_judge(load_profile(PROFILE))
    path = journal_of(judge, sample_queries(40), tmp_path / "j.sqlite3", pictures=False)
    with open_stored(path) as source, pytest.raises(FittingError, match=r"no picture.*2 queries"):
        asyncio.run(rejudge(source, load_profile(PROFILE)))


class Scripted(Expert):
    """A real expert that says what was drawn for it, picture by picture."""

    version = "1"

    def __init__(self, name: str, script: list[Look | None]) -> None:
        self.name = name
        self._script = iter(script)

    async def look(self, frame: Frame, deadline: Deadline) -> Look:
        said = next(self._script)
        if said is None:
            raise RuntimeError("no opinion this time")
        return said


def drawn_look(rng: np.random.Generator) -> Look | None:
    if rng.random() < 0.25:
        return None
    return Look(
        probability=float(rng.beta(0.5, 0.5)),
        trust=float(rng.choice([1.0, 1.0, rng.random()])),
        conditions={"night": float(rng.random())} if rng.random() < 0.3 else {},
    )


@pytest.mark.parametrize("kind", sorted(POOLS))
def test_missing_votes_trust_conditions_and_every_kind_of_pool_come_back_exactly(kind, tmp_path):
    rng = np.random.default_rng(7)
    queries = sample_queries(1)[:48]
    names = ["a", "b", "c"]
    scripts = {name: [drawn_look(rng) for _ in queries] for name in names}
    weights = {name: float(rng.normal(0.6, 0.5)) for name in names}

    def pool(some: list[str]) -> Pool:
        return Pool(
            weights={name: weights[name] for name in some},
            bias=0.1,
            size_bias={"frame": -0.3, "validator-square": 0.2},
            condition_bias={"night": 0.7, "frame-tilted": -0.4, "frame-padded": 0.5},
            missing={name: -0.2 for name in some if name != "b"},
            after=Platt(slope=1.3, intercept=-0.1),
        )

    fitted = FittedConsensus(
        kind=kind,
        calibrations={
            "a": Platt(slope=0.7, intercept=0.2),
            "c": Isotonic(raw=(-3.0, 0.1, 2.0), calibrated=(-1.0, 0.0, 4.0)),
        },
        pools=(pool(["a", "b"]), pool(names)),
    )
    breakers = BreakerLimits(failures=10_000, rest_seconds=1.0)
    seats = [
        Seat(Scripted(name, scripts[name]), 5.0, Breaker(breakers, SYSTEM_CLOCK)) for name in names
    ]
    levels = (
        Level(name="first", seats=tuple(seats[:2])),
        Level(name="second", seats=tuple(seats[2:]), rule=EntryRule(unsure_below=0.8)),
    )
    judge = Judge(
        Cascade(levels, POOLS[kind](fitted)),
        tuple(seat.expert for seat in seats),
        PictureLimits(),
        {"miner": "test", "profile": "scripted:1"},
    )
    path = journal_of(judge, queries, tmp_path / "j.sqlite3")
    done = pooled_with(path, fitted)
    assert (len(done.queries), done.different) == (48, ())
    assert 0 < done.not_entered["second"] < 48
    assert len({one.before for one in done.queries}) > 5


def test_opinions_come_back_as_the_consensus_had_them(journal):
    with open_stored(journal) as source:
        trace = next(query.trace for query in source if query.trace.levels[1].entered)
    first, both = opinions_of(trace, 0), opinions_of(trace)
    assert [one.expert for one in first] == ["network", "colour"]
    assert [one.expert for one in both] == ["network", "colour", "closer-network"]
    assert both[:2] == first
    for opinion, stored in zip(both, (e for lv in trace.levels for e in lv.experts), strict=True):
        assert opinion.usable
        assert opinion.probability == stored.probability
        assert opinion.seconds == stored.ms / 1000.0
        assert (opinion.trust, opinion.conditions) == (stored.trust, stored.conditions)
        assert len(opinion.evidence) == len(stored.evidence)
    assert opinions_of(trace, -1) == ()


@given(probability=st.floats(0.0, 1.0), trust=st.floats(0.0, 1.0), share=st.floats(0.0, 1.0))
@settings(deadline=None, max_examples=200)
def test_no_number_loses_a_bit_on_its_way_through_a_trace(probability, trust, share):
    from natix_miner.cascade.trace import ExpertTrace

    said = ExpertTrace(
        name="a",
        status="ok",
        probability=probability,
        calibrated=None,
        log_odds=None,
        weight=1.0,
        ms=1.0,
        detail="",
        evidence=(),
        trust=trust,
        conditions={"night": share},
    )
    back = ExpertTrace.model_validate_json(said.model_dump_json())
    assert (back.probability, back.trust, back.conditions["night"]) == (probability, trust, share)


def test_silence_and_an_answer_are_as_far_apart_as_can_be():
    from natix_miner.lab.replay_figures import Again

    one = Again("a", "", 1, before=-1.0, after=0.6)
    assert (one.by, one.flips) == (1.0, True)
    assert (Again("a", "", 1, -1.0, -1.0).by, Again("a", "", 1, 0.4999, 0.2).flips) == (0.0, False)
    assert dataclasses.replace(one, before=0.5).flips
