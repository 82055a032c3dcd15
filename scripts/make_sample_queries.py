"""Draw the bundled sample queries: all three generations, both labels, nothing but drawings.

    python scripts/make_sample_queries.py --out natix_miner/demo/queries

Writes JPEG files of quality 75 and ``manifest.csv`` (file, label, generation, split).
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import cv2
import numpy as np

from natix_miner.errors import ConfigurationError
from natix_miner.images.generations import encode_jpeg, simulate
from natix_miner.scenes import draw_scene

SEED = 7_200_001
FRAMES = ((448, 336), (448, 252), (384, 384))
FULL = ((1024, 1024), (1920, 1080), (1024, 1024))
HUGE = (4032, 3024)


def make(out: Path, per_generation: int, seed: int) -> int:
    """Write the pictures and their manifest; returns the bytes written.

    ``per_generation`` is even and at least 4; of the full frames the last two are
    4032 x 3024. Raises ``ConfigurationError`` for another number.
    """
    if per_generation < 4 or per_generation % 2:
        raise ConfigurationError(f"need an even number of at least 4, got {per_generation}")
    out.mkdir(parents=True, exist_ok=True)
    rows, total = [], 0
    for order, generation in enumerate(("cropped", "letterboxed", "full-frame")):
        for index in range(per_generation):
            rng = np.random.default_rng((seed, order, index))
            roadwork = index % 2 == 0
            width, height = FRAMES[index % len(FRAMES)]
            if generation == "full-frame":
                width, height = FULL[index % len(FULL)]
                if index >= per_generation - 2:
                    width, height = HUGE
            scene = draw_scene(rng, width, height, roadwork)
            pixels, _ = simulate(scene.pixels, generation, rng, scene.keep_point)
            data = encode_jpeg(pixels)
            name = f"{generation}-{index:02d}.jpg"
            (out / name).write_bytes(data)
            total += len(data)
            rows.append((name, "roadwork" if roadwork else "none", generation, "demo"))
    with (out / "manifest.csv").open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("file", "label", "generation", "split"))
        writer.writerows(rows)
    return total


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and draw; 0 when written, 2 on bad options."""
    parser = argparse.ArgumentParser(description="Draw the bundled sample queries.")
    parser.add_argument("--out", type=Path, default=Path("natix_miner/demo/queries"))
    parser.add_argument("--per-generation", type=int, default=24)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    try:
        total = make(options.out, options.per_generation, options.seed)
    except ConfigurationError as error:
        print(f"make_sample_queries: {error}", file=sys.stderr)
        return 2
    print(f"{3 * options.per_generation} pictures, {total / 1e6:.2f} MB in {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
