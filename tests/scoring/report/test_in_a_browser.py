"""The report of a real run in a real browser: nothing fails, nothing leaves the file, all is seen,
in light and dark, wide and narrow, by mouse, keyboard and screen reader."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest
from PIL import Image

from natix_miner.scoring.results import read_rows
from tests.browser import Page, open_page

PLOTS = ["reward", "windows", "reliability", "scores", "cost", "latency"]
WIDE, NARROW = (1280, 900), (390, 844)


@pytest.fixture
def page(scored) -> Iterator[Page]:
    with open_page() as tab:
        tab.set_dark(False)
        tab.goto(scored.page)
        yield tab


def texts(page: Page, selector: str) -> list[str]:
    script = "Array.from(document.querySelectorAll(%s), e => e.innerText.trim())"
    return page.evaluate(script % json.dumps(selector))


def test_nothing_fails_and_nothing_leaves_the_file(page, scored):
    page.evaluate(OPEN_ALL)
    assert page.errors == page.console == []
    assert page.requests == [scored.page.as_uri()]


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_every_plot_is_seen_with_something_in_it(page, size):
    page.set_size(*size)
    found = page.evaluate(SHOWN)
    assert [one["id"] for one in found] == [f"plot-{name}" for name in PLOTS]
    for one in found:
        assert one["drawings"] == 1, one
        assert one["width"] > 250, one
        assert one["height"] > 150, one
        assert one["paths"] > 10, one
        assert one["inside"], one
        assert len(one["told"]) > 20, one


def test_what_stands_there_is_what_the_summary_says(page, scored):
    summary = scored.summary
    tiles = dict(zip(texts(page, ".tile dt"), texts(page, ".tile .value"), strict=True))
    for name, value in (
        ("mean reward", summary["reward"]["mean"]),
        ("MCC", summary["mcc"]),
        ("accuracy", summary["accuracy"]),
        ("AUC", summary["auc"]),
        ("Brier", summary["brier"]),
    ):
        assert tiles[name] == f"{value:.3f}"
    low, high = summary["intervals"]["mcc"]
    assert f"{low:.3f} to {high:.3f}" in texts(page, ".tile .under")
    first = texts(page, "#confusion tbody tr:first-child td")
    counts = summary["confusion"]
    assert first[:5] == [
        str(value)
        for value in (summary["labelled"], counts["tp"], counts["fn"], counts["fp"], counts["tn"])
    ]
    last = texts(page, "#stops tbody tr:last-child td")
    reward = summary["reward"]
    assert last[-2:] == [f"{reward['mean']:.3f}", f"{reward['low']:.3f} to {reward['high']:.3f}"]
    for row in texts(page, "#experts tbody tr"):
        name, _, _, missing, auc, ms, weight, *_ = row.split("\t")
        assert missing == "0.0 %"
        assert float(ms) > 0.0
        assert 0.0 < float(weight) < 2.0
        assert auc == "–" or 0.0 <= float(auc) <= 1.0
        assert name in summary["expert_ms_per_query"]
    # Those of the first level saw all 24 queries, enough for a correlation.
    correlations = texts(page, "#experts tbody td:nth-child(8)")
    assert [-1.0 <= float(one) <= 1.0 for one in correlations[:2]] == [True, True]
    shares = dict(
        zip(texts(page, "#reached th"), texts(page, "#reached td:last-child"), strict=True)
    )
    assert shares == {name: f"{100 * share:.1f} %" for name, share in summary["levels"].items()}


def test_errors_and_unsure_answers_are_shown_with_their_pictures_and_stories(page, scored):
    rows = list(read_rows(scored.folder / "results.jsonl"))
    wrong = {row.name for row in rows if row.wrong}
    assert set(texts(page, "#gallery .name")) == wrong
    others = sorted((row for row in rows if not row.wrong), key=lambda r: abs(r.prediction - 0.5))
    assert texts(page, "#unsure .name") == [row.name for row in others[:12]]
    assert page.evaluate(
        "Array.from(document.images).every(i => i.complete && i.naturalWidth > 50 && i.alt)"
    )
    row = next(row for row in rows if row.name == others[0].name)
    page.evaluate(OPEN_ALL)
    story = texts(page, "#unsure .answer:first-child .story")[0]
    trace = json.loads(row.trace)
    for level in trace["levels"]:
        assert level["why"] in story
        for expert in level["experts"]:
            assert expert["name"] in story
            assert f"{expert['log_odds']:+.2f}" in story
        if level["entered"]:
            assert f"{level['log_odds']:+.2f}" in story


def test_a_bar_goes_to_the_side_that_the_vote_is_on(page):
    page.evaluate(OPEN_ALL)
    bars = page.evaluate(BARS)
    assert len(bars) > 30
    for log_odds, left, right in bars:
        if log_odds > 0.05:
            assert left == pytest.approx(0.5, abs=0.02)
            assert right > 0.5
        elif log_odds < -0.05:
            assert right == pytest.approx(0.5, abs=0.03)
            assert left < 0.5


def test_a_story_opens_by_keyboard(page):
    page.evaluate("document.querySelector('#gallery summary').focus()")
    assert texts(page, "#gallery .story")[0] == ""
    page.press("Enter")
    assert page.wait_for("document.querySelector('#gallery details').open")
    assert "pooled" in texts(page, "#gallery .story")[0]
    page.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "region"


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_the_page_never_scrolls_sideways_only_its_tables_do(page, width):
    page.set_size(width, 844)
    for script in ("0", OPEN_ALL):
        page.evaluate(script)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 390:
        assert page.evaluate(
            "(t => t.scrollWidth > t.clientWidth)(document.querySelector('#confusion .scroll'))"
        )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_all_words_can_be_read(page, dark, size):
    """Contrast of at least 4.5 to 1, 3 to 1 for large words (WCAG 2.2, 1.4.3)."""
    page.set_dark(dark)
    page.set_size(*size)
    page.evaluate(OPEN_ALL)
    checked, poor = page.evaluate(CONTRAST)
    assert checked > 300
    assert poor == []


def test_the_page_is_told_to_who_cannot_see_it(page):
    assert page.evaluate("document.documentElement.lang") == "en"
    assert len(texts(page, "h1")) == 1
    levels = page.evaluate(
        "Array.from(document.querySelectorAll('h1,h2,h3,h4'), e => Number(e.tagName[1]))"
    )
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.evaluate(
        "Array.from(document.querySelectorAll('table')).every(t => t.caption.textContent.trim())"
    )
    assert page.evaluate(
        "Array.from(document.querySelectorAll('tbody tr')).every(r => r.querySelector('th[scope]'))"
    )
    assert page.evaluate(
        "Array.from(document.querySelectorAll('figure')).every("
        "f => f.getAttribute('role') === 'img' && f.ariaLabel)"
    )
    assert page.evaluate(
        "Array.from(document.querySelectorAll('.scroll')).every("
        "s => s.tabIndex === 0 && s.ariaLabel)"
    )
    assert page.evaluate(
        "(ids => new Set(ids).size === ids.length)"
        "(Array.from(document.querySelectorAll('[id]'), e => e.id))"
    )
    assert page.evaluate(
        "Array.from(document.querySelectorAll('nav a')).every("
        "a => document.querySelector(a.getAttribute('href')))"
    )


def test_light_and_dark_are_pictures_of_their_own(page, tmp_path):
    means = {}
    for dark in (False, True):
        page.set_dark(dark)
        with Image.open(page.screenshot(tmp_path / f"{dark}.png")) as image:
            assert image.size[1] > 3000
            small = image.convert("L").resize((64, 64))
            means[dark] = sum(small.tobytes()) / 64**2
    assert means[False] > 190
    assert means[True] < 80


OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true })"
SHOWN = """Array.from(document.querySelectorAll('figure'), figure => {
  const seen = Array.from(figure.querySelectorAll('svg'), svg => [svg, svg.getBoundingClientRect()])
    .filter(([, place]) => place.width > 0);
  const [svg, place] = seen[0];
  const words = Array.from(svg.querySelectorAll('text'), one => one.getBoundingClientRect());
  return {id: figure.id, drawings: seen.length, width: place.width, height: place.height,
    paths: svg.querySelectorAll('path').length, told: figure.ariaLabel,
    inside: words.length > 4 && words.every(w => w.left > place.left - 1
      && w.right < place.right + 1 && w.top > place.top - 1 && w.bottom < place.bottom + 1)};
})"""
BARS = """Array.from(document.querySelectorAll('.story tbody tr'), row => {
  const bar = row.querySelector('i');
  if (!bar) return null;
  const axis = bar.parentElement.getBoundingClientRect(), place = bar.getBoundingClientRect();
  return [Number(row.cells[3].innerText), (place.left - axis.left) / axis.width,
    (place.right - axis.left) / axis.width];
}).filter(one => one)"""
CONTRAST = """(() => {
  const rgb = text => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92
      : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if (colour[3] > 0) return colour;
    }
    return [255, 255, 255, 1];
  };
  let checked = 0;
  const poor = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const words = walk.currentNode.textContent.trim(), element = walk.currentNode.parentElement;
    if (!words || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), drawn = element.closest('svg');
    const both = [rgb(drawn ? style.fill : style.color), ground(drawn?.parentElement ?? element)];
    const [high, low] = both.map(light).sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    checked += 1;
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < (large ? 3 : 4.5)) poor.push([words.slice(0, 40), ratio, element.className]);
  }
  return [checked, poor];
})()"""
