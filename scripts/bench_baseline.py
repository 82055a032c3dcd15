"""The official baseline's network (a ViT-B/16, random weights made on the spot) behind two miners:
this one with its baseline profile, and a plain blocking one (scripts/plain_axon.py)."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from bench import Figure
from bench_judge import bundled

from natix_miner.demo.processes import MinerProcess, clean_environment, free_port
from natix_miner.demo.wallets import MINER, VALIDATOR, make_snapshot, make_wallet
from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body

ROOT = Path(__file__).parents[1]
RUNS = 3
AT_ONCE, QUERIES_AT_ONCE, QUERIES_ALONE = 16, 48, 12


@dataclass(frozen=True, slots=True)
class _Place:
    """A miner that listens: where, under which hotkey, and the key that asks."""

    port: int
    hotkey: str
    key: Any


def measure_baseline() -> list[Figure]:
    """Requests a second at concurrency 16 and the median time alone, of both, in turns."""
    pictures = bundled("cropped", "letterboxed")
    ours: list[tuple[float, float]] = []
    plain: list[tuple[float, float]] = []
    said: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_vit(folder / "vit")
        validator = make_wallet(folder / "wallets", VALIDATOR).hotkey
        miner = make_wallet(folder / "wallets", MINER).hotkey
        make_snapshot(folder / "chain.json", miner.ss58_address, validator.ss58_address)
        profile = _profile(folder, model)
        for _ in range(RUNS):
            with MinerProcess(profile, folder) as process:
                place = _Place(process.port, miner.ss58_address, validator)
                ours.append(asyncio.run(_measure(place, pictures)))
                said["ours"] = asyncio.run(_predictions(place, pictures))
            with _plain_axon(folder, model, miner.ss58_address, validator) as place:
                plain.append(asyncio.run(_measure(place, pictures)))
                said["plain"] = asyncio.run(_predictions(place, pictures))
    differences = [abs(a - b) for a, b in zip(said["ours"], said["plain"], strict=True)]
    decisions = [(a > 0.5) == (b > 0.5) for a, b in zip(said["ours"], said["plain"], strict=True)]
    return [
        Figure("baseline, 16 at once: this miner", tuple(r for r, _ in ours), "requests/s"),
        Figure("baseline, 16 at once: plain axon", tuple(r for r, _ in plain), "requests/s"),
        Figure(
            "baseline, 16 at once: ratio",
            tuple(a / b for (a, _), (b, _) in zip(ours, plain, strict=True)),
            "ratio",
            5.0,
            more_is_better=True,
        ),
        Figure("baseline, alone, p50: this miner", tuple(t for _, t in ours), "ms"),
        Figure("baseline, alone, p50: plain axon", tuple(t for _, t in plain), "ms"),
        Figure(
            "baseline, alone, p50: ratio",
            tuple(a / b for (_, a), (_, b) in zip(ours, plain, strict=True)),
            "ratio",
            0.3,
        ),
        Figure("baseline, largest difference of probability", (max(differences),), "", 0.02),
        Figure(
            "baseline, share of equal decisions",
            (sum(decisions) / len(decisions),),
            "",
            1.0,
            more_is_better=True,
        ),
    ]


def make_vit(folder: Path) -> Path:
    """A ViT-B/16 with random weights in the format of the official baseline."""
    import torch

    from natix_miner.torch_stack import make_torchvision_importable

    make_torchvision_importable()
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(72)
    labels = {0: "None", 1: "Roadwork"}
    config = ViTConfig(id2label=labels, label2id={name: i for i, name in labels.items()})
    model = ViTForImageClassification(config)
    # Narrow enough that probabilities stay off both ends, where no runtime could differ.
    torch.nn.init.normal_(model.classifier.weight, std=0.03)
    model.save_pretrained(folder)
    preprocessing = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTImageProcessor",
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": 224, "width": 224},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


def _profile(folder: Path, model: Path) -> Path:
    """configs/baseline.yaml with this model in the place of the operator's; journal and all."""
    content = yaml.safe_load((ROOT / "configs" / "baseline.yaml").read_text())
    content["experts"]["baseline"]["folder"] = str(model)
    path = folder / "baseline.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@contextmanager
def _plain_axon(folder: Path, model: Path, hotkey: str, validator: Any) -> Iterator[_Place]:
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "scripts" / "plain_axon.py"), "--model", str(model)),
            *("--wallets", str(folder / "wallets"), "--wallet", MINER),
            *("--validator", validator.ss58_address, "--port", str(port)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean_environment(),
    )
    try:
        if not any(line.strip() == "ready" for line in process.stdout or ()):
            raise SystemExit("the plain axon did not start: run scripts/plain_axon.py by hand")
        yield _Place(port, hotkey, validator)
    finally:
        process.kill()
        process.wait()


async def _ask(place: _Place, picture: bytes) -> float:
    headers = signed_headers(place.key, place.hotkey, time.time_ns())
    request = http_request(headers, synapse_body(picture))
    status, reply = await exchange("127.0.0.1", place.port, request)
    if status != 200:
        raise SystemExit(f"a miner answered {status}: {reply}")
    return float(reply["prediction"])


async def _predictions(place: _Place, pictures: list[bytes]) -> list[float]:
    return [await _ask(place, picture) for picture in pictures]


async def _measure(place: _Place, pictures: list[bytes]) -> tuple[float, float]:
    """(requests/s with 16 at once, median ms alone)."""
    await _ask(place, pictures[0])
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(index: int) -> None:
        async with gate:
            await _ask(place, pictures[index % len(pictures)])

    begun = time.perf_counter()
    await asyncio.gather(*(one(index) for index in range(QUERIES_AT_ONCE)))
    rate = QUERIES_AT_ONCE / (time.perf_counter() - begun)
    alone = []
    for index in range(QUERIES_ALONE):
        begun = time.perf_counter()
        await _ask(place, pictures[index % len(pictures)])
        alone.append((time.perf_counter() - begun) * 1000.0)
    return rate, sorted(alone)[len(alone) // 2]
