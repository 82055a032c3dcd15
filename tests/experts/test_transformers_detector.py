"""Detectors of transformers on tiny genuine models: what they see is what the library sees."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from natix_miner.clock import Deadline
from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.detection.detections import Detections
from natix_miner.experts.families.transformers_detector import (
    TransformersDetector,
    TransformersDetectorSettings,
)
from natix_miner.experts.family import Surroundings, family_of
from natix_miner.experts.weights.shared import SharedModels

transformers = pytest.importorskip("transformers", reason="needs the extra `detectors`")
torch = pytest.importorskip("torch")

RULE = Path(__file__).parents[2] / "models" / "detection" / "rule.json"
NEW = ("rt-detr-v2", "d-fine", "rf-detr", "deimv2")
OLD = ("rt-detr", "lw-detr", "detr", "yolos")
FIXED = (*NEW, "rt-detr", "lw-detr")
KNOWN = {"Traffic cone", "Cone", "person", "Person"}


@pytest.fixture(scope="module")
def loaded(tiny):
    """Loaded detectors by model and settings, kept for the module."""
    kept: dict[str, TransformersDetector] = {}

    def make(model: str, **section) -> TransformersDetector:
        key = json.dumps([model, section], sort_keys=True, default=str)
        if key not in kept:
            kept[key] = unloaded(tiny(model), **section)
            kept[key].load()
        return kept[key]

    return make


def unloaded(folder: Path, models: SharedModels | None = None, **section) -> TransformersDetector:
    settings = TransformersDetectorSettings(
        **{"folder": folder, "rule": RULE, "threshold": 0.1, "view_size": 320, **section}
    )
    return TransformersDetector(
        "detector", settings, Surroundings(Path("/"), models=models or SharedModels())
    )


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Coarse noise in three shapes."""
    rng = np.random.default_rng(5)
    sizes = ((14, 14), (10, 20), (16, 12))
    return [
        np.kron(rng.integers(0, 256, (*size, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
        for size in sizes
    ]


def rows(found):
    return sorted(zip(found.labels, found.scores, found.boxes.tolist(), strict=True), key=repr)


def lonely(found, others) -> int:
    """How many boxes have no like among others: same label, same score, same place.

    Random weights blow up the last bit: what lies at the threshold or is the last of the queries
    may differ.
    """
    return sum(
        not any(
            label == name
            and abs(score - like) < 2e-3
            and np.allclose(box, place, rtol=2e-3, atol=0.6)
            for name, like, place in rows(others)
        )
        for label, score, box in rows(found)
    )


def alike(found, others) -> bool:
    """Whether two results are the same, but for one box at most."""
    return len(found) > 1 and lonely(found, others) <= 1 and lonely(others, found) <= 1


@pytest.mark.parametrize("model", [*NEW, *OLD])
class TestEveryArchitecture:
    def test_it_sees_what_the_library_sees(self, loaded, tiny, pictures, model):
        """Reference: the model and its own post-processing, one picture at a time."""
        where = str(tiny(model))
        network = transformers.AutoModelForObjectDetection.from_pretrained(where).eval()
        processor = transformers.AutoImageProcessor.from_pretrained(where)
        for picture, found in zip(pictures, loaded(model).detect(pictures), strict=True):
            given = processor(images=Image.fromarray(picture), return_tensors="pt")
            with torch.inference_mode():
                outputs = network(**given)
            said = processor.post_process_object_detection(
                outputs, threshold=0.1, target_sizes=[picture.shape[:2]]
            )[0]
            names = [network.config.id2label[int(label)] for label in said["labels"]]
            assert alike(found, Detections.of(said["boxes"], said["scores"], names))

    def test_the_pictures_make_a_difference(self, loaded, pictures, model):
        seen = loaded(model).detect(pictures)
        assert len({rows(found)[0][1] for found in seen}) == len(pictures)

    def test_looks_are_probabilities_with_boxes_in_the_frame(self, loaded, squares, model):
        looks = loaded(model, view_size=224, mirror=True).look_at(squares[:2])
        for look, frame in zip(looks, squares, strict=False):
            assert 0.12 <= look.probability <= 1.0
            assert look.evidence
            for evidence in look.evidence:
                left, top, right, bottom = evidence.box
                assert 0 <= left < right <= frame.width
                assert 0 <= top < bottom <= frame.height
                assert 0.1 <= evidence.score <= 1.0


@pytest.mark.parametrize("model", ["d-fine", "rf-detr"])
def test_the_pipeline_of_transformers_says_the_same(loaded, tiny, pictures, model):
    where = str(tiny(model))
    pipe = transformers.pipeline(
        "object-detection", model=where, image_processor=where, device="cpu"
    )
    for picture, found in zip(pictures, loaded(model).detect(pictures), strict=True):
        said = pipe(Image.fromarray(picture), threshold=0.1)
        boxes = [[one["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")] for one in said]
        names, scores = [one["label"] for one in said], [one["score"] for one in said]
        nothing = ((),) * len(said)
        theirs = Detections(np.array(boxes), np.array(scores), tuple(names), nothing)
        # The pipeline cuts off what is behind the point.
        assert alike(replace(found, boxes=np.trunc(found.boxes)), theirs)


class TestBatches:
    @pytest.mark.parametrize("model", FIXED)
    def test_pictures_of_any_size_run_in_one_forward(self, loaded, pictures, model, monkeypatch):
        detector = loaded(model)
        forward, sizes = detector._shared.value.forward, []

        def counted(batch):
            sizes.append(len(batch["pixel_values"]))
            return forward(batch)

        monkeypatch.setattr(detector._shared, "value", _with(detector, counted))
        detector.detect(pictures)
        assert sizes == [3]

    @pytest.mark.parametrize("model", [*NEW, "detr", "yolos"])
    def test_a_batch_says_the_same_as_one_by_one(self, loaded, pictures, model):
        detector = loaded(model)
        for found, picture in zip(detector.detect(pictures), pictures, strict=True):
            assert alike(detector.detect([picture])[0], found)


def _with(detector, forward):
    return replace(detector._shared.value, forward=forward)


class TestViews:
    def test_mirrored_views_add_what_the_mirrored_picture_shows(self, loaded, full_frames):
        detector = loaded("d-fine", mirror=True)
        frame = full_frames[0]
        names = [view.name for view in detector.views(frame)]
        assert names == ["whole", "whole-mirrored"]
        plain, turned = detector.detect([view.pixels for view in detector.views(frame)])
        assert rows(plain) != rows(turned)
        assert detector.look_at([frame])[0].evidence

    def test_upright_views_of_tilted_squares_stay_in_the_frame(self, loaded, squares):
        detector = loaded("d-fine", views=("upright",), view_size=224)
        tilted = [frame for frame in squares if frame.geometry.tilt_degrees]
        assert tilted
        for frame, look in zip(tilted, detector.look_at(tilted), strict=True):
            assert look.evidence
            for evidence in look.evidence:
                assert 0 <= evidence.box[0] < evidence.box[2] <= frame.width

    def test_tiles_of_a_large_frame_are_looked_at(self, loaded, full_frames):
        detector = loaded("d-fine", views=("whole", "tiles"), view_size=320, sure_at=1.0)
        frame = max(full_frames, key=lambda frame: frame.width)
        assert len(detector.views(frame)) > 2
        whole = loaded("d-fine").look_at([frame])[0]
        assert detector.look_at([frame])[0].probability != whole.probability


class TestSettings:
    def test_another_picture_size_is_another_look(self, loaded, pictures):
        small, usual = loaded("d-fine", image_size=96), loaded("d-fine")
        assert small.version == usual.version
        assert rows(small.detect(pictures)[0]) != rows(usual.detect(pictures)[0])
        assert small._shared.value.prepared(pictures[1])["pixel_values"].shape[-2:] == (96, 96)

    def test_models_that_keep_the_aspect_have_their_shorter_side_set(self, loaded, pictures):
        prepared = loaded("yolos", image_size=64)._shared.value.prepared(pictures[1])
        assert min(prepared["pixel_values"].shape[-2:]) <= 64
        assert max(prepared["pixel_values"].shape[-2:]) > 64

    def test_a_size_that_the_model_cannot_take_is_a_model_error(self, tiny):
        with pytest.raises(ModelError, match="`image_size` a multiple"):
            unloaded(tiny("d-fine"), image_size=100).load()

    def test_bf16_sees_nearly_the_same(self, loaded, pictures):
        exact, rough = loaded("rf-detr"), loaded("rf-detr", precision="bf16")
        assert rough.version == exact.version
        for one, other in zip(exact.detect(pictures), rough.detect(pictures), strict=True):
            assert other.scores.max() == pytest.approx(one.scores.max(), abs=0.1)
            assert rows(one) != rows(other)

    def test_a_gpu_that_is_not_there_is_a_model_error(self, tiny):
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
        with pytest.raises(ModelError, match="'cuda:0' is not there"):
            unloaded(tiny("d-fine"), device="cuda:0").load()

    @pytest.mark.parametrize(
        ("section", "word"),
        [
            ({}, "either"),
            ({"folder": "a", "runtime": "openvino", "device": "cuda:0"}, "cpu"),
            ({"folder": "a", "runtime": "openvino", "compile": True}, "compile"),
            ({"folder": "a", "image_size": 0}, "greater than 0"),
            ({"folder": "a", "colour": "red"}, "colour"),
        ],
    )
    def test_settings_that_cannot_work_are_refused(self, section, word):
        with pytest.raises(ValidationError, match=word):
            TransformersDetectorSettings.model_validate(section)


class TestOpenVino:
    def test_it_sees_the_same_as_torch(self, loaded, pictures):
        pytest.importorskip("openvino")
        converted = loaded("d-fine", runtime="openvino", threads=1)
        assert converted.version == loaded("d-fine").version
        for one, other in zip(
            loaded("d-fine").detect(pictures), converted.detect(pictures), strict=True
        ):
            assert alike(other, one)

    def test_models_that_keep_the_aspect_are_refused(self, tiny):
        pytest.importorskip("openvino")
        with pytest.raises(ModelError, match="one fixed size"):
            unloaded(tiny("yolos"), runtime="openvino").load()

    def test_without_the_package_the_extra_is_named(self, tiny, monkeypatch):
        monkeypatch.setitem(sys.modules, "openvino", None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[detectors\]"):
            unloaded(tiny("yolos"), runtime="openvino").load()


class TestLabels:
    @pytest.mark.parametrize("model", ["rt-detr-v2", "deimv2"])
    def test_those_of_coco_are_weak_evidence(self, loaded, squares, model):
        look = loaded(model).look_at(squares[:1])[0]
        assert look.detail.startswith("weak evidence")

    @pytest.mark.parametrize("model", ["d-fine", "rf-detr"])
    def test_those_that_know_roadwork_are_not(self, loaded, squares, model):
        assert "weak" not in loaded(model).look_at(squares[:1])[0].detail

    def test_those_without_a_meaning_are_refused(self, tiny):
        models = SharedModels()
        expert = unloaded(tiny("detector-unknown-labels"), models)
        with pytest.raises(ModelError, match=r"no class of this model is known .* LABEL_0"):
            expert.load()
        assert models.users(expert._key) == 0

    def test_another_vocabulary_can_be_named(self, loaded, tiny):
        assert loaded("rf-detr", vocabulary="lvis")._meaning.class_of("Cone") == "cone"
        with pytest.raises(ModelError, match="stands in the vocabulary 'roadwork-19'"):
            unloaded(tiny("d-fine"), vocabulary="roadwork-19").load()


class TestSharing:
    def test_two_experts_on_one_model_load_it_once(self, tiny, pictures):
        models = SharedModels()
        first, second = (unloaded(tiny("rf-detr"), models, threshold=t) for t in (0.1, 0.9))
        first.load()
        second.load()
        assert first._shared is second._shared
        assert models.users(first._key) == 2
        key = first._key
        asyncio.run(first.close())
        asyncio.run(first.close())
        assert models.users(key) == 1
        assert len(second.detect(pictures)) == 3
        asyncio.run(second.close())
        assert models.users(key) == 0

    def test_it_answers_as_an_expert_of_its_family(self, tiny, squares):
        family = family_of("transformers-detector")
        settings = family.settings(type=family.type, folder=tiny("rf-detr"), rule=RULE)

        async def run():
            expert = family.build("detector", settings, Surroundings(Path("/")))
            await expert.start()
            try:
                return await expert.look(squares[0], Deadline.after(60))
            finally:
                await expert.close()

        assert asyncio.run(run()).probability > 0.12


class TestBrokenModels:
    @pytest.fixture
    def copy(self, tiny, tmp_path) -> Path:
        shutil.copytree(tiny("rf-detr"), tmp_path / "copy")
        return tmp_path / "copy"

    def test_an_empty_folder_says_what_is_missing(self, tmp_path):
        with pytest.raises(ModelError, match=r"config\.json is missing"):
            unloaded(tmp_path).load()

    def test_a_folder_without_a_picture_processor(self, copy):
        (copy / "preprocessor_config.json").unlink()
        with pytest.raises(ModelError, match="cannot load a detector"):
            unloaded(copy).load()

    def test_torn_weights(self, copy):
        weights = copy / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
        with pytest.raises(ModelError, match="cannot load a detector"):
            unloaded(copy).load()

    def test_weights_that_lack_a_part_are_not_made_up(self, copy):
        from safetensors.torch import load_file, save_file

        weights = load_file(copy / "model.safetensors")
        name = next(name for name in weights if name.startswith("class_embed"))
        del weights[name]
        save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError, match=f"1 of its weights .* not in the file .*{name}"):
            unloaded(copy).load()

    def test_a_model_of_another_kind(self, copy):
        config = transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
        config.save_pretrained(copy)
        with pytest.raises(ModelError, match="cannot load a detector"):
            unloaded(copy).load()

    def test_a_processor_that_reads_no_boxes(self, copy):
        transformers.ViTImageProcessor().save_pretrained(copy)
        with pytest.raises(ModelError, match="reads no boxes"):
            unloaded(copy).load()

    def test_without_transformers_the_extra_is_named(self, copy, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[detectors\]"):
            unloaded(copy).load()

    def test_it_must_be_loaded_before_it_is_asked(self, copy, pictures):
        with pytest.raises(ModelError, match="before it was loaded"):
            unloaded(copy).detect(pictures)
