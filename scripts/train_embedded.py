"""Train the embedded network on the CPU and write it with its figures.

    python scripts/train_embedded.py --street DIR --out models/embedded

Without ``--street`` it trains on drawn scenes alone. One training thread and one process
that draws scenes; the result follows from ``--seed`` and ``--steps``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2

from natix_miner.errors import NatixMinerError
from natix_miner.images.network_input import LONG_SIDE, SHORT_SIDE_MIN
from natix_miner.training import evaluation as ev
from natix_miner.training.export import (
    INPUT,
    OUTPUTS,
    load_weights,
    save_description,
    save_onnx,
    save_weights,
)
from natix_miner.training.loop import Plan, train
from natix_miner.training.network import DEVIATION, MEAN, STRIDE, PatchNetwork
from natix_miner.training.samples import HELD_GROUPS, Mixture, Picture, held_out, load_street

GENERATIONS = ("cropped", "letterboxed", "full-frame")
DRAWN_SEED, CALIBRATION_SEED, SIMULATION_SEED = 900_001, 900_002, 900_003


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, train, measure, write; 0 when all is written, 2 on bad input."""
    options = _options(argv)
    try:
        run(options)
    except NatixMinerError as error:
        print(f"train_embedded: {error}", file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace) -> None:
    """Do everything the options ask for."""
    cv2.setNumThreads(1)
    started = time.monotonic()
    real = load_street(options.street, "train") if options.street else []
    taught, held = held_out(real, options.hold_fold)
    _say(f"{len(taught)} real pictures to train on, {len(held)} held out")
    mixture = Mixture(tuple(taught), real_share=options.real_share)
    plan = Plan(
        steps=options.steps, seed=options.seed, minutes=options.minutes,
        shrink=8 if options.trial else 1, worker=not options.trial,
        balanced=options.balanced,
    )  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    network, steps = train(
        plan,
        mixture,
        _say,
        lambda shot: _snapshot(shot, options.out / "snapshot.safetensors"),
        load_weights(options.start) if options.start else None,
    )
    (options.out / "snapshot.safetensors").unlink(missing_ok=True)
    minutes = (time.monotonic() - started) / 60
    network = save_weights(network, options.out / "network.safetensors")
    version = save_onnx(network, options.out / "network.onnx")
    _say(f"written after {minutes:.1f} min, version {version[:12]}; measuring")
    calibration, source = _calibration(network, held, options.trial)
    description = {
        "version": version,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "input": {
            "name": INPUT, "type": "uint8", "shape": ["n", 3, "height", "width"], "colour": "RGB",
            "rule": f"natix_miner.images.network_input: longer side shrunk to {LONG_SIDE} with area"
                    f" averaging, never enlarged, black padding to at least {SHORT_SIDE_MIN}",
            "normalisation": {"inside_the_graph": True, "mean": MEAN, "deviation": DEVIATION},
        },
        "outputs": {OUTPUTS[0]: ["n"], OUTPUTS[1]: ["n", "ceil(height/8)", "ceil(width/8)"]},
        "stride": STRIDE,
        "calibration": {"slope": round(calibration.slope, 5),
                        "offset": round(calibration.offset, 5), "fitted_on": source},
        "training": {
            "seed": options.seed, "went_on_from_earlier_weights": options.start is not None,
            "balanced_loss": options.balanced, "steps": steps, "minutes": round(minutes, 1),
            "drawn_scenes": True, "real_pictures": len(taught),
            "real_share": options.real_share if taught else 0.0,
            "held_out": {"fold": options.hold_fold, "groups": list(HELD_GROUPS),
                         "pictures": len(held)} if held else None,
        },
        "figures": _figures(network, calibration, taught, held, options),
    }  # fmt: skip
    save_description(options.out / "network.json", description)
    print(json.dumps(description["figures"], indent=1))
    _say(f"done after {(time.monotonic() - started) / 60:.1f} min")


def _figures(
    network: PatchNetwork,
    calibration: ev.Calibration,
    taught: list[Picture],
    held: list[Picture],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Network and colour baseline on drawn scenes, held-out clips and the second look."""
    made: dict[str, Any] = {}
    count, resamples = (4, 20) if options.trial else (300, 500)
    second = load_street(options.street, "dev") if options.street else []
    for generation in GENERATIONS:
        sets = {"drawn": ev.drawn(count, generation, DRAWN_SEED)}
        if held:
            sets["held_out_clips"] = ev.simulated(held, generation, SIMULATION_SEED, 3)
        if second:
            sets["second_look"] = ev.simulated(second, generation, SIMULATION_SEED, 3)
        baseline = None
        if taught:
            shown = ev.simulated(taught, generation, SIMULATION_SEED + 1, 2)
            baseline = ev.ColourBaseline(shown, options.seed)
        for name, pictures in sets.items():
            labels, logits = ev.labels_of(pictures), ev.score(network, pictures)
            probabilities = calibration.probability(logits)
            if name == "held_out_clips":  # never with a calibration that saw the same clip
                probabilities = ev.calibrated_by_group(logits, pictures)
            row: dict[str, Any] = {
                "network": ev.figures(labels, probabilities, resamples=resamples)
            }
            if baseline is not None:
                row["colour_baseline"] = ev.figures(
                    labels, baseline.probability(pictures), resamples=resamples
                )
            made.setdefault(name, {})[generation] = row
            _say(f"{name} {generation}: {row['network']}")
    return made


def _calibration(
    network: PatchNetwork, held: list[Picture], trial: bool
) -> tuple[ev.Calibration, str]:
    """From held-out clips in all generations where there are any, else from fresh drawings."""
    if held:
        shown = [p for g in GENERATIONS for p in ev.simulated(held, g, CALIBRATION_SEED, 2)]
        source = "held-out clips, three generations"
    else:
        count = 4 if trial else 200
        shown = [p for g in GENERATIONS for p in ev.drawn(count, g, CALIBRATION_SEED)]
        source = "drawn scenes, three generations"
    return ev.calibrate(ev.score(network, shown), ev.labels_of(shown)), source


def _snapshot(network: PatchNetwork, path: Path) -> None:
    save_weights(network, path)
    _say(f"snapshot in {path}")


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--street", type=Path, help="folder of real pictures with manifest.csv")
    parser.add_argument("--out", type=Path, default=Path("models/embedded"))
    parser.add_argument("--seed", type=int, default=72)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--minutes", type=float, default=55.0, help="stop training after this")
    parser.add_argument("--real-share", type=float, default=0.3)
    parser.add_argument("--start", type=Path, help="weights (safetensors) to go on from")
    parser.add_argument("--balanced", action="store_true", help="equal weight for both classes")
    parser.add_argument("--hold-fold", default="1", help="clips of this fold are never trained on")
    parser.add_argument("--trial", action="store_true", help="tiny batches, no worker process")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
