"""Fitting the rule: parameters that made the labels are found again, and what is kept in hand."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from natix_miner.cascade.trace import (
    Answer,
    EvidenceTrace,
    ExpertTrace,
    LevelTrace,
    PictureTrace,
    QueryTrace,
    Trace,
)
from natix_miner.cascade.verdict import Verdict
from natix_miner.errors import QuerySourceError
from natix_miner.experts.detection.fitting import (
    FitOptions,
    _Problem,
    cross_validated,
    fit,
    fitted_rule,
    log_loss,
)
from natix_miner.experts.detection.rule import BoxRule, Found, load_rule, probability_of
from natix_miner.experts.detection.samples import (
    Sample,
    digest_of_samples,
    folds_of,
    read_samples,
    write_samples,
)
from natix_miner.images import decode_picture
from natix_miner.journal import Journal, JournalWriter
from natix_miner.query import Query
from natix_miner.sections import JournalSettings, PictureLimits

ROOT = Path(__file__).parents[3]
BY_HAND = BoxRule(
    weights={"cone": 0.5, "machine": 0.5, "sign": 0.5, "board": 0.77},
    leak=0.2,
    slope=1.0,
    intercept=0.0,
)
TRUE = BoxRule(
    weights={"cone": 0.9, "machine": 0.6, "sign": 0.1, "board": 0.9},
    leak=0.06,
    slope=1.8,
    intercept=0.4,
)


def drawn(count: int, rule: BoxRule = TRUE, seed: int = 1, rare: int = 0) -> list[Sample]:
    """Pictures whose labels the rule itself has drawn; `rare` of them show a board."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        kinds = list(rng.choice(["cone", "machine", "sign"], rng.integers(0, 4)))
        kinds += ["board"] * (number < rare)
        found = tuple(
            Found(
                str(kind),
                score=float(rng.uniform(0.05, 0.98)),
                area=float(10 ** rng.uniform(-5, -0.05)),
                bottom=float(rng.uniform(0.1, 1.0)),
            )
            for kind in kinds
        )
        label = int(rng.uniform() < probability_of(list(found), rule))
        samples.append(Sample(label, found, group=f"clip-{number // 4}"))
    return samples


class TestRecovery:
    def test_the_parameters_that_made_the_labels_are_found_again(self):
        found = fit(drawn(6000), BY_HAND, FitOptions())
        for kind in ("cone", "machine", "sign"):
            assert found.weights[kind] == pytest.approx(TRUE.weights[kind], abs=0.07), kind
        assert found.leak == pytest.approx(TRUE.leak, abs=0.02)
        assert found.slope == pytest.approx(TRUE.slope, rel=0.2)
        assert found.intercept == pytest.approx(TRUE.intercept, abs=0.35)

    def test_what_it_says_is_what_the_true_rule_says(self):
        found = fit(drawn(6000), BY_HAND, FitOptions())
        fresh = [list(sample.objects) for sample in drawn(500, seed=9)]
        truth = np.array([probability_of(objects, TRUE) for objects in fresh])
        after = np.array([probability_of(objects, found) for objects in fresh])
        before = np.array([probability_of(objects, BY_HAND) for objects in fresh])
        assert np.abs(after - truth).mean() < 0.015
        assert np.abs(before - truth).mean() > 0.08, "the fit had something to do"

    def test_factors_of_area_and_position_are_found_again_when_asked_for(self):
        true = TRUE.model_copy(
            update={
                "area": TRUE.area.model_copy(update={"small": 0.002, "large_factor": 0.7}),
                "position": TRUE.position.model_copy(update={"above_factor": 0.1}),
            }
        )
        samples = drawn(8000, true)
        found = fit(samples, BY_HAND, FitOptions(priors=True))
        assert found.area.small == pytest.approx(0.002, rel=0.5)
        assert found.area.large_factor == pytest.approx(0.7, abs=0.2)
        assert found.position.above_factor == pytest.approx(0.1, abs=0.08)
        left = fit(samples, BY_HAND, FitOptions())
        assert (left.area, left.position) == (BY_HAND.area, BY_HAND.position)

    @pytest.mark.parametrize("priors", [False, True])
    def test_the_gradient_is_that_of_the_loss(self, priors):
        problem = _Problem(drawn(200, rare=30), BY_HAND, FitOptions(least=5, priors=priors))
        rng = np.random.default_rng(4)
        at = problem.start + rng.normal(0, 0.3, len(problem.start))
        _, gradient = problem.loss(at)
        for number in range(len(at)):
            step = np.zeros(len(at))
            step[number] = 1e-5
            measured = (problem.loss(at + step)[0] - problem.loss(at - step)[0]) / 2e-5
            assert gradient[number] == pytest.approx(measured, rel=1e-4, abs=1e-4)

    def test_the_loss_is_that_of_the_rule(self):
        samples = drawn(300)
        problem = _Problem(samples, BY_HAND, FitOptions())
        at = problem.start + 0.2
        away = 0.5 * ((0.2 / problem._spread) ** 2).sum()
        said = log_loss(samples, problem.rule(at))
        assert problem.loss(at)[0] == pytest.approx(said * len(samples) + away, rel=1e-4)


class TestPrior:
    def test_a_class_that_few_pictures_show_stays_as_it_was(self):
        samples = drawn(1500, rare=19)
        found = fit(samples, BY_HAND, FitOptions(least=20))
        assert found.weights["board"] == BY_HAND.weights["board"]
        moved = fit(samples, BY_HAND, FitOptions(least=19))
        assert moved.weights["board"] != BY_HAND.weights["board"]

    def test_few_samples_move_little_many_move_much(self):
        few = fit(drawn(30), BY_HAND, FitOptions(least=1)).weights["sign"]
        many = fit(drawn(3000), BY_HAND, FitOptions(least=1)).weights["sign"]
        assert abs(few - 0.5) < 0.3
        assert many < few

    def test_separable_samples_keep_every_value_in_its_range(self):
        cone = (Found("cone", 0.9, 0.01, 0.9),)
        samples = [Sample(1, cone)] * 300 + [Sample(0, ())] * 300
        found = fit(samples, BY_HAND, FitOptions())
        assert 0.9 < probability_of(list(cone), found) < 1.0
        assert 0.0 < found.leak < 0.02

    def test_objects_without_a_weight_do_not_matter(self):
        samples = drawn(400)
        more = [
            replace(s, objects=(*s.objects, Found("cat", 0.9, 0.1, 0.9)), group=s.group)
            for s in samples
        ]
        assert fit(more, BY_HAND, FitOptions()) == fit(samples, BY_HAND, FitOptions())

    def test_one_kind_of_label_is_not_enough(self):
        with pytest.raises(QuerySourceError, match=r"labels \[1\]"):
            fit([Sample(1, ())] * 9, BY_HAND, FitOptions())


class TestMetrics:
    def test_unseen_groups_are_judged_better_after_than_before(self):
        figures = cross_validated(drawn(1500), BY_HAND, FitOptions())
        assert figures["log_loss_after"] < figures["log_loss_before"] - 0.02
        assert figures["log_loss_after"] < figures["log_loss_of_share"]
        assert figures["folds"] == 5

    def test_labels_that_have_nothing_to_do_with_the_objects_gain_nothing(self):
        rng = np.random.default_rng(0)
        samples = [replace(s, label=int(rng.integers(2))) for s in drawn(600)]
        figures = cross_validated(samples, BY_HAND, FitOptions())
        assert figures["log_loss_after"] > figures["log_loss_of_share"] - 0.01

    def test_a_group_lies_in_one_fold_and_folds_never_change(self):
        samples = drawn(200)
        folds = folds_of(samples, 5)
        of_group = {}
        for sample, fold in zip(samples, folds, strict=True):
            assert of_group.setdefault(sample.group, fold) == fold
        assert set(folds) == set(range(5))
        assert folds_of(samples[::-1], 5) == folds[::-1]

    def test_the_log_loss_of_a_worked_example(self):
        samples = [Sample(1, ()), Sample(0, ())]
        # By hand: P = leak = 0.2.
        assert log_loss(samples, BY_HAND) == pytest.approx(-(np.log(0.2) + np.log(0.8)) / 2)


class TestFiles:
    def test_samples_are_read_as_they_were_written(self, tmp_path):
        samples = drawn(20)
        write_samples(samples, tmp_path / "s.jsonl")
        assert read_samples(tmp_path / "s.jsonl") == samples

    def test_what_may_be_left_out(self, tmp_path):
        file = tmp_path / "s.jsonl"
        one = {"kind": "cone", "score": 0.5, "area": 0.1, "bottom": 1}
        file.write_text(json.dumps({"label": 1, "objects": [one]}) + "\n\n")
        assert read_samples(file) == [Sample(1, (Found("cone", 0.5, 0.1, 1.0),))]

    @pytest.mark.parametrize(
        "line",
        [
            "{",
            "[]",
            '{"objects": []}',
            '{"label": 2, "objects": []}',
            '{"label": 1, "objects": [{"kind": "cone", "score": 1.5, "area": 0, "bottom": 0}]}',
            '{"label": 1, "objects": [{"kind": "cone", "score": NaN, "area": 0, "bottom": 0}]}',
            '{"label": 1, "objects": [{"score": 0.5, "area": 0, "bottom": 0}]}',
        ],
    )
    def test_a_line_that_is_no_sample_is_named(self, tmp_path, line):
        file = tmp_path / "s.jsonl"
        file.write_text('{"label": 0, "objects": []}\n' + line)
        with pytest.raises(QuerySourceError, match=r"s\.jsonl, line 2"):
            read_samples(file)

    def test_a_missing_file_is_an_error(self, tmp_path):
        with pytest.raises(QuerySourceError, match="cannot be read"):
            read_samples(tmp_path / "none.jsonl")

    def test_the_digest_is_of_the_samples_not_of_their_order(self):
        samples = drawn(20)
        assert digest_of_samples(samples[::-1]) == digest_of_samples(samples)
        assert digest_of_samples(samples[:-1]) != digest_of_samples(samples)

    def test_the_rule_says_what_it_was_fitted_on(self):
        samples = drawn(300, rare=3)
        rule = fitted_rule(samples, BY_HAND, "2026-11-21")
        assert rule.fitted_on == {
            "date": "2026-11-21",
            "samples": 300,
            "positives": sum(sample.label for sample in samples),
            "digest": digest_of_samples(samples),
            "classes": rule.fitted_on["classes"],
            "left_by_hand": ["board"],
        }
        assert rule.fitted_on["classes"]["board"] == 3
        assert fitted_rule(samples, BY_HAND, "2026-11-21") == rule


@pytest.fixture
def script():
    if str(ROOT / "scripts") not in sys.path:
        sys.path.append(str(ROOT / "scripts"))
    import fit_boxes

    return fit_boxes


class TestScript:
    def test_from_samples_to_a_rule_that_loads(self, script, tmp_path, capsys):
        write_samples(drawn(400), tmp_path / "s.jsonl")
        (tmp_path / "hand.json").write_text(BY_HAND.model_dump_json())
        said = ["--samples", "s.jsonl", "--rule", "hand.json", "--out", "rule.json"]
        said = [str(tmp_path / word) if "." in word else word for word in said]
        assert script.main([*said, "--date", "2026-11-21"]) == 0
        rule = load_rule(tmp_path / "rule.json")
        assert rule.fitted_on["samples"] == 400
        assert rule.metrics["log_loss_after"] < rule.metrics["log_loss_before"]
        assert "log_loss_after" in capsys.readouterr().out

    def test_what_cannot_be_read_is_said(self, script, tmp_path, capsys):
        said = ["--samples", str(tmp_path / "no.jsonl"), "--out", str(tmp_path / "r.json")]
        assert script.main([*said, "--date", "2026-11-21"]) == 1
        assert "cannot be read" in capsys.readouterr().err

    def test_a_journal_gives_the_objects_that_the_detector_saw(
        self, script, tmp_path, told, make_frame
    ):
        detector = told()
        settings = JournalSettings(path=tmp_path / "journal" / "j.sqlite3", keep_days=1e6)
        said = {}
        with JournalWriter(settings) as writer:
            for number in range(6):
                frame, picture = pictured(number, letterboxed=number == 3)
                assert (frame.geometry.padding_top > 0) == (number == 3)
                look = detector.look_at([frame])[0]
                said[hashlib.sha256(picture).hexdigest()] = look.probability
                writer.record(verdict_of(number, picture, frame, look, label=number % 2))
            frame, picture = pictured(0)
            look = detector.look_at([frame])[0]
            writer.record(verdict_of(7, picture, frame, look, label=0))  # asked again
            writer.record(verdict_of(8, b"x", frame, look, label=None))
            assert writer.flush(10)
        with Journal(settings.path) as journal:
            samples, left_out = script.samples_of_journal(journal, "told", detector._meaning)
            assert script.samples_of_journal(journal, "another", detector._meaning)[0] == []
        assert left_out == {"of a picture that is in already": 1}
        assert len(samples) == 6
        rule = load_rule(detector._rule_file)
        for sample in samples:
            assert len(sample.objects) == 1
            assert probability_of(list(sample.objects), rule) == pytest.approx(
                said[sample.group], abs=1e-3
            )


def pictured(number: int, letterboxed: bool = False):
    """A noisy street with a cone on it, as a frame and as JPEG bytes."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(100, 150, (224, 224, 3)).astype(np.uint8)
    pixels[140:180, 40 + 8 * number : 80 + 8 * number] = (250, 5, 5)
    if letterboxed:
        pixels[:48] = pixels[-24:] = 0
    memory = io.BytesIO()
    Image.fromarray(pixels).save(memory, "JPEG", quality=95, subsampling=0)
    return decode_picture(memory.getvalue(), PictureLimits()), memory.getvalue()


def verdict_of(number, picture, frame, look, label):
    """As the judge makes it, of one expert's look."""
    query = Query.of(picture, source="test", seconds=5.0)
    query = replace(query, id=f"{number:032x}", label=label, received_at=1.7e9 + number)
    geometry = frame.geometry
    expert = ExpertTrace(
        name="told",
        status="ok",
        probability=look.probability,
        calibrated=None,
        log_odds=None,
        weight=1.0,
        ms=1.0,
        detail=look.detail,
        evidence=tuple(EvidenceTrace(what=e.what, score=e.score, box=e.box) for e in look.evidence),
    )
    level = LevelTrace(
        name="first",
        entered=True,
        why="first level",
        experts=(expert,),
        log_odds=None,
        probability=look.probability,
        disagreement=None,
        ms=1.0,
    )
    trace = Trace(
        query=QueryTrace.of(query),
        picture=PictureTrace(
            format=frame.picture_format,
            original_width=frame.original_width,
            original_height=frame.original_height,
            width=frame.width,
            height=frame.height,
            size_class=geometry.size_class.value,
            padding_share=geometry.padding_share,
            black_corner_share=geometry.black_corner_share,
            tilt_degrees=geometry.tilt_degrees,
            brightness=geometry.brightness,
            sharpness=geometry.sharpness,
            dark=geometry.dark,
            blurred=geometry.blurred,
        ),
        levels=(level,),
        answer=Answer(prediction=0.7, reason="sure", level="first"),
        stages_ms={"total": 1.0},
        versions={"miner": "0", "profile": "p", "experts": {}},
    )
    return Verdict(query=query, probability=0.7, trace=trace)
