"""SAM 3 on a tiny model saved as facebook/sam3 is, against transformers' own way."""

from __future__ import annotations

import asyncio
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.detection.detections import Detections, outline_of
from natix_miner.experts.families.sam3 import MASK_SIDE, Sam3Detector, Sam3Settings, outlines
from natix_miner.experts.family import Surroundings

transformers = pytest.importorskip("transformers", reason="needs the extra `detectors`")
torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
PHRASES = {
    "traffic cone": "cone",
    "road work sign": "sign",
    "excavator": "machine",
    "worker": "worker",
    "fence": "fence",
}


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Wide, tall and square ones of coarse noise."""
    rng = np.random.default_rng(1)
    return [
        np.kron(rng.integers(0, 256, (*s, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
        for s in ((6, 9), (9, 5), (7, 7))
    ]


def detector(folder: Path, surroundings: Surroundings | None = None, **said):
    said = {"phrases": PHRASES, "view_size": 224, "threshold": 0.0, **said}
    settings = Sam3Settings(folder=folder, **said)
    return Sam3Detector("sam", settings, surroundings or Surroundings(ROOT / "configs"))


_loaded: dict[str, Sam3Detector] = {}


def loaded(folder: Path, **said):
    """Loaded once for every way to load it."""
    key = repr((folder, said))
    if key not in _loaded:
        expert = detector(folder, **said)
        expert.load()
        _loaded[key] = expert
    return _loaded[key]


def by_hand(folder: Path, picture: np.ndarray, threshold: float = 0.0) -> list[dict]:
    """The library's own way for each phrase: picture and text through the model at once."""
    processor = transformers.Sam3Processor.from_pretrained(folder)
    lite = folder.name == "sam3-lite-text"
    kind = transformers.Sam3LiteTextModel if lite else transformers.Sam3Model
    model = kind.from_pretrained(folder).eval()
    told = []
    for phrase in PHRASES:
        inputs = processor(images=Image.fromarray(picture), text=phrase, return_tensors="pt")
        inputs.pop("original_sizes")
        with torch.inference_mode():
            told += processor.post_process_instance_segmentation(
                model(**inputs), threshold=threshold, target_sizes=[picture.shape[:2]]
            )
    return told


def rows(found: Detections) -> list[tuple]:
    return sorted(
        (label, *np.round([score, *box], 2).tolist())
        for label, score, box in zip(found.labels, found.scores, found.boxes, strict=True)
    )


@pytest.mark.parametrize(
    ("model", "together"), [("sam3", 1), ("sam3", 2), ("sam3-image", 8), ("sam3-lite-text", 8)]
)
def test_one_encoding_for_all_phrases_says_what_one_for_each_says(tiny, model, together, pictures):
    expert = loaded(tiny(model), phrases_at_once=together, most_boxes=1000)
    for picture in pictures:
        height, width = picture.shape[:2]
        said = by_hand(tiny(model), picture)
        assert len(said) == len(PHRASES)
        expected = Detections.joined(
            Detections.of(
                part["boxes"].numpy().clip(0, (width, height, width, height)),
                part["scores"].numpy(),
                [phrase] * len(part["scores"]),
            )
            for phrase, part in zip(PHRASES, said, strict=True)
        )
        found = expert.detect([picture])[0]
        assert len(found) == len(expected) > 20
        for one, other in zip(rows(found), rows(expected), strict=True):
            assert one[0] == other[0]
            assert one[1:] == pytest.approx(other[1:], abs=0.02)
        assert np.ptp(found.scores) > 0.05


def test_the_picture_is_encoded_once_and_the_phrases_never_again(tiny, pictures):
    expert = detector(tiny("sam3"), phrases_at_once=1)
    expert.load()
    model = expert._loaded.model
    calls = []
    for part in ("vision_encoder", "text_encoder", "detr_decoder"):
        module = getattr(model, part)
        module.register_forward_hook(lambda *_, part=part: calls.append(part))
    expert.detect(pictures)
    assert calls.count("vision_encoder") == 1
    assert calls.count("text_encoder") == 0
    assert calls.count("detr_decoder") == len(pictures) * len(PHRASES)


def test_a_batch_says_the_same_as_one_by_one(tiny, pictures):
    expert = loaded(tiny("sam3"), masks=True)
    for together, picture in zip(expert.detect(pictures), pictures, strict=True):
        (alone,) = expert.detect([picture])
        assert together.labels == alone.labels
        assert together.scores == pytest.approx(alone.scores, abs=1e-5)
        assert together.boxes == pytest.approx(alone.boxes, abs=1e-3)
        assert together.outlines == alone.outlines


class TestOutlines:
    def test_they_lie_about_the_masks_of_the_librarys_own_way(self, tiny, pictures):
        picture = pictures[0]
        found = loaded(tiny("sam3"), masks=True, most_boxes=1000).detect([picture])[0]
        said = by_hand(tiny("sam3"), picture)
        compared = 0
        for number, label in enumerate(found.labels):
            part = said[list(PHRASES).index(label)]
            query = int(np.abs(part["scores"].numpy() - found.scores[number]).argmin())
            expected = outline_of(part["masks"][query].numpy().astype(bool))
            assert found.outlines[number] == pytest.approx(np.array(expected), abs=1e-6)
            compared += len(expected) > 2
        assert compared > 10

    def test_without_masks_there_are_none(self, tiny, pictures):
        found = loaded(tiny("sam3")).detect([pictures[0]])[0]
        assert len(found)
        assert set(found.outlines) == {()}

    def test_a_mask_of_a_large_picture_is_drawn_small_and_lies_where_it_was(self):
        logits = torch.full((1, 100, 100), -9.0)
        logits[0, 20:60, 10:40] = 9.0
        width, height = 4 * MASK_SIDE, 2 * MASK_SIDE
        (outline,) = outlines(logits, width, height)
        low, high = np.array(outline).min(0), np.array(outline).max(0)
        assert low == pytest.approx((0.10 * width, 0.20 * height), abs=16)
        assert high == pytest.approx((0.40 * width, 0.60 * height), abs=16)

    def test_they_reach_the_evidence_in_pixels_of_the_frame(self, tiny, squares):
        look = loaded(tiny("sam3"), masks=True).look_at(squares[:1])[0]
        drawn = [evidence for evidence in look.evidence if evidence.outline]
        assert drawn
        for evidence in drawn:
            points = np.array(evidence.outline)
            assert points.min() >= 0
            assert points.max() <= 224


def test_detector_and_segmenter_are_one_load(tiny, squares):
    around = Surroundings(ROOT / "configs")
    reads = []

    class Counting(Sam3Detector):
        def read(self, stack, place):
            reads.append(self.name)
            return super().read(stack, place)

    def made(name, **said):
        said = {"view_size": 224, "threshold": 0.0, **said}
        return Counting(name, Sam3Settings(folder=tiny("sam3"), **said), around)

    finder = made("finder", phrases={"traffic cone": "cone"})
    drawer = made("drawer", phrases={"worker": "worker", "fence": "fence"}, masks=True)

    async def run():
        await asyncio.gather(finder.start(), drawer.start())
        assert reads in (["finder"], ["drawer"])
        assert finder._shared is drawer._shared
        assert finder.version.split(":")[0] == drawer.version.split(":")[0]
        first = finder.look_at(squares[:1])[0]
        second = drawer.look_at(squares[:1])[0]
        assert {evidence.what for evidence in first.evidence} == {"traffic cone"}
        assert {evidence.what for evidence in second.evidence} <= {"worker", "fence"}
        assert not any(evidence.outline for evidence in first.evidence)
        assert any(evidence.outline for evidence in second.evidence)
        key = finder._key
        await finder.close()
        assert around.models.users(key) == 1
        assert len(drawer.look_at(squares[:1])[0].evidence) > 0
        await drawer.close()
        assert around.models.users(key) == 0

    asyncio.run(run())


def test_another_precision_is_another_load(tiny):
    around = Surroundings(ROOT / "configs")
    exact, rough = detector(tiny("sam3"), around), detector(tiny("sam3"), around, precision="bf16")
    exact.load()
    rough.load()
    assert exact._shared is not rough._shared


def test_boxes_lie_inside_the_frame_and_pictures_make_a_difference(tiny, squares):
    expert = loaded(tiny("sam3"), views=("whole", "upright"), mirror=True)
    looks = expert.look_at(squares[:3])
    assert len({round(look.probability, 6) for look in looks}) == 3
    for frame, look in zip(squares, looks, strict=False):
        assert 0.0 <= look.probability <= 1.0
        for evidence in look.evidence:
            assert 0 <= evidence.box[0] < evidence.box[2] <= frame.width
            assert 0 <= evidence.box[1] < evidence.box[3] <= frame.height


def test_no_more_than_most_boxes_of_one_pass_are_drawn(tiny, pictures):
    found = loaded(tiny("sam3"), most_boxes=3, phrases_at_once=8).detect([pictures[0]])[0]
    every = loaded(tiny("sam3"), phrases_at_once=8).detect([pictures[0]])[0]
    assert len(found) == 3
    assert sorted(found.scores) == pytest.approx(sorted(every.scores)[-3:])


def test_bfloat16_says_nearly_the_same(tiny, pictures):
    exact = loaded(tiny("sam3")).detect([pictures[0]])[0]
    rough = loaded(tiny("sam3"), precision="bf16").detect([pictures[0]])[0]
    assert rough.scores.max() == pytest.approx(exact.scores.max(), abs=0.05)


def test_compiled_it_says_the_same(tiny, pictures, monkeypatch):
    """Traced for good, but left to eager kernels: no compiler is needed here."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = detector(tiny("sam3"), compile=True)
    compiled.load()
    found = compiled.detect(pictures[:1])[0]
    assert found.scores == pytest.approx(loaded(tiny("sam3")).detect(pictures[:1])[0].scores)
    assert type(compiled._loaded.model.vision_encoder).__name__ == "OptimizedModule"
    assert compiled.version == loaded(tiny("sam3")).version


class TestWhatCannotBeLoaded:
    @pytest.fixture
    def torn(self, tiny, tmp_path):
        return Path(shutil.copytree(tiny("sam3"), tmp_path / "torn"))

    def test_another_architecture_is_named_before_a_gigabyte_of_chance_is_made(self, tmp_path):
        transformers.ViTConfig(hidden_size=8).save_pretrained(tmp_path)
        with pytest.raises(ModelError, match=r"'vit'.*sam3"):
            loaded(tmp_path)

    def test_a_missing_tokenizer(self, torn):
        for file in torn.glob("tokenizer*"):
            file.unlink()
        with pytest.raises(ModelError, match=r"tokenizer|processor"):
            loaded(torn)

    def test_torn_weights(self, torn):
        weights = torn / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:2000])
        with pytest.raises(ModelError, match="weights"):
            loaded(torn)

    def test_weights_without_the_detector(self, torn):
        from safetensors.torch import load_file, save_file

        weights = torn / "model.safetensors"
        kept = {k: v for k, v in load_file(weights).items() if "mask_decoder" not in k}
        save_file(kept, weights, metadata={"format": "pt"})
        with pytest.raises(ModelError, match="are not in the file"):
            loaded(torn)

    def test_a_phrase_longer_than_the_model_reads(self, tiny):
        with pytest.raises(ModelError, match="shorter"):
            loaded(tiny("sam3"), phrases={"excavator " * 9: "machine"})

    def test_a_class_that_the_rule_does_not_weigh(self, tiny):
        with pytest.raises(ModelError, match="gives no weight"):
            loaded(tiny("sam3"), phrases={"cones": "cones"})

    def test_a_gpu_that_is_not_there(self, tiny):
        with pytest.raises(ModelError, match="cuda:7"):
            loaded(tiny("sam3"), device="cuda:7")

    def test_a_package_that_is_not_installed(self, tiny, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingExtraError, match="detectors"):
            detector(tiny("sam3")).load()

    @pytest.mark.parametrize(
        ("section", "word"),
        [
            ({"phrases_at_once": 0}, "phrases_at_once"),
            ({"masks": "some"}, "masks"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_settings_that_cannot_work(self, section, word):
        with pytest.raises(ValidationError, match=word):
            Sam3Settings.model_validate({"folder": "a", **section})
