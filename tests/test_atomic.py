"""A file is written whole or not at all."""

from __future__ import annotations

import pytest

from natix_miner.atomic import write_whole


def test_text_and_bytes_are_written_and_folders_made(tmp_path):
    write_whole(tmp_path / "new" / "text", "Baustelle ü\n")
    write_whole(tmp_path / "new" / "bytes", b"\xff\x00")
    assert (tmp_path / "new" / "text").read_bytes() == "Baustelle ü\n".encode()
    assert (tmp_path / "new" / "bytes").read_bytes() == b"\xff\x00"
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_reader_keeps_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "old")
    with path.open() as reader:
        write_whole(path, "newer and longer")
        assert reader.read() == "old"
    assert path.read_text() == "newer and longer"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_a_folder_where_the_file_should_be_is_an_error_that_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_whole(tmp_path / "taken", "text")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
