"""A memory of labelled pictures: an index made from the bundled queries.

Genuine in all but its size: 72 pictures, described by colour and shape. Judging the bundled queries
with it only shows that it finds them again.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "natix_miner" / "demo" / "queries"
#: Wherever the profile lies, the fitted file is that of the checkout.
FEATURES = {
    "type": "colour-shape",
    "model": str(ROOT / "models" / "embedded" / "colour_shape.json"),
}
#: When the bundled queries were labelled, as far as the index is concerned: always the same.
MADE_AT = 1_760_000_000.0


def bundled() -> Iterator:
    """The bundled queries with their labels."""
    from natix_miner.experts.memory.building import Labelled
    from natix_miner.experts.memory.reliability import Told

    with (QUERIES / "manifest.csv").open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            told = (Told(int(row["label"] == "roadwork"), "file"),)
            yield Labelled(row["file"], told, (QUERIES / row["file"]).read_bytes)


def memory(folder: Path) -> None:
    """The index of the bundled queries."""
    from natix_miner.experts.family import Surroundings
    from natix_miner.experts.memory.building import build_index
    from natix_miner.experts.memory.features import ColourShapeSection, load_features
    from natix_miner.experts.memory.storing import save_index

    loaded = load_features(
        "memory", ColourShapeSection.model_validate(FEATURES), Surroundings(ROOT / "configs")
    )
    save_index(build_index(bundled(), loaded, features="colour-shape", made_at=MADE_AT), folder)


MODELS = {"memory": memory}

EXPERTS = {"memory": ("memory", {"type": "memory", "index": "{model}", "features": FEATURES})}
