import os

import numpy as np
import pytest

from senet.runs import checkpoint
from senet.runs.checkpoint import Checkpoint


def sample(step):
    arrays = {"model/0": np.arange(6, dtype="float32").reshape(2, 3) + step}
    return Checkpoint(step, arrays | {"seed": np.array([1, step], "uint32")}, {"history": [0.1]})


def files(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_a_checkpoint_comes_back_with_every_bit(tmp_path):
    checkpoint.write(tmp_path, sample(7))
    found, damaged = checkpoint.read_newest(tmp_path)
    assert damaged == []
    assert (found.step, found.state) == (7, {"history": [0.1]})
    for name, array in sample(7).arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


def test_the_two_newest_are_kept(tmp_path):
    for step in (1, 2, 10, 3):
        checkpoint.write(tmp_path, sample(step))
    assert [name[:14] for name in files(tmp_path)] == ["step-000000003", "step-000000010"]


def test_without_any_there_is_none(tmp_path):
    assert checkpoint.read_newest(tmp_path) == (None, [])


@pytest.mark.parametrize(
    "damage", ["empty", "half", "bit", "garbage", "missing byte", "unreadable"]
)
def test_a_damaged_one_is_named_and_the_one_before_it_used(tmp_path, damage):
    checkpoint.write(tmp_path, sample(1))
    path = checkpoint.write(tmp_path, sample(2))
    data = bytearray(path.read_bytes())
    if damage == "unreadable":
        path.unlink()
        path.mkdir()
    else:
        flipped = bytearray(data)
        flipped[-3] ^= 4
        content = {
            **{"empty": b"", "half": data[: len(data) // 2], "bit": flipped},
            **{"garbage": os.urandom(len(data)), "missing byte": data[:-1]},
        }
        path.write_bytes(content[damage])
    found, damaged = checkpoint.read_newest(tmp_path)
    assert found.step == 1
    assert len(damaged) == 1
    assert damaged[0].startswith(f"{path.name}.damaged is passed over")
    assert not path.exists()
    checkpoint.write(tmp_path, sample(3))
    assert [name[:14] for name in files(tmp_path) if "damaged" not in name] == [
        *("step-000000001", "step-000000003"),
    ]


def test_files_that_are_none_and_half_written_ones_are_passed_over(tmp_path):
    path = checkpoint.write(tmp_path, sample(2))
    (path.parent / "step-000000009.safetensors").write_bytes(b"x")
    (path.parent / ".step-000000009-x").mkdir()
    found, damaged = checkpoint.read_newest(tmp_path)
    assert (found.step, damaged) == (2, [])


def test_a_failed_write_keeps_the_older_ones(tmp_path, monkeypatch):
    checkpoint.write(tmp_path, sample(1))
    checkpoint.write(tmp_path, sample(2))
    before = files(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(tmp_path, sample(3))
    assert files(tmp_path) == before
