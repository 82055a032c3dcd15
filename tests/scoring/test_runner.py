"""Runs with the real judge: order, resume, interruption, silence, how many at once."""

from __future__ import annotations

import asyncio
import json

import pytest

from natix_miner.cascade.trace import Trace
from natix_miner.errors import QuerySourceError
from natix_miner.experts import Expert
from natix_miner.experts.opinion import Look
from natix_miner.scoring import (
    ResultsFile,
    ScoreSettings,
    open_source,
    score_queries,
    summarise,
)
from natix_miner.scoring.results import read_rows


async def run(judge, path, results=None, on_row=None, **settings):
    await judge.start()
    try:
        return await score_queries(
            judge, open_source(path), ScoreSettings(**settings), results=results, on_row=on_row
        )
    finally:
        await judge.close()


class Watcher(Expert):
    """A real expert that counts how many frames are before it at the same time."""

    name = "watcher"
    version = "1"

    def __init__(self) -> None:
        self.now = self.most = self.seen = 0
        self.gate = asyncio.Event()

    async def look(self, frame, deadline) -> Look:
        self.now += 1
        self.seen += 1
        self.most = max(self.most, self.now)
        if self.most >= 4:
            self.gate.set()
        await self.gate.wait()
        self.now -= 1
        return Look(probability=0.7)


class Silent(Expert):
    """A real expert that never has an opinion."""

    name = "silent"
    version = "1"

    async def look(self, frame, deadline) -> Look:
        raise RuntimeError("no opinion today")


def plain(rows):
    return [(row.name, row.label, round(row.prediction, 9), row.repeat) for row in rows]


async def test_every_query_is_judged_and_the_label_is_found(make_judge, picture_folder):
    done = await run(make_judge(), picture_folder)
    assert (done.judged, len(done.rows)) == (16, 16)
    assert all(row.says_roadwork == bool(row.label) for row in done.rows)
    assert {row.level for row in done.rows} == {"glance"}
    assert [row.position for row in done.rows] == list(range(16))
    assert all(row.votes.keys() == {"orange-share"} and row.total_ms > 0 for row in done.rows)


async def test_results_do_not_depend_on_how_many_are_judged_at_once(make_judge, picture_folder):
    settings = {"simulate": "cropped", "repeats": 2, "seed": 3}
    one = await run(make_judge(), picture_folder, concurrency=1, **settings)
    many = await run(make_judge(), picture_folder, concurrency=16, **settings)
    assert plain(one.rows) == plain(many.rows)
    assert len({row.prediction for row in one.rows}) > 5


async def test_repeats_draw_the_same_pictures_again(make_judge, picture_folder):
    done = await run(make_judge(), picture_folder, simulate="cropped", repeats=3, limit=4)
    assert len(done.rows) == 12
    assert [row.name for row in done.rows[:4]] == [row.name for row in done.rows[4:8]]
    assert plain(done.rows[:4]) != plain(done.rows[4:8])


async def test_several_queries_are_before_the_judge_at_once_and_never_more(
    make_judge, picture_folder
):
    watcher = Watcher()
    await run(make_judge(watcher), picture_folder, concurrency=4)
    assert (watcher.seen, watcher.most) == (16, 4)


async def test_silence_is_minus_one_with_its_reason(make_judge, picture_folder):
    done = await run(make_judge(Silent()), picture_folder, limit=3)
    assert [row.prediction for row in done.rows] == [-1.0] * 3
    assert summarise(done.rows).missing == {"no-usable-opinion": 3}
    assert "no opinion today" in done.rows[0].reason
    assert done.rows[0].votes == {"silent": "failed"}


@pytest.mark.parametrize("simulate", ["as-is", "cropped"])
async def test_what_is_no_picture_is_counted_and_the_rest_goes_on(
    make_judge, picture_folder, simulate
):
    (picture_folder / "none/0.jpg").write_bytes(b"no picture at all")
    done = await run(make_judge(), picture_folder, simulate=simulate)
    bad = [row for row in done.rows if not row.answered]
    assert [(row.name, row.reason) for row in bad] == [("none/0.jpg", "not-a-picture")]
    assert len(done.rows) == 16


async def test_a_source_that_fails_in_the_middle_says_so_itself(make_judge, tmp_path):
    path = tmp_path / "queries.jsonl"
    path.write_text('{"image": "aGk="}\n' * 20 + "{broken\n")
    with pytest.raises(QuerySourceError, match="line 21"):
        await run(make_judge(), path)


async def test_the_second_run_judges_only_what_is_missing(make_judge, picture_folder, tmp_path):
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, {"seed": 0}) as results:
        await run(make_judge(), picture_folder, results, limit=5)
    heard = []
    with ResultsFile(path, {"seed": 0}) as results:
        again = await run(make_judge(), picture_folder, results, on_row=heard.append)
    assert (again.judged, len(again.rows), len(heard)) == (11, 16, 16)
    whole = await run(make_judge(), picture_folder)
    assert plain(again.rows) == plain(whole.rows)
    with ResultsFile(path, {"seed": 0}) as results:
        assert (await run(make_judge(), picture_folder, results)).judged == 0


async def test_results_beyond_what_is_asked_for_are_left_aside(
    make_judge, picture_folder, tmp_path
):
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, {}) as results:
        await run(make_judge(), picture_folder, results, repeats=2)
    with ResultsFile(path, {}) as results:
        done = await run(make_judge(), picture_folder, results, limit=3)
    assert (done.judged, len(done.rows)) == (0, 3)


async def test_an_interrupted_run_leaves_results_that_can_be_taken_up(
    make_judge, picture_folder, tmp_path
):
    path = tmp_path / "results.jsonl"
    reached = asyncio.Event()
    rows = []

    def heard(row):
        rows.append(row)
        if len(rows) == 6:
            reached.set()

    with ResultsFile(path, {}) as results:
        task = asyncio.create_task(
            run(make_judge(), picture_folder, results, on_row=heard, concurrency=2)
        )
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    lines = path.read_text().splitlines()
    assert 6 <= len(lines) - 1 < 16
    assert all(json.loads(line) for line in lines)
    with ResultsFile(path, {}) as results:
        done = await run(make_judge(), picture_folder, results)
    assert done.judged == 16 - (len(lines) - 1)
    assert plain(done.rows) == plain((await run(make_judge(), picture_folder)).rows)


async def test_a_source_that_changed_under_the_results_is_noticed(
    make_judge, picture_folder, tmp_path
):
    with ResultsFile(tmp_path / "results.jsonl", {}) as results:
        await run(make_judge(), picture_folder, results)
        (picture_folder / "none/0.jpg").rename(picture_folder / "none/00.jpg")
        with pytest.raises(QuerySourceError, match="has changed"):
            await run(make_judge(), picture_folder, results)


async def test_every_row_has_the_trace_of_its_query(make_judge, picture_folder, tmp_path):
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, {}) as results:
        done = await run(make_judge(), picture_folder, results)
    for row in [*done.rows, *read_rows(path)]:
        trace = Trace.model_validate_json(row.trace)
        assert trace.answer.prediction == row.prediction
        assert trace.query.source == f"file:{row.name}"
        assert trace.levels[0].experts[0].probability == pytest.approx(row.votes["orange-share"])


async def test_traces_that_are_not_wanted_are_not_held(make_judge, picture_folder, tmp_path):
    path = tmp_path / "results.jsonl"
    for _ in range(2):  # judged, then resumed
        with ResultsFile(path, {}, keep_traces=False) as results:
            done = await run(make_judge(), picture_folder, results, keep_traces=False)
        assert {row.trace for row in done.rows} == {""}
    assert all(row.trace for row in read_rows(path))


def test_only_what_changes_an_answer_is_decisive():
    assert ScoreSettings(all_levels=True).decisive() != ScoreSettings().decisive()
    free = ScoreSettings(limit=3, repeats=2, concurrency=1, keep_traces=False)
    assert free.decisive() == ScoreSettings().decisive()
    assert free.about()["limit"] == 3
