"""Does mending the picture help? AUC of the embedded experts with and without each step.

    scripts/ablate_front_end.py --queries DIR [--split dev] [--repeats 3] [--json FILE]

Every labelled picture is remade as each of the three generations (seeded), decoded as the miner
decodes it, and judged by every variant of every embedded expert. Printed: AUC, and the difference
to the expert's plain variant (`whole`) on the very same pictures with its 95 % interval over
pictures drawn anew with replacement (by picture, so that remakes of one stay together). Knows
nothing of levels or of the consensus.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from natix_miner.cli.tables import show_table
from natix_miner.errors import NatixMinerError
from natix_miner.experts.families.colour_shape import ColourShape, ColourShapeSettings
from natix_miner.experts.families.embedded_network import EmbeddedNetwork, EmbeddedNetworkSettings
from natix_miner.experts.family import Surroundings
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.images import Frame, decode_picture, measure, upright
from natix_miner.images.repair import Repair, repaired
from natix_miner.scoring import open_source
from natix_miner.scoring.simulation import simulated
from natix_miner.sections import PictureLimits

ROOT = Path(__file__).parents[1]
GENERATIONS = ("cropped", "letterboxed", "full-frame")
DRAWS = 1000
#: What an expert is compared with.
PLAIN = "whole"

#: Ways to look at a frame, as a profile says them.
NETWORK_VARIANTS: dict[str, dict[str, object]] = {
    PLAIN: {"views": ["whole"]},
    "upright (un-tilt, un-pad)": {"views": ["upright"]},
    "whole + mirrored": {"views": ["whole"], "mirror": True},
    "whole, contrast": {"views": ["whole"], "repair": ["contrast"]},
    "whole, darkness": {"views": ["whole"], "repair": ["darkness"]},
    "enlarged (upright, 448 px)": {"views": ["enlarged"]},
    "whole + tiles": {"views": ["whole", "tiles"]},
    "enlarged + tiles": {"views": ["enlarged", "tiles"]},
    "enlarged + tiles, most alarming": {"views": ["enlarged", "tiles"], "combine": "max"},
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A frame to judge; `picture` numbers the picture it was made from."""

    frame: Frame
    roadwork: bool
    picture: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with a message when the pictures cannot be used."""
    options = _options(arguments)
    rows: list[dict[str, object]] = []
    try:
        for generation in GENERATIONS:
            frames = remade(options.queries, options.split, generation, options.repeats)
            rows += ablation(generation, frames)
    except NatixMinerError as error:
        print(f"ablate_front_end: {error}", file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    show_table(
        ("generation", "expert", "looks at", "AUC", "against whole", "95 % interval"),
        [
            (
                str(row["generation"]),
                str(row["expert"]),
                str(row["looks at"]),
                f"{row['auc']:.3f}",
                f"{row['difference']:+.3f}",
                "" if row["looks at"] == PLAIN else f"{row['low']:+.3f} to {row['high']:+.3f}",
            )
            for row in rows
        ],
        title=f"split {options.split}, {options.repeats} remakes of each picture",
    )
    return 0


def remade(queries: Path, split: str, generation: str, repeats: int) -> list[Labelled]:
    """Every labelled picture as a validator of one generation would have sent it."""
    source = open_source(queries, split=split)
    found = []
    times = 1 if generation == "full-frame" else repeats
    for index, query in enumerate(source):
        if query.label is None:
            continue
        for repeat in range(times):
            sent = simulated(query.load(), generation, seed=0, index=index, repeat=repeat)
            frame = decode_picture(sent, PictureLimits(formats=("JPEG", "PNG", "WEBP")))
            found.append(Labelled(frame, bool(query.label), index))
    return found


def ablation(generation: str, frames: list[Labelled]) -> list[dict[str, object]]:
    """A row for every expert and variant on the frames of one generation."""
    surroundings = Surroundings(ROOT / "configs")
    rows = []
    experts: dict[str, dict[str, Callable[[Frame], float]]] = {
        "network": {name: _network(keys, surroundings) for name, keys in NETWORK_VARIANTS.items()},
        "colour": _colours(surroundings),
    }
    truth = np.array([labelled.roadwork for labelled in frames])
    groups = np.array([labelled.picture for labelled in frames])
    for expert, variants in experts.items():
        said = {
            name: np.array([judge(labelled.frame) for labelled in frames])
            for name, judge in variants.items()
        }
        for name, scores in said.items():
            low, high = interval(truth, scores, said[PLAIN], groups)
            rows.append(
                {
                    "generation": generation,
                    "expert": expert,
                    "looks at": name,
                    "pictures": len(set(groups.tolist())),
                    "frames": len(frames),
                    "auc": auc(truth, scores),
                    "difference": auc(truth, scores) - auc(truth, said[PLAIN]),
                    "low": low,
                    "high": high,
                }
            )
    return rows


def auc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Area under the receiver operating characteristic, by scikit-learn."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores))


def interval(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    plain: NDArray[np.float64],
    groups: NDArray[np.int64],
) -> tuple[float, float]:
    """95 % interval of the difference in AUC; pictures are drawn anew, each class by itself."""
    rng = np.random.default_rng(0)
    rows_of = {group: np.flatnonzero(groups == group) for group in np.unique(groups)}
    sides = [
        [rows for rows in rows_of.values() if truth[rows[0]] == wanted] for wanted in (True, False)
    ]
    differences = []
    for _ in range(DRAWS):
        drawn = np.concatenate(
            [side[i] for side in sides for i in rng.integers(0, len(side), len(side))]
        )
        differences.append(auc(truth[drawn], scores[drawn]) - auc(truth[drawn], plain[drawn]))
    low, high = np.percentile(differences, (2.5, 97.5))
    return float(low), float(high)


def _network(keys: dict[str, object], surroundings: Surroundings) -> Callable[[Frame], float]:
    settings = EmbeddedNetworkSettings.model_validate(
        {"model": "../models/embedded/network.onnx", **keys}
    )
    return _asked(EmbeddedNetwork("network", settings, surroundings))


def _colours(surroundings: Surroundings) -> dict[str, Callable[[Frame], float]]:
    settings = ColourShapeSettings(model=Path("../models/embedded/colour_shape.json"))
    judge = _asked(ColourShape("colour", settings, surroundings))
    return {
        PLAIN: judge,
        "upright (un-tilt, un-pad)": lambda frame: judge(_upright(frame)),
        "whole, contrast": lambda frame: judge(_mended(frame, "contrast")),
        "whole, darkness": lambda frame: judge(_mended(frame, "darkness")),
    }


def _asked(expert: InProcessExpert) -> Callable[[Frame], float]:
    expert.load()

    def judge(frame: Frame) -> float:
        look = expert.look_at([frame])[0]
        if isinstance(look, Exception):
            raise look
        if look.probability is None:
            raise ValueError(f"{expert.name} does not vote")
        return look.probability

    return judge


def _upright(frame: Frame) -> Frame:
    return _frame(upright(frame).pixels)


def _mended(frame: Frame, step: Repair) -> Frame:
    return _frame(repaired(frame.pixels, step))


def _frame(pixels: NDArray[np.uint8]) -> Frame:
    height, width = pixels.shape[:2]
    return Frame(pixels, width, height, "JPEG", measure(pixels, width, height))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--queries", type=Path, required=True, help="labelled pictures")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--repeats", type=int, default=3, help="remakes of each picture")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
