import os
import pathlib

import pytest

from senet.files import making_parents, replacing, replacing_folder


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


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(FileNotFoundError), replacing_folder(target, "mark") as folder:
        (folder / "half").rename(folder / "whole")
    assert not any(tmp_path.iterdir())
    for text in ("first", "second"):
        with replacing_folder(target, "mark") as folder:
            (folder / "mark").write_text(text)
            (folder / "deep" / "er").mkdir(parents=True)
            (folder / "deep" / "er" / text).touch()
    assert (target / "mark").read_text() == "second"
    assert [path.name for path in (target / "deep" / "er").iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folders_above_what_is_written_are_made_and_go_again_where_it_fails(tmp_path):
    with replacing_folder(tmp_path / "a/b/out", "mark") as folder:
        (folder / "mark").touch()
    assert (tmp_path / "a/b/out/mark").is_file()

    def fail(path, beside):
        with making_parents(path):
            beside.touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail(tmp_path / "c/d/x.txt", tmp_path / "a/b/more")
    with pytest.raises(RuntimeError):
        fail(tmp_path / "a/e/f/x.txt", tmp_path / "a/e/theirs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b", "e"]
    assert [path.name for path in (tmp_path / "a/e").iterdir()] == ["theirs"]
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), making_parents(tmp_path / "file/d/x.txt"):
        pass


def test_a_folder_that_is_not_ours_is_not_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "else").touch()
    (tmp_path / "file").touch()
    for name in ("out", "file"):
        with pytest.raises(FileExistsError), replacing_folder(tmp_path / name, "mark"):
            pytest.fail("the body must not run")
    with pytest.raises(NotADirectoryError), replacing_folder(tmp_path / "file" / "x", "mark"):
        pytest.fail("the body must not run")


def test_a_folder_whose_renaming_fails_is_put_back(tmp_path, monkeypatch):
    with replacing_folder(tmp_path / "out", "mark") as folder:
        (folder / "mark").write_text("before")
    rename, calls = pathlib.Path.rename, []

    def failing(self, target):
        calls.append(target)
        if len(calls) == 2:  # the first moves the old one away
            raise OSError("no space")
        return rename(self, target)

    monkeypatch.setattr(pathlib.Path, "rename", failing)
    with pytest.raises(OSError, match="no space"), replacing_folder(tmp_path / "out", "mark"):
        pass
    assert (tmp_path / "out" / "mark").read_text() == "before"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_the_mode_that_the_umask_gives(tmp_path, umask):
    """Some libraries write for the owner alone, whatever the umask is."""
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a.txt") as path:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        with replacing_folder(tmp_path / "b", "mark") as folder:
            (folder / "in").mkdir()
            for name in ("mark", "in/deep"):
                os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY, 0o600))
        usual = tmp_path / "usual"
        usual.write_text("")
    finally:
        os.umask(before)
    for path in ("a.txt", "b/mark", "b/in/deep"):
        assert (tmp_path / path).stat().st_mode == usual.stat().st_mode, path
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["in", "mark"]
