"""Make the tiny vision-language model from nothing, train it on the CPU and write its folder.

    python scripts/train_tiny_vlm.py --street DIR --out models/tiny-vlm
    python scripts/train_tiny_vlm.py --untrained --out DIR
    python scripts/train_tiny_vlm.py --measure --street DIR --out models/tiny-vlm

Without ``--street`` it trains on drawn scenes alone. One training thread and one process that
draws scenes; ``--minutes`` steers the learning rate, so that the same options give a similar
model, not the same bits. While it trains, the weights in ``--out`` are replaced now and then.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2

from natix_miner.errors import NatixMinerError
from natix_miner.training.samples import Mixture, Picture, held_out, load_street
from natix_miner.training.tiny_vlm.architecture import make_model, parameters_of
from natix_miner.training.tiny_vlm.folder import WEIGHTS, load_model, save_weights, write_folder
from natix_miner.training.tiny_vlm.loop import Model, Plan, train
from natix_miner.training.tiny_vlm.teacher import Teacher

FIGURES = "figures.json"
#: The clips never trained on, as with the embedded network (`held_out` adds whole drives).
HELD_FOLD = "1"


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, train, write; 0 when all is written, 2 on bad input."""
    options = _options(argv)
    try:
        run(options)
    except NatixMinerError as error:
        print(f"train_tiny_vlm: {error}", file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace) -> None:
    """Do everything the options ask for."""
    cv2.setNumThreads(1)
    if not options.measure:
        _make(options)
    if not options.untrained:
        _measure(options)


def _make(options: argparse.Namespace) -> None:
    model = load_model(options.start) if options.start else make_model(options.seed)
    _say(f"{parameters_of(model)} parameters")
    taught = [] if options.untrained else _pictures(options.street)[0]
    write_folder(model, options.out)
    if options.untrained:
        _say(f"untrained model in {options.out}")
        return
    teacher = Teacher(options.teacher) if taught else None
    plan = Plan(
        seed=options.seed,
        minutes=options.minutes,
        steps=options.steps,
        looking=options.looking,
        worker=not options.trial,
        shrink=4 if options.trial else 1,
    )

    def snapshot(shot: Model) -> None:
        save_weights(shot, options.out / WEIGHTS)
        _say(f"snapshot in {options.out}")

    mixture = Mixture(tuple(taught), real_share=options.real_share)
    model, costs = train(plan, model, mixture, teacher, _say, snapshot)
    save_weights(model, options.out / WEIGHTS)
    _say(f"{len(costs)} steps, written to {options.out}")


def _measure(options: argparse.Namespace) -> None:
    """Write the folder's figures to ``figures.json`` and print the tables of its card."""
    from natix_miner.training.tiny_vlm.card import tables
    from natix_miner.training.tiny_vlm.evaluation import all_figures

    _, held, second = _pictures(options.street)
    count, resamples = (4, 20) if options.trial else (300, 500)
    made = all_figures(options.out, options.queries, held, second, count, _say, resamples)
    (options.out / FIGURES).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print("\n\n".join(tables(made)))


def _pictures(street: Path | None) -> tuple[list[Picture], list[Picture], list[Picture]]:
    """Real pictures to train on, held-out ones and the second look; none without a folder."""
    if street is None:
        _say("no folder of real pictures (--street): drawn scenes alone")
        return [], [], []
    real = load_street(street, "train")
    taught, held = held_out(real, HELD_FOLD)
    _say(f"{len(taught)} real pictures to train on, {len(held)} held out")
    return taught, held, load_street(street, "dev")


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--street", type=Path, help="folder of real pictures with manifest.csv")
    parser.add_argument("--out", type=Path, default=Path("models/tiny-vlm"))
    parser.add_argument("--seed", type=int, default=72)
    parser.add_argument("--minutes", type=float, default=31.0, help="how long to train")
    parser.add_argument("--steps", type=int, default=1_000_000, help="or so many steps at most")
    parser.add_argument(
        "--looking", type=float, default=0.4, help="share that teaches windows only"
    )
    parser.add_argument("--start", type=Path, help="a model folder to go on from")
    parser.add_argument("--real-share", type=float, default=0.3)
    parser.add_argument(
        "--teacher",
        type=Path,
        default=Path("models/embedded/network.safetensors"),
        help="weights of the network that points at the roadwork in real pictures",
    )
    parser.add_argument(
        "--queries",
        type=Path,
        default=Path("natix_miner/demo/queries"),
        help="bundled pictures to measure on",
    )
    parser.add_argument("--measure", action="store_true", help="do not train, only measure")
    parser.add_argument("--untrained", action="store_true", help="write the folder, do not train")
    parser.add_argument("--trial", action="store_true", help="tiny batches, no worker process")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
