"""Open-vocabulary detectors on tiny models saved in the genuine formats, against transformers."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from natix_miner.clock import Deadline
from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.detection.detections import Detections
from natix_miner.experts.detection.prompts import phrase_of
from natix_miner.experts.families.open_vocabulary import (
    OpenVocabularyDetector,
    OpenVocabularySettings,
)
from natix_miner.experts.family import Surroundings

transformers = pytest.importorskip("transformers", reason="needs the extra `detectors`")
torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
KINDS = ("grounding-dino", "mm-grounding-dino", "owlv2", "owlvit", "omdet-turbo")
PHRASES = {
    "traffic cone": "cone",
    "road work sign": "sign",
    "construction worker": "worker",
    "fence": "fence",
}
ASKED = [f"a photo of a {phrase}" for phrase in PHRASES]
#: Everything that is found.
ALL = {"threshold": 0.0, "text_threshold": 0.0}


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Wide, tall and square ones of coarse noise."""
    rng = np.random.default_rng(1)
    shapes = ((6, 9), (9, 5), (6, 9), (7, 7))
    return [
        np.kron(rng.integers(0, 256, (*s, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
        for s in shapes
    ]


def detector(folder: Path, surroundings: Surroundings | None = None, **said):
    settings = OpenVocabularySettings(
        folder=folder, **{"phrases": PHRASES, "view_size": 128, **said}
    )
    where = surroundings or Surroundings(ROOT / "configs")
    return OpenVocabularyDetector("open", settings, where)


_loaded: dict[str, OpenVocabularyDetector] = {}


def loaded(folder: Path, **said):
    """Loaded once for every way to load it."""
    key = repr((folder, said))
    if key not in _loaded:
        expert = detector(folder, **said)
        expert.load()
        _loaded[key] = expert
    return _loaded[key]


def same(one: Detections, other: Detections, tolerance: float = 1e-3) -> None:
    """Both show the same objects, in whatever order."""
    assert len(one) == len(other) > 0
    first, second = (
        sorted(
            zip(d.labels, d.scores.tolist(), d.boxes.tolist(), strict=True),
            key=lambda item: (-round(item[1], 4), item[2]),
        )
        for d in (one, other)
    )
    for (name, score, box), (other_name, other_score, other_box) in zip(first, second, strict=True):
        assert name == other_name
        assert score == pytest.approx(other_score, abs=1e-5)
        assert box == pytest.approx(other_box, abs=tolerance)


def clipped(results: dict, labels: list[str], picture: np.ndarray) -> Detections:
    height, width = picture.shape[:2]
    boxes = results["boxes"].numpy().clip(0, (width, height, width, height))
    return Detections.of(boxes, results["scores"].numpy(), labels)


def by_hand(folder: Path, picture: np.ndarray, text: list):
    """The library's own way: processor, model, and the outputs of both."""
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    inputs = processor(images=Image.fromarray(picture), text=text, return_tensors="pt")
    with torch.inference_mode():
        return processor, inputs, model(**inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_lie_inside_the_frame_and_pictures_make_a_difference(tiny, kind, squares):
    expert = loaded(tiny(kind), threshold=0.1)
    looks = expert.look_at(squares[:3])
    assert all(0.0 <= look.probability <= 1.0 for look in looks)
    for frame, look in zip(squares, looks, strict=False):
        for evidence in look.evidence:
            left, top, right, bottom = evidence.box
            assert 0 <= left < right <= frame.width
            assert 0 <= top < bottom <= frame.height
            assert evidence.what in PHRASES
    assert any(look.evidence for look in looks)
    seen = [
        [part.boxes.tolist(), part.scores.tolist()]
        for part in expert.detect([np.array(frame.pixels) for frame in squares[:2]])
    ]
    assert seen[0] != seen[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_several_sizes_says_the_same_as_one_by_one(tiny, kind, pictures):
    expert = loaded(tiny(kind), **ALL)
    for together, picture in zip(expert.detect(pictures), pictures, strict=True):
        same(together, expert.detect([picture])[0])


@pytest.mark.parametrize("kind", ["grounding-dino", "mm-grounding-dino"])
class TestGroundingDino:
    def test_the_best_word_is_what_the_librarys_post_processing_names(self, tiny, kind, pictures):
        picture = pictures[0]
        found = loaded(tiny(kind), **ALL, words="best").detect([picture])[0]
        processor, inputs, outputs = by_hand(tiny(kind), picture, list(PHRASES))

        def library(text_threshold: float) -> tuple[np.ndarray, dict]:
            (result,) = processor.post_process_grounded_object_detection(
                outputs,
                inputs["input_ids"],
                threshold=0.0,
                text_threshold=text_threshold,
                target_sizes=[picture.shape[:2]],
            )
            height, width = picture.shape[:2]
            return result["boxes"].numpy().clip(0, (width, height, width, height)), result

        boxes, result = library(0.5)
        assert len(found) > 5
        assert len(set(found.labels)) > 1
        for box, score, phrase in zip(found.boxes, found.scores, found.labels, strict=True):
            (number,) = np.flatnonzero(np.abs(boxes - box).max(1) < 1e-3)
            assert result["scores"][number] >= score - 1e-5
            # Asked for words as sure as this, the library names one of the phrase's.
            words = library(score - 1e-4)[1]["text_labels"][number]
            assert set(words.replace(".", " ").split()) & set(phrase.split())

    def test_the_mean_of_a_phrase_is_taken_over_its_own_words(self, tiny, kind, pictures):
        """Worked by hand, with the words found by their characters instead of the full stops."""
        picture = pictures[1]
        found = loaded(tiny(kind), **ALL).detect([picture])[0]
        processor, _, outputs = by_hand(tiny(kind), picture, list(PHRASES))
        text = ". ".join(PHRASES) + "."
        spans = processor.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        tokens = outputs.logits[0].sigmoid().numpy()
        scores = []
        for phrase in PHRASES:
            start = text.index(phrase)
            inside = [
                number
                for number, (left, right) in enumerate(spans)
                if start <= left < right <= start + len(phrase)
            ]
            scores.append(tokens[:, inside].mean(1))
        expected = sorted(np.max(scores, axis=0).tolist(), reverse=True)
        assert found.scores.max() == pytest.approx(expected[0], abs=1e-5)
        assert all(min(abs(score - np.array(expected))) < 1e-5 for score in found.scores)

    def test_a_phrase_without_a_word_above_the_text_threshold_names_nothing(
        self, tiny, kind, pictures
    ):
        every = loaded(tiny(kind), **ALL, words="best").detect([pictures[0]])[0]
        bound = float(np.median(every.scores))
        some = loaded(tiny(kind), **{**ALL, "text_threshold": bound}, words="best")
        same(some.detect([pictures[0]])[0], every.chosen(every.scores > bound))

    def test_signs_in_a_phrase_do_not_split_it(self, tiny, kind, pictures):
        odd = {"Traffic Cone?": "cone", "st. fence": "fence", "drum-like": "drum"}
        found = loaded(tiny(kind), **ALL, phrases=odd).detect([pictures[0]])[0]
        assert set(found.labels) <= set(odd)

    def test_more_words_than_the_model_reads_are_refused(self, tiny, kind):
        many = {f"excavator number {number}": "machine" for number in range(20)}
        with pytest.raises(ModelError, match="256"):
            loaded(tiny(kind), phrases=many)


@pytest.mark.parametrize("kind", ["owlv2", "owlvit"])
class TestOwl:
    def test_boxes_are_those_of_the_librarys_own_way(self, tiny, kind, pictures):
        expert = loaded(tiny(kind), **ALL)
        for picture in pictures:
            processor, _, outputs = by_hand(tiny(kind), picture, [ASKED])
            (result,) = processor.post_process_grounded_object_detection(
                outputs,
                threshold=0.0,
                target_sizes=[picture.shape[:2]],
                text_labels=[list(PHRASES)],
            )
            expected = clipped(result, result["text_labels"], picture)
            assert len(set(expected.labels)) > 1
            same(expert.detect([picture])[0], expected)

    def test_the_pipeline_finds_the_same(self, tiny, kind, pictures):
        picture = pictures[1]
        pipe = transformers.pipeline("zero-shot-object-detection", model=str(tiny(kind)))
        said = pipe(Image.fromarray(picture), candidate_labels=ASKED, threshold=0.01)
        found = loaded(tiny(kind), **{**ALL, "threshold": 0.05}).detect([picture])[0]
        assert len(found)
        for score, label in zip(found.scores, found.labels, strict=True):
            assert any(
                item["label"].endswith(label) and item["score"] == pytest.approx(score, abs=1e-4)
                for item in said
            )

    def test_a_phrase_longer_than_the_model_reads_is_refused(self, tiny, kind):
        with pytest.raises(ModelError, match="shorter"):
            loaded(tiny(kind), phrases={"excavator " * 9: "machine"})

    def test_the_template_is_what_is_asked(self, tiny, kind, pictures):
        plainly = loaded(tiny(kind), **ALL, template="{}").detect([pictures[0]])[0]
        dressed = loaded(tiny(kind), **ALL).detect([pictures[0]])[0]
        assert plainly.scores.tolist() != dressed.scores.tolist()


def test_owlv2_sees_a_wide_picture_as_the_upper_part_of_a_square(tiny, pictures):
    wide = pictures[0]
    square = np.zeros((wide.shape[1], wide.shape[1], 3), np.uint8)
    square[: wide.shape[0]] = wide
    expert = loaded(tiny("owlv2"), **ALL)
    of_square = expert.detect([square])[0]
    boxes = of_square.boxes.clip(0, (*wide.shape[1::-1], *wide.shape[1::-1]))
    same(expert.detect([wide])[0], Detections.of(boxes, of_square.scores, of_square.labels))


def test_omdet_finds_what_its_own_way_finds(tiny, pictures):
    for picture in pictures[:2]:
        processor, _, outputs = by_hand(tiny("omdet-turbo"), picture, list(PHRASES))
        (result,) = processor.post_process_grounded_object_detection(
            outputs, text_labels=[list(PHRASES)], threshold=0.2, target_sizes=[picture.shape[:2]]
        )
        found = loaded(tiny("omdet-turbo"), **{**ALL, "threshold": 0.2}).detect([picture])[0]
        same(found, clipped(result, result["text_labels"], picture))


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_says_nearly_the_same_scores(tiny, kind, pictures):
    exact = loaded(tiny(kind), **ALL).detect([pictures[0]])[0]
    rough = loaded(tiny(kind), **ALL, precision="bf16").detect([pictures[0]])[0]
    assert len(rough)
    assert rough.scores.max() == pytest.approx(exact.scores.max(), abs=0.06)
    assert np.median(rough.scores) == pytest.approx(np.median(exact.scores), abs=0.1)


def test_compiled_it_says_the_same(tiny, pictures, monkeypatch):
    """Traced for good, but left to eager kernels: no compiler is needed here."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = detector(tiny("owlv2"), **ALL, compile=True)
    compiled.load()
    plainly = loaded(tiny("owlv2"), **ALL)
    same(compiled.detect([pictures[0]])[0], plainly.detect([pictures[0]])[0])
    vision = compiled._dialect.model.owlv2.vision_model
    assert type(vision).__name__ == "OptimizedModule"
    assert compiled.version == plainly.version


def test_mirrored_and_upright_views_are_brought_back_to_the_frame(tiny, squares):
    expert = loaded(tiny("owlv2"), views=("whole", "upright"), mirror=True, threshold=0.1)
    for frame, look in zip(squares, expert.look_at(squares), strict=True):
        assert len(expert.views(frame)) == 4
        for evidence in look.evidence:
            assert 0 <= evidence.box[0] < evidence.box[2] <= frame.width
            assert 0 <= evidence.box[1] < evidence.box[3] <= frame.height


def test_two_experts_with_other_phrases_share_one_load(tiny, pictures):
    around = Surroundings(ROOT / "configs")
    one = detector(tiny("owlv2"), around, **ALL, phrases={"fence": "fence"})
    other = detector(tiny("owlv2"), around, **ALL)
    one.load()
    other.load()
    assert one._shared is other._shared
    assert set(one.detect(pictures[:1])[0].labels) == {"fence"}
    assert len(set(other.detect(pictures[:1])[0].labels)) > 1
    key = one._key
    asyncio.run(one.close())
    assert around.models.users(key) == 1
    asyncio.run(other.close())
    asyncio.run(other.close())
    assert around.models.users(key) == 0


def test_asked_through_the_experts_thread_the_answer_is_the_same(tiny, squares):
    async def run():
        expert = detector(tiny("owlv2"), threshold=0.1)
        await expert.start()
        try:
            return [await expert.look(frame, Deadline.after(60)) for frame in squares[:2]]
        finally:
            await expert.close()

    direct = loaded(tiny("owlv2"), threshold=0.1).look_at(squares[:2])
    for look, expected in zip(asyncio.run(run()), direct, strict=True):
        assert look.probability == pytest.approx(expected.probability, abs=1e-6)


class TestPhrases:
    def test_without_any_the_shipped_ones_are_asked(self, tiny):
        expert = loaded(tiny("owlv2"), phrases={})
        assert "excavator" in expert._dialect.phrases
        assert expert.look_at([])[:] == []

    def test_a_vocabulary_names_what_is_asked(self, tiny):
        expert = loaded(tiny("grounding-dino"), phrases={}, vocabulary="roadwork-19")
        assert "TTC Message Board" in expert._dialect.phrases

    def test_phrases_and_a_vocabulary_are_refused(self, tiny):
        with pytest.raises(ModelError, match="not both"):
            loaded(tiny("owlv2"), vocabulary="nuimages")

    def test_a_class_that_the_rule_does_not_weigh_is_refused(self, tiny):
        with pytest.raises(ModelError, match=r"traffic cones.*cone,"):
            loaded(tiny("owlv2"), phrases={"traffic cones": "cones"})

    def test_shipped_phrases_without_weight_are_left_out_and_told(self, tiny, tmp_path, squares):
        rule = tmp_path / "rule.json"
        rule.write_text(json.dumps({"weights": {"cone": 0.9, "machine": 0.8}, "leak": 0.1}))
        expert = loaded(tiny("owlv2"), phrases={}, rule=rule)
        assert expert._dialect.phrases == ("traffic cone", "excavator")
        assert "6 phrases not asked" in expert.look_at(squares[:1])[0].detail

    def test_a_rule_that_weighs_none_of_them_is_refused(self, tiny, tmp_path):
        rule = tmp_path / "rule.json"
        rule.write_text(json.dumps({"weights": {"bollard": 0.9}, "leak": 0.1}))
        with pytest.raises(ModelError, match="bollard"):
            loaded(tiny("owlv2"), phrases={}, rule=rule)

    def test_people_and_trucks_alone_are_weak_evidence(self, tiny, squares):
        expert = loaded(tiny("owlv2"), phrases={"person": "person", "truck": "truck"})
        assert "weak" in expert.look_at(squares[:1])[0].detail

    @pytest.mark.parametrize(
        ("said", "phrase"),
        [
            ("traffic cone", "traffic cone"),
            ("Traffic-Cone.", "traffic cone"),
            ("cone", "traffic cone"),
            ("a road sign", "road work sign"),
            ("traffic", "traffic cone"),
            ("work", None),
            ("giraffe", None),
            ("", None),
        ],
    )
    def test_other_wordings_belong_to_the_phrase_that_shares_their_words(self, said, phrase):
        asked = ("traffic cone", "road work sign", "work vehicle lorry")
        assert phrase_of(said, asked) == phrase


class TestWhatCannotBeLoaded:
    @pytest.fixture
    def torn(self, tiny, tmp_path):
        def copied(kind: str) -> Path:
            return Path(shutil.copytree(tiny(kind), tmp_path / kind))

        return copied

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(ModelError, match=r"config\.json"):
            loaded(tmp_path)

    def test_another_architecture_is_named(self, tmp_path):
        transformers.ViTConfig(hidden_size=8).save_pretrained(tmp_path)
        with pytest.raises(ModelError, match=r"'vit'.*grounding-dino"):
            loaded(tmp_path)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_missing_tokenizer(self, torn, kind):
        folder = torn(kind)
        for file in folder.glob("tokenizer*"):
            file.unlink()
        with pytest.raises(ModelError, match=r"tokenizer|processor"):
            loaded(folder)

    def test_torn_weights(self, torn):
        weights = torn("owlv2") / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:2000])
        with pytest.raises(ModelError, match="weights"):
            loaded(weights.parent)

    def test_weights_that_lack_a_part_are_not_filled_with_chance(self, torn):
        from safetensors.torch import load_file, save_file

        weights = torn("owlv2") / "model.safetensors"
        kept = {k: v for k, v in load_file(weights).items() if not k.startswith("class_head")}
        save_file(kept, weights, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=r"lack.*class_head"):
            loaded(weights.parent)

    def test_a_gpu_that_is_not_there(self, tiny):
        with pytest.raises(ModelError, match="cuda:7"):
            loaded(tiny("owlv2"), device="cuda:7")

    def test_a_package_that_is_not_installed(self, tiny, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingExtraError, match="detectors"):
            detector(tiny("owlv2")).load()

    def test_nothing_is_kept_of_a_load_that_failed(self, tiny):
        around = Surroundings(ROOT / "configs")
        expert = detector(tiny("owlv2"), around, phrases={"excavator " * 9: "machine"})
        with pytest.raises(ModelError):
            expert.load()
        assert not around.models._users

    @pytest.mark.parametrize(
        ("section", "word"),
        [
            ({"template": "no place"}, "template"),
            ({"phrases": {" ": "cone"}}, "says nothing"),
            ({"words": "some"}, "words"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_settings_that_cannot_work(self, section, word):
        with pytest.raises(ValidationError, match=word):
            OpenVocabularySettings.model_validate({"folder": "a", **section})
