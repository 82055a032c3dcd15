"""Reading a scrape: every way it may fail is one sentence."""

from __future__ import annotations

import socket

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from natix_miner.errors import WatchingError
from natix_miner.watching import Samples, fetch
from natix_miner.watching import samples as module
from tests.watching.conftest import SCRAPE


def test_what_prometheus_own_client_writes_is_read_back():
    registry = CollectorRegistry()
    counter = Counter("natix_queries", "Queries", ["outcome", "validator"], registry=registry)
    counter.labels("answered", 'a "quoted" uid').inc(3)
    counter.labels("answered", "7").inc(2)
    Gauge("natix_ready", "Ready", registry=registry).set(1)

    found = Samples.of(generate_latest(registry).decode())

    assert found.one("natix_queries_total", validator='a "quoted" uid') == 3
    assert found.sums("natix_queries_total", "outcome") == {"answered": 5}
    assert found.one("natix_ready") == 1
    assert found.one("natix_unheard_of") is None


def test_the_word_that_holds_is_the_one_with_1():
    assert Samples.of(SCRAPE).word("natix_chain_state", "state") == "fresh"
    assert Samples.of(SCRAPE).word("natix_nothing", "state") is None


def test_a_miner_is_fetched_over_http(served):
    assert fetch(served(SCRAPE)).one("natix_uid") == 7


def test_an_address_where_nobody_listens_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening
        port = taken.getsockname()[1]
        with pytest.raises(WatchingError, match=f"nobody answers at http://127.0.0.1:{port}"):
            fetch(f"http://127.0.0.1:{port}/metrics")


def test_a_mute_one_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/metrics"
        with pytest.raises(WatchingError, match="nobody answers"):
            fetch(url, seconds=0.2)


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        (SCRAPE, 503, "status 503"),
        ("<html>a router's page</html>", 200, "not in Prometheus' format"),
        ("go_goroutines 5\n", 200, "not as a miner"),
    ],
)
def test_what_is_no_miner_is_told(served, text, status, told):
    with pytest.raises(WatchingError, match=told):
        fetch(served(text, status))


def test_an_endless_answer_is_cut_off(served, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    with pytest.raises(WatchingError, match="no miner"):
        fetch(served(SCRAPE))


def test_an_address_that_is_none_is_told():
    with pytest.raises(WatchingError, match="nobody answers at htp://"):
        fetch("htp://nowhere")
