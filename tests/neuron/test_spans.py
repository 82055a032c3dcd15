"""Spans: the tree that a trace becomes, and its way to a collector that may be away.

The collector is a double; the SDK, its protocol and the judge are real.
"""

from __future__ import annotations

import asyncio
import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from prometheus_client import CollectorRegistry

from natix_miner.breaker import Breaker
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import EntryRule, Level, Seat
from natix_miner.cascade.trace import (
    Answer,
    CallTrace,
    ExpertTrace,
    LevelTrace,
    QueryTrace,
    Trace,
)
from natix_miner.clock import SYSTEM_CLOCK
from natix_miner.consensus import LogOddsPool, equal_weights
from natix_miner.errors import ConfigurationError, MissingExtraError
from natix_miner.experts import Expert, Look
from natix_miner.experts.calls import noted
from natix_miner.judge import Judge
from natix_miner.neuron.answering import Answering
from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body
from natix_miner.neuron.metrics import Metrics
from natix_miner.neuron.otlp import SpanSender, traces_url
from natix_miner.neuron.spans import spans_of
from natix_miner.neuron.transport import Asked
from natix_miner.sections import PictureLimits
from tests.neuron.collector_double import CollectorDouble, attributes_of

VALIDATOR = "5Validator"


class Says(Expert):
    """Says what it is told after a pause; may ask a server first, may raise."""

    version = "double"

    def __init__(self, name, says=0.5, seconds=0.0, server=None):
        self.name, self.says, self.seconds, self.server = name, says, seconds, server

    async def look(self, frame, deadline):
        if self.server is not None:
            with noted(self.server):
                await asyncio.sleep(self.seconds)
        else:
            await asyncio.sleep(self.seconds)
        if isinstance(self.says, Exception):
            raise self.says
        return Look(self.says, by=self.server)


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (320, 240), (90, 90, 90)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def collector():
    double = CollectorDouble()
    yield double
    double.close()


@pytest.fixture
def quick_batches(monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


async def ask_a_real_judge(sender: SpanSender, *pictures: bytes) -> list[object]:
    experts = (
        Says("quick", 0.5),
        Says("slow", 0.5, 0.05),
        Says("broken", ZeroDivisionError("a fault")),
        Says("vlm", 0.9, 0.03, "fast"),
        Says("more", 0.9),
    )

    def seats(*named):
        return tuple(Seat(expert, 2.0, Breaker()) for expert in named)

    cascade = Cascade(
        (
            Level("glance", seats(*experts[:3])),
            Level("ask", seats(experts[3]), EntryRule(unsure_below=2.0)),
            Level("last", seats(experts[4]), EntryRule(unsure_below=1e-6)),
        ),
        LogOddsPool(equal_weights(frozenset(expert.name for expert in experts))),
    )
    judge = Judge(cascade, experts, PictureLimits(), {"miner": "1.2.3", "profile": "test:ab"})
    await judge.start()
    workers = ThreadPoolExecutor(1)
    desk = Answering(judge, None, Metrics(), SYSTEM_CLOCK, 7.0, workers, spans=sender.record)
    asked = [Asked(picture, -1, VALIDATOR, SYSTEM_CLOCK.monotonic()) for picture in pictures]
    answers = await asyncio.gather(*map(desk.answer, asked), return_exceptions=True)
    rehearsal = Asked(jpeg(), -1, VALIDATOR, SYSTEM_CLOCK.monotonic(), rehearsal=True)
    await desk.answer(rehearsal)
    await judge.close()
    workers.shutdown()
    return list(answers)


async def test_a_query_arrives_as_a_tree_from_query_to_server_call(collector, quick_batches):
    sender = SpanSender(collector.endpoint, CollectorRegistry(), SYSTEM_CLOCK)
    before = time.time_ns()
    (answer,) = await ask_a_real_judge(sender, jpeg())
    spans = {span.name: span for span in await asyncio.to_thread(collector.wait_for, 11)}
    after = time.time_ns()
    await asyncio.to_thread(sender.close, 5.0)

    ids = {span.span_id: name for name, span in spans.items()}
    parents = {name: ids.get(span.parent_span_id) for name, span in spans.items()}
    assert parents == {
        "query": None,
        "waiting": "query",
        "decode": "query",
        "cascade": "query",
        "level glance": "cascade",
        "level ask": "cascade",
        "expert quick": "level glance",
        "expert slow": "level glance",
        "expert broken": "level glance",
        "expert vlm": "level ask",
        "call fast": "expert vlm",
    }
    assert len(collector.spans()) == 11  # the rehearsal leaves no mark
    assert len({span.trace_id for span in spans.values()}) == 1
    assert collector.paths == ["/v1/traces"] * len(collector.paths)

    assert before - 1_000_000 <= spans["query"].start_time_unix_nano
    assert spans["query"].end_time_unix_nano <= after
    for name, parent in parents.items():
        if parent is not None:
            assert spans[parent].start_time_unix_nano <= spans[name].start_time_unix_nano
            assert spans[name].end_time_unix_nano <= spans[parent].end_time_unix_nano
    assert length_ms(spans["expert slow"]) == pytest.approx(50, abs=40)
    assert length_ms(spans["call fast"]) == pytest.approx(30, abs=30)
    assert spans["expert quick"].start_time_unix_nano == spans["level glance"].start_time_unix_nano
    assert spans["level ask"].start_time_unix_nano >= spans["level glance"].end_time_unix_nano

    query = attributes_of(spans["query"])
    assert query["natix.query.asked_by"] == VALIDATOR
    assert query["natix.answer.prediction"] == answer
    assert query["natix.picture.width"] == 320
    assert query["natix.version.profile"] == "test:ab"
    assert spans["query"].trace_id.hex() == query["natix.query.id"]
    assert attributes_of(spans["expert vlm"])["natix.expert.by"] == "fast"
    assert attributes_of(spans["level ask"])["natix.level.why"].startswith("unsure")
    assert all(name.startswith("natix.") for span in spans.values() for name in attributes_of(span))
    assert [event.name for event in spans["cascade"].events] == ["level left alone"]

    failed = {name for name, span in spans.items() if span.status.code == 2}
    assert failed == {"expert broken"}
    assert spans["expert broken"].status.message == "failed: ZeroDivisionError: a fault"
    assert collector.resource()["service.name"] == "natix-miner"


async def test_a_picture_that_is_none_is_an_error_of_its_query(collector, quick_batches):
    sender = SpanSender(collector.endpoint, CollectorRegistry(), SYSTEM_CLOCK)
    await ask_a_real_judge(sender, b"no picture at all")
    spans = {span.name: span for span in await asyncio.to_thread(collector.wait_for, 3)}
    await asyncio.to_thread(sender.close, 5.0)
    assert set(spans) == {"query", "waiting", "decode"} or set(spans) == {"query", "decode"}
    assert spans["query"].status.code == 2
    assert spans["query"].status.message.startswith("picture")


async def test_no_picture_leaves_by_this_way(collector, quick_batches):
    picture = jpeg()
    sender = SpanSender(collector.endpoint, CollectorRegistry(), SYSTEM_CLOCK)
    await ask_a_real_judge(sender, picture)
    await asyncio.to_thread(collector.wait_for, 11)
    await asyncio.to_thread(sender.close, 5.0)
    sent = b"".join(request.SerializeToString() for request in collector.requests)
    assert len(sent) < 10_000
    assert not any(picture[at : at + 16] in sent for at in range(0, len(picture) - 16, 8))


async def test_a_miner_process_sends_its_spans_before_it_ends(
    miners, keys, collector, monkeypatch, tmp_path
):
    (tmp_path / "headers").write_text("x-api-key=from-a-file\n")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS_FILE", str(tmp_path / "headers"))
    miner = miners.start("echo", otlp_endpoint=collector.endpoint)
    headers = signed_headers(keys["validator"], miner.hotkey, time.time_ns())
    status, _ = await exchange(*miner.address, http_request(headers, synapse_body(b"\x40p")))
    begun = time.monotonic()
    ended = await asyncio.to_thread(miner.stop)

    assert (status, ended) == (200, 0)
    assert time.monotonic() - begun < 8.0
    (query,) = collector.spans()  # the double judge tells of no stages
    assert attributes_of(query)["natix.query.asked_by"] == keys["validator"].ss58_address
    assert collector.headers[0]["x-api-key"] == "from-a-file"
    assert "from-a-file" not in miner.log()


def test_standard_variables_name_service_headers_and_share(collector, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "my-miner")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc,x-project=72")
    sender = SpanSender(collector.endpoint + "/v1/traces", CollectorRegistry(), SYSTEM_CLOCK)
    sender.record(trace())
    sender.close(5.0)
    assert collector.resource()["service.name"] == "my-miner"
    assert collector.resource()["deployment.environment"] == "test"
    assert collector.headers[0]["authorization"] == "Bearer abc"
    assert collector.headers[0]["x-project"] == "72"


def test_sampled_out_traces_are_neither_sent_nor_counted_as_lost(collector, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    registry = CollectorRegistry()
    sender = SpanSender(collector.endpoint, registry, SYSTEM_CLOCK, most_traces=1000)
    for _ in range(900):  # more spans than may be on their way
        sender.record(trace())
    sender.close(10.0)
    assert collector.asked == 0
    assert not any(losses(registry, why) for why in ("queue-full", "not-sent", "shutdown"))


@pytest.mark.parametrize("kind", ["nobody", "hangs", "refuses"])
def test_a_collector_that_fails_harms_nobody_and_what_is_lost_is_counted(kind, told, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    double = CollectorDouble(401, hangs=kind == "hangs")
    endpoint = double.endpoint
    if kind == "nobody":
        double.close()
    registry = CollectorRegistry()
    sender = SpanSender(endpoint, registry, SYSTEM_CLOCK, most_traces=50)
    made, slowest = 0, 0.0
    for _ in range(900):
        one = trace()
        made += len(spans_of(one))
        begun = time.perf_counter()
        sender.record(one)
        slowest = max(slowest, time.perf_counter() - begun)
    begun = time.monotonic()
    sender.close(0.5)
    took = time.monotonic() - begun
    if kind != "nobody":
        double.close()

    assert took < 1.5
    assert slowest < 0.5
    lost = sum(losses(registry, why) for why in ("queue-full", "not-sent", "shutdown"))
    assert lost == pytest.approx(made, abs=len(spans_of(trace())))
    lines = [line for line in told if "spans were lost" in line]
    assert len(lines) == 1  # however many there were
    assert lines[0].startswith("WARNING")


def test_the_address_is_checked_and_completed():
    assert traces_url("http://127.0.0.1:4318") == "http://127.0.0.1:4318/v1/traces"
    assert traces_url("https://host/otel/") == "https://host/otel/v1/traces"
    assert traces_url("http://host/v1/traces") == "http://host/v1/traces"
    for wrong in ("127.0.0.1:4318", "grpc://host:4317", "http://", "http://host:port"):
        with pytest.raises(ConfigurationError, match="--otlp-endpoint"):
            traces_url(wrong)


def test_without_the_packages_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingExtraError, match=r"natix-miner\[otel\]"):
        SpanSender("http://127.0.0.1:1", CollectorRegistry(), SYSTEM_CLOCK)


ms = st.floats(0.0, 20_000.0)


@given(
    stages=st.dictionaries(st.sampled_from(["waiting", "decode", "judge"]), ms),
    total=ms,
    levels=st.lists(st.tuples(ms, ms, ms, ms), max_size=3),
)
def test_whatever_a_trace_says_no_child_reaches_beyond_its_parent(stages, total, levels):
    made = trace(stages={**stages, "total": total}, levels=levels)
    spans = spans_of(made)
    for span in spans:
        assert span.start <= span.end
        if span.parent is not None:
            parent = spans[span.parent]
            assert parent.start <= span.start
            assert span.end <= parent.end


def test_texts_that_cannot_be_written_are_made_writable():
    spans = spans_of(trace(detail="\ud800" + "x" * 5000))
    for span in spans:
        for value in span.attributes.values():
            if isinstance(value, str):
                assert len(value.encode("utf-8")) <= 300


def length_ms(span) -> float:
    return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6


def losses(registry: CollectorRegistry, reason: str) -> float:
    return registry.get_sample_value("natix_span_losses_total", {"reason": reason}) or 0.0


def trace(stages=None, levels=((5.0, 4.0, 1.0, 2.0),), detail="") -> Trace:
    return Trace(
        query=QueryTrace(
            id="0123456789abcdef0123456789abcdef",
            sha256="00" * 32,
            source="axon",
            asked_by=VALIDATOR,
            received_at=1.7e9,
            bytes=12,
            deadline_ms=7000.0,
        ),
        picture=None,
        levels=tuple(
            LevelTrace(
                name=f"level-{number}",
                entered=True,
                why="always entered",
                experts=(
                    ExpertTrace(
                        name="vlm",
                        status="ok",
                        probability=0.5,
                        calibrated=None,
                        log_odds=None,
                        weight=1.0,
                        ms=expert,
                        detail=detail,
                        evidence=(),
                        calls=(CallTrace(server="fast", after_ms=after, ms=call, outcome="ok"),),
                    ),
                ),
                log_odds=None,
                probability=None,
                disagreement=None,
                ms=level,
            )
            for number, (level, expert, after, call) in enumerate(levels)
        ),
        answer=Answer(prediction=0.5, reason="all-levels", level=None),
        stages_ms=stages or {"waiting": 0.1, "decode": 1.0, "judge": 6.0, "total": 7.5},
        versions={"miner": "0.1.0"},
    )
