"""Whether boxes have a plausible size: by hand-worked figures, drawn scenes and tiny networks."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import sys
import types
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from natix_miner.clock import Deadline
from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.depth import SIZES, DepthMap, DepthModel, factor, focal_of, real_height
from natix_miner.experts.depth.anything_v2 import DepthAnythingV2
from natix_miner.experts.depth.anything_v3 import DepthAnythingV3
from natix_miner.experts.depth.model import KEPT_FRAMES
from natix_miner.experts.depth.pinhole import depth_in
from natix_miner.experts.depth.sizes import FLOOR
from natix_miner.experts.detection import Detections, DetectorExpert, load_vocabularies
from natix_miner.experts.detection.plausibility import SizeCheck
from natix_miner.experts.detection.rule import load_rule
from natix_miner.experts.detection.settings import DepthSettings, DetectionSettings
from natix_miner.experts.family import Surroundings
from natix_miner.experts.weights.locating import Place
from natix_miner.experts.weights.settings import ModelSettings
from natix_miner.experts.weights.shared import Shared

safetensors = pytest.importorskip("safetensors.torch", reason="needs the extra `detectors`")
transformers = pytest.importorskip("transformers", reason="needs the extra `detectors`")
torch = pytest.importorskip("torch")
save_file, load_file = safetensors.save_file, safetensors.load_file

METRIC, TEN = "depth-anything-v2-metric", "depth-anything-v2-ten-metres"
RULE = Path(__file__).parents[2] / "models" / "detection" / "rule.json"


class TestSizeFactor:
    @pytest.mark.parametrize(
        ("kind", "metres", "counts"),
        [
            ("cone", 0.25, 1.0),
            ("cone", 0.75, 1.0),
            ("cone", 1.1, 1.0),
            ("cone", 2.2, 0.685225),  # 0.2 + 0.8 e^-0.5: twice the most
            ("cone", 4.4, 0.308268),  # 0.2 + 0.8 e^-2: four times
            ("cone", 0.125, 0.685225),  # half the least
            ("worker", 1.75, 1.0),
            ("worker", 0.3, 0.308268),  # a quarter of 1.2
            ("drum", 1.0, 1.0),
            ("machine", 3.0, 1.0),
            ("machine", 1000.0, 0.2),
            ("tool", 30.0, 1.0),  # has no size
            ("cone", math.nan, 1.0),
            ("cone", 0.0, 1.0),
        ],
    )
    def test_by_hand(self, kind: str, metres: float, counts: float) -> None:
        assert factor(kind, metres) == pytest.approx(counts, abs=1e-6)

    def test_what_the_edge_cuts_is_odd_only_when_too_high(self) -> None:
        assert factor("worker", 0.3, cut=True) == 1.0
        assert factor("worker", 4.2, cut=True) == factor("worker", 4.2) < 1.0

    @given(st.sampled_from(sorted(SIZES)), st.floats(1e-3, 1e4), st.floats(1.0, 100.0))
    def test_never_rises_outside_and_never_leaves_its_bounds(
        self, kind: str, metres: float, more: float
    ) -> None:
        heights = SIZES[kind]
        assert FLOOR <= factor(kind, metres) <= 1.0
        assert factor(kind, heights.high * more) >= factor(kind, heights.high * more * 1.1)
        assert factor(kind, heights.low / more) >= factor(kind, heights.low / more / 1.1)

    def test_every_class_with_a_size_is_one_of_the_rule(self) -> None:
        assert set(SIZES) <= set(load_rule(RULE).weights)
        assert all(0 < s.low < s.high and s.source for s in SIZES.values())


class DrawnScene:
    """A street drawn by projecting points and casting rays: ground, sky, one upright thing.

    The camera stands 1.5 m above the ground and looks along it.
    """

    WIDE, HIGH, FOCAL, ABOVE = 1280, 720, 900.0, 1.5

    def __init__(self, outline_metres: np.ndarray, away: float, aside: float) -> None:
        camera = np.array(((self.FOCAL, 0, 640.0), (0, self.FOCAL, 360.0), (0, 0, 1)))
        points = np.column_stack(
            (outline_metres[:, 0] + aside, self.ABOVE - outline_metres[:, 1], [away] * 3)
        )
        seen = points @ camera.T
        self.outline = seen[:, :2] / seen[:, 2:]
        self.box = np.concatenate((self.outline.min(0), self.outline.max(0)))
        rows = np.arange(self.HIGH) + 0.5 - 360.0
        ground = np.where(rows > 0, self.ABOVE * self.FOCAL / np.maximum(rows, 1e-9), np.inf)
        self.depth = np.repeat(ground[:, None], self.WIDE, 1).astype(np.float32)
        thing = np.zeros(self.depth.shape, np.uint8)
        cv2.fillPoly(thing, [np.round(self.outline - 0.5).astype(np.int32)], 1)
        self.depth[thing > 0] = away


class TestPinhole:
    @pytest.mark.parametrize("away", [6.0, 15.0, 40.0])
    @pytest.mark.parametrize("outlined", [False, True])
    @pytest.mark.parametrize("scale", [1.0, 0.4])
    def test_a_drawn_cone_has_its_height(self, away: float, outlined: bool, scale: float) -> None:
        cone = np.array(((-0.2, 0.0), (0.0, 0.75), (0.2, 0.0)))
        scene = DrawnScene(cone, away, aside=1.0)
        coarse = cv2.resize(scene.depth, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        outline = tuple(map(tuple, scene.outline)) if outlined else ()
        metres = depth_in(coarse, scene.box, outline, scene.WIDE, scene.HIGH)
        assert metres == pytest.approx(away, rel=0.02)
        assert real_height(scene.box, metres, scene.FOCAL) == pytest.approx(0.75, rel=0.02)

    def test_a_thing_as_large_in_the_picture_but_far_away_is_large(self) -> None:
        """A house drawn as high in pixels as a cone at 6 m, at 60 m, is ten times as high."""
        house = np.array(((-2.0, 0.0), (0.0, 7.5), (2.0, 0.0)))
        scene = DrawnScene(house, 60.0, aside=0.0)
        metres = depth_in(scene.depth, scene.box, (), scene.WIDE, scene.HIGH)
        height = real_height(scene.box, metres, scene.FOCAL)
        assert height == pytest.approx(7.5, rel=0.02)
        assert factor("cone", height) < 0.22
        assert factor("machine", height) == 1.0

    def test_a_box_too_low_for_the_map_is_not_measured(self) -> None:
        flat = np.full((36, 64), 5.0, np.float32)
        assert depth_in(flat, np.array((0.0, 0.0, 100.0, 99.0)), (), 1280, 720) is None
        assert depth_in(flat, np.array((0.0, 0.0, 4.0, 101.0)), (), 1280, 720) == 5.0

    def test_what_is_unknown_in_the_map_is_left_out(self) -> None:
        values = np.full((72, 128), np.nan, np.float32)
        box = np.array((400.0, 200.0, 800.0, 600.0))
        assert depth_in(values, box, (), 1280, 720) is None
        values[59, 60] = 7.0
        assert depth_in(values, box, (), 1280, 720) == 7.0

    @pytest.mark.parametrize("corner", [(0, 0), (1260, 0), (1260, 700), (0, 700)])
    def test_boxes_at_the_edges_are_measured(self, corner: tuple[int, int]) -> None:
        box = np.array((*corner, corner[0] + 20, corner[1] + 20), float)
        outline = tuple((x * 3.0, y * 3.0) for x, y in ((0, 0), (1300, 0), (1300, 800)))
        for drawn in ((), outline):
            assert depth_in(np.full((720, 1280), 3.0), box, drawn, 1280, 720) == 3.0


class TestFocalLength:
    @pytest.mark.parametrize(("degrees", "focal"), [(90.0, 640.0), (53.130102, 1280.0)])
    def test_by_the_field_of_view(self, make_frame, degrees: float, focal: float) -> None:
        assert focal_of(make_frame(width=1280, height=720), degrees) == pytest.approx(focal)

    def test_padding_is_no_part_of_the_view(self, make_frame) -> None:
        pixels = np.full((720, 1280, 3), 128, np.uint8)
        pixels[:, :160] = pixels[:, -160:] = 0
        assert focal_of(make_frame(pixels), 90.0) == pytest.approx(480.0)

    def test_exif_goes_first(self, make_frame) -> None:
        frame = replace(make_frame(width=1280, height=720), focal_pixels=1000.0)
        assert focal_of(frame, 90.0) == focal_of(frame, None) == 1000.0

    def test_unknown_without_either(self, make_frame) -> None:
        assert focal_of(make_frame(width=1280, height=720), None) is None


def weights(folder: Path, **more: object) -> ModelSettings:
    return ModelSettings(type="depth", folder=folder, **more)


def loaded(folder: Path, **more: object) -> DepthAnythingV2:
    return DepthAnythingV2.load("eye", weights(folder, **more), Place(str(folder)))


@pytest.fixture
def pictures() -> list[np.ndarray]:
    """Coarse noise of the size the tiny network looks at, so that nothing is scaled."""
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 256, (3, 4, 7, 3), dtype=np.uint8)
    return [np.kron(block, np.ones((14, 14, 1), np.uint8)) for block in blocks]


class TestDepthAnythingV2:
    def test_metres_are_those_of_the_transformers_pipeline(self, tiny, pictures) -> None:
        folder = tiny(METRIC)
        pipe = transformers.pipeline("depth-estimation", model=str(folder), device="cpu")
        model = loaded(folder)
        for picture in pictures:
            want = pipe(Image.fromarray(picture))["predicted_depth"].numpy()
            said = model.look_at(picture).metres(1.0, 98, 56)
            assert said.shape == (56, 98)
            assert said == pytest.approx(want, abs=1e-3)
            assert 0 < said.min() < said.max() < 80
        assert want.std() > 0.5, "the network must see something"

    def test_metres_need_no_focal_length(self, tiny, pictures) -> None:
        said = loaded(tiny(TEN)).look_at(pictures[0])
        assert said.metres(1.0, 98, 56) == pytest.approx(10.0, abs=1e-4)
        assert (said.metres(5000.0, 9800, 5600) == said.metres(1.0, 98, 56)).all()

    def test_a_frame_keeps_its_shape(self, tiny) -> None:
        """56 rows of 14-pixel patches; the other side by the picture's own aspect."""
        assert loaded(tiny(METRIC)).look_at(np.zeros((720, 1280, 3), np.uint8)).values.shape == (
            56,
            98,
        )

    def test_the_end_of_the_scale_is_unknown(self) -> None:
        values = np.array(((10.0, 75.9), (76.1, 80.0)), np.float32)
        metres = DepthMap(values, reach=76.0).metres(1.0, 2, 2)
        assert np.isnan(metres).tolist() == [[False, False], [True, True]]

    def test_bfloat16_says_about_the_same(self, tiny, pictures) -> None:
        exact, short = loaded(tiny(METRIC)), loaded(tiny(METRIC), precision="bf16")
        want, said = (model.look_at(pictures[0]).values for model in (exact, short))
        assert said.dtype == np.float32
        assert np.abs(said / want - 1).mean() < 0.05
        assert (said != want).any()

    def test_its_version_is_that_of_its_weights(self, tiny) -> None:
        assert loaded(tiny(METRIC)).version == loaded(tiny(METRIC)).version
        assert loaded(tiny(METRIC)).version != loaded(tiny(TEN)).version

    def test_relative_depth_is_refused(self, tiny) -> None:
        with pytest.raises(ModelError, match="no metres"):
            loaded(tiny("depth-anything-v2-relative"))

    def test_a_metric_type_up_to_one_metre_is_refused(self, tiny, tmp_path) -> None:
        for file in tiny(METRIC).iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | {"max_depth": 1}))
        with pytest.raises(ModelError, match="max_depth 1"):
            loaded(tmp_path)

    def test_another_architecture_is_refused(self, tmp_path) -> None:
        transformers.ViTConfig().save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="'vit'"):
            loaded(tmp_path)

    def test_torn_weights_are_a_model_error(self, tiny, tmp_path) -> None:
        for file in tiny(METRIC).iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        torn = tmp_path / "model.safetensors"
        torn.write_bytes(torn.read_bytes()[:1000])
        with pytest.raises(ModelError, match="depth model"):
            loaded(tmp_path)

    def test_missing_weights_are_a_model_error(self, tiny, tmp_path) -> None:
        for file in tiny(METRIC).iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        where = tmp_path / "model.safetensors"
        kept = {name: w for name, w in load_file(where).items() if "head.conv2" not in name}
        save_file(kept, where, {"format": "pt"})
        with pytest.raises(ModelError, match=r"2 of its weights .*head\.conv2\.bias"):
            loaded(tmp_path)

    def test_no_gpu_is_a_model_error(self, tiny) -> None:
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
        with pytest.raises(ModelError, match="cuda:0"):
            loaded(tiny(METRIC), device="cuda:0")

    def test_without_transformers_it_says_what_to_install(self, tiny, monkeypatch) -> None:
        folder = tiny(METRIC)
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[detectors\]"):
            loaded(folder)


def pretend_package(monkeypatch, preset: str = "da3metric-large") -> type:
    """Stands in for depth_anything_3, which cannot be installed beside the rest.

    `from_pretrained` and `inference` take and give what version 0.1.1 does: depth (N, H, W) on the
    longer side of 504 pixels, sides rounded to patches of 14, and a mask of the sky. Like there, a
    file that lacks weights is taken.
    """

    class DepthAnything3(torch.nn.Module):
        asked: list = []  # noqa: RUF012 - a list of the calls of all of them

        def __init__(self) -> None:
            super().__init__()
            self.model_name = preset
            self.layer = torch.nn.Linear(2, 2)

        @classmethod
        def from_pretrained(cls, where, *, local_files_only=False, revision=None):
            cls.asked.append((where, local_files_only, revision))
            return cls()

        def inference(self, image, process_res=504):
            (picture,) = image
            assert isinstance(picture, np.ndarray)
            assert picture.dtype == np.uint8
            high, wide = picture.shape[:2]
            shrink = process_res / max(high, wide)
            rows, columns = (round(side * shrink / 14) * 14 for side in (high, wide))
            depth = np.full((1, rows, columns), 2.0, np.float32)
            sky = np.zeros((1, rows, columns), bool)
            sky[:, :14] = True
            return types.SimpleNamespace(depth=depth, sky=sky, is_metric=0)

    package, api = types.ModuleType("depth_anything_3"), types.ModuleType("depth_anything_3.api")
    api.DepthAnything3 = DepthAnything3
    monkeypatch.setitem(sys.modules, "depth_anything_3", package)
    monkeypatch.setitem(sys.modules, "depth_anything_3.api", api)
    return DepthAnything3


def saved_v3(folder: Path, *names: str) -> Path:
    """A file of weights for the stand-in, or some of them."""
    layer = torch.nn.Linear(2, 2)
    both = {"layer.weight": layer.weight.detach(), "layer.bias": layer.bias.detach()}
    save_file({name: both[name] for name in names or both}, folder / "model.safetensors")
    return folder


class TestDepthAnythingV3:
    def test_without_its_package_it_says_how_to_get_it(self, tmp_path) -> None:
        with pytest.raises(MissingExtraError, match=r"(?s)numpy<2.*pip install .*depth_anything_3"):
            DepthAnythingV3.load("eye", weights(tmp_path), Place(str(tmp_path)))

    def test_metres_by_hand(self, monkeypatch, tmp_path) -> None:
        """1280 x 720 is looked at as 504 x 280 (283.5 rounds to 20 patches): the focal length of
        1000 pixels becomes 1000 * (504 / 1280 + 280 / 720) / 2 = 391.32, and an output of 2 is
        391.32 * 2 / 300 = 2.6088 m."""
        pretend_package(monkeypatch)
        saved_v3(tmp_path)
        model = DepthAnythingV3.load("eye", weights(tmp_path), Place(str(tmp_path)))
        said = model.look_at(np.zeros((720, 1280, 3), np.uint8))
        assert said.values.shape == (280, 504)
        metres = said.metres(1000.0, 1280, 720)
        assert metres[20, 0] == pytest.approx(2.608796, abs=1e-5)
        assert np.isnan(metres[:14]).all(), "the sky is no distance"

    def test_heights_do_not_depend_on_the_scale_of_the_frame(self) -> None:
        """Half the pixels, half the focal length, half the box: the same metres."""
        said = DepthMap(np.full((280, 504), 2.0, np.float32), for_focal=300.0)
        heights = [
            real_height(
                np.array((0, 0, 50, 100)) * part,
                float(said.metres(1000.0 * part, int(1280 * part), int(720 * part))[0, 0]),
                1000.0 * part,
            )
            for part in (1.0, 0.5)
        ]
        assert heights[0] == pytest.approx(heights[1], rel=1e-5)
        assert heights[0] == pytest.approx(0.26088, rel=1e-4)

    @pytest.mark.parametrize(
        ("revision", "asked"), [(None, (True, None)), ("a" * 40, (False, "a" * 40))]
    )
    def test_loads_what_was_pinned(self, monkeypatch, tmp_path, revision, asked) -> None:
        package = pretend_package(monkeypatch)
        where = str(saved_v3(tmp_path))
        DepthAnythingV3.load("eye", weights(tmp_path), Place(where, revision))
        assert package.asked == [(where, *asked)]

    def test_missing_weights_are_a_model_error(self, monkeypatch, tmp_path) -> None:
        pretend_package(monkeypatch)
        saved_v3(tmp_path, "layer.weight")
        with pytest.raises(ModelError, match=r"1 of its weights .*layer\.bias"):
            DepthAnythingV3.load("eye", weights(tmp_path), Place(str(tmp_path)))

    @pytest.mark.parametrize("preset", ["da3-large", "da3mono-large", "da3nested-giant-large"])
    def test_its_other_networks_are_refused(self, monkeypatch, tmp_path, preset) -> None:
        pretend_package(monkeypatch, preset)
        with pytest.raises(ModelError, match="da3metric-large"):
            DepthAnythingV3.load("eye", weights(tmp_path), Place(str(tmp_path)))


class Pointing(DetectorExpert):
    """A detector that finds what it is told to, in pixels of the view."""

    view_size = 4096

    def __init__(
        self, found: Detections, depth: DepthSettings | None, around: Surroundings
    ) -> None:
        settings = DetectionSettings(
            type="pointing", rule=RULE, depth=depth, views=("whole", "tiles"), tiles=2
        )
        super().__init__("eye", settings, around)
        self.found = found

    def load_detector(self):
        return load_vocabularies()["roadwork-19"], "pointing"

    def detect(self, pictures):
        return [self.found] * len(pictures)


def pointing(found: Detections, depth: DepthSettings | None, around: Surroundings | None = None):
    expert = Pointing(found, depth, around or Surroundings(Path()))
    expert.load()
    return expert


def boxes(*told: tuple[str, float, float]) -> Detections:
    """Objects of a label, a height in pixels and a score, in the middle of a frame 1280 wide."""
    corners = [
        (100.0 + 150 * n, 400.0 - high / 2, 200.0 + 150 * n, 400.0 + high / 2)
        for n, (_, high, _) in enumerate(told)
    ]
    return Detections.of(corners, [score for *_, score in told], [label for label, *_ in told])


#: With a field of view of 90 degrees on 1280 pixels f is 640: at ten metres 64 pixels are a metre.
CONE, HUGE_CONE = ("Cone", 44.8, 0.9), ("Cone", 281.6, 0.9)  # 0.7 m and 4.4 m
WORKER = ("Worker", 112.0, 0.8)  # 1.75 m


class CountingDepth(DepthModel):
    """Ten metres everywhere on 72 rows, and how often it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("counting")
        self.asked = 0
        self.error = error

    def look_at(self, pixels: np.ndarray) -> DepthMap:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return DepthMap(np.full((72, 128), 10.0, np.float32))


def check_with(model: DepthModel, **more: object) -> SizeCheck:
    settings = DepthSettings(folder="unused", horizontal_degrees=90.0, **more)
    return SizeCheck(settings, Shared(model))


class TestDetectorWithDepth:
    def depth(self, folder: Path, degrees: float | None = 90.0) -> DepthSettings:
        return DepthSettings(folder=folder, horizontal_degrees=degrees)

    def test_odd_sizes_count_less_by_hand(self, tiny, make_frame) -> None:
        frame = make_frame(width=1280, height=720)
        found = boxes(CONE, HUGE_CONE, WORKER)
        with_depth = pointing(found, self.depth(tiny(TEN)))
        likely, told = with_depth.plausibility(frame, found)
        # The huge one is four times the most: 0.2 + 0.8 e^-2, see TestSizeFactor.
        assert likely == pytest.approx([1.0, 0.308268, 1.0], abs=1e-4)
        assert told == "odd sizes: cone of 4.4 m"

        (look,) = with_depth.look_at([frame])
        rule = load_rule(RULE)
        causes = (
            rule.weights["cone"] * 0.9,
            rule.weights["cone"] * 0.9 * 0.308268,
            rule.weights["worker"] * 0.8,
        )
        want = 1 - (1 - rule.leak) * math.prod(1 - cause for cause in causes)
        assert look.probability == pytest.approx(want, abs=1e-4)
        assert look.detail == "odd sizes: cone of 4.4 m"
        assert [seen.what for seen in look.evidence] == ["Cone", "Worker", "Cone (size 0.31)"]

    def test_never_more_sure_with_depth_than_without(self, tiny, full_frames) -> None:
        rng = np.random.default_rng(5)
        kinds = ("Cone", "Drum", "Worker", "TTC Sign", "Work Equipment", "Fence")
        depth = self.depth(tiny(METRIC), 60.0)
        for frame in full_frames:
            told = [(str(k), float(rng.uniform(10, 500)), 0.6) for k in rng.choice(kinds, 4)]
            told.append(("Cone", 300.0, 0.6))  # far too high at tens of metres
            found = boxes(*told)
            near, plain = pointing(found, depth), pointing(found, None)
            likely, _ = near.plausibility(frame, found)
            assert ((likely > 0) & (likely <= 1)).all()
            assert (likely < 1).any(), "the example must have an odd size"
            (with_depth,), (without,) = near.look_at([frame]), plain.look_at([frame])
            assert with_depth.probability < without.probability

    def test_a_batch_says_the_same_as_one_by_one(self, tiny, full_frames) -> None:
        found = boxes(HUGE_CONE, WORKER)
        expert = pointing(found, self.depth(tiny(METRIC)))
        together = expert.look_at(full_frames)
        again = pointing(found, self.depth(tiny(METRIC)))
        assert together == [again.look_at([frame])[0] for frame in full_frames]

    def test_squares_of_validators_are_left_alone(self, tiny, squares) -> None:
        found = Detections.of([(10, 10, 60, 200)], [0.9], ["Cone"])
        depth = self.depth(tiny(TEN), 90.0)
        with_depth, without = pointing(found, depth), pointing(found, None)
        for frame in squares[:2]:
            (look,), (plain,) = with_depth.look_at([frame]), without.look_at([frame])
            assert look.probability == plain.probability
            assert look.detail == "depth off: sizes in a validator-square are not checked"

    def test_off_while_the_focal_length_is_unknown(self, tiny, make_frame) -> None:
        frame = make_frame(width=1280, height=720)
        expert = pointing(boxes(HUGE_CONE), self.depth(tiny(TEN), None))
        (look,) = expert.look_at([frame])
        (plain,) = pointing(boxes(HUGE_CONE), None).look_at([frame])
        assert look.detail == "depth off: focal length unknown"
        assert look.probability == plain.probability

    def test_the_focal_length_of_exif_serves(self, tiny, make_frame) -> None:
        frame = replace(make_frame(width=1280, height=720), focal_pixels=640.0)
        expert = pointing(boxes(HUGE_CONE), self.depth(tiny(TEN), None))
        assert expert.plausibility(frame, boxes(HUGE_CONE))[0] == pytest.approx(
            [0.308268], abs=1e-4
        )

    def test_the_version_tells_the_depth_model(self, tiny) -> None:
        plain = pointing(boxes(CONE), None).version
        versions = {pointing(boxes(CONE), self.depth(tiny(n))).version for n in (METRIC, TEN)}
        assert len(versions) == 2
        assert all(version.startswith(f"{plain}:") for version in versions)

    def test_two_detectors_share_one_network(self, tiny) -> None:
        around = Surroundings(Path())
        experts = [pointing(boxes(CONE), self.depth(tiny(TEN)), around) for _ in range(2)]
        (key,) = around.models._kept
        assert around.models.users(key) == 2
        asyncio.run(experts[0].close())
        asyncio.run(experts[0].close())
        assert around.models.users(key) == 1
        asyncio.run(experts[1].close())
        assert around.models.users(key) == 0

    def test_a_folder_without_a_model_is_a_model_error(self, tmp_path) -> None:
        with pytest.raises(ModelError, match=r"config\.json"):
            pointing(boxes(CONE), self.depth(tmp_path))

    def test_a_missing_package_is_told_at_loading(self, tmp_path) -> None:
        (tmp_path / "config.json").write_text("{}")
        depth = DepthSettings(folder=tmp_path, loader="depth-anything-3")
        with pytest.raises(MissingExtraError, match="depth_anything_3"):
            pointing(boxes(CONE), depth)


class TestSizeCheck:
    def test_nothing_with_a_size_is_no_work(self, make_frame) -> None:
        model = CountingDepth()
        frame = make_frame(width=1280, height=720)
        found = boxes(("Shovel", 300.0, 0.9))
        assert check_with(model).factors(frame, found, ["tool"]) == (np.ones(1), "")
        likely, told = check_with(model).factors(frame, Detections.none(), [])
        assert (len(likely), told) == (0, "")
        assert model.asked == 0

    def test_a_frame_is_looked_at_once_for_all(self, make_frame) -> None:
        model = CountingDepth()
        frame, other = (make_frame(width=1280, height=720) for _ in range(2))
        shared = Shared(model)
        settings = DepthSettings(folder="unused", horizontal_degrees=90.0)
        first, second = SizeCheck(settings, shared), SizeCheck(settings, shared)
        for check in (first, second, first):
            check.factors(frame, boxes(CONE), ["cone"])
        assert model.asked == 1
        second.factors(other, boxes(CONE), ["cone"])
        assert model.asked == 2

    def test_maps_of_frames_that_are_gone_are_let_go(self, make_frame) -> None:
        model = CountingDepth()
        for _ in range(3):
            model.map_of(make_frame(width=1280, height=720))
            gc.collect()
        assert len(model._kept) <= 2
        alive = [make_frame(width=64, height=48) for _ in range(KEPT_FRAMES + 5)]
        for frame in alive:
            model.map_of(frame)
        assert len(model._kept) == KEPT_FRAMES
        assert model.knows(alive[-1])
        assert not model.knows(alive[0])

    def test_without_time_it_is_left_out(self, make_frame, virtual) -> None:
        model = CountingDepth()
        model.seconds = 0.4
        frame = make_frame(width=1280, height=720)
        check = check_with(model)
        soon = check.factors(frame, boxes(HUGE_CONE), ["cone"], Deadline.after(0.3, virtual))
        assert soon == (np.ones(1), "depth off: no time")
        assert model.asked == 0
        later = check.factors(frame, boxes(HUGE_CONE), ["cone"], Deadline.after(0.6, virtual))
        assert later[0][0] < 1.0
        # What is known already costs no time.
        again = check.factors(frame, boxes(HUGE_CONE), ["cone"], Deadline.after(0.1, virtual))
        assert again[0] == pytest.approx(later[0])
        late = check.factors(frame, boxes(HUGE_CONE), ["cone"], Deadline.after(-1.0, virtual))
        assert late[1] == "depth off: no time"

    def test_a_busy_network_is_not_waited_for_beyond_the_deadline(self, make_frame) -> None:
        model = CountingDepth()
        shared = Shared(model)
        check = SizeCheck(DepthSettings(folder="unused", horizontal_degrees=90.0), shared)
        with shared.lock:
            said = check.factors(
                make_frame(width=1280, height=720), boxes(CONE), ["cone"], Deadline.after(0.1)
            )
        assert said[1] == "depth off: no time"

    def test_a_network_that_fails_is_told_and_counts_for_nothing(self, make_frame) -> None:
        model = CountingDepth(RuntimeError("CUDA out of memory"))
        check = check_with(model)
        likely, told = check.factors(make_frame(width=1280, height=720), boxes(HUGE_CONE), ["cone"])
        assert likely == [1.0]
        assert told == "depth off: the model failed: CUDA out of memory"
        model.error = None
        again, _ = check.factors(make_frame(width=1280, height=720), boxes(HUGE_CONE), ["cone"])
        assert again[0] < 1.0, "the lock was given back"

    def test_what_the_edge_cuts_may_be_higher(self, make_frame) -> None:
        frame = make_frame(width=1280, height=720)
        low = Detections.of([(100, 640, 200, 720), (100, 300, 200, 380)], [0.9] * 2, ["Fence"] * 2)
        kinds = ["machine"] * 2  # 80 pixels are 1.25 m at 640
        narrow = check_with(CountingDepth())._settings.model_copy(
            update={"horizontal_degrees": 30.0}
        )  # f = 2389: 0.33 m
        likely, _ = SizeCheck(narrow, Shared(CountingDepth())).factors(frame, low, kinds)
        assert likely[0] == 1.0
        assert likely[1] < 0.5

    def test_a_turned_picture_is_left_alone(self, make_frame) -> None:
        frame = make_frame(width=1280, height=720)
        turned = replace(frame, geometry=replace(frame.geometry, tilt_degrees=4.0))
        said = check_with(CountingDepth()).factors(turned, boxes(HUGE_CONE), ["cone"])
        assert said == (np.ones(1), "depth off: the picture was turned")

    def test_size_classes_can_be_left_out(self, make_frame) -> None:
        frame = make_frame(width=1280, height=720)
        check = check_with(CountingDepth(), size_classes=("large-frame",))
        assert "a frame are not" in check.factors(frame, boxes(HUGE_CONE), ["cone"])[1]


class TestDepthSettings:
    @pytest.mark.parametrize(
        ("section", "word"),
        [
            ({}, "either"),
            ({"folder": "a", "model": "b"}, "not both"),
            ({"folder": "a", "revision": "a" * 40}, "no revision"),
            ({"model": "b", "revision": "main"}, "pattern"),
            ({"folder": "a", "precision": "fp16"}, "GPU"),
            ({"folder": "a", "device": "tpu"}, "pattern"),
            ({"folder": "a", "loader": "depth-anything-3", "precision": "bf16"}, "by itself"),
            ({"folder": "a", "horizontal_degrees": 5.0}, "10"),
            ({"folder": "a", "size_classes": ["validator-square"]}, "frame"),
            ({"folder": "a", "size_classes": []}, "at least 1"),
            ({"folder": "a", "focal": 3}, "Extra"),
        ],
    )
    def test_nonsense_is_refused(self, section: dict, word: str) -> None:
        with pytest.raises(ValidationError, match=word):
            DepthSettings(**section)
