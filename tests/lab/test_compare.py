"""Comparing two sides: pairs, the paired bootstrap, McNemar, flips, and the page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, matthews_corrcoef

from natix_miner.errors import FittingError
from natix_miner.lab.compare import Comparison, compare, mcnemar
from natix_miner.lab.compare_draws import _figures, _Groups, draw
from natix_miner.lab.compare_flips import counts_of
from natix_miner.lab.compare_page import compare_page
from natix_miner.lab.compare_pairs import OTHER_LABEL, OTHER_PICTURE, Judged, Side, pair_up
from natix_miner.lab.compare_sides import refuse_if_asked_differently, settings_apart
from natix_miner.scoring.reward import reward_interval
from tests.browser import open_page

DEMO = Path(__file__).parents[2] / "natix_miner" / "demo" / "queries"


def one(number: int, prediction: float, label: int | None = None, **changes: object) -> Judged:
    values: dict = {
        "id": f"0-{number}",
        "name": f"{number}.jpg",
        "sha256": f"sha-{number}",
        "label": label,
        "prediction": prediction,
    }
    return Judged(**{**values, **changes})


def side(
    predictions: list[float], labels: list[int | None], name: str = "A", **changes: object
) -> Side:
    return Side(
        name,
        tuple(
            one(number, prediction, label, **changes)
            for number, (prediction, label) in enumerate(zip(predictions, labels, strict=True))
        ),
        by_name=True,
    )


def stream(n: int, strength: float, seed: int) -> tuple[list[float], list[int]]:
    """Labels that are the same for every seed, and answers that are right the more often the
    greater the strength."""
    labels = np.random.default_rng(99).integers(0, 2, n)
    noise = np.random.default_rng(seed).normal(0, 1, n)
    odds = strength * (2 * labels - 1) + noise
    return (1 / (1 + np.exp(-odds))).tolist(), labels.tolist()


# -- McNemar


def test_mcnemar_agrees_with_a_hand_worked_example():
    # 3 against 12 of 15: 2 (C(15,0) + C(15,1) + C(15,2) + C(15,3)) / 2^15 = 2 * 576 / 32768.
    labels = [1] * 25
    a = [0.1] * 12 + [0.9] * 3 + [0.9] * 6 + [0.1] * 4
    b = [0.9] * 12 + [0.1] * 3 + [0.9] * 6 + [0.1] * 4
    found = mcnemar(a, b, labels)
    assert (found.only_a_wrong, found.only_b_wrong) == (12, 3)
    assert found.p == pytest.approx(0.03515625, abs=1e-12)


def test_mcnemar_leaves_silence_out_and_is_sure_of_nothing_without_errors():
    assert mcnemar([0.9, -1.0], [0.9, 0.1], [1, 1]).p == 1.0
    found = mcnemar([0.9, -1.0, 0.5], [0.1, 0.1, 0.6], [1, 1, 0])
    assert (found.only_a_wrong, found.only_b_wrong) == (0, 2)  # 0.5 counts as none
    assert found.p == pytest.approx(0.5)


# -- the paired bootstrap


def test_drawn_rewards_are_those_of_the_scoring_of_each_side_alone():
    """`reward_interval` draws the same streams from the same seed, one side at a time."""
    a, labels = stream(150, 1.0, seed=1)
    b, _ = stream(150, 2.0, seed=2)
    a[3] = b[7] = -1.0
    draws = draw((a, b), labels, [""] * 150, seed=5, resamples=300)
    for number, answers in enumerate((a, b)):
        alone = reward_interval(answers, labels, seed=5, resamples=300)
        assert alone is not None
        assert draws.mean("reward", number) == pytest.approx(alone.resampled_mean, abs=1e-12)
        assert draws.interval("reward", number) == pytest.approx((alone.low, alone.high))


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.2, 0.5, 0.9]), st.booleans()), min_size=2))
def test_drawn_mcc_and_accuracy_are_those_of_scikit_learn(pairs):
    answers = np.array([answer for answer, _ in pairs])
    labels = np.array([label for _, label in pairs], np.int8)
    found = _figures(answers[None], labels[None])
    kept = answers >= 0
    if not kept.any():
        assert found["accuracy"][0] == found["mcc"][0] == 0.0
        return
    said = (answers[kept] > 0.5).astype(int)
    assert found["accuracy"][0] == pytest.approx(accuracy_score(labels[kept], said))
    assert found["mcc"][0] == pytest.approx(matthews_corrcoef(labels[kept], said))


def test_two_sides_that_answer_alike_differ_by_exactly_nothing():
    a, labels = stream(80, 1.0, seed=1)
    found = compare(side(a, labels), side(a, labels, "B"), resamples=200)
    assert {(one.low, one.mean, one.high) for one in found.differences.values()} == {(0.0,) * 3}
    assert found.verdict == "no-difference"
    assert found.flips == ()


def test_exchanging_the_sides_turns_the_difference_round():
    a, labels = stream(80, 1.0, seed=1)
    b, _ = stream(80, 1.5, seed=2)
    there = compare(side(a, labels), side(b, labels), resamples=200, seed=3)
    back = compare(side(b, labels), side(a, labels), resamples=200, seed=3)
    for name, one_way in there.differences.items():
        other = back.differences[name]
        assert (one_way.low, one_way.mean, one_way.high) == pytest.approx(
            (-other.high, -other.mean, -other.low)
        )


def test_pairing_shows_a_small_steady_gain_that_separate_intervals_hide():
    a, labels = stream(400, 1.2, seed=1)
    b = list(a)
    wrong = [n for n, (x, t) in enumerate(zip(a, labels, strict=True)) if (x > 0.5) != bool(t)]
    for number in wrong[:12]:  # B mends twelve of A's errors and makes none of its own
        b[number] = 0.9 if labels[number] else 0.1
    found = compare(side(a, labels), side(b, labels, "B"), resamples=400)
    assert found.verdict == "better"
    assert found.a.drawn_reward is not None
    assert found.b.drawn_reward is not None
    assert found.a.drawn_reward[2] > found.b.drawn_reward[1]  # the intervals overlap
    assert found.mcnemar is not None
    assert (found.mcnemar.only_a_wrong, found.mcnemar.only_b_wrong) == (12, 0)


def test_the_same_seed_gives_the_same_comparison_and_another_seed_another():
    a, labels = stream(60, 1.0, seed=1)
    b, _ = stream(60, 1.3, seed=2)
    both = side(a, labels), side(b, labels)
    assert compare(*both, seed=1, resamples=150) == compare(*both, seed=1, resamples=150)
    assert (
        compare(*both, seed=1, resamples=150).differences
        != compare(*both, seed=2, resamples=150).differences
    )


# -- groups


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["", "a", "b", "c", "d"]), min_size=1, max_size=40), st.integers(0))
def test_groups_are_drawn_whole_but_for_the_last(groups, seed):
    drawn = _Groups(groups).draw(np.random.default_rng(seed))
    assert len(drawn) == len(groups)
    counts = np.bincount(drawn, minlength=len(groups))
    torn = 0
    for name in set(groups) - {""}:
        members = {int(counts[place]) for place, group in enumerate(groups) if group == name}
        torn += len(members) > 1
        assert max(members) - min(members) <= 1
    assert torn <= 1


def test_groups_that_err_together_make_the_interval_wider():
    a, labels = stream(20, 1.0, seed=1)
    b, _ = stream(20, 1.4, seed=2)
    ten = [value for value in a for _ in range(10)], [value for value in b for _ in range(10)]
    truth = [label for label in labels for _ in range(10)]
    names = [f"clip-{place // 10}" for place in range(200)]
    alone = draw(ten, truth, [""] * 200, seed=1, resamples=300).difference("accuracy")
    together = draw(ten, truth, names, seed=1, resamples=300).difference("accuracy")
    assert together.high - together.low > 2.0 * (alone.high - alone.low)


def test_one_group_or_few_are_told():
    a, labels = stream(40, 1.0, seed=1)
    found = compare(side(a, labels, group="x"), side(a, labels, group="x"), resamples=100)
    assert found.groups is None
    assert "of one group" in found.notes[0]
    few = [one(n, a[n], labels[n], group=f"g{n % 4}") for n in range(40)]
    found = compare(Side("A", tuple(few), True), Side("B", tuple(few), True), resamples=100)
    assert found.groups == 4
    assert "only 4 groups" in found.notes[0]


# -- pairs


def test_runs_are_paired_by_name_and_place_and_the_rest_is_counted():
    a = Side("A", (one(0, 0.9), one(1, 0.9), one(2, 0.9)), by_name=True)
    b = Side("B", (one(2, 0.1), one(0, 0.2), one(5, 0.3, name="1.jpg")), by_name=True)
    found = pair_up(a, b)
    assert [(pair.a.id, pair.b.prediction) for pair in found.pairs] == [("0-0", 0.2), ("0-2", 0.1)]
    assert (found.only_a, found.only_b) == (1, 1)


def test_journals_are_paired_by_id_then_by_picture_in_turn():
    a = Side("A", (one(0, 0.9), one(1, 0.8, sha256="same"), one(2, 0.7, sha256="same")))
    b = Side(
        "B",
        (
            one(7, 0.1, sha256="same"),
            one(8, 0.2, sha256="same"),
            one(9, 0.3, sha256="same"),
            one(0, 0.4),
        ),
    )
    found = pair_up(a, b)
    assert [pair.b.prediction for pair in found.pairs] == [0.4, 0.1, 0.2]
    assert (found.only_a, found.only_b) == (0, 1)


def test_another_picture_and_another_label_are_left_out_and_a_lone_label_counts():
    a = Side("A", (one(0, 0.9, 1), one(1, 0.9, 1), one(2, 0.9, None)), by_name=True)
    b = Side("B", (one(0, 0.9, 1, sha256="other"), one(1, 0.9, 0), one(2, 0.9, 1)), by_name=True)
    found = pair_up(a, b)
    assert found.left_out == {OTHER_PICTURE: 1, OTHER_LABEL: 1}
    assert [pair.label for pair in found.pairs] == [1]


def test_nothing_in_common_is_an_error_that_counts():
    with pytest.raises(FittingError, match=r"share no query \(1 and 1 queries, 1 left out"):
        compare(
            Side("A", (one(0, 0.9, sha256="x"),), True), Side("B", (one(0, 0.9, sha256="y"),), True)
        )


def test_runs_that_were_not_asked_the_same_are_refused_and_smaller_things_told():
    a = Side(
        "A", (), True, {"simulate": "cropped", "seed": 0, "queries": "q", "deadline_seconds": 7}
    )
    b = Side("B", (), True, {"simulate": "as-is", "seed": 0, "queries": "r", "deadline_seconds": 5})
    with pytest.raises(FittingError, match="simulate is 'cropped' in A and 'as-is' in B"):
        refuse_if_asked_differently(a, b)
    assert len(settings_apart(a, b)) == 2
    refuse_if_asked_differently(Side("A", (), False), b)


# -- what is told


def test_flips_tell_losses_first_and_the_unlabelled_last():
    labels = [1, 1, 0, 1, 0, None, None, 1]
    a = [0.9, 0.6, 0.8, -1.0, 0.2, 0.9, 0.4, 0.9]
    b = [0.1, 0.4, 0.1, 0.9, -1.0, 0.2, 0.45, 0.95]
    found = compare(side(a, labels), side(b, labels), resamples=100)
    told = [(flip.kind, flip.pair.a.name) for flip in found.flips]
    assert told == [
        ("right -> wrong", "0.jpg"),
        ("right -> wrong", "1.jpg"),
        ("right -> silent", "4.jpg"),
        ("wrong -> right", "2.jpg"),
        ("silent -> right", "3.jpg"),
        ("roadwork -> none", "5.jpg"),
    ]
    assert counts_of(found.flips)["right -> wrong"] == 2
    assert (found.a.answered, found.b.answered) == (7, 7)


def test_without_labels_nothing_is_claimed_but_changes_are_listed():
    found = compare(side([0.9, 0.1], [None, None]), side([0.1, 0.1], [None, None]), resamples=100)
    assert found.verdict == "unknown"
    assert "not one of the 2 pairs has a label" in found.sentence
    assert len(found.flips) == 1
    assert found.as_dict()["difference"] == {}
    assert found.as_dict()["mcnemar"] is None


def test_labels_of_one_class_are_told_with_what_they_can_pay():
    found = compare(side([0.9] * 30, [1] * 30), side([0.1] * 30, [1] * 30), resamples=100)
    assert any("of one class" in note for note in found.notes)
    assert found.a.reward == pytest.approx(0.125)
    assert found.b.reward == 0.0
    assert found.verdict == "worse"


def test_a_small_difference_on_few_queries_is_none_that_they_could_show():
    a, labels = stream(30, 1.0, seed=1)
    b, _ = stream(30, 1.0, seed=2)
    found = compare(side(a, labels), side(b, labels), resamples=300)
    assert found.sentence.startswith("No difference that 30 labelled queries could show")


def test_times_are_of_the_pairs_and_missing_ones_stay_unknown():
    a = [one(n, 0.9, 1, total_ms=float(n), expert_ms=2.0 * n) for n in range(101)]
    b = [one(n, 0.9, 1) for n in range(101)]
    found = compare(Side("A", tuple(a), True), Side("B", tuple(b), True), resamples=100)
    assert (found.a.p50_ms, found.a.p99_ms, found.a.expert_ms) == (50.0, 99.0, 100.0)
    assert (found.b.p50_ms, found.b.p99_ms, found.b.expert_ms) == (None, None, None)


# -- the page

EVIL = "<script>document.title='evil'</script><img src=x onerror=alert(1)>.jpg"


@pytest.fixture(scope="module")
def compared() -> Comparison:
    pictures = sorted(DEMO.glob("cropped-*.jpg"))
    labels = [n % 2 for n in range(len(pictures))]

    def judged(number: int, right: bool) -> Judged:
        return one(
            number,
            0.9 if bool(labels[number]) == right else 0.1,
            labels[number],
            name=EVIL if number == 1 else pictures[number].name,
            generation="cropped",
            size_class="validator-square",
            _picture=pictures[number].read_bytes if number != 2 else None,
        )

    a = tuple(judged(n, right=n % 5 != 0) for n in range(len(pictures)))
    b = tuple(judged(n, right=n % 3 != 1) for n in range(len(pictures)))
    return compare(Side("run <A>", a, True), Side("run & B", b, True), resamples=200)


def test_the_page_opens_whole_without_the_network_and_shows_every_flip(compared, tmp_path):
    path = tmp_path / "compare.html"
    path.write_text(compare_page(compared), encoding="utf-8")
    with open_page() as page:
        page.goto(path)
        assert page.errors == []
        assert page.requests == [path.as_uri()]
        assert page.evaluate("document.title") == "run <A> against run & B"
        assert page.evaluate("document.querySelectorAll('script').length") == 0
        assert page.evaluate("document.querySelectorAll('#flips article').length") == len(
            compared.flips
        )
        assert page.evaluate("document.querySelectorAll('#flips .blank').length") == sum(
            flip.pair.a.id == "0-2" for flip in compared.flips
        )
        loaded = "[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.alt)"
        assert page.wait_for(loaded)
        assert page.evaluate("document.querySelectorAll('#scatter circle').length") == 24
        assert page.evaluate("document.querySelectorAll('#scatter .flipped').length") == len(
            compared.flips
        )
        assert EVIL in page.evaluate("document.querySelector('#flips').textContent")
        unnamed = "[...document.querySelectorAll('svg')].filter(s => !s.getAttribute('aria-label'))"
        assert page.evaluate(f"{unnamed}.length") == 0


def test_the_page_is_light_or_dark_as_the_reader_likes_and_fits_a_phone(compared, tmp_path):
    path = tmp_path / "compare.html"
    path.write_text(compare_page(compared), encoding="utf-8")
    seen = set()
    with open_page() as page:
        for dark in (False, True):
            page.set_dark(dark)
            page.goto(path)
            seen.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.set_size(400)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert len(seen) == 2


def test_the_axis_of_differences_holds_every_interval_to_scale(compared):
    text = compare_page(compared)
    boxes = re.findall(r'<td class="strip"><svg viewBox="(-[\d.]+) 0 ([\d.]+) 10"', text)
    assert len(boxes) == 3
    assert len(set(boxes)) == 1
    reach = -float(boxes[0][0])
    for found in compared.differences.values():
        assert -reach <= found.low <= found.high <= reach
