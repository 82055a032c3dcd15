"""The colour-and-shape expert: what it sees of drawn cones, and what its model file may hold."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natix_miner.errors import ModelError
from natix_miner.experts.colour_shape import ColourShapeModel, features
from natix_miner.experts.colour_shape.features import PICTURE_FEATURES
from natix_miner.experts.colour_shape.model import NAMES, POOLED_FEATURES, Logistic, pooled
from natix_miner.experts.colour_shape.regions import MAX_REGIONS, REGION_FIGURES
from natix_miner.images import Frame, measure
from natix_miner.images.distortions import distort
from natix_miner.images.generations import letterbox

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "embedded" / "colour_shape.json"
ORANGE, WHITE, ROAD, SKY = (245, 100, 30), (235, 235, 235), (95, 95, 98), (150, 175, 215)


def street(width: int = 224, height: int = 224) -> np.ndarray:
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: int(0.42 * height)] = SKY
    pixels[int(0.42 * height) :] = ROAD
    noise = np.random.default_rng(0).normal(0, 3, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def cone(pixels: np.ndarray, x: int, foot: int, height: int) -> np.ndarray:
    """A cone with a white collar, standing on row `foot`."""
    half = round(0.3 * height)
    triangle = np.array([(x - half, foot), (x + half, foot), (x, foot - height)])
    cv2.fillPoly(pixels, [triangle], ORANGE)
    collar = foot - round(0.55 * height)
    reach = round(0.3 * height * 0.45)
    cv2.rectangle(pixels, (x - reach, collar), (x + reach, collar + 1), WHITE, -1)
    return pixels


def frame_of(pixels: np.ndarray) -> Frame:
    height, width = pixels.shape[:2]
    return Frame(pixels, width, height, "JPEG", measure(pixels, width, height))


def seen(pixels: np.ndarray):
    frame = frame_of(pixels)
    return features(frame.pixels, frame.geometry)


def value(pixels: np.ndarray, name: str) -> float:
    return float(seen(pixels).picture[PICTURE_FEATURES.index(name)])


def figure(row: np.ndarray, name: str) -> float:
    return float(row[REGION_FIGURES.index(name)])


def covers(box: tuple[float, ...], x: float, y: float) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


class TestRegions:
    def test_a_cone_is_one_region_that_tapers_upwards(self) -> None:
        found = seen(cone(street(), 112, 180, 40))
        assert len(found.boxes) == 1
        row = found.regions[0]
        assert found.boxes[0] == pytest.approx((100, 140, 125, 181), abs=2)
        assert figure(row, "warm") == 1.0
        assert figure(row, "taper") > 0.5
        assert figure(row, "contrast") > 0.5
        assert figure(row, "foot") == pytest.approx(181 / 224, abs=0.01)
        assert figure(row, "log_height") == pytest.approx(math.log(41 / 224), abs=0.06)
        assert figure(row, "log_aspect") == pytest.approx(math.log(41 / 25), abs=0.12)

    def test_an_upside_down_cone_tapers_downwards(self) -> None:
        upright = cone(street(), 112, 180, 40)
        found = seen(np.ascontiguousarray(upright[::-1]))
        assert figure(found.regions[0], "taper") < -0.5

    def test_a_diamond_bulges_in_the_middle(self) -> None:
        pixels = street()
        cv2.fillPoly(pixels, [np.array([(60, 40), (80, 60), (60, 80), (40, 60)])], ORANGE)
        row = seen(pixels).regions[0]
        assert figure(row, "bulge") > 0.3
        assert abs(figure(row, "taper")) < 0.15
        assert figure(row, "fill") == pytest.approx(0.5, abs=0.06)
        assert figure(row, "below_horizon") == 0.0

    def test_a_vest_is_a_lime_region(self) -> None:
        pixels = street()
        pixels[120:140, 50:62] = (200, 240, 40)
        found = seen(pixels)
        assert figure(found.regions[0], "warm") == 0.0
        assert covers(found.boxes[0], 56, 130)

    @pytest.mark.parametrize("name", ["saturation", "contrast", "jpeg", "noise", "blur"])
    @pytest.mark.parametrize("strength", [1, 2])
    def test_distortions_do_not_hide_a_cone(self, name: str, strength: int) -> None:
        rng = np.random.default_rng(1)
        pixels = distort(cone(street(), 112, 180, 40), ((name, strength),), rng)
        found = seen(pixels)
        assert any(
            covers(box, 112, 170) and figure(row, "warm") and figure(row, "taper") > 0.2
            for box, row in zip(found.boxes, found.regions, strict=True)
        )

    def test_no_more_regions_than_the_strongest_few(self) -> None:
        pixels = street()
        for x in range(10, 220, 14):
            cone(pixels, x, 150 + x % 40, 12 + x % 13)
        found = seen(pixels)
        assert len(found.boxes) == len(found.regions) == MAX_REGIONS
        assert figure(found.regions[0], "spots") > math.log1p(MAX_REGIONS)

    @pytest.mark.parametrize("value_", [0, 90, 255])
    def test_a_grey_picture_has_none(self, value_: int) -> None:
        found = seen(np.full((224, 224, 3), value_, np.uint8))
        assert found.boxes == ()
        assert found.regions.shape == (0, len(REGION_FIGURES))
        assert np.isfinite(found.picture).all()

    def test_boxes_of_a_large_frame_are_in_its_own_pixels(self) -> None:
        found = seen(cone(street(1792, 1344), 900, 1200, 160))
        assert found.boxes[0] == pytest.approx((852, 1040, 948, 1200), abs=9)


class TestPictureFeatures:
    def test_are_named(self) -> None:
        assert len(set(NAMES)) == len(NAMES)
        assert seen(street()).picture.shape == (len(PICTURE_FEATURES),)

    def test_warm_colour_counts_in_its_band(self) -> None:
        low, high = street(), street()
        low[190:200, 50:90] = ORANGE
        high[20:30, 50:90] = ORANGE
        assert value(low, "warm_lower") > 0.1
        assert value(low, "warm_upper") == 0.0
        assert value(high, "warm_upper") > 0.1
        assert value(high, "warm_lower") == 0.0
        assert value(low, "warm_low") == 1.0
        assert value(high, "warm_low") == 0.0

    def test_shares_are_roots_of_area(self) -> None:
        pixels = street()
        pixels[160:180, 20:60] = ORANGE
        lower = 224 - int(0.65 * 224)
        assert value(pixels, "warm_lower") == pytest.approx(
            math.sqrt(800 / (lower * 224)), rel=0.03
        )

    @pytest.mark.parametrize(
        ("colour", "name"), [(ORANGE, "stripes_warm_white"), ((200, 20, 30), "stripes_red_white")]
    )
    def test_stripes_need_white_between_colour(self, colour: tuple[int, ...], name: str) -> None:
        plain, striped = street(), street()
        plain[120:160, 80:100] = colour
        striped[120:160, 80:100] = colour
        for row in range(124, 160, 8):
            striped[row : row + 2, 80:100] = WHITE
        assert value(striped, name) > 3 * value(plain, name) + 0.01

    def test_padding_is_left_out(self) -> None:
        picture = cone(street(224, 126), 100, 110, 30)
        boxed = letterbox(picture)
        names = [name for name in PICTURE_FEATURES if name.startswith("warm")]
        for name in names:
            assert value(boxed, name) == pytest.approx(value(picture, name), abs=0.03), name
        assert figure(seen(boxed).regions[0], "foot") == pytest.approx(
            figure(seen(picture).regions[0], "foot"), abs=0.03
        )

    def test_looking_changes_nothing_and_repeats_itself(self) -> None:
        pixels = cone(street(), 60, 200, 30)
        before = pixels.copy()
        pixels.flags.writeable = False
        first, second = seen(pixels), seen(pixels)
        assert np.array_equal(pixels, before)
        assert np.array_equal(first.picture, second.picture)
        assert np.array_equal(first.regions, second.regions)

    @given(
        st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1), st.sampled_from((1, 8))
    )
    @settings(max_examples=60, deadline=None, derandomize=True)
    def test_are_finite_for_any_picture(
        self, height: int, width: int, seed: int, coarse: int
    ) -> None:
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, (-(-height // coarse), -(-width // coarse), 3), np.uint8)
        pixels = np.ascontiguousarray(pixels.repeat(coarse, 0).repeat(coarse, 1)[:height, :width])
        found = seen(pixels)
        assert np.isfinite(found.picture).all()
        assert np.isfinite(found.regions).all()
        for left, top, right, bottom in found.boxes:
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height


class TestPooling:
    @given(st.lists(st.floats(-40, 40), max_size=10))
    def test_order_does_not_matter_and_all_is_finite(self, odds: list[float]) -> None:
        result = pooled(np.array(odds))
        assert result.shape == (len(POOLED_FEATURES),)
        assert np.isfinite(result).all()
        assert np.allclose(result, pooled(np.array(odds[::-1])))

    def test_any_is_the_chance_that_one_of_them_is(self) -> None:
        result = dict(zip(POOLED_FEATURES, pooled(np.array([0.0, 0.0])), strict=True))
        assert result["any"] == pytest.approx(0.75)
        assert result["best"] == result["second"] == 0.0
        assert result["log_expected"] == pytest.approx(math.log(1.02))
        assert pooled(np.array([]))[POOLED_FEATURES.index("none_found")] == 1.0


def small_model() -> dict[str, object]:
    """A model that looks at the best region alone, and at its share of chroma alone."""

    def logistic(names: tuple[str, ...], name: str) -> dict[str, object]:
        return {
            "names": names,
            "knots": [[-1.0, 0.0, 2.0]] * len(names),
            "values": [[-2.0, 0.5, 1.5] if one == name else [0.0] * 3 for one in names],
            "bias": -0.25,
        }

    return {
        "format": "natix-miner/colour-shape",
        "format_version": 1,
        "region": logistic(REGION_FIGURES, "chroma_share"),
        "picture": logistic(NAMES, "best"),
    }


class TestModelFile:
    def write(self, folder: Path, content: object) -> Path:
        path = folder / "model.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def test_the_probability_is_that_of_the_two_regressions(self, tmp_path: Path) -> None:
        model = ColourShapeModel.load(self.write(tmp_path, small_model()))
        pixels = cone(street(), 112, 180, 40)
        share = figure(seen(pixels).regions[0], "chroma_share")
        assert 0.0 < share < 2.0
        region = 0.5 + 1.0 * share / 2.0 - 0.25
        assert 0.0 < region < 2.0
        picture = 0.5 + 1.0 * region / 2.0 - 0.25
        look = model.look(frame_of(pixels))
        assert look.probability == pytest.approx(1 / (1 + math.exp(-picture)), abs=1e-6)
        assert look.evidence[0].score == pytest.approx(1 / (1 + math.exp(-region)), abs=1e-6)
        assert not look.calibrated

    def test_the_version_tells_weights_apart(self, tmp_path: Path) -> None:
        first = ColourShapeModel.load(self.write(tmp_path, small_model())).version
        other = small_model()
        other["picture"]["bias"] = 0.5  # type: ignore[index]
        assert ColourShapeModel.load(self.write(tmp_path, other)).version != first

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"fit_colour_shape\.py"):
            ColourShapeModel.load(tmp_path / "none.json")

    @pytest.mark.parametrize(
        "change",
        [
            {"format_version": 2},
            {"format": "something else"},
            {"surprise": 1},
            {"region": None},
            {"picture": {"names": ["a"], "knots": [[0]], "values": [[1]], "bias": 0}},
        ],
    )
    def test_another_format(self, tmp_path: Path, change: dict[str, object]) -> None:
        with pytest.raises(ModelError, match=r"model\.json"):
            ColourShapeModel.load(self.write(tmp_path, small_model() | change))

    @pytest.mark.parametrize("name", ["knots", "values"])
    @pytest.mark.parametrize("value", [None, "x", float("nan"), float("inf")])
    def test_numbers_that_are_none(self, tmp_path: Path, name: str, value: object) -> None:
        model = small_model()
        model["region"][name][0] = [-1.0, value, 2.0]  # type: ignore[index]
        with pytest.raises(ModelError):
            ColourShapeModel.load(self.write(tmp_path, model))

    @pytest.mark.parametrize(
        ("name", "value"),
        [("values", [1.0]), ("knots", [0.0, 0.0, 1.0]), ("knots", [1.0, 0.0, 2.0]), ("knots", [])],
    )
    def test_knots_that_make_no_line(self, tmp_path: Path, name: str, value: object) -> None:
        model = small_model()
        model["picture"][name][0] = value  # type: ignore[index]
        with pytest.raises(ModelError):
            ColourShapeModel.load(self.write(tmp_path, model))

    def test_nothing_is_extrapolated(self) -> None:
        line = Logistic(names=("a",), knots=((0.0, 1.0),), values=((-1.0, 2.0),), bias=0.5)
        odds = line.log_odds(np.array([[-100.0], [0.0], [0.5], [1.0], [100.0]]))
        assert odds.tolist() == [-0.5, -0.5, 1.0, 2.5, 2.5]

    @pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
    def test_no_json(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(ModelError):
            ColourShapeModel.load(self.write(tmp_path, text))


@pytest.fixture(scope="module")
def model() -> ColourShapeModel:
    return ColourShapeModel.load(MODEL)


class TestShippedModel:
    def test_cones_raise_the_probability_and_are_shown(self, model: ColourShapeModel) -> None:
        empty = model.look(frame_of(street())).probability
        pixels = cone(cone(cone(street(), 60, 190, 40), 130, 165, 28), 170, 150, 20)
        look = model.look(frame_of(pixels))
        assert look.probability > max(0.6, empty + 0.2)
        assert any(covers(item.box, 60, 180) for item in look.evidence if item.box)

    def test_an_autumn_sky_is_no_roadwork(self, model: ColourShapeModel) -> None:
        pixels = street()
        pixels[:80] = (225, 140, 70)
        assert model.look(frame_of(pixels)).probability < 0.5

    def test_any_picture_gives_a_probability(self, model: ColourShapeModel) -> None:
        rng = np.random.default_rng(4)
        for shape in ((1, 1), (224, 224), (7, 300), (900, 1200)):
            look = model.look(frame_of(rng.integers(0, 256, (*shape, 3), np.uint8)))
            assert 0.0 < look.probability < 1.0
            assert all(0.0 <= item.score <= 1.0 for item in look.evidence)

    def test_no_heavy_library_is_needed_to_answer(self) -> None:
        import subprocess

        code = (
            "import sys; from pathlib import Path;"
            "from natix_miner.experts.colour_shape import ColourShapeModel;"
            f"ColourShapeModel.load(Path({str(MODEL)!r}));"
            "print([name for name in ('sklearn', 'torch', 'scipy') if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert done.stdout.strip() == "[]"


def test_the_script_fits_a_model_that_loads(tmp_path: Path) -> None:
    import subprocess

    out = tmp_path / "fitted.json"
    command = [sys.executable, str(ROOT / "scripts" / "fit_colour_shape.py"), "--out", str(out)]
    done = subprocess.run(
        [*command, "--scenes", "24", "--jobs", "1"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "auc" in done.stdout
    look = ColourShapeModel.load(out).look(frame_of(cone(street(), 60, 190, 40)))
    assert 0.0 < look.probability < 1.0
