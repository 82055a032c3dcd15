"""A real Ray of two workers gives the rows of a run in process, whatever happens on the way."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from natix_miner.assembly import build_judge
from natix_miner.breaker import Breaker, BreakerLimits
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import EntryRule, Level, Seat
from natix_miner.cli import app
from natix_miner.clock import SYSTEM_CLOCK
from natix_miner.consensus import POOLS, equal_weights
from natix_miner.errors import ConfigurationError, MissingExtraError, QuerySourceError
from natix_miner.experts import Expert
from natix_miner.experts.opinion import Look
from natix_miner.judge import Judge
from natix_miner.profile import load_profile
from natix_miner.scoring import ResultsFile, ScoreSettings, open_source, score_queries
from natix_miner.scoring.engines import RayEngine, RayOptions, gpus_of
from natix_miner.scoring.engines.ray_engine import KILLED
from natix_miner.sections import PictureLimits

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "natix_miner" / "demo" / "queries"
PROFILE = ROOT / "configs" / "embedded.yaml"
POISON = 37

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    """A cluster on this machine with room for two; runs use it and leave it as it is."""
    ray = pytest.importorskip("ray")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=80 * 2**20,
        )
        yield ray
        ray.shutdown()


class Grey(Expert):
    """A real, simple expert: the mean brightness; one brightness ends the process it runs in."""

    name = "grey"
    version = "1"

    async def look(self, frame, deadline) -> Look:
        mean = float(frame.pixels.mean())
        if abs(mean - POISON) < 3.0:
            os.kill(os.getpid(), signal.SIGKILL)
        return Look(probability=0.05 + 0.9 * mean / 255.0)


def grey_judge(version: str = "1") -> Judge:
    """A judge of one level around that expert; `version` other than 1 differs from machine to
    machine."""
    expert = Grey()
    expert.version = version if version == "1" else f"of process {os.getpid()}"
    breaker = Breaker(BreakerLimits(failures=1000, rest_seconds=1.0), SYSTEM_CLOCK)
    seat = Seat(expert=expert, timeout_seconds=5.0, breaker=breaker)
    rule = EntryRule(unsure_below=None, disagreement_above=None)
    pool = POOLS["log-odds"](equal_weights(frozenset({expert.name})))
    level = Level(name="glance", seats=(seat,), rule=rule, needs_seconds=0.0)
    return Judge(Cascade((level,), pool), (expert,), PictureLimits(), {"miner": "test"})


def greys(folder: Path, values: list[int]) -> Path:
    """Pictures of one grey each, every second of them labelled roadwork."""
    for label in ("none", "roadwork"):
        (folder / label).mkdir(parents=True)
    for number, value in enumerate(values):
        picture = Image.fromarray(np.full((24, 32, 3), value, np.uint8))
        label = "roadwork" if number % 2 else "none"
        picture.save(folder / label / f"{number:03}.jpg")
    return folder


def engine(path, settings, make_judge=grey_judge, opened=None, told=None, **options):
    return RayEngine(
        make_judge,
        opened or partial(open_source, path),
        open_source(path),
        settings,
        RayOptions(workers=2, **options),
        tell=(told if told is not None else []).append,
    )


def on_ray(path, settings, *arguments, results=None, on_row=None, **options):
    with engine(path, settings, *arguments, **options) as opened:
        return opened.score(results=results, on_row=on_row)


def in_process(path, settings, make_judge=grey_judge, results=None):
    async def run():
        judge = make_judge()
        await judge.start()
        try:
            return await score_queries(judge, open_source(path), settings, results=results)
        finally:
            await judge.close()

    return asyncio.run(run())


def timeless(rows):
    """Everything but times, to the last bit."""
    found = []
    for row in rows:
        values = dataclasses.asdict(row)
        for times in ("total_ms", "expert_ms", "trace"):
            values.pop(times)
        found.append(values)
    return found


def test_rows_are_those_of_a_run_in_process(tmp_path):
    profile = load_profile(PROFILE)
    judge = partial(build_judge, profile)
    settings = ScoreSettings(simulate="cropped", seed=5, repeats=2, limit=12)
    local = in_process(DEMO, settings, judge)
    heard = []
    spread = on_ray(DEMO, settings, judge, on_row=heard.append)
    assert timeless(spread.rows) == timeless(local.rows)
    assert len({row.prediction for row in spread.rows}) > 12
    assert {row.level for row in spread.rows} == {"glance", "closer"}
    assert (spread.judged, len(heard)) == (24, 24)
    assert all(row.trace and row.total_ms > 0 for row in spread.rows)


def test_an_export_is_read_by_every_worker_for_itself(make_export, make_picture):
    pictures = [make_picture(n % 2 == 0, seed=n) for n in range(24)]
    pictures[5] = None
    path, settings = make_export(pictures), ScoreSettings(simulate="letterboxed", limit=20)
    local = in_process(path, settings)
    spread = on_ray(path, settings)
    assert timeless(spread.rows) == timeless(local.rows)
    assert len({row.prediction for row in spread.rows}) == 20


def test_both_workers_judge_and_a_cluster_that_was_there_stays(tmp_path, two_workers):
    path = greys(tmp_path / "greys", list(range(60, 124)))
    with engine(path, ScoreSettings(concurrency=2)) as opened:
        pids = {worker.pid for worker in opened.ready(2)}
        rows = opened.score().rows
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert len(rows) == 64
    assert two_workers.is_initialized()


def test_a_run_cut_in_a_line_goes_on_over_ray_and_back(tmp_path):
    path = greys(tmp_path / "greys", list(range(60, 100)))
    settings, state = ScoreSettings(concurrency=2), tmp_path / "results.jsonl"
    with ResultsFile(state, {}) as results:
        whole = in_process(path, settings, results=results)
    lines = state.read_bytes().splitlines(keepends=True)
    state.write_bytes(b"".join(lines[:11]) + lines[11][:30])
    with ResultsFile(state, {}) as results:
        over_ray = on_ray(path, dataclasses.replace(settings, limit=25), results=results)
    with ResultsFile(state, {}) as results:
        back = in_process(path, settings, results=results)
    assert len({row.prediction for row in whole.rows}) > 30
    assert (over_ray.judged, back.judged) == (15, 15)
    assert timeless(over_ray.rows) == timeless(whole.rows[:25])
    assert timeless(back.rows) == timeless(whole.rows)


def test_a_source_that_changed_is_noticed_here_and_at_a_worker(tmp_path):
    path = greys(tmp_path / "greys", list(range(60, 70)))
    other = greys(tmp_path / "others", list(range(60, 71)))
    settings = ScoreSettings()
    with ResultsFile(tmp_path / "results.jsonl", {}) as results:
        in_process(path, settings, results=results)
        (path / "none/000.jpg").rename(path / "none/0000.jpg")
        with pytest.raises(QuerySourceError, match="has changed"):
            on_ray(path, settings, results=results)
    with pytest.raises(QuerySourceError, match="are not those of where the run was started"):
        on_ray(path, settings, opened=partial(open_source, other))
    with pytest.raises(ConfigurationError, match=r"a worker on \S+ cannot start: there is nothing"):
        on_ray(path, settings, opened=partial(open_source, tmp_path / "nowhere"))


def test_workers_that_do_not_judge_alike_end_the_run(tmp_path):
    path = greys(tmp_path / "greys", list(range(60, 64)))
    with (
        engine(path, ScoreSettings(), partial(grey_judge, "own")) as opened,
        pytest.raises(ConfigurationError, match="do not judge alike"),
    ):
        opened.ready(2)


def test_the_work_of_a_killed_worker_goes_to_others(tmp_path):
    path = greys(tmp_path / "greys", [60 + n % 100 for n in range(200)])
    settings, told, killed = ScoreSettings(concurrency=4), [], []
    with engine(path, settings, told=told) as opened:

        def kill_one(row) -> None:
            if not killed:
                killed.append(opened.ready()[0].pid)
                os.kill(killed[0], signal.SIGKILL)

        found = opened.score(on_row=kill_one)
        deaths = opened.deaths
    assert deaths == 1
    assert len(told) == 1
    assert "queries in hand; another one takes its place" in told[0]
    assert timeless(found.rows) == timeless(in_process(path, settings).rows)


def test_a_query_that_kills_its_worker_twice_is_an_error_row(tmp_path):
    values = list(range(60, 90))
    values[13] = POISON
    path = greys(tmp_path / "greys", values)
    with (
        ResultsFile(tmp_path / "results.jsonl", {}) as results,
        engine(path, ScoreSettings()) as opened,
    ):
        found = opened.score(results=results)
        assert opened.deaths == 2
        assert len(results.rows) == 30
    bad = [row for row in found.rows if not row.answered]
    assert [(row.name, row.label, row.reason) for row in bad] == [("roadwork/013.jpg", 1, KILLED)]
    assert [row.position for row in found.rows] == list(range(30))


def test_more_workers_than_there_is_room_for_are_refused(tmp_path):
    path = greys(tmp_path / "greys", [60])
    with (
        pytest.raises(ConfigurationError, match="room for 0 workers of 1 CPUs and 1 GPUs"),
        engine(path, ScoreSettings(), gpus=1.0),
    ):
        pass


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    path = greys(tmp_path / "greys", [60])
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"natix-miner\[ray\]"):
        engine(path, ScoreSettings())


def test_a_worker_gets_a_gpu_where_the_profile_uses_one():
    assert gpus_of(load_profile(PROFILE)) == 0.0
    assert gpus_of(load_profile(ROOT / "configs" / "gpu-24g.yaml")) == 1.0
    assert gpus_of(load_profile(ROOT / "configs" / "dual-80g.yaml")) == 2.0


def children(root: int) -> dict[int, str]:
    """The processes below a process, with their command lines."""

    def parent(pid: int) -> int:
        try:
            return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            return 0

    found = {}
    for pid in (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()):
        above = parent(pid)
        while above not in (0, 1, root):
            above = parent(above)
        if above == root:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return found


def test_the_command_survives_a_worker_and_an_interrupt_ends_it_with_130(tmp_path):
    state = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "natix_miner", "score", "--queries", str(DEMO), "--json"]
    command += ["--profile", str(PROFILE), "--resume", str(state)]
    spread = [*command, "--engine", "ray", "--workers", "1", "--repeats", "100000"]
    running = subprocess.Popen(
        spread, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )

    def grown(to: int) -> None:
        until = time.monotonic() + 60
        while not state.is_file() or state.stat().st_size < to:
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)

    try:
        grown(50_000)
        below = children(running.pid)
        (worker,) = [pid for pid, name in below.items() if name.startswith("ray::Worker")]
        os.kill(worker, signal.SIGKILL)
        grown(state.stat().st_size + 100_000)
        os.killpg(running.pid, signal.SIGINT)
        out, errors = running.communicate(timeout=30)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
    assert (running.returncode, out) == (130, "")
    assert "another one takes its place" in errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    rows = [json.loads(line) for line in state.read_text().splitlines()][1:]
    assert len({(row["repeat"], row["position"]) for row in rows}) == len(rows) > 10
    assert all(row["prediction"] >= 0 for row in rows)
    # What was judged over Ray counts for the same command in process.
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"going on: {len(rows)} results" in done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "ray://127.0.0.1:10001"])
def test_an_address_where_no_cluster_is_is_told_at_once(address):
    command = [sys.executable, "-m", "natix_miner", "score", "--queries", str(DEMO)]
    command += ["--profile", str(PROFILE), "--engine", "ray", "--ray-address", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no Ray cluster at '{address}'" in done.stderr
    assert "Traceback" not in done.stderr


def test_options_of_ray_need_the_engine():
    done = CliRunner().invoke(app, ["score", "--queries", str(DEMO), "--workers", "2"])
    assert done.exit_code == 2
    assert "need --engine ray" in done.stderr
