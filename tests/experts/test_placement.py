"""Where models run: what is cast and what is not, what is refused, one load for many."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from natix_miner.errors import ModelError
from natix_miner.experts.weights.placement import Placement, digest_of
from natix_miner.experts.weights.settings import ModelSettings
from natix_miner.experts.weights.shared import SharedModels

torch = pytest.importorskip("torch")


def settings(**more) -> ModelSettings:
    return ModelSettings.model_validate({"type": "any", "folder": "x", **more})


class TestPlacement:
    def test_weights_are_cast_and_rotary_frequencies_stay_exact(self, tiny):
        transformers = pytest.importorskip("transformers")
        model = transformers.AutoModel.from_pretrained(tiny("dinov3-backbone"))
        rotary = next(part for part in model.modules() if hasattr(part, "inv_freq"))
        before = rotary.inv_freq.clone()
        placed = Placement.of(settings(precision="bf16")).put(model)
        assert {p.dtype for p in placed.parameters()} == {torch.bfloat16}
        assert rotary.inv_freq.dtype == torch.float32
        assert torch.equal(rotary.inv_freq, before)
        assert not any(p.requires_grad for p in placed.parameters())

    def test_a_batch_is_cast_like_the_weights_and_whole_numbers_are_left_alone(self):
        placement = Placement.of(settings(precision="bf16"))
        sent = placement.send({"pixel_values": torch.ones(2, 3), "ids": torch.arange(3), "n": 5})
        assert sent["pixel_values"].dtype == torch.bfloat16
        assert sent["ids"].dtype == torch.int64
        assert sent["n"] == 5

    def test_nothing_is_recorded_for_gradients_while_running(self):
        weights = torch.ones(2, requires_grad=True)
        with Placement.of(settings()).running():
            assert not (weights * 2).requires_grad

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_gpu_that_is_not_there_is_told(self):
        with pytest.raises(ModelError, match=r"'cuda:1' is not there: torch sees 0 GPUs"):
            Placement.of(settings(device="cuda:1"))

    def test_the_digest_is_that_of_the_weights_alone(self):
        first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
        assert digest_of(first) != digest_of(second)
        second.load_state_dict(first.state_dict())
        assert digest_of(first) == digest_of(second)

    @pytest.mark.parametrize(
        ("section", "word"),
        [
            ({"precision": "fp16"}, "needs a GPU"),
            ({"device": "gpu"}, "device"),
            ({"model": "a/b"}, "not both"),
            ({"folder": None}, "either"),
            ({"revision": "0" * 40}, "a folder has no revision"),
            ({"folder": None, "model": "a/b", "revision": "main"}, "revision"),
        ],
    )
    def test_settings_that_cannot_work_are_refused(self, section, word):
        with pytest.raises(ValueError, match=word):
            settings(**section)


class TestSharedModels:
    def test_two_at_once_wait_for_one_load(self):
        models, entered, go_on, loads = SharedModels(), threading.Event(), threading.Event(), []

        def load() -> object:
            loads.append(1)
            entered.set()
            go_on.wait(10)
            return object()

        found: list[object] = []
        threads = [
            threading.Thread(target=lambda: found.append(models.acquire("key", load).value))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        assert entered.wait(10)
        go_on.set()
        for thread in threads:
            thread.join(10)
        assert loads == [1]
        assert found[0] is found[1]
        assert models.users("key") == 2

    def test_the_last_one_lets_it_go(self):
        models = SharedModels()
        first = models.acquire("key", lambda: np.zeros(3))
        models.acquire("key", lambda: np.ones(3))
        models.release("key")
        assert models.acquire("key", lambda: np.ones(3)).value is first.value
        models.release("key")
        models.release("key")
        assert models.users("key") == 0
        assert models.acquire("key", lambda: np.ones(3)).value is not first.value

    def test_a_load_that_fails_is_tried_again_by_the_next(self):
        models = SharedModels()

        def broken() -> object:
            raise ModelError("torn")

        with pytest.raises(ModelError, match="torn"):
            models.acquire("key", broken)
        assert models.users("key") == 0
        assert models.acquire("key", lambda: "whole").value == "whole"
