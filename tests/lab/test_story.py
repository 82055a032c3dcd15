"""The story of one query: what it tells, on the terminal and in a real browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from natix_miner.assembly import build_consensus, build_judge
from natix_miner.cascade.trace import Answer, EvidenceTrace, ExpertTrace, LevelTrace, Trace
from natix_miner.consensus import Platt, load_fitted, save_fitted
from natix_miner.images import decode_picture
from natix_miner.journal import Journal, JournalWriter
from natix_miner.lab.story import Story, tell
from natix_miner.lab.story_find import find_in_journal
from natix_miner.lab.story_lines import AXIS, lines_of, plain
from natix_miner.lab.story_page import story_page
from natix_miner.lab.story_pictures import pictures_of
from natix_miner.profile import Profile, load_profile
from natix_miner.query import Query
from natix_miner.sections import JournalSettings
from natix_miner.stored import StoredQuery, open_stored
from tests.browser import open_page

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "configs" / "embedded.yaml"
DEMO = ROOT / "natix_miner" / "demo" / "queries"
#: Two that need both levels, a tilted one, one that is sure at once, a whole frame.
NAMES = ("cropped-01.jpg", "letterboxed-03.jpg", "cropped-00.jpg", "full-frame-03.jpg")
EVIL = "</title><script>document.title='evil'</script><img src=//x onerror=alert(1)>\x1b[31m"


def judged_into(path: Path, profile: Profile) -> list[StoredQuery]:
    """A real journal by the real judge, read back."""

    async def judge() -> None:
        the_judge = build_judge(profile)
        await the_judge.start()
        with JournalWriter(JournalSettings(path=path, keep_days=1e6)) as writer:
            for number, name in enumerate(NAMES):
                picture = (DEMO / name).read_bytes()
                query = Query.of(picture, source=f"file:{name}", label=number % 2)
                writer.record(await the_judge.judge(query))
            refused = Query.of(b"no picture", source="axon", asked_by="5Validator")
            writer.record(await the_judge.judge(refused))
        await the_judge.close()

    asyncio.run(judge())
    with open_stored(path) as stored:
        return [replace(query, _picture=_held(query)) for query in stored]


def _held(query: StoredQuery) -> Callable[[], bytes | None]:
    picture = query.picture()
    return lambda: picture


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile(PROFILE)


@pytest.fixture(scope="module")
def queries(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> list[StoredQuery]:
    return judged_into(tmp_path_factory.mktemp("journal") / "journal.sqlite3", profile)


def pooled_by(kind: str, folder: Path) -> tuple[Profile, list[StoredQuery]]:
    """The same with another pool, calibrated afterwards."""
    fitted = load_fitted(ROOT / "models" / "embedded" / "consensus.json")
    pools = tuple(
        pool.model_copy(update={"after": Platt(slope=1.7, intercept=0.2)}) for pool in fitted.pools
    )
    save_fitted(fitted.model_copy(update={"pools": pools}), folder / "fitted.json")
    made = yaml.safe_load(PROFILE.read_text())
    for section in made["experts"].values():
        section["model"] = str(ROOT / "models" / "embedded" / Path(section["model"]).name)
    made["consensus"] = {"fitted": str(folder / "fitted.json"), "pool": kind}
    (folder / "profile.yaml").write_text(yaml.safe_dump(made))
    profile = load_profile(folder / "profile.yaml")
    return profile, judged_into(folder / "journal.sqlite3", profile)


def text_of(story: Story) -> str:
    return "\n".join(plain(line) for line in lines_of(story))


def with_expert(query: StoredQuery, **changes: object) -> StoredQuery:
    """The query with its first level's first expert changed."""
    trace = query.trace
    level = trace.levels[0]
    expert = level.experts[0].model_copy(update=changes)
    level = level.model_copy(update={"experts": (expert, *level.experts[1:])})
    changed = trace.model_copy(update={"levels": (level, *trace.levels[1:])})
    return replace(query, trace=changed)


# -- how it adds up


@pytest.mark.parametrize("knows", [True, False])
def test_steps_lead_from_nothing_to_the_pooled_value_of_every_level(queries, profile, knows):
    consensus = build_consensus(profile) if knows else None
    entered = 0
    for query in queries:
        for level in tell(query, consensus).levels:
            if not level.trace.entered:
                assert level.steps == ()
                continue
            entered += 1
            assert level.steps[0].start == 0.0
            for before, after in zip(level.steps, level.steps[1:], strict=False):
                assert after.start == before.end
            assert level.steps[-1].end == pytest.approx(level.trace.log_odds, abs=1e-9)
    assert entered >= 6  # both levels of some, or this shows little


def test_with_the_consensus_every_vote_has_its_share_and_nothing_is_left_over(queries, profile):
    consensus = build_consensus(profile)
    deep = next(query for query in queries if len(tell(query).levels[1:]) and _both(query))
    level = tell(deep, consensus).levels[1]
    assert [(step.name, step.kind) for step in level.steps] == [
        ("bias", "bias"),
        ("network", "vote"),
        ("colour", "vote"),
        ("closer-network", "vote"),
    ]
    fitted = consensus.fitted  # type: ignore[attr-defined]
    pool = next(pool for pool in fitted.pools if len(pool.weights) == 3)
    said = {one.name: one for part in deep.trace.levels for one in part.experts}
    for step in level.steps[1:]:  # weight times calibrated log-odds, by hand
        probability = said[step.name].probability
        calibration = fitted.calibrations[step.name]
        raw = float(np.log(probability / (1 - probability)))
        by_hand = calibration.slope * raw + calibration.intercept
        assert step.value == pytest.approx(pool.weights[step.name] * by_hand, abs=1e-6)
    assert level.pooling == ""


def _both(query: StoredQuery) -> bool:
    return all(level.entered for level in query.trace.levels)


def test_without_the_consensus_earlier_levels_are_one_step_and_that_is_said(queries):
    deep = next(query for query in queries if query.trace.levels and _both(query))
    level = tell(deep).levels[1]
    assert [step.name for step in level.steps] == ["bias", "closer-network", "earlier levels"]
    assert level.steps[-1].kind == "rest"
    assert "earlier levels are shown together" in level.pooling


def test_another_consensus_is_not_taken_for_the_one_that_pooled(queries, profile, tmp_path):
    fitted = load_fitted(ROOT / "models" / "embedded" / "consensus.json")
    other = fitted.model_copy(
        update={
            "pools": tuple(
                pool.model_copy(update={"bias": pool.bias + 0.5}) for pool in fitted.pools
            )
        }
    )
    consensus = type(build_consensus(profile))(other)  # type: ignore[call-arg]
    deep = next(query for query in queries if query.trace.levels and _both(query))
    assert tell(deep, consensus).levels[1].steps[-1].name == "earlier levels"


def test_a_geometric_mean_is_calibrated_after_its_votes(tmp_path):
    profile, queries = pooled_by("geometric-mean", tmp_path)
    for consensus in (None, build_consensus(profile)):
        levels = [level for query in queries for level in tell(query, consensus).levels]
        told = [level for level in levels if level.trace.entered]
        assert len(told) >= 4
        for level in told:
            assert level.steps[-1].end == pytest.approx(level.trace.log_odds, abs=1e-9)
        assert "calibrat" in told[0].steps[-1].name
    first = tell(queries[0], build_consensus(profile)).levels[0]
    before = first.steps[-1].start  # the weighted mean of the log-odds, by hand
    votes = [(one.weight, one.log_odds) for one in first.trace.experts]
    assert sum(weight for weight, _ in votes) == pytest.approx(1.0)
    assert before == pytest.approx(sum(weight * odds for weight, odds in votes))
    assert first.trace.log_odds == pytest.approx(1.7 * before + 0.2)


def test_a_majority_does_not_add_up_and_says_so(tmp_path):
    _, queries = pooled_by("majority", tmp_path)
    story = tell(queries[0])
    assert story.levels[0].steps == ()
    assert "counts votes" in story.levels[0].pooling
    assert "counts votes" in text_of(story)
    assert "counts votes" in story_page(story, pictures_of(queries[0]))


# -- in words


def test_the_story_says_who_what_why_and_what_it_was_worth(queries):
    text = text_of(tell(queries[0]))
    trace = queries[0].trace
    assert f"query {trace.query.id}" in text
    assert "through file:cropped-01.jpg" in text
    assert "224 x 224 JPEG, validator-square" in text
    assert "level glance entered: always entered" in text
    assert f"probability {trace.answer.prediction:.4f}" in text
    assert "patch of whole" in text
    assert "of 7,000 ms" in text
    assert f"consensus {trace.versions['consensus']}" in text
    for level in trace.levels:
        for one in level.experts:
            assert f"said {one.probability:.3f}, calibrated {one.calibrated:.3f}" in text


@pytest.mark.parametrize(
    ("prediction", "label", "outcome", "words"),
    [
        (0.9, 1, "right", "Right. The label is roadwork"),
        (0.9, 0, "wrong", "stays in the validator's windows"),
        (0.5, 1, "wrong", "The label is roadwork"),
        (0.1, None, "unknown", "nobody said what was true"),
        (-1.0, 1, "silent", "no reward for this query"),
    ],
)
def test_the_outcome_is_as_the_validator_counts(queries, prediction, label, outcome, words):
    story = tell(replace(queries[0], prediction=prediction, label=label))
    assert story.outcome == outcome
    assert words in story.outcome_line


def test_a_refused_picture_has_a_story_without_levels(queries):
    story = tell(queries[-1])
    text = text_of(story)
    assert "no picture could be decoded" in text
    assert "no answer (picture: not-a-picture)" in text
    assert "by 5Validator" in text
    assert story.levels == ()
    assert "No level was entered" in story_page(story, pictures_of(queries[-1]))


def test_missing_votes_and_mere_conditions_are_told_apart(queries):
    nothing = {"probability": None, "calibrated": None, "log_odds": None, "weight": 0.0}
    late = with_expert(
        queries[0], **nothing, status="timed-out", detail="no answer within 6 s", ms=6000.0
    )
    text = text_of(tell(late))
    assert "timed-out, 6000.0 ms" in text
    assert "no answer within 6 s" in text
    told = with_expert(queries[0], **nothing, conditions={"night": 0.75, "haze": 0.1}, evidence=())
    text = text_of(tell(told))
    assert "tells conditions only" in text
    assert "night 0.75, haze 0.10" in text
    trusted = with_expert(queries[0], trust=0.4, reliability=0.5, by="fast-server")
    text = text_of(tell(trusted))
    assert "trust 0.40 (of it 0.50 for drifting)" in text
    assert "answered by fast-server" in text


def test_a_level_without_a_usable_opinion_and_a_late_answer_are_told():
    expert = ExpertTrace(
        name="slow",
        status="failed",
        probability=None,
        calibrated=None,
        log_odds=None,
        weight=0.0,
        ms=9000.0,
        detail="out of memory",
        evidence=(),
    )
    level = LevelTrace(
        name="glance",
        entered=True,
        why="always entered",
        experts=(expert,),
        log_odds=None,
        probability=None,
        disagreement=None,
        ms=9000.0,
    )
    query = _query((level,), Answer(prediction=-1.0, reason="deadline", level="glance"), 9100.0)
    text = text_of(tell(query))
    assert "nothing usable" in text
    assert "LATE" in text
    page = story_page(tell(query), pictures_of(query))
    assert "Nothing usable so far" in page
    assert 'class="due"' in page


def _query(levels: tuple[LevelTrace, ...], answer: Answer, total: float) -> StoredQuery:
    document = {
        "query": {
            "id": "q",
            "sha256": "",
            "source": "axon",
            "asked_by": None,
            "received_at": 1.7e9,
            "bytes": 3,
            "deadline_ms": 7000.0,
        },
        "picture": None,
        "levels": levels,
        "answer": answer,
        "stages_ms": {"total": total},
        "versions": {},
    }
    trace = Trace.model_validate(document)
    return StoredQuery("q", "", 1.7e9, answer.prediction, None, trace, total_ms=total)


def test_bars_point_to_their_side_and_stay_on_the_axis(queries):
    far = with_expert(queries[0], log_odds=40.0, weight=1.0)
    near = with_expert(queries[0], log_odds=-0.4, weight=1.0)
    for query, right in ((far, True), (near, False)):
        lines = map(plain, lines_of(tell(query)))
        bar = re.findall("[·█│]+", next(line for line in lines if line.startswith("  network")))[0]
        middle = bar.index("│")
        assert (len(bar), middle) == (AXIS, AXIS // 2)
        assert ("█" in bar[middle:]) == right
        assert ("█" in bar[:middle]) != right


def test_what_an_expert_says_cannot_steer_the_terminal(queries):
    text = text_of(tell(with_expert(queries[0], detail=f"{EVIL}\rsecond\nline", by="a\x9bb")))
    assert "<script>" in text
    assert all(one.isprintable() or one == "\n" for one in text)


# -- pictures and the page


def test_marks_lie_in_a_view_where_they_lie_in_the_frame(queries, profile):
    """Mapped back by the view itself, the corners of a mark are those of the box."""
    experts = {expert.name: expert for expert in build_judge(profile).experts}
    tilted = next(q for q in queries if q.trace.picture and q.trace.picture.tilt_degrees)
    box = (90.0, 80.0, 130.0, 140.0)
    seen = EvidenceTrace(what="cone", score=0.5, box=box, outline=((95.0, 85.0), (120.0, 90.0)))
    level = tilted.trace.levels[0]
    asked = level.experts[0].model_copy(update={"name": "closer-network", "evidence": (seen,)})
    trace = tilted.trace.model_copy(
        update={"levels": (level.model_copy(update={"experts": (asked,)}),)}
    )
    shown = pictures_of(
        replace(tilted, trace=trace), experts=[experts["closer-network"]], limits=profile.pictures
    )
    frame = decode_picture(tilted.picture() or b"", profile.pictures)
    views = experts["closer-network"].views(frame)
    assert [one.title for one in shown.seen[0].pictures] == [view.name for view in views]
    marked = [(one, view) for one, view in zip(shown.seen[0].pictures, views, strict=True)]
    assert any(view.tilt_removed for _, view in marked)
    for one, view in marked:
        for mark in one.marks:
            back = view.placed(np.array(mark.points))
            assert back.min(0) == pytest.approx(box[:2], abs=1e-6)
            assert back.max(0) == pytest.approx(box[2:], abs=1e-6)
            assert view.placed(np.array(mark.outline))[0] == pytest.approx((95.0, 85.0))


def test_pictures_that_are_gone_or_refused_are_told(queries):
    gone = pictures_of(replace(queries[0], _picture=None))
    assert (gone.frame, gone.missing) == ("", "the picture was not kept")
    broken = pictures_of(replace(queries[0], _picture=lambda: b"GIF89a" + bytes(50)))
    assert broken.missing.startswith("the kept picture is refused")
    page = story_page(tell(replace(queries[0], _picture=None)), gone)
    assert "the picture was not kept" in page


@pytest.fixture(scope="module")
def page_file(queries, profile, tmp_path_factory) -> Path:
    """The page of a query that needed both levels, with the views, and told by somebody evil."""
    deep = next(query for query in queries if query.trace.levels and _both(query))
    evil = with_expert(replace(deep, name=EVIL), detail=EVIL, by=EVIL)
    story = tell(evil, build_consensus(profile))
    pictures = pictures_of(
        evil, experts=build_judge(profile).experts, limits=profile.pictures, note=EVIL
    )
    path = tmp_path_factory.mktemp("page") / "story.html"
    path.write_text(story_page(story, pictures), encoding="utf-8")
    return path


def test_the_page_opens_whole_and_escapes_everything(page_file):
    with open_page() as page:
        page.goto(page_file)
        assert page.errors == []
        assert page.requests == [page_file.as_uri()]
        assert page.evaluate("document.title").startswith("Query ")
        assert page.evaluate("document.querySelectorAll('script, img').length") == 0
        assert page.evaluate("document.body.textContent").count("<script>") == 4
        assert page.evaluate("document.querySelectorAll('.level').length") == 2
        assert page.evaluate("document.querySelectorAll('.opinions .axis svg').length") == 3
        assert page.evaluate("document.querySelectorAll('.waterfall .axis svg').length") == 9
        assert page.evaluate("document.querySelectorAll('#views figure').length") >= 3
        shown = "document.querySelector('#picture use').getBoundingClientRect().width"
        assert page.evaluate(shown) > 200
        boxes = "document.querySelectorAll('#picture polygon.mark').length"
        assert page.evaluate(boxes) >= 3


def test_every_drawing_has_words_for_those_who_cannot_see_it(page_file):
    unnamed = """[...document.querySelectorAll('svg')].filter(
      s => s.getAttribute('aria-hidden') !== 'true'
        && !(s.getAttribute('role') === 'img' && s.getAttribute('aria-label')
             && s.querySelector('title'))).length"""
    with open_page() as page:
        page.goto(page_file)
        assert page.evaluate(unnamed) == 0
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.evaluate("document.querySelectorAll('h1').length") == 1


def test_bars_of_the_page_reach_where_the_numbers_say(page_file):
    """Measured in the browser: the bar of a vote begins at zero and ends at its log-odds."""
    measured = """[...document.querySelectorAll('.opinions .axis svg')].map(s => {
      const whole = s.getBoundingClientRect();
      const bar = s.querySelector('rect').getBoundingClientRect();
      return [whole.left, whole.width, bar.left, bar.right, s.viewBox.baseVal.width / 2,
        s.getAttribute('aria-label')];
    })"""
    with open_page() as page:
        page.goto(page_file)
        for left, width, start, end, reach, words in page.evaluate(measured):
            value = float(words.split("log-odds ")[1].split(",")[0])
            zero = left + width / 2
            tip = end if value > 0 else start
            assert tip - zero == pytest.approx(value / reach * width / 2, abs=1.5)
            assert (start if value > 0 else end) == pytest.approx(zero, abs=1.0)


def test_the_page_is_light_or_dark_and_fits_a_phone(page_file):
    seen = set()
    with open_page() as page:
        for dark in (False, True):
            page.set_dark(dark)
            page.goto(page_file)
            seen.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.set_size(400)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert len(seen) == 2


# -- finding it


def test_a_query_of_a_journal_is_found_with_its_labels_and_picture(queries, tmp_path, profile):
    path = tmp_path / "journal.sqlite3"
    made = judged_into(path, profile)
    with Journal(path) as journal:
        journal.set_label(made[0].id, 1, "anna")
        found = find_in_journal(journal, made[0].id[:12])
        assert found.labels == (("testnet", 0), ("anna", 1))
        assert found.label == 1
        assert found.trace == made[0].trace
        assert found.picture() == (DEMO / NAMES[0]).read_bytes()
