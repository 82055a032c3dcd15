"""The memory on a genuine index: a real journal, real bundled pictures, brute force beside it."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from natix_miner.clock import Deadline
from natix_miner.errors import ExpertError, MissingExtraError, ModelError
from natix_miner.experts.families.memory import Memory, MemorySettings
from natix_miner.experts.family import Surroundings, family_of
from natix_miner.experts.memory.building import Labelled, build_index
from natix_miner.experts.memory.bursts import Bursts
from natix_miner.experts.memory.features import (
    BackboneSection,
    ColourShapeSection,
    EmbeddedSection,
    load_features,
    proper,
)
from natix_miner.experts.memory.hashes import distances, hash_of
from natix_miner.experts.memory.index import Index, own_neighbours
from natix_miner.experts.memory.reliability import Told, holding
from natix_miner.experts.memory.storing import load_index, save_index
from natix_miner.experts.memory.voting import (
    copy_weights,
    neighbour_weights,
    novelty_of,
    share_of_roadwork,
    trust_of,
)
from natix_miner.experts.opinion import Look
from natix_miner.experts.weights.backbone import Backbone
from natix_miner.images import Frame, decode_picture
from natix_miner.images.distortions import distort
from natix_miner.images.generations import encode_jpeg, letterbox
from natix_miner.sections import PictureLimits

pytest.importorskip("imagehash", reason="needs the extra `memory`")
pytest.importorskip("safetensors")

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "natix_miner" / "demo" / "queries"
CONFIGS = Surroundings(ROOT / "configs")
Tiny = Callable[[str], Path]


class HandClock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now


def bundled(part: Callable[[int], bool] = lambda _: True) -> Iterator[Labelled]:
    rows = list(csv.DictReader((QUERIES / "manifest.csv").open(encoding="utf-8")))
    for number, row in enumerate(rows):
        if part(number):
            told = (Told(int(row["label"] == "roadwork"), "file"),)
            yield Labelled(row["file"], told, (QUERIES / row["file"]).read_bytes)


def every_other_pair(number: int) -> bool:
    return number // 2 % 2 == 0


def decoded(data: bytes) -> Frame:
    return decode_picture(data, PictureLimits())


def jpeg(pixels: np.ndarray, quality: int = 70) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=quality)
    return held.getvalue()


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of every other pair of bundled pictures; one of a pair has roadwork."""
    folder = tmp_path_factory.mktemp("memory") / "index"
    features = load_features("m", ColourShapeSection(), CONFIGS)
    pictures = bundled(every_other_pair)
    save_index(build_index(pictures, features, features="colour-shape", made_at=1.0), folder)
    return folder


@pytest.fixture(scope="module")
def inside() -> list[tuple[str, Frame]]:
    """Pictures that are in `halves`."""
    return [(one.id, decoded(one.load())) for one in bundled(lambda number: number % 8 in (0, 1))]


@pytest.fixture(scope="module")
def outside() -> list[tuple[str, Frame]]:
    """Pictures that are not."""
    return [(one.id, decoded(one.load())) for one in bundled(lambda number: number % 8 in (2, 3))]


def expert(folder: Path, clock: Any = None, **changes: Any) -> Memory:
    settings = MemorySettings(index=folder, **changes)
    surroundings = CONFIGS if clock is None else replace(CONFIGS, clock=clock)
    made = Memory("memory", settings, surroundings)
    made.load()
    return made


def look_of(memory: Memory, frame: Frame) -> Look:
    look = memory.look_at([frame])[0]
    assert isinstance(look, Look)
    return look


class TestVoting:
    def test_the_vote_of_three_neighbours_worked_by_hand(self) -> None:
        # median 2: w = 1 e^0, 0.5 e^-1, 1 e^-2; p = (0.5 + w1 + w3) / (1 + w1 + w2 + w3)
        weights = neighbour_weights(np.array([0.0, 2.0, 4.0]), np.array([1.0, 0.5, 1.0]))
        second, third = 0.5 / math.e, 1.0 / math.e**2
        assert weights == pytest.approx([1.0, second, third])
        said = share_of_roadwork(np.array([1, 0, 1]), weights, 1.0)
        assert said == pytest.approx((0.5 + 1.0 + third) / (2.0 + second + third))
        assert said == pytest.approx(0.705106, abs=1e-6)

    def test_neighbours_that_are_the_picture_itself_weigh_all_they_can(self) -> None:
        assert neighbour_weights(np.zeros(3), np.ones(3)).tolist() == [1.0, 1.0, 1.0]

    def test_both_labels_weigh_the_same_in_all(self, halves: Path) -> None:
        index = load_index(halves)
        uneven = replace(index, card=index.card.model_copy(update={"roadwork": 27, "none": 9}))
        assert uneven.balance() == pytest.approx([2.0, 2 / 3])
        assert index.balance() == pytest.approx([1.0, 1.0])

    def test_the_vote_of_copies_worked_by_hand(self) -> None:
        # 20 * 0.9 * (1 - 2/7) = 12.857; p = 13.357 / 13.857
        weights = copy_weights(np.array([2]), np.array([0.9]), 6)
        assert weights == pytest.approx([12.857142857])
        assert share_of_roadwork(np.array([1]), weights, 1.0) == pytest.approx(0.9639175)
        assert share_of_roadwork(np.array([0]), weights, 1.0) == pytest.approx(1 - 0.9639175)

    def test_nobody_to_ask_leaves_the_prior(self) -> None:
        nobody = neighbour_weights(np.zeros(0), np.zeros(0))
        assert share_of_roadwork(np.zeros(0, np.int64), nobody, 1.0) == 0.5

    def test_novelty_is_the_share_of_entries_that_are_nearer(self) -> None:
        own = np.array([1.0, 2.0, 3.0, 4.0])
        said = [novelty_of(d, own) for d in (0.5, 1.0, 2.5, 4.0, 4.1)]
        assert said == [0.0, 0.0, 0.5, 0.75, 1.0]

    def test_trust_falls_from_the_familiar_to_none(self) -> None:
        said = [trust_of(novelty, 0.8) for novelty in (0.0, 0.8, 0.9, 1.0)]
        assert said == pytest.approx([1.0, 1.0, 0.5, 0.0])


class TestReliability:
    RELIABLE = {"testnet": 1.0, "set": 0.9, "guess": 0.3}  # noqa: RUF012

    def test_one_source_is_as_reliable_as_it_is(self) -> None:
        assert holding([Told(1, "testnet", 5.0)], self.RELIABLE)[1] == 1.0
        assert holding([Told(1, "somebody", 5.0)], self.RELIABLE)[1] == 0.5

    def test_what_was_said_last_holds_and_disagreement_costs(self) -> None:
        told = [Told(0, "set", 9.0), Told(1, "testnet", 5.0)]
        newest, reliability = holding(told, self.RELIABLE)
        assert (newest.label, newest.source) == (0, "set")
        assert reliability == pytest.approx(0.9 * 0.9 / 1.9)

    def test_agreement_leaves_it_whole(self) -> None:
        told = [Told(1, "guess", 9.0), Told(1, "testnet", 5.0)]
        assert holding(told, self.RELIABLE)[1] == pytest.approx(0.3)

    def test_a_source_that_changed_its_mind_counts_once(self) -> None:
        told = [Told(0, "set", 1.0), Told(1, "set", 2.0), Told(1, "testnet", 1.5)]
        newest, reliability = holding(told, self.RELIABLE)
        assert (newest.label, reliability) == (1, pytest.approx(0.9))

    def test_of_two_at_the_same_moment_the_later_one_holds(self) -> None:
        assert holding([Told(0, "set", 1.0), Told(1, "me", 1.0)], self.RELIABLE)[0].label == 1


class TestHashes:
    def test_the_hash_is_the_sign_of_low_frequencies(self, squares: list[Frame]) -> None:
        """Reference: the cosine transform as matrices, on Pillow's 32 x 32 copy."""
        frequency, place = np.mgrid[0:8, 0:32]
        basis = np.cos(np.pi * frequency * (2 * place + 1) / 64)
        for frame in squares:
            picture = proper(frame)
            small = Image.fromarray(picture).convert("L").resize((32, 32), Image.Resampling.LANCZOS)
            low = basis @ np.asarray(small, np.float64) @ basis.T
            bits = "".join("1" if value > np.median(low) else "0" for value in low.ravel())
            found = hash_of(picture)
            assert found is not None
            # The middle values decide the median; rounding may turn them.
            assert (found ^ int(bits, 2)).bit_count() <= 2

    def test_distances_are_counted_bits(self) -> None:
        rng = np.random.default_rng(0)
        many = rng.integers(0, 2**64, 50, dtype=np.uint64)
        one = int(rng.integers(0, 2**64, dtype=np.uint64))
        assert distances(one, many).tolist() == [bin(one ^ int(h)).count("1") for h in many]
        assert distances(2**64 - 1, np.zeros(1, np.uint64)).tolist() == [64]

    def test_a_picture_without_structure_has_none(self, make_frame: Callable) -> None:
        assert hash_of(make_frame().pixels) is None


class TestIndex:
    def test_what_is_written_is_read(self, halves: Path, tmp_path: Path) -> None:
        index = load_index(halves)
        card = save_index(index, tmp_path)
        again = load_index(tmp_path)
        assert again.card == card == index.card
        for name in ("vectors", "labels", "reliabilities", "hashes", "own", "probe"):
            assert np.array_equal(getattr(again, name), getattr(index, name))
        assert len(again) == 36
        assert again.card.roadwork + again.card.none == 36

    def test_vectors_are_standardised(self, halves: Path) -> None:
        vectors = load_index(halves).vectors
        assert vectors.shape == (36, 55)
        varying = vectors[:, vectors.std(axis=0) > 0]
        assert varying.mean(axis=0) == pytest.approx(np.zeros(varying.shape[1]), abs=1e-4)
        assert varying.shape[1] > 40

    def test_writing_anew_leaves_no_old_numbers(self, halves: Path, tmp_path: Path) -> None:
        index = load_index(halves)
        save_index(index, tmp_path)
        other = replace(index, reliabilities=index.reliabilities / 2)
        save_index(other, tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
        assert load_index(tmp_path).reliabilities[0] == index.reliabilities[0] / 2

    def test_entries_near_themselves_are_not_their_own_neighbours(self) -> None:
        rng = np.random.default_rng(1)
        points = rng.normal(size=(60, 5)).astype(np.float32)
        points[7] = points[3]
        found = own_neighbours(points)
        apart = np.linalg.norm(points[:, None].astype(float) - points[None], axis=2)
        np.fill_diagonal(apart, np.inf)
        assert found == pytest.approx(np.sort(apart, axis=1)[:, :32], abs=1e-5)

    def test_half_precision_takes_half_and_says_the_same(
        self, tmp_path: Path, halves: Path, outside: list[tuple[str, Frame]]
    ) -> None:
        features = load_features("m", ColourShapeSection(), CONFIGS)
        pictures = bundled(every_other_pair)
        index = build_index(pictures, features, features="colour-shape", made_at=1.0, half=True)
        save_index(index, tmp_path)
        assert load_index(tmp_path).vectors.dtype == np.float16
        for _, frame in outside:
            said = look_of(expert(tmp_path), frame).probability
            assert said == pytest.approx(look_of(expert(halves), frame).probability, abs=0.02)

    def test_the_same_bytes_come_once_with_all_that_was_told(self) -> None:
        first, *others = bundled(lambda number: number < 20)
        again = Labelled("again", (Told(1 - first.told[0].label, "guess", -1.0),), first.load)
        features = load_features("m", ColourShapeSection(), CONFIGS)
        index = build_index([first, *others, again], features, features="c", made_at=1.0)
        assert len(index) == 20
        assert "again" not in index.card.ids
        assert index.reliabilities[0] == pytest.approx(0.9 * 0.9 / 1.2)

    def test_what_cannot_be_used_is_counted(self, make_frame: Callable) -> None:
        told = (Told(1, "file"),)
        flat = jpeg(make_frame().pixels)
        odd = [
            Labelled("flat", told, lambda: flat),
            Labelled("torn", told, lambda: b"no picture"),
            Labelled("gone", told, lambda: None),
            Labelled("silent", (), lambda: flat),
        ]
        features = load_features("m", ColourShapeSection(), CONFIGS)
        usual = list(bundled(lambda number: number < 4))
        index = build_index([*odd, *usual], features, features="c", made_at=1.0)
        assert index.card.left_out == {
            "no structure": 1,
            "not-a-picture": 1,
            "picture not kept": 1,
            "no label": 1,
        }

    def test_one_class_alone_is_refused(self) -> None:
        features = load_features("m", ColourShapeSection(), CONFIGS)
        only = [one for one in bundled(lambda n: n < 20) if one.told[0].label == 0]
        with pytest.raises(ModelError, match="0 labelled pictures with roadwork and 10 without"):
            build_index(only, features, features="c", made_at=1.0)
        with pytest.raises(ModelError, match="needs both"):
            build_index([], features, features="c", made_at=1.0)


class TestNeighbours:
    @pytest.mark.parametrize(("k", "balance"), [(1, True), (5, False), (15, True)])
    def test_the_vote_is_that_of_brute_force(
        self, halves: Path, outside: list[tuple[str, Frame]], k: int, balance: bool
    ) -> None:
        """Reference: all distances in numpy, neighbours by sorting, the formula written out."""
        from safetensors.numpy import load_file

        held = load_file(next(halves.glob("*.safetensors")))
        memory = expert(halves, k=k, duplicates="ignore", familiar=0.5, balance=balance)
        # As if the index were uneven: 24 of 36 with roadwork.
        card = memory._recall.index.card.model_copy(update={"roadwork": 24, "none": 12})
        memory._recall.index = replace(memory._recall.index, card=card)
        factors = (1.5, 0.75) if balance else (1.0, 1.0)
        features = load_features("m", ColourShapeSection(), CONFIGS)
        known = held["vectors"].astype(np.float64)
        apart = np.linalg.norm(known[:, None] - known[None], axis=2)
        np.fill_diagonal(apart, np.inf)
        own = np.sort(apart, axis=1)[:, k - 1]
        said = []
        for _, frame in outside:
            raw = features.of([proper(frame)])[0].astype(np.float64)
            vector = np.clip((raw - held["centre"]) / held["spread"], -8, 8)
            far = np.sqrt(((known - vector) ** 2).sum(axis=1))
            nearest = sorted(range(36), key=lambda entry: far[entry])[:k]
            middle = np.median(far[nearest])
            above, below = 0.5, 1.0
            for entry in nearest:
                weight = held["reliabilities"][entry] * math.exp(-far[entry] / middle)
                weight *= factors[held["labels"][entry]]
                above += weight * held["labels"][entry]
                below += weight
            look = look_of(memory, frame)
            assert look.probability == pytest.approx(above / below, abs=1e-5)
            novelty = sum(d < far[nearest[-1]] for d in own) / 36
            assert look.conditions["novelty"] == pytest.approx(novelty)
            assert look.trust == pytest.approx(min(1.0, 2 * (1 - novelty)))
            said.append(look.probability)
        assert max(said) - min(said) > 0.1

    def test_a_batch_says_the_same_as_one_by_one(
        self, halves: Path, inside: list[tuple[str, Frame]], outside: list[tuple[str, Frame]]
    ) -> None:
        frames = [frame for pair in zip(inside, outside, strict=True) for _, frame in pair]
        together = expert(halves, duplicates="ignore").look_at(frames)
        memory = expert(halves, duplicates="ignore")
        for look, frame in zip(together, frames, strict=True):
            alone = look_of(memory, frame)
            assert isinstance(look, Look)
            assert look.probability == pytest.approx(alone.probability, abs=1e-9)
            assert (look.detail, look.trust) == (alone.detail, alone.trust)

    def test_a_picture_like_nothing_known_counts_as_missing(
        self, halves: Path, make_frame: Callable, outside: list[tuple[str, Frame]]
    ) -> None:
        memory = expert(halves)
        rng = np.random.default_rng(0)
        vivid = rng.choice([0, 255], (224, 224, 3)).astype(np.uint8)
        strange = look_of(memory, make_frame(vivid))
        assert strange.trust == 0.0
        assert strange.conditions == {"novelty": 1.0, "seen-before": 0.0}
        assert max(look_of(memory, frame).trust for _, frame in outside) > 0.5

    def test_the_nearest_are_in_the_trace(
        self, halves: Path, outside: list[tuple[str, Frame]]
    ) -> None:
        look = look_of(expert(halves), outside[0][1])
        assert len(look.evidence) == 3
        assert all(one.what.startswith("like ") for one in look.evidence)
        assert look.evidence[0].score >= look.evidence[2].score > 0.0
        assert "of 15 neighbours roadwork" in look.detail

    def test_features_that_are_no_numbers_fail_that_picture_alone(
        self, halves: Path, outside: list[tuple[str, Frame]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        memory = expert(halves)
        features = memory._recall._features  # type: ignore[union-attr]
        genuine = features.of

        def broken(pictures: list) -> np.ndarray:
            vectors = genuine(pictures)
            vectors[0, 3] = np.nan
            return vectors

        monkeypatch.setattr(features, "of", broken)
        first, second = memory.look_at([outside[0][1], outside[1][1]])
        assert isinstance(first, ExpertError)
        assert isinstance(second, Look)


class TestSeenBefore:
    @pytest.fixture(
        params=["same", "re-encoded", "shrunk", "brightened", "distorted", "letterboxed"]
    )
    def copied(self, request: pytest.FixtureRequest) -> Callable[[Frame], Frame]:
        def copy(frame: Frame) -> Frame:
            pixels = frame.pixels
            height, width = pixels.shape[:2]
            if request.param == "same":
                return frame
            if request.param == "shrunk":
                size = (round(width * 0.9), round(height * 0.9))
                pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            if request.param == "brightened":
                pixels = cv2.convertScaleAbs(pixels, alpha=1.08, beta=6)
            if request.param == "distorted":
                steps = [("saturation", 1), ("contrast", 2), ("noise", 1)]
                pixels = distort(pixels, steps, np.random.default_rng(0))
            if request.param == "letterboxed":
                return decoded(encode_jpeg(letterbox(pixels)))
            return decoded(jpeg(pixels))

        return copy

    def test_a_copy_is_seen_before_and_its_label_decides(
        self,
        halves: Path,
        inside: list[tuple[str, Frame]],
        copied: Callable[[Frame], Frame],
        request: pytest.FixtureRequest,
    ) -> None:
        memory = expert(halves)
        card, labels = load_index(halves).card, load_index(halves).labels
        upright_ones = [pair for pair in inside if not pair[1].geometry.tilt_degrees]
        assert len(upright_ones) >= 4
        for name, frame in upright_ones:
            look = look_of(memory, copied(frame))
            label = int(labels[card.ids.index(name)])
            word = ("none", "roadwork")[label]
            assert f"seen before: {name}, labelled {word}, hash distance " in look.detail
            assert look.probability is not None
            assert abs(look.probability - label) < 0.2
            assert look.trust == 1.0
            assert look.conditions == {"novelty": 0.0, "seen-before": 1.0}
            assert look.evidence[0].what == f"copy of {name}: {word}"

    def test_the_same_picture_differs_in_no_bit(
        self, halves: Path, inside: list[tuple[str, Frame]]
    ) -> None:
        look = look_of(expert(halves), inside[0][1])
        assert "hash distance 0" in look.detail
        # (0.5 + 20 * 0.9) / (1 + 20 * 0.9), or its complement
        assert max(look.probability, 1 - look.probability) == pytest.approx(18.5 / 19)

    def test_other_pictures_were_not(self, halves: Path, outside: list[tuple[str, Frame]]) -> None:
        memory = expert(halves)
        for _, frame in outside:
            look = look_of(memory, frame)
            assert "seen before" not in look.detail
            assert look.conditions["seen-before"] == 0.0

    def test_ignored_copies_leave_an_honest_vote(
        self, tmp_path: Path, halves: Path, inside: list[tuple[str, Frame]]
    ) -> None:
        """Reference: an index that was built without the picture."""
        name, frame = inside[1]
        features = load_features("m", ColourShapeSection(), CONFIGS)
        index = load_index(halves)
        left = np.array([one != name for one in index.card.ids])
        ids = tuple(one for one in index.card.ids if one != name)
        without: Index = replace(
            index,
            card=index.card.model_copy(update={"ids": ids}),
            vectors=index.vectors[left],
            labels=index.labels[left],
            reliabilities=index.reliabilities[left],
            hashes=index.hashes[left],
        )
        save_index(without, tmp_path)
        ignoring = look_of(expert(halves, duplicates="ignore"), frame)
        never = look_of(expert(tmp_path), frame)
        assert ignoring.probability == pytest.approx(never.probability, abs=1e-6)
        assert ignoring.trust == pytest.approx(never.trust)
        assert ignoring.conditions["seen-before"] == 0.0
        assert "(left out)" in ignoring.detail
        assert "seen before" not in never.detail
        assert features.version == index.card.features_version


class TestBursts:
    def test_askings_within_the_window_are_counted(
        self, halves: Path, outside: list[tuple[str, Frame]]
    ) -> None:
        clock = HandClock()
        memory = expert(halves, clock, burst_seconds=60.0)
        frame, other = outside[0][1], outside[1][1]
        first = look_of(memory, frame)
        assert "asked" not in first.detail
        clock.now += 30.0
        assert "asked" not in look_of(memory, other).detail
        clock.now += 10.0
        copy = decoded(jpeg(frame.pixels))
        assert "asked 2 times in the last 40 s" in look_of(memory, copy).detail
        clock.now += 30.0  # the first was 70 s ago
        third = look_of(memory, frame)
        assert "asked 2 times in the last 30 s" in third.detail
        assert third.probability == first.probability

    def test_copies_in_one_batch_count(self, halves: Path, squares: list[Frame]) -> None:
        looks = expert(halves).look_at([squares[1]] * 3)
        assert [look.detail.rpartition("; ")[2] for look in looks][1:] == [
            "asked 2 times in the last 0 s",
            "asked 3 times in the last 0 s",
        ]

    def test_memory_is_bounded_however_much_is_asked(self) -> None:
        bursts = Bursts(distance=6, seconds=120.0, most=512)
        held = bursts.bytes_held
        hashes = np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64)
        bursts.asked(int(hashes[0]), 0.0)
        for number, one in enumerate(hashes.tolist()):
            said = bursts.asked(one, number / 1000)
            assert said.times <= 2
        assert bursts.bytes_held == held == 512 * 16
        again = bursts.asked(int(hashes[-1]), 100.0)
        assert (again.times, again.bounded) == (2, True)
        assert "at least 2 times" in again.told()

    def test_a_slow_stream_is_not_called_bounded(self) -> None:
        bursts = Bursts(distance=0, seconds=10.0, most=4)
        for number in range(20):
            said = bursts.asked(number % 2, number * 6.0)
        assert said.times == 1
        assert not said.bounded


class TestFeatures:
    def test_embedded_features_add_sorted_patch_scores(self, squares: list[Frame]) -> None:
        pictures = [proper(frame) for frame in squares]
        plain = load_features("m", ColourShapeSection(), CONFIGS).of(pictures)
        more = load_features("m", EmbeddedSection(), CONFIGS).of(pictures)
        assert more.shape == (6, 55 + 49)
        assert np.array_equal(more[:, :55], plain)
        assert (np.diff(more[:, 55:], axis=1) >= 0).all()
        assert more[:, 55:].std() > 0.1

    def test_the_first_numbers_are_those_of_the_colour_shape_expert(
        self, squares: list[Frame]
    ) -> None:
        from natix_miner.experts.colour_shape import features
        from natix_miner.images import measure

        frame = squares[0]
        picture = proper(frame)
        vector = load_features("m", ColourShapeSection(), CONFIGS).of([picture])[0]
        height, width = picture.shape[:2]
        seen = features(picture, replace(measure(picture, width, height), padding_top=0))
        assert vector[:22] == pytest.approx(seen.picture)
        assert len(seen.regions) == 0 or vector[22:49] == pytest.approx(seen.regions[0])

    def test_a_missing_network_is_a_model_error(self) -> None:
        with pytest.raises(ModelError, match=r"no network at .*nowhere\.onnx"):
            load_features("m", EmbeddedSection(network=Path("nowhere.onnx")), CONFIGS)

    def test_a_network_of_another_kind_is_a_model_error(self, tmp_path: Path) -> None:
        (tmp_path / "x.onnx").write_bytes(b"not onnx")
        with pytest.raises(ModelError, match="does not load"):
            load_features("m", EmbeddedSection(network=tmp_path / "x.onnx"), CONFIGS)


@pytest.fixture(scope="module")
def backbone_folder(tiny: Tiny) -> Path:
    pytest.importorskip("transformers", reason="needs the extra `detectors`")
    return tiny("dinov3-backbone")


@pytest.fixture(scope="module")
def backbone_index(backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("backbone") / "index"
    features = load_features("m", BackboneSection(folder=backbone_folder), Surroundings(Path("/")))
    pictures = bundled(every_other_pair)
    save_index(build_index(pictures, features, features="backbone", made_at=1.0), where)
    features.close()
    return where


class TestBackbone:
    """On a tiny DINOv3 as transformers saves it."""

    def test_the_nearest_are_those_of_the_smallest_angle(
        self, backbone_folder: Path, backbone_index: Path, outside: list[tuple[str, Frame]]
    ) -> None:
        """Reference: cosines of the backbone's own vectors of the pictures."""
        section = BackboneSection(folder=backbone_folder)
        surroundings = Surroundings(Path("/"))
        backbone = Backbone.load("reference", section, surroundings)
        names, seen = zip(
            *((one.id, proper(decoded(one.load()))) for one in bundled(every_other_pair)),
            strict=True,
        )
        known = backbone.of(list(seen)).astype(np.float64)
        known /= np.linalg.norm(known, axis=1, keepdims=True)
        memory = expert(backbone_index, features=section, k=3, duplicates="ignore")
        for _, frame in outside[:4]:
            vector = backbone.of([proper(frame)])[0].astype(np.float64)
            cosines = known @ vector / np.linalg.norm(vector)
            nearest = [names[entry] for entry in np.argsort(-cosines)[:3]]
            said = [one.what.split(": ")[0] for one in look_of(memory, frame).evidence]
            assert said == [f"like {name}" for name in nearest]
        assert load_index(backbone_index).card.scaling == "normalised"

    def test_weights_are_shared_and_given_back(
        self, backbone_folder: Path, backbone_index: Path
    ) -> None:
        surroundings = Surroundings(Path("/"))
        section = BackboneSection(folder=backbone_folder)
        other = Backbone.load("other", section, surroundings)
        memory = Memory("m", MemorySettings(index=backbone_index, features=section), surroundings)
        memory.load()
        (key,) = surroundings.models._users
        assert surroundings.models.users(key) == 2
        asyncio.run(memory.close())
        asyncio.run(memory.close())
        assert surroundings.models.users(key) == 1
        other.close()
        assert surroundings.models.users(key) == 0

    def test_another_feature_or_other_weights_are_refused(
        self, backbone_folder: Path, backbone_index: Path, halves: Path
    ) -> None:
        surroundings = Surroundings(Path("/"))
        for where, changes in ((backbone_index, {"feature": "mean"}), (halves, {})):
            section = BackboneSection(folder=backbone_folder, **changes)
            memory = Memory("m", MemorySettings(index=where, features=section), surroundings)
            with pytest.raises(ModelError, match=r"build the index anew"):
                memory.load()
        assert not surroundings.models._users

    def test_a_folder_without_a_model_is_a_model_error(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"config\.json is missing"):
            load_features("m", BackboneSection(folder=tmp_path), CONFIGS)

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"views": ["tiles"]}, "features have no views"),
            ({"timeout_seconds": 1.0}, "features have no timeout_seconds"),
            ({"feature": "tokens"}, "feature"),
            ({"model": "b"}, "not both"),
        ],
    )
    def test_settings_that_cannot_work_are_refused(self, changes: dict, word: str) -> None:
        section = {"type": "backbone", "folder": "a", **changes}
        with pytest.raises(ValidationError, match=word):
            MemorySettings.model_validate({"index": "x", "features": section})


class TestFamily:
    def test_it_is_found_and_runs_in_the_demonstration(
        self, tiny: Tiny, squares: list[Frame]
    ) -> None:
        from tiny_models import memory as module

        model, section = module.EXPERTS["memory"]
        family = family_of("memory")
        settings = family.settings.model_validate({**section, "index": tiny(model)})

        async def run() -> Look:
            made = family.build("memory", settings, Surroundings(Path("/")))
            await made.start()
            try:
                assert made.version.partition(":")[0] != "not loaded"
                assert [view.name for view in made.views(squares[0])] == ["upright"]
                return await made.look(squares[0], Deadline.after(60))
            finally:
                await made.close()

        look = asyncio.run(run())
        assert look.conditions["seen-before"] == 1.0

    def test_it_cannot_be_asked_before_it_is_loaded(
        self, halves: Path, squares: list[Frame]
    ) -> None:
        memory = Memory("memory", MemorySettings(index=halves), CONFIGS)
        with pytest.raises(ModelError, match="before it was loaded"):
            memory.look_at(squares)

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"k": 0}, "k"),
            ({"k": 33}, "k"),
            ({"familiar": 1.0}, "familiar"),
            ({"prior": 0.0}, "prior"),
            ({"near_duplicate_distance": 17}, "near_duplicate_distance"),
            ({"features": {"type": "smell"}}, "smell"),
            ({"features": {"type": "colour-shape", "network": "x"}}, "network"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_settings_that_cannot_work_are_refused(self, changes: dict, word: str) -> None:
        with pytest.raises(ValidationError, match=word):
            MemorySettings.model_validate({"index": "x", **changes})


class TestWhatIsWrong:
    @pytest.fixture
    def copy(self, halves: Path, tmp_path: Path) -> Path:
        folder = tmp_path / "copy"
        folder.mkdir()
        for file in halves.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return folder

    def changed(self, folder: Path, **values: Any) -> Path:
        card = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps({**card, **values}))
        return folder

    def test_no_index(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"index\.json is missing.*natix-miner memory build"):
            expert(tmp_path)

    def test_vectors_that_are_missing(self, copy: Path) -> None:
        next(copy.glob("*.safetensors")).unlink()
        with pytest.raises(ModelError, match="cannot read the vectors"):
            expert(copy)

    def test_torn_vectors(self, copy: Path) -> None:
        vectors = next(copy.glob("*.safetensors"))
        vectors.write_bytes(vectors.read_bytes()[:-100])
        with pytest.raises(ModelError, match="build it anew"):
            expert(copy)

    @pytest.mark.parametrize("data", [b"nothing of the kind", b""])
    def test_another_file_under_the_right_digest(self, copy: Path, data: bytes) -> None:
        vectors = next(copy.glob("*.safetensors"))
        vectors.write_bytes(data)
        self.changed(copy, vectors_sha256=hashlib.sha256(data).hexdigest())
        with pytest.raises(ModelError, match="holds no index"):
            expert(copy)

    @pytest.mark.parametrize(
        ("values", "word"),
        [
            ({"format_version": 2}, "format_version"),
            ({"format": "something"}, "format"),
            ({"roadwork": 0}, "roadwork"),
            ({"vectors": "../../elsewhere.safetensors"}, "vectors"),
            ({"surprise": 1}, "surprise"),
            ({"ids": ["one"]}, "shape"),
        ],
    )
    def test_a_card_that_is_not_ours(self, copy: Path, values: dict, word: str) -> None:
        with pytest.raises(ModelError, match=word):
            expert(self.changed(copy, **values))

    def test_an_index_of_other_features(self, halves: Path) -> None:
        with pytest.raises(ModelError, match=r"made with features colour-shape .*build .*anew"):
            expert(halves, features=EmbeddedSection())

    def test_features_that_changed_under_the_same_version(self, copy: Path, halves: Path) -> None:
        index = load_index(halves)
        moved = replace(index, probe=index.probe + index.scale.spread)
        save_index(moved, copy)
        with pytest.raises(ModelError, match="describe the test picture otherwise"):
            expert(copy)

    def test_more_neighbours_than_there_are(self, tmp_path: Path) -> None:
        features = load_features("m", ColourShapeSection(), CONFIGS)
        pictures = bundled(lambda number: number < 6)
        save_index(build_index(pictures, features, features="c", made_at=1.0), tmp_path)
        with pytest.raises(ModelError, match=r"holds 6 pictures.*k is 15"):
            expert(tmp_path)
        assert expert(tmp_path, k=5).version

    @pytest.mark.parametrize("package", ["imagehash", "safetensors"])
    def test_a_missing_package_names_the_extra(
        self, halves: Path, monkeypatch: pytest.MonkeyPatch, package: str
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, "safetensors.numpy", raising=False)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[memory\]"):
            expert(halves)
