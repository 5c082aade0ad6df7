"""Damaged, misleading and greedy files through prediction, evaluation and training."""

import pathlib
import shutil
import sys

import numpy as np
import pytest

from senet.data.decode import decode
from tests.data import corpora, hostile, measure, through
from tests.data.hostile import encode, picture

MEMORY, SECONDS = 400_000_000, 2
"""What one image may take, and all images together at one time."""
ROOT = pathlib.Path(__file__).parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was taken")


def write_hostile(folder, mutants):
    """Mutants, bombs and polyglots in a folder, and how many there are."""
    folder.mkdir()
    bombs = {name: make() for name, make in (hostile.BOMBS | hostile.SCAN_BOMBS).items()}
    files = dict(hostile.mutants(mutants)) | bombs | hostile.polyglots()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return len(files)


def check_all(folder, work):
    """Each file gives a prediction or a documented error, the same wherever it is met."""
    work.mkdir()
    result = through.run_on(folder, work / "hostile")
    count = sum(path.is_file() for path in folder.rglob("*"))
    read, refused = result["read"], result["refused"]
    assert len(read) + len(refused) == result["given"] == count + 2 * through.ORDINARY
    assert result["bad"] == refused
    assert result["scored"] == len(read)
    assert 0 < len(refused) < count
    for message in refused.values():
        assert message[-1] in ".)" or " damaged: " in message, message
        assert not any(part in message for part in ("\n", "object at", "Traceback")), message

    ordinary = work / "ordinary"  # the same files, but small ones
    ordinary.mkdir()
    for number in range(count):
        ordinary_one = number < len(read) - 2 * through.ORDINARY
        content = encode(picture(), "JPEG") if ordinary_one else b"nothing"
        (ordinary / f"{number}.jpg").write_bytes(content)
    taken = through.run_on(ordinary, work / "plain")["taken"]
    for what, memory in result["taken"].items():
        assert memory - taken[what] <= MEMORY, (what, memory, taken[what])


def check_each(folder):
    """Each file alone takes little memory and time."""
    measured = measure.run_on(folder)
    assert len(measured) == sum(path.is_file() for path in folder.rglob("*"))
    for one in measured:
        assert one["bytes"] <= MEMORY, one
        assert one["seconds"] <= SECONDS, one


@LINUX
def test_hostile_files_are_predicted_scored_and_trained_on_or_named(tmp_path):
    count = write_hostile(tmp_path / "files", 120)
    assert count == 120 + 25 + 5 + 20
    check_all(tmp_path / "files", tmp_path / "work")


@LINUX
def test_a_mutant_takes_little(tmp_path):
    for name, content in hostile.mutants(400):
        (tmp_path / name).write_bytes(content)
    check_each(tmp_path)


@pytest.mark.parametrize("name", hostile.polyglots())
def test_a_file_that_is_two_things_is_the_image_that_it_begins_with(name):
    content = hostile.polyglots()[name]
    kind = "JPEG" if name.startswith("jpeg") else hostile.KINDS[pathlib.PurePath(name).suffix]
    expected = np.asarray(decode(encode(picture(), kind)))
    np.testing.assert_array_equal(np.asarray(decode(content)), expected)


@pytest.mark.slow
@LINUX
def test_mutants_and_the_images_of_others_take_little_and_are_read_or_named(tmp_path):
    folder = tmp_path / "files"
    write_hostile(folder, 2000)
    for corpus in corpora.list_fetched(ROOT / "build" / "corpora"):
        shutil.copytree(corpus, folder / corpus.name)
    check_each(folder)
    check_all(folder, tmp_path / "work")
