import os

import pytest

from senet.files import replacing


def test_a_file_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    flush, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: events.append("flush") or flush(fd))
    monkeypatch.setattr(
        "pathlib.Path.replace",
        lambda self, target: events.append("rename") or replace(self, target),
    )
    with replacing(tmp_path / "a.txt") as path:
        path.write_text("new")
        assert not (tmp_path / "a.txt").exists()
    assert events == ["flush", "rename", "flush"]  # the file, then the folder
    assert (tmp_path / "a.txt").read_text() == "new"


def test_what_was_there_stays_if_writing_fails(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def fail():
        with replacing(tmp_path / "a.txt") as path:
            path.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_missing_folder_is_named_and_not_the_temporary_file(tmp_path):
    message = r"no folder '.*missing' to write a\.txt in"
    with pytest.raises(FileNotFoundError, match=message), replacing(tmp_path / "missing" / "a.txt"):
        pass
