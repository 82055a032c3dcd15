"""Conditions of the frame: that each rises with what it is named after, and with nothing else."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from natix_miner.clock import Deadline
from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.conditions import ALL, RULES, SIDE, measured, step, told
from natix_miner.experts.families.conditions import FAMILY, Conditions, ConditionsSettings
from natix_miner.experts.family import Surroundings
from natix_miner.images import Frame
from natix_miner.images.distortions import distort
from natix_miner.images.generations import letterbox, tilt_picture
from natix_miner.images.geometry import measure

#: What rounding to 8 bits may take back of a rise.
ROUNDING = 0.02
WEATHER = ("cloudy-overcast", "fog-smog", "rain-storm", "snow-frosty", "sun-clear")


def framed(pixels: np.ndarray) -> Frame:
    high, wide = pixels.shape[:2]
    return Frame(pixels, wide, high, "JPEG", measure(pixels, wide, high))


def conditions(pixels: np.ndarray) -> dict[str, float]:
    return told(measured(framed(pixels)))


def drawn(width: int = 320, height: int = 224) -> np.ndarray:
    """A clear day: blue sky, dark trees, a grey road with white lines, a red car with shadow."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:] = (125, 165, 215)
    horizon = int(0.45 * height)
    picture[horizon:] = (110, 108, 104)
    rng = np.random.default_rng(5)
    for x in range(0, width, 14):
        top = horizon - int(rng.integers(8, 34))
        cv2.rectangle(picture, (x, top), (x + 9, horizon + 4), (22, 44, 18), -1)
    for y in range(horizon + 12, height, 24):
        cv2.rectangle(picture, (width // 2 - 3, y), (width // 2 + 3, y + 11), (225, 225, 222), -1)
    cv2.rectangle(picture, (40, horizon + 20), (110, horizon + 60), (170, 30, 25), -1)
    cv2.rectangle(picture, (36, horizon + 60), (114, horizon + 74), (14, 14, 16), -1)
    grain = rng.integers(-4, 5, (height // 2, width // 2, 1)).repeat(2, 0).repeat(2, 1)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def darkened(pixels: np.ndarray, by: float) -> np.ndarray:
    return np.rint(pixels * (1.0 - by)).astype(np.uint8)


def veiled(pixels: np.ndarray, by: float, air: int = 200) -> np.ndarray:
    """Haze of the same depth everywhere."""
    return np.rint(pixels * (1.0 - by) + air * by).astype(np.uint8)


def under_sky(sky: int, road: int) -> np.ndarray:
    """The drawn street with a sky and a road of these greys."""
    picture = drawn()
    horizon = int(0.45 * len(picture))
    upper, lower = picture[:horizon], picture[horizon:]
    upper[upper[..., 2] > 180] = sky
    lower[(lower[..., 0] > 95) & (lower[..., 0] < 125)] = road
    return picture


class TestMeasuring:
    def test_a_clear_day_shows_no_condition(self):
        assert max(conditions(drawn()).values()) < 0.15

    def test_every_condition_is_in_0_to_1_on_real_queries(self, squares, full_frames):
        for frame in (*squares, *full_frames):
            found = told(measured(frame))
            assert list(found) == list(ALL)
            assert all(0.0 <= value <= 1.0 for value in found.values())

    @pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 400), (400, 2), (33, 33)])
    @pytest.mark.parametrize("grey", [0, 128, 255])
    def test_any_size_and_any_grey_can_be_measured(self, shape, grey):
        found = conditions(np.full((*shape, 3), grey, np.uint8))
        assert all(0.0 <= value <= 1.0 for value in found.values())
        assert found["flat"] == found["colourless"] == found["blur"] == 1.0
        assert (found["night"] == 1.0) == (grey == 0)

    @settings(max_examples=15, deadline=None)
    @given(first=st.floats(0.0, 0.9), second=st.floats(0.0, 0.9))
    def test_darkening_raises_night_and_low_light(self, first, second):
        less, more = sorted((first, second))
        brighter, darker = (conditions(darkened(drawn(), by)) for by in (less, more))
        for name in ("night", "low-light"):
            assert darker[name] >= brighter[name] - ROUNDING
        assert darker["haze"] == pytest.approx(brighter["haze"], abs=0.15), "dark is not hazy"

    @settings(max_examples=15, deadline=None)
    @given(first=st.floats(0.0, 1.0), second=st.floats(0.0, 1.0), air=st.integers(140, 240))
    def test_blending_with_grey_raises_haze_flat_and_colourless(self, first, second, air):
        less, more = sorted((first, second))
        clearer, hazier = (conditions(veiled(drawn(), by, air)) for by in (less, more))
        for name in ("haze", "flat", "colourless"):
            assert hazier[name] >= clearer[name] - ROUNDING

    @settings(max_examples=15, deadline=None)
    @given(first=st.integers(60, 250), second=st.integers(60, 250), road=st.integers(20, 60))
    def test_a_brighter_sky_over_a_dark_road_raises_backlight(self, first, second, road):
        dim, bright = (
            conditions(under_sky(sky, road))["backlight"] for sky in sorted((first, second))
        )
        assert bright >= dim - ROUNDING

    def test_the_ends_of_those_scales_are_reached(self):
        assert conditions(darkened(drawn(), 0.85))["night"] > 0.9
        assert conditions(darkened(drawn(), 0.85))["low-light"] > 0.9
        assert conditions(veiled(drawn(), 0.8))["haze"] > 0.9
        assert conditions(veiled(drawn(), 0.8))["flat"] > 0.9
        assert conditions(under_sky(250, 30))["backlight"] > 0.9
        assert conditions(under_sky(250, 140))["backlight"] < 0.1
        assert conditions(under_sky(60, 10))["backlight"] < 0.1, "a dim sky does not blind"

    def test_blurring_raises_blur_step_by_step(self):
        found = [
            conditions(cv2.GaussianBlur(drawn(), (0, 0), sigma))["blur"]
            for sigma in (0.3, 1.5, 3.0, 6.0)
        ]
        assert found == sorted(found)
        assert found[0] < 0.05
        assert found[-1] > 0.8

    @pytest.mark.parametrize(
        ("distortion", "statistic", "factors"),
        [("saturation", "chroma", (0.4, 0.3)), ("contrast", "span", (0.85, 0.725))],
    )
    def test_validators_take_colour_and_contrast_away(self, distortion, statistic, factors):
        before = getattr(measured(framed(drawn())), statistic)
        for strength, factor in zip((1, 2), factors, strict=True):
            pixels = distort(drawn(), ((distortion, strength),), np.random.default_rng(2))
            after = getattr(measured(framed(pixels)), statistic)
            assert after == pytest.approx(factor * before, abs=0.02)

    @pytest.mark.parametrize("name", ["noise", "blur"])
    def test_validators_add_noise_and_blur(self, name):
        before, once, twice = (
            conditions(distort(drawn(224, 224), added, np.random.default_rng(2)))[name]
            for added in ((), ((name, 1),), ((name, 2),))
        )
        assert before < 0.05
        assert once > 0.3
        assert twice >= once

    def test_grey_pictures_are_colourless(self):
        grey = drawn().mean(axis=2, keepdims=True).repeat(3, 2).astype(np.uint8)
        assert conditions(grey)["colourless"] == 1.0

    def test_noise_is_measured_in_shares_of_the_range(self):
        rng = np.random.default_rng(8)
        picture = np.full((300, 400, 3), 128.0)
        picture += 0.03 * 255 * rng.standard_normal((300, 400, 1))
        noise = measured(framed(np.clip(np.rint(picture), 0, 255).astype(np.uint8))).noise
        assert noise == pytest.approx(0.03, rel=0.1)

    def test_percentiles_and_means_are_those_of_numpy(self):
        pixels = drawn(220, 160)
        luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(float) / 255
        found = measured(framed(pixels))
        assert found.light == pytest.approx(luma.mean(), abs=1e-6)
        low, high = np.percentile(luma, (5, 95))
        assert found.span == pytest.approx(high - low, abs=1.5 / 255)
        sky = np.percentile(luma[: 160 // 3], 75)
        assert found.sky_light == pytest.approx(sky, abs=1 / 255)
        chroma = (pixels.max(2).astype(int) - pixels.min(2)).mean() / 255
        assert found.chroma == pytest.approx(chroma, abs=1e-6)
        road = np.median(luma[160 // 2 :])
        assert found.stops == pytest.approx(np.log2(sky**2.2 / road**2.2), abs=0.1)

    def test_the_veil_is_the_dark_channel_worked_by_hand(self):
        pixels = np.full((90, 90, 3), 200, np.uint8)
        pixels[30:] = (120, 80, 160)
        # Below, the least colour is 80 all over; the light of the air is the sky's 200.
        assert measured(framed(pixels)).veil == pytest.approx(80 / 200, abs=0.01)

    @pytest.mark.parametrize("degrees", [0.0, 9.0, -14.0])
    @pytest.mark.parametrize("shade", ["clear", "dark", "hazy"])
    def test_padding_and_tilt_change_little(self, degrees, shade):
        picture = {
            "clear": drawn(448, 320),
            "dark": darkened(drawn(448, 320), 0.55),
            "hazy": veiled(drawn(448, 320), 0.4),
        }[shade]
        alone = conditions(picture)
        frame = framed(tilt_picture(letterbox(picture), degrees))
        assert frame.geometry.padding_share > 0.2
        assert frame.geometry.tilt_degrees == pytest.approx(degrees, abs=0.5)
        for name, value in told(measured(frame)).items():
            assert value == pytest.approx(alone[name], abs=0.25), name

    def test_a_large_frame_is_measured_as_its_small_copy_is(self, full_frames):
        for frame in full_frames:
            small = cv2.resize(frame.pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            large, less = told(measured(frame)), conditions(small)
            for name in set(ALL) - {"noise"}:  # shrinking takes noise away
                assert large[name] == pytest.approx(less[name], abs=0.1), name

    def test_it_is_quick(self, squares, full_frames):
        for frame in (squares[0], full_frames[0]):
            measured(frame)
            taken = []
            for _ in range(10):
                begun = time.perf_counter()
                told(measured(frame))
                taken.append(time.perf_counter() - begun)
            # 1.2 to 2.3 ms where nothing else runs; this machine may be busy.
            assert min(taken) < 0.012


class TestRules:
    @given(value=st.floats(-2, 2), other=st.floats(-2, 2))
    def test_a_step_is_monotone_between_its_bounds(self, value, other):
        low, high = sorted((value, other))
        assert 0.0 <= step(low, 0.2, 0.6) <= step(high, 0.2, 0.6) <= 1.0
        assert 1.0 >= step(low, 0.6, 0.2) >= step(high, 0.6, 0.2) >= 0.0

    def test_its_ends_and_its_middle(self):
        assert step(0.2, 0.2, 0.6) == 0.0
        assert step(0.4, 0.2, 0.6) == pytest.approx(0.5)
        assert step(0.6, 0.2, 0.6) == 1.0

    def test_every_name_has_a_rule(self):
        assert set(RULES) == set(ALL)


@pytest.fixture
def loaded():
    """Makes loaded experts of a section."""

    def load(surroundings=None, **section) -> Conditions:
        expert = FAMILY.build(
            "conditions",
            ConditionsSettings.model_validate(section),
            surroundings or Surroundings(Path()),
        )
        expert.load()
        return expert

    return load


class TestExpert:
    def test_it_tells_conditions_and_does_not_vote(self, squares):
        async def run():
            expert = FAMILY.build("conditions", ConditionsSettings(), Surroundings(Path()))
            await expert.start()
            try:
                return await expert.look(squares[0], Deadline.after(60))
            finally:
                await expert.close()
                await expert.close()

        look = asyncio.run(run())
        assert look.probability is None
        assert look.conditions == told(measured(squares[0]))
        assert not FAMILY.votes
        assert not Conditions.votes

    def test_it_needs_no_package_beside_the_picture_tools(self, loaded, squares, monkeypatch):
        for package in ("torch", "transformers"):
            monkeypatch.setitem(sys.modules, package, None)
        assert loaded().look_at(squares[:1])[0].conditions

    def test_it_tells_what_it_is_asked_to(self, loaded, squares):
        (look,) = loaded(tell=["haze", "night"]).look_at(squares[:1])
        assert list(look.conditions) == ["haze", "night"]

    def test_its_view_is_the_small_picture_proper(self, loaded, full_frames):
        (view,) = loaded().views(full_frames[0])
        assert view.name == "upright"
        assert max(view.pixels.shape) <= SIDE

    def test_the_version_tells_what_is_told_apart(self, loaded):
        assert loaded().version == loaded().version
        assert loaded().version != loaded(tell=["night"]).version

    @pytest.mark.parametrize(
        ("section", "word"),
        [
            ({"tell": []}, "nothing to tell"),
            ({"tell": ["night", "night"]}, "twice"),
            ({"tell": ["snow"]}, "snow|night"),
            ({"colour": "red"}, "colour"),
            ({"views": ["tiles"]}, "views"),
            ({"classifier": {}}, "either"),
            ({"classifier": {"folder": "a", "timeout_seconds": 2}}, "timeout_seconds"),
        ],
    )
    def test_settings_that_cannot_work(self, section, word):
        with pytest.raises(ValidationError, match=word):
            ConditionsSettings.model_validate(section)


class TestClassifier:
    @pytest.fixture(autouse=True)
    def _packages(self):
        pytest.importorskip("torch")
        pytest.importorskip("transformers", reason="needs the extra `detectors`")

    @pytest.fixture
    def copy(self, tiny, tmp_path):
        """A copy of the tiny model whose configuration may be changed."""

        def copied(**changes) -> Path:
            folder = Path(shutil.copytree(tiny("weather"), tmp_path / "weather"))
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**config, **changes}))
            return folder

        return copied

    def test_it_says_what_the_transformers_pipeline_says(self, loaded, tiny, squares):
        from transformers import AutoImageProcessor, pipeline

        folder = tiny("weather")
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        pipe = pipeline(
            "image-classification", model=str(folder), image_processor=processor, device="cpu"
        )
        expert = loaded(classifier={"folder": folder})
        looks = expert.look_at(squares)
        for frame, look in zip(squares, looks, strict=True):
            expected = {
                result["label"].replace("/", "-"): result["score"]
                for result in pipe(
                    Image.fromarray(frame.pixels), top_k=None, function_to_apply="softmax"
                )
            }
            assert {n: look.conditions[n] for n in WEATHER} == pytest.approx(expected, abs=1e-5)
            assert {n: look.conditions[n] for n in ALL} == told(measured(frame))
        shares = [look.conditions["fog-smog"] for look in looks]
        assert max(shares) - min(shares) > 1e-3, "the pictures must make a difference"

    def test_a_batch_says_the_same_as_one_by_one(self, loaded, tiny, squares, full_frames):
        expert = loaded(classifier={"folder": tiny("weather"), "batch": 2}, tell=[])
        frames = [*squares[:3], full_frames[0]]
        for frame, look in zip(frames, expert.look_at(frames), strict=True):
            assert look.conditions == pytest.approx(expert.look_at([frame])[0].conditions, abs=1e-6)
            assert sum(look.conditions.values()) == pytest.approx(1.0)
            assert set(look.conditions) == set(WEATHER)

    def test_views_are_averaged(self, loaded, tiny, squares):
        def shares(**looking):
            section = {"folder": tiny("weather"), **looking}
            return np.array(
                [
                    loaded(classifier=section, tell=[]).look_at(squares[:1])[0].conditions[name]
                    for name in WEATHER
                ]
            )

        both = shares(views=["whole", "upright"])
        assert both == pytest.approx(
            (shares(views=["whole"]) + shares(views=["upright"])) / 2, abs=1e-6
        )

    def test_several_at_once_are_sigmoids(self, loaded, tiny, copy, squares):
        one = loaded(classifier={"folder": tiny("weather")}, tell=[])
        several = loaded(
            classifier={"folder": copy(problem_type="multi_label_classification")}, tell=[]
        )
        p = one.look_at(squares[:1])[0].conditions
        q = several.look_at(squares[:1])[0].conditions

        # The same logits: differences of log-odds there are those of log shares here.
        def log_odds(name):
            return np.log(q[name] / (1 - q[name]))

        for name in WEATHER[1:]:
            assert log_odds(name) - log_odds(WEATHER[0]) == pytest.approx(
                np.log(p[name] / p[WEATHER[0]]), abs=1e-4
            )

    def test_bf16_stays_close_to_fp32(self, loaded, tiny, squares):
        exact, rounded = (
            loaded(classifier={"folder": tiny("weather"), "precision": precision}, tell=[])
            .look_at(squares[:1])[0]
            .conditions
            for precision in ("fp32", "bf16")
        )
        assert rounded == pytest.approx(exact, abs=0.03)
        assert rounded != exact

    def test_two_experts_share_one_classifier(self, loaded, tiny):
        surroundings = Surroundings(Path())
        section = {"classifier": {"folder": tiny("weather")}}
        first = loaded(surroundings, **section)
        second = loaded(surroundings, tell=["night"], **section)
        key = first._key
        assert surroundings.models.users(key) == 2
        assert first.version != second.version
        for expert, left in ((first, 1), (first, 1), (second, 0)):
            asyncio.run(expert.close())
            assert surroundings.models.users(key) == left

    def test_an_empty_folder(self, loaded, tmp_path):
        with pytest.raises(ModelError, match=r"config\.json"):
            loaded(classifier={"folder": tmp_path})

    def test_torn_weights(self, loaded, copy):
        folder = copy()
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:500])
        with pytest.raises(ModelError, match="conditions"):
            loaded(classifier={"folder": folder})

    def test_a_model_without_classes(self, loaded, tiny):
        with pytest.raises(ModelError, match="not in the file"):
            loaded(classifier={"folder": tiny("zero-shot-siglip-2")})

    @pytest.mark.parametrize(
        ("labels", "word"),
        [
            (["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4"], "id2label"),
            (["rain", "Rain!", "snow", "sun", "fog"], "one name"),
            (["night", "rain", "snow", "sun", "fog"], r"\['night'\] are measured"),
        ],
    )
    def test_labels_that_name_nothing_new(self, loaded, copy, labels, word):
        folder = copy(id2label=dict(enumerate(labels)))
        with pytest.raises(ModelError, match=word):
            loaded(classifier={"folder": folder})

    def test_a_package_that_is_not_installed(self, loaded, tiny, monkeypatch):
        folder = tiny("weather")
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[detectors\]"):
            loaded(classifier={"folder": folder})

    def test_a_gpu_that_is_not_there(self, loaded, tiny):
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
        with pytest.raises(ModelError, match="device: cpu"):
            loaded(classifier={"folder": tiny("weather"), "device": "cuda:0"})
