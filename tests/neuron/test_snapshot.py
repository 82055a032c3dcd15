"""Snapshot files: the format, and what is said about wrong ones."""

from __future__ import annotations

import json

import pytest

from natix_miner.errors import SnapshotError
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron, read_snapshot, write_snapshot

EXAMPLE = (
    '{"netuid":72,"block":1,"neurons":[{"uid":0,"hotkey":"5abc","stake":1000.0,'
    '"validator_permit":true,"ip":"127.0.0.1","port":8091,"incentive":0.0,"emission":0.0}]}'
)


def test_the_documented_example_is_read(tmp_path):
    path = tmp_path / "chain.json"
    path.write_text(EXAMPLE)

    snapshot = read_snapshot(path)

    assert (snapshot.netuid, snapshot.block) == (72, 1)
    assert snapshot.neuron_of("5abc") == Neuron(0, "5abc", 1000.0, True, "127.0.0.1", 8091, 0, 0)
    assert snapshot.neuron_of("5xyz") is None


def test_what_is_written_is_read_back(tmp_path):
    rows = tuple(Neuron(n, f"5h{n}", n / 3, n % 2 == 0, "1.2.3.4", 80, 0.1, 0.2) for n in range(9))
    snapshot = ChainSnapshot(323, 77, rows)

    write_snapshot(snapshot, tmp_path / "deep" / "chain.json")

    assert read_snapshot(tmp_path / "deep" / "chain.json") == snapshot
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["chain.json"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not valid"),
        ("[]", "not valid"),
        ('{"netuid": 72, "block": 1}', "neurons"),
        ('{"netuid": "x", "block": 1, "neurons": []}', "netuid"),
        ('{"netuid": 72, "block": 1, "neurons": [{"uid": 0}]}', "hotkey"),
        (json.dumps(json.loads(EXAMPLE) | {"block": -1}), "block"),
        (EXAMPLE.replace("1000.0", "NaN"), "not valid"),
        (EXAMPLE[:50], "not valid"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, content, said):
    path = tmp_path / "chain.json"
    path.write_text(content)
    with pytest.raises(SnapshotError, match=said) as error:
        read_snapshot(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SnapshotError, match=r"nowhere\.json cannot be read"):
        read_snapshot(tmp_path / "nowhere.json")
