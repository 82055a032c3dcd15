"""Counters as Prometheus reads them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import generate_latest

from natix_miner.breaker import Breaker, BreakerLimits
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import Level, Seat
from natix_miner.consensus import POOLS, equal_weights
from natix_miner.errors import NotAPictureError
from natix_miner.experts.batching import BatchLimits, MicroBatcher
from natix_miner.judge import Judge, JudgeThread
from natix_miner.neuron.chain import ChainState
from natix_miner.neuron.metrics import LastHour, Metrics
from natix_miner.sections import PictureLimits
from natix_miner.serving.state import ServerStatus, State
from tests.neuron.populated import (
    MINER,
    STRANGER,
    VALIDATOR,
    ChainDouble,
    expert,
    populated,
    verdict,
)

ROOT = Path(__file__).parents[2]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def metrics(manual_clock):
    """Of a miner whose deadline is 6.5 s, with a chain."""
    made = Metrics(6.5, manual_clock)
    made.watch_chain(ChainDouble(), MINER)
    return made


def test_states_and_restarts_of_servers_are_read_at_every_scrape():
    asked = {"asked": 7, "timed_out": 2}
    states = {
        "fast": ServerStatus(State.UP, requests=asked),
        "power": ServerStatus(State.OFF, "gone", restarts=6),
    }
    metrics = Metrics()
    metrics.watch_servers(lambda: states)
    shown = generate_latest(metrics.registry).decode()
    assert 'natix_server_up{server="fast"} 1.0' in shown
    assert 'natix_server_up{server="power"} 0.0' in shown
    assert 'natix_server_restarts_total{server="power"} 6.0' in shown
    assert 'natix_server_requests_total{outcome="asked",server="fast"} 7.0' in shown
    assert 'natix_server_requests_total{outcome="timed-out",server="fast"} 2.0' in shown
    assert 'natix_server_state{server="fast",state="up"} 1.0' in shown
    assert 'natix_server_state{server="power",state="off"} 1.0' in shown
    states["fast"] = ServerStatus(State.DOWN, "killed", restarts=1)
    shown = generate_latest(metrics.registry).decode()
    assert 'natix_server_up{server="fast"} 0.0' in shown
    assert 'natix_server_state{server="fast",state="up"} 0.0' in shown
    assert 'natix_server_state{server="fast",state="down"} 1.0' in shown
    assert 'natix_server_restarts_total{server="fast"} 1.0' in shown


def test_every_state_that_a_server_may_have_is_a_series():
    metrics = Metrics()
    metrics.watch_servers(lambda: {"fast": ServerStatus(State.UP)})
    shown = generate_latest(metrics.registry).decode()
    for state in State:
        assert f'state="{state.value}"' in shown


def test_queries_are_counted_by_outcome_and_uid_of_the_sender(metrics):
    metrics.answered(verdict(VALIDATOR), 0.1)
    metrics.answered(verdict(VALIDATOR, probability=None), 0.1)
    metrics.picture_refused(NotAPictureError("no picture").reason, VALIDATOR)
    assert value(metrics, "natix_queries_total", outcome="answered", validator="0") == 1
    assert value(metrics, "natix_queries_total", outcome="no-answer", validator="0") == 1
    assert value(metrics, "natix_queries_total", outcome="picture-error", validator="0") == 1
    assert value(metrics, "natix_picture_errors_total", reason="not-a-picture") == 1


def test_a_thousand_senders_that_nobody_knows_make_one_series(metrics):
    for number in range(1000):
        metrics.answered(verdict(f"5Nobody{number}"), 0.1)
    assert value(metrics, "natix_queries_total", outcome="answered", validator="other") == 1000
    shown = generate_latest(metrics.registry).decode()
    assert "Nobody" not in shown
    assert shown.count("natix_queries_total{") == 1


def test_before_there_is_a_chain_every_sender_is_other():
    metrics = Metrics()
    metrics.answered(verdict(VALIDATOR), 0.1)
    assert value(metrics, "natix_queries_total", outcome="answered", validator="other") == 1


@pytest.mark.parametrize(
    ("seconds", "probability", "late"),
    [(6.5, 0.7, 0), (6.51, 0.7, 1), (6.8, None, 0)],
    ids=["at the deadline", "after it", "no answer at all"],
)
def test_only_answers_after_the_deadline_are_late(metrics, seconds, probability, late):
    metrics.answered(verdict(probability=probability), seconds)
    assert value(metrics, "natix_late_total") == late


def test_the_deadline_and_the_patience_of_validators_are_bounds_of_the_histogram(metrics):
    metrics.answered(verdict(), 6.4)
    metrics.answered(verdict(), 8.9)
    assert value(metrics, "natix_answer_seconds_bucket", le="6.5") == 1
    assert value(metrics, "natix_answer_seconds_bucket", le="9.0") == 2


def test_experts_are_counted_by_status_and_timed_unless_they_were_not_asked(metrics):
    experts = (expert("a", ms=30.0), expert("b", "timed-out", 4000.0), expert("c", "skipped", 0.0))
    metrics.answered(verdict(experts=experts), 4.1)
    assert value(metrics, "natix_expert_total", expert="b", status="timed-out") == 1
    assert value(metrics, "natix_expert_total", expert="c", status="skipped") == 1
    assert value(metrics, "natix_expert_seconds_sum", expert="a") == pytest.approx(0.03)
    assert value(metrics, "natix_expert_seconds_bucket", expert="b", le="3.0") == 0
    assert value(metrics, "natix_expert_seconds_count", expert="c") is None
    assert value(metrics, "natix_level_total", level="glance") == 1


class TestChain:
    def test_our_place_and_the_state_of_the_subnet(self, metrics):
        assert value(metrics, "natix_registered") == 1
        assert value(metrics, "natix_uid") == 7
        assert value(metrics, "natix_incentive") == 0.25
        assert value(metrics, "natix_emission") == 3.5
        assert value(metrics, "natix_chain_snapshot_age_seconds") == 12
        assert value(metrics, "natix_chain_state", state="fresh") == 1
        assert value(metrics, "natix_chain_state", state="stale") == 0
        assert value(metrics, "natix_subnet_state", state="paying") == 1
        assert value(metrics, "natix_subnet_state", state="burning") == 0
        assert value(metrics, "natix_validators_permitted") == 1

    def test_one_uid_with_all_incentive_burns(self):
        metrics = Metrics()
        metrics.watch_chain(ChainDouble(paying=False), MINER)
        assert value(metrics, "natix_subnet_state", state="burning") == 1
        assert value(metrics, "natix_subnet_state", state="paying") == 0

    def test_who_is_not_registered_has_no_incentive_to_show(self):
        metrics = Metrics()
        metrics.watch_chain(ChainDouble(registered=False), MINER)
        assert value(metrics, "natix_registered") == 0
        assert value(metrics, "natix_uid") == -1
        assert value(metrics, "natix_incentive") is None

    def test_without_a_snapshot_nothing_is_said_of_the_subnet(self):
        chain = ChainDouble()
        chain.snapshot, chain.age, chain.state = None, None, ChainState.WAITING
        metrics = Metrics()
        metrics.watch_chain(chain, MINER)
        assert value(metrics, "natix_chain_snapshot_age_seconds") == -1
        assert value(metrics, "natix_chain_state", state="waiting") == 1
        assert value(metrics, "natix_subnet_state", state="unknown") is None
        assert value(metrics, "natix_validators_permitted") is None


class TestLastHour:
    def test_a_query_is_counted_for_an_hour(self, manual_clock):
        hour = LastHour(manual_clock)
        hour.add()
        manual_clock.advance(59 * 60)
        hour.add()
        assert hour.count() == 2
        manual_clock.advance(60)
        assert hour.count() == 1
        manual_clock.advance(59 * 60)
        assert hour.count() == 0

    def test_after_days_without_a_query_nothing_is_left(self, manual_clock):
        hour = LastHour(manual_clock)
        for _ in range(5):
            hour.add()
        manual_clock.advance(3 * 86_400)
        assert hour.count() == 0
        hour.add()
        assert hour.count() == 1

    def test_it_agrees_with_a_list_of_all_moments(self, manual_clock):
        hour, moments = LastHour(manual_clock), []
        for step in range(400):
            manual_clock.advance((step * 37) % 101)
            hour.add()
            moments.append(manual_clock.ticks // 60)
            begun = manual_clock.ticks // 60 - 60
            assert hour.count() == sum(moment > begun for moment in moments)

    def test_threads_lose_nothing(self, manual_clock):
        hour = LastHour(manual_clock)
        switching = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            adding = [
                threading.Thread(target=lambda: [hour.add() for _ in range(2000)]) for _ in range(4)
            ]
            for thread in adding:
                thread.start()
            for thread in adding:
                thread.join()
        finally:
            sys.setswitchinterval(switching)
        assert hour.count() == 8000

    def test_it_is_a_gauge(self, metrics, manual_clock):
        metrics.answered(verdict(), 0.1)
        metrics.picture_refused("not-a-picture", STRANGER)
        assert value(metrics, "natix_queries_last_hour") == 2
        manual_clock.advance(3600)
        assert value(metrics, "natix_queries_last_hour") == 0


def test_batches_of_a_real_batcher_are_a_histogram():
    first, waiting = threading.Event(), threading.Event()

    def work(items: list[int]) -> list[int]:
        first.set()
        assert waiting.wait(5.0)
        return items

    batcher = MicroBatcher[int, int]("network", work, BatchLimits(size=3))
    futures = [batcher.submit(0)]
    assert first.wait(5.0)
    futures += [batcher.submit(number) for number in range(1, 6)]
    waiting.set()
    assert [future.result(5.0) for future in futures] == [0, 1, 2, 3, 4, 5]
    assert batcher.close(5.0)
    assert batcher.sizes() == {1: 1, 3: 1, 2: 1}

    metrics = populated()
    assert value(metrics, "natix_batch_size_bucket", expert="network", le="1.0") == 4
    assert value(metrics, "natix_batch_size_bucket", expert="network", le="4.0") == 6
    assert value(metrics, "natix_batch_size_bucket", expert="network", le="64.0") == 6
    assert value(metrics, "natix_batch_size_bucket", expert="network", le="+Inf") == 7
    assert value(metrics, "natix_batch_size_count", expert="network") == 7
    assert value(metrics, "natix_batch_size_sum", expert="network") == 110


def test_an_expert_is_asked_as_long_as_all_its_breakers_are_closed(manual_clock):
    def seat(name: str, failures: int) -> Seat:
        breaker = Breaker(BreakerLimits(failures=2, rest_seconds=30.0), manual_clock)
        for _ in range(failures):
            breaker.failed()
        return Seat(SimpleNamespace(name=name), 1.0, breaker)

    levels = (
        Level("glance", (seat("well", 0), seat("failed-once", 1), seat("both", 0))),
        Level("closer", (seat("rests", 2), seat("both", 2))),
    )
    cascade = Cascade(levels, POOLS["log-odds"](equal_weights(("well",))), clock=manual_clock)
    found = {"well": True, "failed-once": True, "both": False, "rests": False}
    assert cascade.asked() == found

    probing = levels[1].seats[0].breaker
    manual_clock.advance(31)
    assert probing.allows()  # the probe is under way: others are still not asked
    assert cascade.asked()["rests"] is False
    probing.succeeded()
    assert cascade.asked()["rests"] is True

    judge = Judge(cascade, (), PictureLimits(), {})
    assert JudgeThread(judge).asked() == judge.asked() == {**found, "rests": True}
    assert JudgeThread(judge).batch_sizes() == {}


def test_journal_breakers_build_and_readiness_are_shown():
    metrics = populated()
    assert value(metrics, "natix_journal_queue") == 3
    assert value(metrics, "natix_journal_losses_total", reason="disk-full") == 2
    assert value(metrics, "natix_breaker_open", expert="network") == 0
    assert value(metrics, "natix_breaker_open", expert="vlm") == 1
    assert value(metrics, "natix_ready") == 1
    assert value(metrics, "natix_in_flight") == 2
    build = {"version": "1.2.3", "profile": "embedded", "digest": "0c1f"}
    assert value(metrics, "natix_build_info", **build) == 1
    assert value(metrics, "natix_refusals_total", status="403", reason="unregistered") == 1
    assert value(metrics, "natix_expert_agreement", expert="network") == 0.75


def test_a_loss_of_the_journal_is_remembered_for_a_while_unless_it_is_about_one_row(
    metrics, manual_clock
):
    metrics.journal_lost("duplicate", 1)
    assert metrics.journal_loss_within(30.0) is None
    metrics.journal_lost("disk-full", 1)
    manual_clock.advance(29)
    assert metrics.journal_loss_within(30.0) == "disk-full"
    manual_clock.advance(2)
    assert metrics.journal_loss_within(30.0) is None


def test_no_series_says_when_another_one_was_created():
    assert "_created" not in generate_latest(populated().registry).decode()


def test_the_cost_of_a_query_is_told_in_microseconds():
    script = ROOT / "scripts" / "observability" / "cost_of_metrics.py"
    told = subprocess.run(
        [sys.executable, str(script), "--queries", "200"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=ROOT,
    ).stdout
    micros = float(told.split("a query: ")[1].split(" us")[0])
    # A query costs the axon's loop hundreds of microseconds at least; ten times what was measured.
    assert 0.0 < micros < 250.0
