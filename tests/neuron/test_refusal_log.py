"""A flood of refusals is a handful of lines."""

from __future__ import annotations

from natix_miner.neuron.metrics import Metrics
from natix_miner.neuron.refusals import RefusalLog


def test_the_first_of_a_reason_is_told_and_the_rest_summed_up(manual_clock, told):
    metrics = Metrics()
    log = RefusalLog(metrics, manual_clock)
    for _ in range(1000):
        log.refused(403, "unregistered", None)
        manual_clock.advance(0.05)
    log.picture_refused("not-a-picture", "5abc")
    manual_clock.advance(20.0)
    log.refused(401, "replayed", None)

    assert told == [
        "INFO refused a request: 403 unregistered (the first; further ones are summed up)",
        "INFO refused a request: 422 not-a-picture (the first; further ones are summed up)",
        "INFO refused a request: 401 replayed (the first; further ones are summed up)",
        "INFO refused in the last 70 s: 1000 x 403 unregistered, 1 x 422 not-a-picture,"
        " 1 x 401 replayed",
    ]
    labels = {"status": "403", "reason": "unregistered"}
    assert metrics.registry.get_sample_value("natix_refusals_total", labels) == 1000
    labels = {"reason": "not-a-picture"}
    assert metrics.registry.get_sample_value("natix_picture_errors_total", labels) == 1
