"""Reading a catalogue and finding a model in it."""

from __future__ import annotations

import pytest

from natix_miner.catalogue import load_catalogue
from natix_miner.errors import CatalogueError
from tests.catalogue.conftest import ROW


@pytest.mark.parametrize(
    ("changes", "place", "said"),
    [
        ({"parameters": {"total": -1}}, "models.tiny-vl.parameters.total", "greater than 0"),
        ({"colour": "red"}, "models.tiny-vl.colour", "not permitted"),
        ({"kind": "oracle"}, "models.tiny-vl.kind", "'vision-language'"),
        (
            {"checkpoints": [{"format": "bf16", "repository": "org/x", "revision": "main"}]},
            "models.tiny-vl.checkpoints.0.revision",
            "pattern",
        ),
        ({"exists": False, "checkpoints": []}, "models.tiny-vl", "`why`"),
        ({"exists": False, "why": "it does not"}, "models.tiny-vl", "no checkpoints"),
        (
            {"exists": False, "why": "it is not", "checkpoints": [], "adapter": "vlm"},
            "models.tiny-vl",
            "say `done_by`",
        ),
        ({"done_by": ["vlm"]}, "models.tiny-vl", "say `adapter`"),
        ({"adapter": "VLM!"}, "models.tiny-vl.adapter", "pattern"),
        ({"asset": {"file": "x.pt"}}, "models.tiny-vl.asset.gigabytes", "required"),
        (
            {"checkpoints": [{"format": "w4", "repository": "a/b"}] * 2},
            "models.tiny-vl",
            "one checkpoint a format",
        ),
        ({"instead": ["nobody"]}, "catalogue", "names 'nobody'"),
        (
            {"parameters": {"total": 1.0, "vision": 0.8, "embeddings": 0.4}},
            "models.tiny-vl.parameters",
            "exceed the total",
        ),
    ],
)
def test_a_fault_is_told_with_its_row_and_field(write, changes, place, said):
    with pytest.raises(CatalogueError) as raised:
        load_catalogue(write(**changes))
    assert f"  {place}: " in str(raised.value)
    assert said in str(raised.value)


def test_a_row_that_stands_twice_is_refused(write):
    path = write()
    path.write_text(path.read_text() + "  tiny-vl: {name: again}\n")
    with pytest.raises(CatalogueError, match="'tiny-vl' stands twice"):
        load_catalogue(path)


def test_a_row_may_not_have_the_key_of_anothers_checkpoint(write):
    with pytest.raises(CatalogueError, match=r"tiny-vl-w4 is a row and a checkpoint"):
        load_catalogue(write({"tiny-vl-w4": ROW}))


@pytest.mark.parametrize("content", [None, "[1, 2]", "as_of: x\nmodels: {a: [}", "\xff"])
def test_a_file_that_is_no_catalogue_is_refused(tmp_path, content):
    path = tmp_path / "catalogue.yaml"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CatalogueError, match=r"catalogue"):
        load_catalogue(path)


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ("tiny-vl", "tiny-vl-bf16"),
        ("tiny-vl-bf16", "tiny-vl-bf16"),
        ("tiny-vl-w4", "tiny-vl-w4"),
        ("org/tiny-vl", "tiny-vl-bf16"),
        ("other/tiny-vl-awq", "tiny-vl-w4"),
    ],
)
def test_a_key_with_a_format_a_key_alone_and_a_repository_name_a_checkpoint(write, asked, key):
    entry = load_catalogue(write()).entry(asked)
    assert (entry.key, entry.model_key) == (key, "tiny-vl")


def test_an_unknown_model_is_told_what_is_close_to_it(write):
    catalogue = load_catalogue(write())
    with pytest.raises(CatalogueError, match=r"no model 'tini-vl-w4'.*close to it: .*tiny-vl-w4"):
        catalogue.entry("tini-vl-w4")
    with pytest.raises(CatalogueError, match=r"close to it: .*tiny-vl-bf16"):
        catalogue.entry("Org/Tiny-VL2")
    with pytest.raises(CatalogueError, match=r"in the catalogue$"):
        catalogue.entry("something-else-entirely")


def test_a_model_that_does_not_exist_says_why_and_what_does(write):
    gone = {
        **ROW,
        "name": "Tiny VL 72B",
        "exists": False,
        "why": "it ends at 2B",
        "instead": ["tiny-vl-w4"],
        "checkpoints": [],
    }
    catalogue = load_catalogue(write({"tiny-vl-72b": gone}))
    with pytest.raises(
        CatalogueError, match=r"Tiny VL 72B does not exist: it ends at 2B; instead: tiny-vl-w4"
    ):
        catalogue.entry("tiny-vl-72b")


def test_a_model_of_a_package_has_nothing_to_fetch(write):
    row = {**ROW, "loads_with": {"package": "ultralytics"}, "checkpoints": []}
    catalogue = load_catalogue(write({"yolo": row}))
    with pytest.raises(CatalogueError, match=r"no weights on a model hub: ultralytics"):
        catalogue.entry("yolo")


def test_sizes_keep_vision_tower_and_embeddings_in_sixteen_bit(write):
    """2 billion of which 1 is linear: 2 GB for the rest in whatever format."""
    model = load_catalogue(write()).models["tiny-vl"]
    assert model.gigabytes_as("fp32") == pytest.approx(8.0)
    assert model.gigabytes_as("bf16") == pytest.approx(4.0)
    assert model.gigabytes_as("fp8") == pytest.approx(3.0)
    assert model.gigabytes_as("w4") == pytest.approx(2.0 + 4.156 / 8, rel=1e-4)
    assert model.gigabytes_as("nvfp4") == pytest.approx(2.0 + 4.5 / 8)
    assert model.floor_gigabytes == pytest.approx(2.0 * 4.156 / 8, rel=1e-4)


def test_the_size_of_a_row_is_its_first_checkpoints_or_its_files(write):
    bare = {**ROW, "checkpoints": [], "parameters": None}
    file = {"file": "x.pt", "gigabytes": 0.1, "size": "verified"}
    catalogue = load_catalogue(write({"file": {**bare, "asset": file}, "nothing": bare}))
    assert catalogue.size_of("tiny-vl") == (pytest.approx(4.0), "computed")
    assert catalogue.size_of("file") == (0.1, "verified")
    assert catalogue.size_of("nothing") is None


def test_what_does_not_exist_needs_no_acceptance(write):
    unread = {"name": "unknown", "verified": False}
    gone = {**ROW, "exists": False, "why": "it is not", "checkpoints": [], "licence": unread}
    models = load_catalogue(write({"gone": gone, "unread": {**ROW, "licence": unread}})).models
    assert models["unread"].must_accept
    assert not models["gone"].must_accept
