"""The page stands alone, shows plots and gallery, and survives odd input."""

from __future__ import annotations

import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from natix_miner.errors import ConfigurationError
from natix_miner.scoring import ScoredQuery, ScoreSettings, open_source, score_queries, summarise
from natix_miner.scoring.gallery import (
    gallery_of,
    least_sure,
    thumbnail,
    with_thumbnails,
    worst,
)
from natix_miner.scoring.report import ExpertFigures, ExpertPanel, render_report, write_report
from natix_miner.scoring.runner import ordered, prepared_picture

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """What a browser would build: elements, the tree's balance, everything that is referred to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"] or "")
        self.references += [values[name] or "" for name in ("src", "href") if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def some_rows(n: int = 60, seed: int = 0) -> list[ScoredQuery]:
    rng = np.random.default_rng(seed)
    out = io.BytesIO()
    Image.new("RGB", (32, 20), (90, 90, 90)).save(out, "JPEG")
    rows = []
    for position, label in enumerate(rng.integers(0, 2, n).tolist()):
        score = float(np.clip(label * 0.5 + rng.normal(0.25, 0.25), 0.001, 0.999))
        rows.append(
            ScoredQuery(
                name=f"picture-{position}",
                label=label,
                prediction=-1.0 if position % 20 == 7 else score,
                level="glance",
                reason="deadline" if position % 20 == 7 else "sure",
                total_ms=float(rng.lognormal(2, 1)),
                size_class="frame",
                generation="cropped",
                votes={"network": score, "colour": "timed-out"},
                expert_ms={"network": 3.0},
                thumbnail=out.getvalue(),
                position=position,
            )
        )
    return rows


def test_the_page_stands_alone_and_shows_everything(tmp_path):
    rows = some_rows()
    path = write_report(
        tmp_path / "out" / "report.html",
        rows,
        summarise(rows),
        deadline_ms=7000.0,
        gallery=9,
        unsure=5,
    )
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert all(one.startswith(("#", "data:image/")) for one in page.references)
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"@import|url\((?!#)", text)
    assert "script" not in page.tags
    for name in ("reward", "windows", "reliability", "scores", "latency"):
        assert f"plot-{name}" in page.ids
    assert page.tags.count("svg") == 8  # the three wide ones are drawn for narrow screens as well
    assert page.tags.count("img") == page.tags.count("article") == 9 + 5
    assert {"headline", "confusion", "levels", "experts", "gallery", "unsure"} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    assert "deadline 7,000" in page.words
    assert "timed-out" in page.words
    assert "prefers-color-scheme: dark" in text


def test_no_drawing_colour_is_left_over():
    """Every colour in the plots is a variable of the page, so that dark and light both work."""
    rows = some_rows()
    text = render_report(rows, summarise(rows), deadline_ms=7000.0)
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "var(--accent)" in drawings
    assert not re.findall(r"#[0-9a-f]{6}\b", drawings)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [ScoredQuery("unlabelled", None, 0.7, "glance", "sure", 3.0)],
        [ScoredQuery("silent", 1, -1.0, None, "deadline", 7000.0)],
        [ScoredQuery("broken", 0, -1.0, None, "not-a-picture", 0.0)],
        [ScoredQuery("one", 1, 0.9, "glance", "sure", 3.0)],
    ],
)
def test_a_page_comes_out_of_hardly_anything(rows):
    page = Page(render_report(rows, summarise(rows), deadline_ms=None))
    assert page.open == []
    assert "html" in page.tags
    assert all(one[1:] in page.ids for one in page.references if one.startswith("#"))


def test_names_cannot_break_out_of_the_page():
    rows = [ScoredQuery("<script>alert(1)</script>", 1, 0.1, "<b>", 'x" onload="y', 3.0)]
    page = Page(render_report(rows, summarise(rows)))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.words


def test_nothing_that_a_trace_or_a_fit_says_can_break_out_of_the_page():
    bad = '<img src=x onerror="alert(1)">'
    rows = [dataclasses.replace(row, group=bad, generation=bad) for row in some_rows(8)]
    votes = {bad: 0.4, "other": bad}
    rows.append(dataclasses.replace(rows[0], name="more", position=99, votes=votes))
    panel = ExpertPanel({bad: ExpertFigures(adds=0.1)}, 1.5, (bad,))
    summary = summarise(rows, settings={bad: bad})
    text = render_report(rows, summary, title=bad, subtitle=bad, experts=panel)
    assert "<img src=x" not in text
    assert text.count("&lt;img src=x") > 8
    page = Page(text)
    assert page.open == []
    assert page.tags.count("img") == page.tags.count("article")


def test_what_a_fit_says_of_the_experts_is_shown_and_dashes_where_nothing_is():
    rows = some_rows()
    without = Page(render_report(rows, summarise(rows))).words
    assert "independent votes" not in without
    figures = ExpertFigures(
        weight=0.9, correlation=0.41, adds=0.052, adds_low=-0.013, adds_high=0.098
    )
    panel = ExpertPanel({"network": figures}, 2.06, ("colour could be switched off.",))
    words = Page(render_report(rows, summarise(rows), experts=panel)).words
    for word in ("0.90", "0.41", "+0.052", "-0.013 to +0.098", "colour could be switched off."):
        assert word in words
        assert word not in without
    assert "worth 2.1 independent votes" in words


def test_a_page_that_cannot_be_written_leaves_the_old_one_and_says_so(tmp_path):
    rows = some_rows(5)
    path = write_report(tmp_path / "report.html", rows, summarise(rows))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_report(tmp_path / "file" / "report.html", rows, summarise(rows))
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["file", "report.html"]
    assert path.stat().st_size > 10_000


def test_a_long_stream_makes_no_long_page():
    """Of 20,000 answers no more places are drawn than of 3,000."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20_000)
    scores = np.clip(labels * 0.4 + rng.normal(0.3, 0.2, 20_000), 0.001, 0.999)
    rows = [
        ScoredQuery(f"{n}", int(label), float(score), "a", "sure", 3.0, position=n)
        for n, (label, score) in enumerate(zip(labels, scores, strict=True))
    ]
    text = render_report(rows, summarise(rows, resamples=10))
    assert len(text) < 2_000_000


def test_the_errors_come_worst_first_and_silence_after_the_wrong_ones():
    rows = [
        ScoredQuery("right", 1, 0.8, "a", "sure", 1.0),
        ScoredQuery("silent", 1, -1.0, "a", "deadline", 1.0),
        ScoredQuery("very wrong", 0, 0.99, "a", "sure", 1.0),
        ScoredQuery("unknown", None, 0.99, "a", "sure", 1.0),
        ScoredQuery("wrong", 1, 0.3, "a", "sure", 1.0),
    ]
    assert [row.name for row in worst(rows)] == ["very wrong", "wrong", "silent"]
    assert [row.name for row in worst(rows, 2)] == ["very wrong", "wrong"]
    assert len(worst([*rows, *rows])) == 3  # of several draws of one picture only the worst


def test_the_least_sure_are_nearest_to_one_half_and_not_among_the_errors():
    rows = [
        ScoredQuery("sure", 1, 0.95, "a", "sure", 1.0),
        ScoredQuery("unlabelled", None, 0.45, "a", "sure", 1.0),
        ScoredQuery("wrong", 0, 0.51, "a", "sure", 1.0),
        ScoredQuery("right", 1, 0.52, "a", "sure", 1.0),
        ScoredQuery("silent", 1, -1.0, "a", "deadline", 1.0),
    ]
    assert [row.name for row in least_sure(rows)] == ["wrong", "right", "unlabelled", "sure"]
    errors, unsure = gallery_of(rows, 10, 2)
    assert [row.name for row in errors] == ["wrong", "silent"]
    assert [row.name for row in unsure] == ["right", "unlabelled"]


def test_a_thumbnail_is_small_keeps_the_shape_and_is_none_for_no_picture(make_picture):
    with Image.open(io.BytesIO(thumbnail(make_picture(True, size=(960, 480))) or b"")) as image:
        assert image.size == (240, 120)
    with Image.open(io.BytesIO(thumbnail(make_picture(True, size=(96, 64))) or b"")) as image:
        assert image.size == (96, 64)
    assert thumbnail(b"no picture") is None


@pytest.mark.parametrize("keep_order", [False, True])
async def test_the_gallery_shows_what_the_judge_saw(make_judge, picture_folder, keep_order):
    source = open_source(picture_folder)
    settings = ScoreSettings(simulate="cropped", repeats=2, keep_order=keep_order)
    judge = make_judge()
    await judge.start()
    done = await score_queries(judge, source, settings)
    await judge.close()
    rows = with_thumbnails(done.rows, source, settings, errors=5, unsure=3)
    shown = [row for row in rows if row.thumbnail is not None]
    errors, unsure = gallery_of(done.rows, 5, 3)
    assert len(unsure) == 3
    assert {(row.repeat, row.position) for row in shown} == {
        (row.repeat, row.position) for row in [*errors, *unsure]
    }
    judged = dict(enumerate(ordered(source, settings)))
    for row in shown:
        picture = prepared_picture(judged[row.position], settings, row.repeat)
        assert row.thumbnail == thumbnail(picture)
        with Image.open(io.BytesIO(row.thumbnail)) as image:
            assert image.size == (224, 224)
