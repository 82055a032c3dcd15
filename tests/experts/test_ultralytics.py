"""The ultralytics family on tiny checkpoints that the package itself built and saved."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from natix_miner.clock import Deadline
from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.families.ultralytics import FAMILY
from natix_miner.experts.family import Surroundings
from natix_miner.experts.opinion import Look
from natix_miner.experts.ultralytics import quiet
from natix_miner.experts.ultralytics.quiet import quiet_ultralytics, undisturbed
from natix_miner.experts.ultralytics.settings import UltralyticsSettings

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "configs"


@pytest.fixture(scope="session")
def package():
    """ultralytics, imported the way the family does."""
    try:
        return quiet_ultralytics("test")
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.fixture
def weights(package, tiny):
    """The .pt of a tiny model by its name."""
    return lambda name: tiny(name) / "weights.pt"


@pytest.fixture(scope="session")
def mixed(squares, full_frames) -> list[np.ndarray]:
    """Pictures of four shapes, two of them alike."""
    wide = cv2.resize(full_frames[0].pixels, (300, 170), interpolation=cv2.INTER_AREA)
    tall = np.ascontiguousarray(squares[2].pixels[:, 40:150])
    return [squares[0].pixels, wide, squares[1].pixels, tall]


#: Kept for the whole file, so that each checkpoint is loaded once.
SURROUNDINGS = Surroundings(PROFILE)


def made(file, surroundings=SURROUNDINGS, **section):
    """A loaded expert."""
    settings = UltralyticsSettings(file=file, **section)
    expert = FAMILY.build("yolo", settings, surroundings)
    expert.load()
    return expert


@cache
def opened(file):
    """The package's own model of a file."""
    with undisturbed():
        return quiet_ultralytics("test").YOLO(str(file))


def reference(file, pictures, **arguments):
    """What the package says by itself, one picture at a time."""
    with undisturbed():
        return [
            opened(file).predict(picture[:, :, ::-1].copy(), verbose=False, **arguments)[0]
            for picture in pictures
        ]


def said(result, labels=None):
    """(label, score, box) of the package's result that have an area, of these labels."""
    rows = zip(result.boxes.cls, result.boxes.conf, result.boxes.xyxy.numpy(), strict=True)
    every = [(result.names[int(number)], float(score), box) for number, score, box in rows]
    assert len(every) < 300, "beyond 300 the package leaves out what it likes"
    return [
        (label, score, box)
        for label, score, box in every
        if (labels is None or label in labels) and (box[2:] > box[:2]).all()
    ]


def told(found):
    """The same of our own detections."""
    return list(zip(found.labels, found.scores, found.boxes, strict=True))


def assert_same(ones, others, threshold):
    """The same objects in each picture, but for those whose score is within rounding of the
    threshold."""
    compared = 0
    for one, other in zip(ones, others, strict=True):
        for some, rest in ((one, other), (other, one)):
            for label, score, box in some:
                if score > threshold + 1e-3:
                    compared += 1
                    assert any(
                        label == its
                        and abs(score - most) < 1e-3
                        and np.abs(box - place).max() < 0.05
                        for its, most, place in rest
                    ), f"{label} {score} {box} is on one side only"
    assert compared > 4, "nothing is compared"


def assert_alike(together, alone, threshold):
    assert_same([told(each) for each in together], [told(each) for each in alone], threshold)


def assert_sound(look: Look, frame) -> None:
    assert 0.0 <= look.probability <= 1.0
    for evidence in look.evidence:
        left, top, right, bottom = evidence.box
        assert 0.0 <= left < right <= frame.width
        assert 0.0 <= top < bottom <= frame.height
        assert 0.0 <= evidence.score <= 1.0
        outline = np.array(evidence.outline).reshape(-1, 2)
        assert ((outline >= 0) & (outline <= (frame.width, frame.height))).all()


#: The labels of the tiny models that a shipped vocabulary knows.
KNOWN = {
    "ultralytics-yolo26": ("Person", "Traffic cone", "Barrel/bucket", "Machinery Vehicle", "Truck"),
    "ultralytics-yolo11": ("person", "truck", "stop sign"),
}


class TestDetecting:
    """YOLO26, which needs no suppression of overlapping boxes, and YOLO11, which does."""

    @pytest.mark.parametrize("name", KNOWN)
    def test_boxes_are_those_of_the_package(self, name, weights, mixed):
        found = made(weights(name), threshold=0.2).detect(mixed)
        results = reference(weights(name), mixed, conf=0.2)
        theirs = [said(each, KNOWN[name]) for each in results]
        assert_same([told(each) for each in found], theirs, 0.2)

    @pytest.mark.parametrize("name", KNOWN)
    def test_no_picture_depends_on_its_company(self, name, weights, mixed):
        expert = made(weights(name), threshold=0.2)
        alone = [expert.detect([each])[0] for each in mixed]
        assert_alike(expert.detect(mixed), alone, 0.2)

    def test_colours_are_not_exchanged(self, weights, mixed):
        expert = made(weights("ultralytics-yolo26"), threshold=0.1)
        right, wrong = expert.detect([mixed[0], mixed[0][:, :, ::-1].copy()])
        assert len(right) != len(wrong) or not np.allclose(right.scores, wrong.scores, atol=1e-3)

    def test_looks_tell_pictures_apart_and_stay_inside_the_frame(self, weights, squares):
        expert = made(weights("ultralytics-yolo26"), threshold=0.9)
        looks = expert.look_at(squares)
        for look, frame in zip(looks, squares, strict=True):
            assert_sound(look, frame)
        assert (
            max(look.probability for look in looks) - min(look.probability for look in looks) > 0.01
        )
        assert any(look.evidence for look in looks)

    @pytest.mark.parametrize("views", [("upright",), ("enlarged",), ("whole", "tiles")])
    def test_boxes_of_other_views_lie_in_the_frame(self, views, weights, squares, full_frames):
        expert = made(weights("ultralytics-yolo26"), threshold=0.2, views=views, sure_at=1.0)
        for frame in (squares[1], full_frames[0]):
            look = expert.look_at([frame])[0]
            assert look.evidence
            assert_sound(look, frame)

    def test_a_mirrored_view_finds_the_mirrored_boxes(self, weights, squares):
        expert = made(weights("ultralytics-yolo11"), threshold=0.1)
        frame = squares[0]
        mirrored = frame.pixels[:, ::-1]
        both = made(weights("ultralytics-yolo11"), threshold=0.1, mirror=True, view_size=224)
        view = both.views(frame)[1]
        assert np.array_equal(view.pixels, mirrored)
        seen = expert.detect([np.ascontiguousarray(mirrored)])[0]
        placed = seen.placed(view, frame.width, frame.height)
        assert placed.boxes[:, 0] == pytest.approx(frame.width - seen.boxes[:, 2], abs=1e-6)
        assert_sound(both.look_at([frame])[0], frame)

    def test_views_are_cut_to_the_size_the_network_sees(self, weights, full_frames):
        trained = made(weights("ultralytics-yolo26"))
        larger = made(weights("ultralytics-yolo26"), image_size=192)
        assert max(trained.views(full_frames[0])[0].pixels.shape) == 128
        assert max(larger.views(full_frames[0])[0].pixels.shape) == 192

    def test_another_size_is_the_package_s_imgsz(self, weights, mixed):
        file = weights("ultralytics-yolo26")
        found = made(file, threshold=0.4, image_size=192).detect(mixed[:2])
        results = reference(file, mixed[:2], conf=0.4, imgsz=192)
        theirs = [said(each, KNOWN["ultralytics-yolo26"]) for each in results]
        assert_same([told(each) for each in found], theirs, 0.4)

    def test_labels_of_coco_are_called_weak(self, weights, squares):
        assert "weak" in made(weights("ultralytics-yolo11")).look_at(squares[:1])[0].detail
        assert "weak" not in made(weights("ultralytics-yolo26")).look_at(squares[:1])[0].detail

    def test_versions_tell_weights_apart(self, weights):
        first = made(weights("ultralytics-yolo26")).version
        assert made(weights("ultralytics-yolo26"), threshold=0.5).version == first
        assert made(weights("ultralytics-yolo11")).version.split(":")[0] != first.split(":")[0]

    def test_two_experts_of_one_file_share_the_load(self, weights, squares):
        surroundings = Surroundings(PROFILE)
        file = weights("ultralytics-yolo26")
        first = made(file, surroundings, threshold=0.1)
        second = made(file, surroundings, threshold=0.4)
        key = first._borrowed._source
        assert surroundings.models.users(key) == 2
        assert first._borrowed._shared is second._borrowed._shared
        with ThreadPoolExecutor(2) as pool:
            looks = pool.map(lambda e: [e.detect([s.pixels])[0] for s in squares], (first, second))
        for low, high in zip(*looks, strict=True):
            assert low.at_least(0.4).scores == pytest.approx(high.scores, abs=1e-4)
        for expert in (first, second, first):
            asyncio.run(expert.close())
        assert surroundings.models.users(key) == 0

    def test_it_answers_through_the_worker_thread(self, weights, squares):
        settings = UltralyticsSettings(file=weights("ultralytics-yolo26"), threshold=0.3)

        async def run():
            expert = FAMILY.build("yolo", settings, Surroundings(PROFILE))
            await expert.start()
            try:
                return [await expert.look(frame, Deadline.after(60)) for frame in squares[:2]]
            finally:
                await expert.close()

        alone = made(settings.file, threshold=0.3).look_at(squares[:2])
        answers = asyncio.run(run())
        assert [look.probability for look in answers] == pytest.approx(
            [look.probability for look in alone], abs=1e-5
        )


class TestSegmenting:
    def test_boxes_and_outlines_are_the_package_s_masks(self, weights, squares):
        file = weights("ultralytics-segment")
        pictures = [frame.pixels for frame in squares[:2]]
        found = made(file, threshold=0.4).detect(pictures)
        results = reference(file, pictures, conf=0.4, retina_masks=True)
        theirs = [said(each, KNOWN["ultralytics-yolo26"]) for each in results]
        assert_same([told(each) for each in found], theirs, 0.4)
        for mine, result in zip(found, results, strict=True):
            places, masks = result.boxes.xyxy.numpy(), result.masks.data.numpy()
            overlaps = []
            scores = result.boxes.conf.numpy()
            for box, score, outline in zip(mine.boxes, mine.scores, mine.outlines, strict=True):
                gaps = np.abs(places - box).max(1) + 1000 * np.abs(scores - score)
                mask = masks[int(gaps.argmin())]
                overlaps.append(_overlap(np.array(outline), _largest(mask)))
            # Random masks are ragged, and an outline cuts corners by a pixel or two.
            assert np.mean(np.array(overlaps) > 0.8) > 0.7

    def test_outlines_go_with_the_evidence(self, weights, squares):
        expert = made(weights("ultralytics-segment"), threshold=0.4)
        look = expert.look_at(squares[:1])[0]
        assert any(len(evidence.outline) >= 3 for evidence in look.evidence)
        assert_sound(look, squares[0])


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask, without holes."""
    beside = np.pad(mask <= 0.5, 1, constant_values=True)
    _, parts = cv2.connectedComponents(beside.astype(np.uint8), connectivity=4)
    filled = parts[1:-1, 1:-1] != parts[0, 0]
    _, parts, stats, _ = cv2.connectedComponentsWithStats(filled.astype(np.uint8), connectivity=8)
    return parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())


def _overlap(outline: np.ndarray, mask: np.ndarray) -> float:
    """Intersection over union of a polygon and a mask."""
    canvas = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(canvas, [np.floor(outline).astype(np.int32).reshape(-1, 1, 2)], 1)
    return float(((canvas > 0) & mask).sum() / ((canvas > 0) | mask).sum())


class TestClassifying:
    def test_probabilities_are_those_of_the_package(self, weights, squares):
        file = weights("ultralytics-classify")
        looks = made(file, task="classify").look_at(squares)
        results = reference(file, [frame.pixels for frame in squares])
        shares = [look.probability for look in looks]
        assert shares == pytest.approx([float(r.probs.data[1]) for r in results], abs=1e-5)
        assert max(shares) - min(shares) > 0.01

    def test_other_positive_classes_are_the_complement(self, weights, squares):
        file = weights("ultralytics-classify")
        one = made(file, task="classify").look_at(squares)
        other = made(file, task="classify", classify_positive=("none",)).look_at(squares)
        for a, b in zip(one, other, strict=True):
            assert a.probability + b.probability == pytest.approx(1.0, abs=1e-5)

    def test_no_frame_depends_on_its_company(self, weights, squares, full_frames):
        frames = [squares[0], full_frames[0], squares[1]]
        expert = made(weights("ultralytics-classify"), task="classify", batch=2)
        alone = [expert.look_at([frame])[0].probability for frame in frames]
        assert [look.probability for look in expert.look_at(frames)] == pytest.approx(
            alone, abs=1e-5
        )

    def test_views_are_pooled_by_log_odds_or_by_the_highest(self, weights, squares):
        file, frame = weights("ultralytics-classify"), squares[0]
        views = {"views": ("whole", "crops"), "mirror": True}
        mean = made(file, task="classify", **views)
        each = np.array(mean._shares([view.pixels for view in mean.views(frame)]))
        assert len(each) > 2
        by_hand = 1 / (1 + np.exp(-np.log(each / (1 - each)).mean()))
        look = mean.look_at([frame])[0]
        assert look.probability == pytest.approx(by_hand, abs=1e-5)
        assert look.evidence[0].score == pytest.approx(each.max(), abs=1e-5)
        most = made(file, task="classify", combine="max", **views).look_at([frame])[0]
        assert most.probability == pytest.approx(each.max(), abs=1e-5)

    @pytest.mark.parametrize("positive", [("construction",), ("None", "Roadwork")])
    def test_positive_classes_must_be_some_of_the_model_s(self, positive, weights):
        surroundings = Surroundings(PROFILE)
        with pytest.raises(ModelError, match="None, Roadwork"):
            made(
                weights("ultralytics-classify"),
                surroundings,
                task="classify",
                classify_positive=positive,
            )
        assert not surroundings.models._kept


class TestOpenVocabulary:
    """YOLOE and YOLO-World with ready embeddings; nothing here has a text model."""

    ORDER = ("traffic cone", "construction barrel", "excavator", "blue sky")

    @pytest.fixture
    def yoloe(self, weights):
        file = weights("ultralytics-yoloe")
        return file, file.with_name("phrases.safetensors")

    def rows(self, file):
        from safetensors.torch import load_file

        return load_file(file)["embeddings"]

    def test_yoloe_finds_what_the_package_finds_for_these_embeddings(self, yoloe, package, mixed):
        file, embeddings = yoloe
        expert = made(file, phrase_embeddings=embeddings, threshold=0.6)
        found = expert.detect(mixed)
        with undisturbed():
            model = package.YOLO(str(file))
            model.set_classes(list(self.ORDER), self.rows(embeddings)[None])
            results = [
                model.predict(
                    picture[:, :, ::-1].copy(),
                    conf=0.6,
                    classes=[0, 1, 2],
                    retina_masks=True,
                    verbose=False,
                )[0]
                for picture in mixed
            ]
        assert_same([told(each) for each in found], [said(each) for each in results], 0.6)
        assert any(outline for each in found for outline in each.outlines)
        assert_alike(found, [expert.detect([each])[0] for each in mixed], 0.6)

    def test_phrases_of_the_profile_pick_and_name(self, yoloe, squares):
        file, embeddings = yoloe
        phrases = {"blue sky": "worker", "traffic cone": "cone"}
        expert = made(file, phrase_embeddings=embeddings, phrases=phrases, threshold=0.5)
        found = expert.detect([frame.pixels for frame in squares])
        assert {label for each in found for label in each.labels} == set(phrases)
        assert expert._meaning.class_of("blue sky") == "worker"
        every = made(file, phrase_embeddings=embeddings)
        assert every.version.split(":")[0] != expert.version.split(":")[0]

    def test_the_package_s_own_file_of_embeddings_says_the_same(
        self, yoloe, package, squares, tmp_path
    ):
        file, embeddings = yoloe
        with undisturbed():
            model = package.YOLO(str(file))
            model.set_classes(list(self.ORDER), self.rows(embeddings)[None])
            saved = model.save_prompt_embeddings(tmp_path / "phrases.npz")
        pictures = [frame.pixels for frame in squares[:2]]
        one = made(file, phrase_embeddings=embeddings, threshold=0.6)
        other = made(file, phrase_embeddings=saved, threshold=0.6)
        assert_alike(one.detect(pictures), other.detect(pictures), 0.6)
        assert one.version == other.version
        renamed = tmp_path / "another.pt"
        renamed.write_bytes(file.read_bytes())
        with pytest.raises(ModelError, match="made for 'weights'"):
            made(renamed, phrase_embeddings=saved)

    def test_world_matches_words_by_their_embeddings(self, weights, package, squares):
        file = weights("ultralytics-world")
        embeddings = file.with_name("phrases.safetensors")
        picture = squares[0].pixels
        expert = made(file, phrase_embeddings=embeddings, threshold=0.3)
        with undisturbed():
            model = package.YOLO(str(file))
            # The network itself takes text features beside the picture.
            model.model.model[-1].nc = len(self.ORDER)
            model.model.names = dict(enumerate(self.ORDER))
            forward, rows = model.model.predict, self.rows(embeddings)[None]
            model.model.predict = lambda x, **kw: forward(x, txt_feats=rows)
            padded = torch.from_numpy(cv2.resize(picture, (128, 128)).copy())
            with torch.inference_mode():
                raw = model.model.eval()(padded.permute(2, 0, 1)[None].float() / 255)[0]
        mine = expert.detect([picture])[0]
        scores = raw[0, 4:].max(0).values
        best = raw[0, 4:].argmax(0)[scores.argmax()]
        assert mine.scores.max() == pytest.approx(float(raw[0, 4:7].max()), abs=1e-3)
        assert int(best) == 3 or mine.labels[int(mine.scores.argmax())] == self.ORDER[int(best)]
        assert set(mine.labels) <= set(self.ORDER[:3])

    def test_world_without_phrases_keeps_its_own_labels(self, weights, squares):
        expert = made(weights("ultralytics-world"), threshold=0.2)
        found = expert.detect([frame.pixels for frame in squares])
        assert {label for each in found for label in each.labels} <= {
            "person",
            "truck",
            "stop sign",
        }

    def test_a_prompt_free_model_has_labels_of_its_own(self, weights, mixed):
        file = weights("ultralytics-yoloe-prompt-free")
        expert = made(file, threshold=0.8)
        results = reference(file, mixed, conf=0.8, classes=[0, 1, 2, 3, 4])
        found = expert.detect(mixed)
        assert_same([told(each) for each in found], [said(each) for each in results], 0.8)
        assert_alike(found, [expert.detect([each])[0] for each in mixed], 0.8)

    @pytest.mark.parametrize("name", ["ultralytics-yoloe-prompt-free", "ultralytics-yolo26"])
    def test_a_model_with_labels_takes_no_phrases(self, name, weights, yoloe):
        with pytest.raises(ModelError, match="takes no phrases"):
            made(weights(name), phrase_embeddings=yoloe[1])

    def test_without_embeddings_there_is_nothing_to_look_for(self, yoloe):
        with pytest.raises(ModelError, match="phrase_embeddings"):
            made(yoloe[0])

    @pytest.mark.parametrize(
        ("section", "words"),
        [
            ({"phrases": {"a snowman": "cone"}}, "snowman"),
            ({"phrases": {"traffic cone": "unicorn"}}, "unicorn"),
            ({"vocabulary": "coco-80"}, "coco-80"),
        ],
    )
    def test_phrases_that_mean_nothing_are_refused(self, section, words, yoloe):
        before = {key: SURROUNDINGS.models.users(key) for key in SURROUNDINGS.models._kept}
        with pytest.raises(ModelError, match=words):
            made(yoloe[0], phrase_embeddings=yoloe[1], **section)
        assert {key: SURROUNDINGS.models.users(key) for key in before} == before

    def test_files_that_hold_no_embeddings_are_refused(self, yoloe, tmp_path):
        from safetensors.torch import save_file

        rows = torch.ones(2, 64)
        named = {"phrases": json.dumps(["traffic cone", "excavator"])}
        cases = {
            "unnamed": (rows, {}, "metadata"),
            "short": (rows[:, :32], named, "length 32"),
            "few": (rows[:1], named, "row a phrase"),
            "infinite": (rows * float("inf"), named, "finite"),
            "foreign": (rows, {**named, "model": "yoloe-26x"}, "yoloe-26x"),
        }
        for name, (tensor, metadata, words) in cases.items():
            file = tmp_path / f"{name}.safetensors"
            save_file({"embeddings": tensor.contiguous()}, file, metadata)
            with pytest.raises(ModelError, match=words):
                made(yoloe[0], phrase_embeddings=file)
        (tmp_path / "torn.safetensors").write_bytes(yoloe[1].read_bytes()[:50])
        for name in ("torn.safetensors", "missing.npz", "words.txt"):
            with pytest.raises(ModelError, match=name):
                made(yoloe[0], phrase_embeddings=tmp_path / name)


class TestRtDetr:
    def test_boxes_are_those_of_the_package_in_one_batch(self, weights, mixed):
        file = weights("ultralytics-rt-detr")
        expert = made(file, threshold=0.3)
        results = reference(file, mixed, conf=0.3)
        found = expert.detect(mixed)
        theirs = [said(each, KNOWN["ultralytics-yolo26"]) for each in results]
        assert_same([told(each) for each in found], theirs, 0.3)
        assert_alike(found, [expert.detect([each])[0] for each in mixed], 0.3)

    def test_looks_tell_pictures_apart(self, weights, squares):
        looks = made(weights("ultralytics-rt-detr"), threshold=0.3).look_at(squares)
        for look, frame in zip(looks, squares, strict=True):
            assert_sound(look, frame)
        assert (
            max(look.probability for look in looks) - min(look.probability for look in looks) > 0.01
        )


class TestForks:
    """YOLOv13 and YOLO-Master bring layers that the package does not have."""

    def saved(self, package, weights, folder, module, name):
        """A checkpoint with one layer more, of a class that only a fork has."""
        layer = type(name, (torch.nn.Identity,), {"__module__": module})
        home = sys.modules.get(module) or types.ModuleType(module)
        setattr(home, name, layer)
        known = module in sys.modules
        sys.modules[module] = home
        file = folder / "fork.pt"
        try:
            with undisturbed():
                model = package.YOLO(str(weights("ultralytics-classify")))
                model.model.model[2].extra = layer()
                model.ckpt = {"train_args": {"imgsz": 128, "task": "classify"}}
                model.save(file)
        finally:
            delattr(home, name)
            if not known:
                del sys.modules[module]
        return file, layer

    @pytest.mark.parametrize(
        ("module", "name", "fork"),
        [
            ("ultralytics.nn.modules.block", "HyperACE", r"YOLOv13.*iMoonLab/yolov13"),
            ("ultralytics.nn.modules.moe.modules", "ES_MOE", r"YOLO-Master.*Tencent/YOLO-Master"),
        ],
    )
    def test_their_checkpoints_are_refused_with_their_name(
        self, module, name, fork, package, weights, tmp_path
    ):
        file, _ = self.saved(package, weights, tmp_path, module, name)
        with pytest.raises(ModelError, match=f"{fork}.*{name}.*venv of its own"):
            made(file)

    def test_layers_of_nobody_are_named(self, package, weights, tmp_path):
        file, _ = self.saved(
            package, weights, tmp_path, "ultralytics.nn.modules.block", "Perpetuum"
        )
        with pytest.raises(
            ModelError, match=r"does not have ultralytics\.nn\.modules\.block\.Perp"
        ):
            made(file)

    def test_where_the_fork_is_installed_they_load(
        self, package, weights, tmp_path, monkeypatch, mixed
    ):
        module = "ultralytics.nn.modules.moe.advanced"
        file, layer = self.saved(package, weights, tmp_path, module, "SharedExpertMoE")
        home = types.ModuleType(module)
        home.SharedExpertMoE = layer
        monkeypatch.setitem(sys.modules, module, home)
        plain = made(weights("ultralytics-classify"), task="classify")
        forked = made(file, task="classify")
        assert forked._shares(mixed) == pytest.approx(plain._shares(mixed), abs=1e-5)


class TestRefusals:
    class Bomb:
        """Unpickling it runs a command that leaves a trace."""

        def __init__(self, trace):
            self.trace = str(trace)

        def __reduce__(self):
            return os.system, (f"touch '{self.trace}'",)

    def test_code_in_a_checkpoint_is_not_run(self, weights, tmp_path):
        trace = tmp_path / "ran"
        torch.save({"model": self.Bomb(trace)}, tmp_path / "bomb.pt")
        with pytest.raises(ModelError, match=r"posix\.system"):
            made(tmp_path / "bomb.pt")
        assert not trace.exists()
        torch.load(tmp_path / "bomb.pt", weights_only=False)
        assert trace.exists(), "the bomb is a dud: the test shows nothing"

    def test_code_hidden_beside_a_genuine_model_is_not_run(self, package, weights, tmp_path):
        trace = tmp_path / "ran"
        with undisturbed():
            model = package.YOLO(str(weights("ultralytics-classify")))
            model.model.model[2].note = self.Bomb(trace)
            torch.save({"model": model.model, "train_args": {}}, tmp_path / "bomb.pt")
        with pytest.raises(ModelError, match=r"posix\.system"):
            made(tmp_path / "bomb.pt")
        assert not trace.exists()

    def test_torn_and_foreign_files_are_refused(self, weights, tmp_path):
        whole = weights("ultralytics-classify").read_bytes()
        contents = {
            "torn": whole[: len(whole) // 2],
            "empty": b"",
            "text": b"not a model",
            "changed": whole.replace(b"ultralytics", b"ultralyticz"),
        }
        for name, content in contents.items():
            file = tmp_path / f"{name}.pt"
            file.write_bytes(content)
            with pytest.raises(ModelError, match=f"{name}.pt"):
                made(file)
        torch.save({"weight": torch.zeros(3)}, tmp_path / "state.pt")
        with pytest.raises(ModelError, match=r"state\.pt"):
            made(tmp_path / "state.pt")

    def test_layers_that_do_not_fit_each_other_are_a_model_error(self, package, weights, tmp_path):
        with undisturbed():
            model = package.YOLO(str(weights("ultralytics-classify")))
            model.model.model[3].conv = torch.nn.Conv2d(5, 8, 3)
            model.save(tmp_path / "odd.pt")
        with pytest.raises(ModelError, match=r"odd\.pt does not run"):
            made(tmp_path / "odd.pt")

    @pytest.mark.parametrize("name", ["yolo26n.pt", "weights.onnx"])
    def test_a_missing_file_is_not_fetched(self, name, package, tmp_path):
        with pytest.raises(ModelError, match="nothing is fetched"):
            made(tmp_path / name)

    def test_an_awkward_name_is_loaded_as_it_is(self, weights, tmp_path, mixed):
        """The package takes quotes out of names and renames this one; it would then download."""
        file = tmp_path / "Marc's models" / "yolov5n.pt"
        file.parent.mkdir()
        file.write_bytes(weights("ultralytics-classify").read_bytes())
        assert made(file, task="classify")._shares(mixed[:1])

    def test_a_checkpoint_for_another_task_is_refused(self, weights):
        surroundings = Surroundings(PROFILE)
        with pytest.raises(ModelError, match=r"made to classify.*task: detect"):
            made(weights("ultralytics-classify"), surroundings)
        with pytest.raises(ModelError, match=r"made to detect.*task: classify"):
            made(weights("ultralytics-yolo26"), surroundings, task="classify")
        assert not surroundings.models._kept

    def test_labels_that_mean_nothing_are_refused(self, package, weights, tmp_path):
        with undisturbed():
            model = package.YOLO(str(weights("ultralytics-yolo26")))
            model.model.names = {number: f"thing {number}" for number in range(6)}
            model.save(tmp_path / "things.pt")
        with pytest.raises(ModelError, match="thing 0"):
            made(tmp_path / "things.pt")

    def test_another_digest_is_refused(self, weights):
        file = weights("ultralytics-classify")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        plain = made(file, task="classify")
        assert made(file, task="classify", sha256=digest).version == plain.version
        with pytest.raises(ModelError, match=digest):
            made(file, sha256="0" * 64)

    def test_a_package_that_cannot_open_safely_needs_the_digest(
        self, package, weights, monkeypatch
    ):
        monkeypatch.setattr(package.nn.tasks._SafeLoad, "SUPPORTED", False)
        file = weights("ultralytics-classify")
        with pytest.raises(ModelError, match="sha256"):
            made(file, Surroundings(PROFILE), task="classify")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert made(file, Surroundings(PROFILE), task="classify", sha256=digest)

    def test_a_gpu_that_is_not_there_is_a_model_error(self, weights):
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
        with pytest.raises(ModelError, match="cuda:0"):
            made(weights("ultralytics-classify"), device="cuda:0", precision="fp16")

    @pytest.mark.parametrize("module", ["ultralytics", "torch"])
    def test_a_missing_package_names_the_extra(self, module, package, weights, monkeypatch):
        file = weights("ultralytics-classify")
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[ultralytics\]"):
            made(file, Surroundings(PROFILE))

    @pytest.mark.parametrize(
        ("section", "words"),
        [
            ({}, "file"),
            ({"file": "a.pt", "precision": "bf16"}, "fp32, on a GPU in fp16"),
            ({"file": "a.pt", "precision": "fp16"}, "GPU"),
            ({"file": "a.pt", "phrases": {"cone": "cone"}}, "download"),
            ({"file": "a.pt", "task": "classify", "phrase_embeddings": "b.npz"}, "classifier"),
            ({"file": "a.pt", "task": "pose"}, "task"),
            ({"file": "a.pt", "image_size": 100}, "32"),
            ({"file": "a.pt", "sha256": "abc"}, "sha256"),
            ({"file": "a.pt", "device": "tpu"}, "device"),
            ({"file": "a.pt", "colour": "red"}, "colour"),
            (
                {
                    "file": "a.pt",
                    "phrases": {"cone": "cone"},
                    "phrase_embeddings": "b.npz",
                    "vocabulary": "phrases",
                },
                "not both",
            ),
        ],
    )
    def test_settings_that_cannot_work_are_refused(self, section, words):
        with pytest.raises(ValidationError, match=words):
            UltralyticsSettings.model_validate(section)


WATCHED = """
import json, os, sys
events = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
                 "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        events.append([event, repr(arguments[:2])])
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (
        os.O_WRONLY | os.O_RDWR | os.O_CREAT
    ):
        events.append(["write", os.path.abspath(os.fsdecode(arguments[0]))])
    elif event in ("os.mkdir", "os.rename", "os.symlink"):
        made = arguments[0 if event == "os.mkdir" else 1]
        events.append(["write", os.path.abspath(os.fsdecode(made))])
sys.addaudithook(lambda e, a: watch(e, a) if not isinstance(a[0] if a else "", int) else None)
import cv2, numpy, torch
from PIL import Image
before = Image.open, torch.save, numpy.get_printoptions()
cv2.setNumThreads(2); torch.set_num_threads(2)
environment = dict(os.environ)
from pathlib import Path
from natix_miner.experts.families.ultralytics import FAMILY
from natix_miner.experts.family import Surroundings
assert "ultralytics" not in sys.modules, "imported before it is needed"
settings = FAMILY.settings(file=sys.argv[1], threshold=0.1)
expert = FAMILY.build("yolo", settings, Surroundings(Path(sys.argv[2])))
expert.load()
found = expert.detect([numpy.full((224, 224, 3), 90, numpy.uint8)] * 3)
import ultralytics.utils.events
print(json.dumps({
    "events": events,
    "boxes": len(found[0]),
    "telemetry": ultralytics.utils.events.events.enabled or ultralytics.settings["sync"],
    "folder": str(ultralytics.utils.USER_CONFIG_DIR),
    "threads": [torch.get_num_threads(), cv2.getNumThreads()],
    "kept": before[:2] == (Image.open, torch.save) and before[2] == numpy.get_printoptions(),
    "environment": sorted(k for k in os.environ if os.environ[k] != environment.get(k)),
}))
"""


@pytest.fixture(scope="module")
def watched(package, tiny, tmp_path_factory):
    """What a process of its own did, with an empty home and no pytest to be polite to."""
    home = tmp_path_factory.mktemp("home")
    temporary = tmp_path_factory.mktemp("temporary")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("YOLO", "ULTRALYTICS", "PYTEST", "OMP", "XDG"))
    }
    environment |= {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WATCHED,
            str(tiny("ultralytics-yolo26") / "weights.pt"),
            str(PROFILE),
        ],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return {**json.loads(lines[-1]), "said": lines[:-1], "home": home, "temporary": temporary}


class TestKeepingQuiet:
    def test_nobody_is_called_and_nothing_is_started(self, watched):
        assert watched["boxes"] > 0
        assert [event for event in watched["events"] if event[0] != "write"] == []
        assert watched["telemetry"] is False
        assert watched["said"] == []

    def test_nothing_is_written_outside_a_folder_that_goes_with_the_process(self, watched):
        written = {path for kind, path in watched["events"] if kind == "write"}
        # The last is an empty folder that torch makes by itself.
        allowed = (str(watched["temporary"]), "/dev/null", "/tmp/torchinductor_")
        outside = {path for path in written if not path.startswith(allowed)}
        assert outside == set()
        assert written, "the watch sees no writes at all"
        assert watched["folder"].startswith(str(watched["temporary"]))
        assert list(watched["home"].iterdir()) == []
        assert list(watched["temporary"].glob("natix-miner-*")) == []

    def test_the_process_is_as_it_was(self, watched):
        assert watched["threads"] == [2, 2]
        assert watched["kept"], "PIL, torch.save or numpy's printing were replaced"
        ours = ("YOLO_", "ULTRALYTICS_")
        assert [name for name in watched["environment"] if not name.startswith(ours)] == []

    def test_a_package_that_somebody_else_imported_is_refused(self, package):
        """Here it is imported already; only we know that it was by ourselves."""
        with pytest.raises(ModelError, match="import it nowhere but through natix_miner"):
            quiet._folder.__wrapped__()

    def test_its_licence_is_told(self):
        assert UltralyticsSettings.licence == "AGPL-3.0"
