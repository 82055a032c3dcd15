"""Counters as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import generate_latest

from natix_miner.neuron.metrics import Metrics
from natix_miner.serving.state import ServerStatus, State


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
    states["fast"] = ServerStatus(State.DOWN, "killed", restarts=1)
    shown = generate_latest(metrics.registry).decode()
    assert 'natix_server_up{server="fast"} 0.0' in shown
    assert 'natix_server_restarts_total{server="fast"} 1.0' in shown
