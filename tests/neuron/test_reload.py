"""SIGHUP on a real miner with real experts: the fitted consensus is exchanged, or refused; and
drift, told in log and metrics."""

from __future__ import annotations

import asyncio
import io
import json
import math
import signal
import socket
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prometheus_client import generate_latest

from natix_miner.assembly import build_consensus, build_drift
from natix_miner.consensus import Expected, FittedConsensus, Platt, Pool, Standing, save_fitted
from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body
from natix_miner.neuron.metrics import Metrics
from natix_miner.neuron.reload import ConsensusReload, tell_drift
from natix_miner.profile import load_profile

COLOUR = Path(__file__).parents[2] / "models" / "embedded" / "colour_shape.json"
AS_FITTED = Expected(n=5000, mean=0.0, spread=1.0, agreement=0.0, missing=0.0)


def write_profile(folder, **consensus):
    """Two experts that load in no time."""
    path = folder / "reload.yaml"
    expert = {"type": "colour-shape", "model": str(COLOUR)}
    content = {
        "name": "reload",
        "experts": {"colour": expert, "twin": expert},
        "levels": [{"name": "only", "experts": ["colour", "twin"]}],
        "consensus": consensus,
    }
    path.write_text(json.dumps(content))
    return path


def fitted(bias=0.0, names=("colour", "twin"), **more):
    return FittedConsensus(
        calibrations=more.pop("calibrations", {}),
        pools=(Pool(weights=dict.fromkeys(names, 0.5), bias=bias),),
        **more,
    )


def picture(seed=0) -> bytes:
    pixels = np.random.default_rng(seed).integers(60, 190, (224, 224, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


async def ask(miner, key, seed=0):
    headers = signed_headers(key, miner.hotkey, time.time_ns())
    status, reply = await exchange(
        *miner.address, http_request(headers, synapse_body(picture(seed), -1))
    )
    assert status == 200
    return reply["prediction"]


def traces(miner):
    return [line["trace"] for line in miner.json_log() if "trace" in line]


async def until_logged(miner, words, times=1):
    give_up = time.monotonic() + 15.0
    while sum(words in line["message"] for line in miner.json_log()) < times:
        assert time.monotonic() < give_up, miner.log()
        await asyncio.sleep(0.02)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


def scraped(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        return page.read().decode()


def logit(p):
    return math.log(p / (1 - p))


async def test_sighup_exchanges_the_fitted_file_and_refuses_a_bad_one(miners, keys):
    path, port = miners.folder / "consensus.json", free_port()
    old, new = fitted(), fitted(bias=1.5)
    save_fitted(old, path)
    profile = write_profile(miners.folder, fitted="consensus.json")
    miner = miners.start("real", profile=str(profile), metrics_port=port)
    assert "no watch for drift" in miner.log()
    before = await ask(miner, keys["validator"])

    save_fitted(new, path)
    miner.process.send_signal(signal.SIGHUP)
    await until_logged(miner, "exchanged")
    after = await ask(miner, keys["validator"])
    assert logit(after) == pytest.approx(logit(before) + 1.5)

    path.write_bytes(path.read_bytes()[:100])
    miner.process.send_signal(signal.SIGHUP)
    await until_logged(miner, "refused")
    save_fitted(fitted(names=("colour", "another")), path)
    miner.process.send_signal(signal.SIGHUP)
    await until_logged(miner, "refused", times=2)
    path.unlink()
    miner.process.send_signal(signal.SIGHUP)
    await until_logged(miner, "refused", times=3)
    assert await ask(miner, keys["validator"]) == after

    save_fitted(new, path)
    miner.process.send_signal(signal.SIGHUP)
    await until_logged(miner, "as before")

    versions = [trace["versions"]["consensus"] for trace in traces(miner)]
    first, second = f"log-odds:{old.digest()}", f"log-odds:{new.digest()}"
    assert versions == [first, second, second]
    said = [line["message"] for line in miner.json_log()]
    assert f"fitted consensus exchanged: {second} instead of {first}" in said
    refused = [line for line in said if "refused" in line]
    assert all(line.startswith(f"fitted consensus refused, {second} stays") for line in refused)
    assert "EOF" in refused[0]
    assert "another" in refused[1]
    assert "no fitted consensus at" in refused[2]
    assert "Traceback" not in miner.log()
    text = scraped(port)
    for outcome, count in {"swapped": 1, "refused": 3, "unchanged": 1}.items():
        assert f'natix_consensus_reloads_total{{outcome="{outcome}"}} {count}.0' in text
    assert miner.stop() == 0


async def test_an_expert_that_drifts_is_told_once_and_a_new_fit_begins_anew(miners, keys):
    """colour is calibrated far up, so that it sits nowhere near where the fit saw it."""
    path, port = miners.folder / "consensus.json", free_port()
    up = {"colour": Platt(slope=0.01, intercept=6.0), "twin": Platt(slope=0.01)}
    save_fitted(
        fitted(calibrations=up, expected=dict.fromkeys(("colour", "twin"), AS_FITTED)), path
    )
    drift = {"window": 40, "minimum": 10, "floor": 0.25}
    profile = write_profile(miners.folder, fitted="consensus.json", drift=drift)
    miner = miners.start("real", profile=str(profile), metrics_port=port)
    assert "watching 2 experts for drift" in miner.log()
    for seed in range(12):
        await ask(miner, keys["validator"], seed)

    experts = [
        {expert["name"]: expert for expert in trace["levels"][0]["experts"]}
        for trace in traces(miner)
    ]
    reliability = [expert["colour"]["reliability"] for expert in experts]
    assert reliability == [1.0] * 10 + [0.25] * 2  # the rehearsal did not count
    assert experts[-1]["colour"]["trust"] == 0.25
    assert experts[-1]["twin"]["reliability"] == 1.0
    told = [line for line in miner.json_log() if "drifts from the fit" in line["message"]]
    assert len(told) == 1
    assert told[0]["level"] == "WARNING"
    assert "expert colour drifts from the fit by its shift" in told[0]["message"]
    text = scraped(port)
    assert 'natix_expert_reliability{expert="colour"} 0.25' in text
    assert 'natix_expert_drifted{expert="colour"} 1.0' in text
    assert 'natix_expert_drifted{expert="twin"} 0.0' in text
    assert 'natix_expert_agreement{expert="colour"} 1.0' in text
    assert 'natix_expert_missing_share{expert="twin"} 0.0' in text

    at_six = AS_FITTED.model_copy(update={"mean": 6.0})
    expected = {"colour": at_six, "twin": AS_FITTED}
    save_fitted(fitted(calibrations=up, expected=expected), path)
    miner.process.send_signal(signal.SIGHUP)
    await until_logged(miner, "exchanged")
    for seed in range(12):
        await ask(miner, keys["validator"], seed)
    last = traces(miner)[-1]["levels"][0]["experts"]
    assert [expert["reliability"] for expert in last] == [1.0, 1.0]
    assert 'natix_expert_drifted{expert="colour"} 0.0' in scraped(port)
    assert miner.stop() == 0


class Seat:
    """Stands for the judge's thread."""

    def __init__(self, version="old", failing=False):
        self.consensus_version, self.failing, self.drift = version, failing, None

    async def swap_consensus(self, consensus, drift):
        if self.failing:
            raise ZeroDivisionError("a fault of the double")
        self.consensus_version, self.drift = consensus.version, drift

    def standings(self):
        return self.drift.standings if self.drift else {}


async def reloaded(profile, seat, told, words, times=1):
    """Ask before the loop even runs, as a signal while starting does; metrics when it is done."""
    metrics = Metrics()
    reload = ConsensusReload(profile, seat, metrics)
    reload.ask()
    running = asyncio.ensure_future(reload.run())
    for number in range(times):
        async with asyncio.timeout(10.0):
            while sum(words in line for line in told) <= number:
                await asyncio.sleep(0.001)
        reload.ask()
    running.cancel()
    await asyncio.wait({running})
    return generate_latest(metrics.registry).decode()


async def test_a_signal_that_came_while_starting_is_answered_afterwards(tmp_path, told):
    expected = dict.fromkeys(("colour", "twin"), AS_FITTED)
    save_fitted(fitted(expected=expected), tmp_path / "consensus.json")
    profile = load_profile(write_profile(tmp_path, fitted="consensus.json"))
    seat = Seat()
    text = await reloaded(profile, seat, told, "watching 2 experts")
    assert seat.consensus_version == build_consensus(profile).version
    assert set(seat.standings()) == {"colour", "twin"}
    assert 'outcome="swapped"} 1.0' in text


async def test_a_profile_without_a_fitted_file_has_nothing_to_read(tmp_path, told):
    seat = Seat()
    text = await reloaded(load_profile(write_profile(tmp_path)), seat, told, "names no fitted")
    assert seat.consensus_version == "old"
    assert 'outcome="none"} 1.0' in text


async def test_whatever_goes_wrong_the_next_signal_is_heard(tmp_path, told):
    save_fitted(fitted(), tmp_path / "consensus.json")
    profile = load_profile(write_profile(tmp_path, fitted="consensus.json"))
    text = await reloaded(profile, Seat(failing=True), told, "reloading the consensus failed", 2)
    assert 'outcome="failed"} 2.0' in text


def test_drift_is_watched_only_where_profile_and_fit_say_so(tmp_path):
    def built(expected, **settings):
        save_fitted(fitted(expected=expected), tmp_path / "consensus.json")
        profile = load_profile(write_profile(tmp_path, fitted="consensus.json", **settings))
        return build_drift(profile, build_consensus(profile), tell_drift)

    expected = {"colour": AS_FITTED, "twin": AS_FITTED}
    assert set(built(expected).standings) == {"colour", "twin"}
    assert built({}) is None
    assert built(expected, drift={"enabled": False}) is None


def test_the_end_of_a_drift_is_told(told):
    tell_drift(Standing("colour", drifted=True, cause="missing", score=2.0, missing=0.5, votes=50))
    tell_drift(Standing("colour"))
    assert told == [
        "WARNING expert colour drifts from the fit by its missing, 2.00 times the limit"
        " (missing 0.50; 50 votes); its trust is multiplied by 1.00",
        "INFO expert colour no longer drifts from the fit",
    ]
