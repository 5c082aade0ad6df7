import dataclasses
import hashlib
import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from senet.data import trained_on
from senet.data.sources import from_arrays, load_data, split_data
from senet.data.trained_on import TrainedOn, describe_training, digest_images, digest_splits
from tests.conftest import make_photos

OPTIONS = dict(seed=1, validation=0.1, test=0.2, fraction=1.0)


def describe(data):
    return describe_training(data, OPTIONS, digest_splits(data))


def test_a_digest_is_the_first_eight_bytes_of_the_hash_of_a_file(photos):
    source = load_data(str(photos)).split("all")
    expected = [
        int.from_bytes(hashlib.sha256((photos / name).read_bytes()).digest()[:8], "little")
        for name in source.names
    ]
    assert digest_images(source).tolist() == expected
    assert len(set(expected)) == 24


def test_an_image_is_known_again_under_another_name_and_in_archives(photos, tmp_path):
    data = load_data(str(photos), **OPTIONS)
    described = describe(data)
    trained = [photos / name for name in data.split("train").names]
    others = sorted(set(photos.rglob("*.png")) - set(trained))
    assert (len(trained), described.images) == (18, 18)
    with (
        zipfile.ZipFile(tmp_path / "mixed.zip", "w", zipfile.ZIP_DEFLATED) as packed,
        tarfile.open(tmp_path / "mixed.tar", "w") as shard,
    ):
        for i, path in enumerate((*trained[:5], *others)):
            packed.write(path, f"{path.parent.name}/renamed{i}.png")
            shard.add(path, f"{i}.png")
            (tmp_path / "label").write_text(path.parent.name)
            shard.add(tmp_path / "label", f"{i}.cls")
    for name in ("mixed.zip", "mixed.tar"):
        source = load_data(str(tmp_path / name), split=False).split("train")
        numbers = [
            int("".join(c for c in name.split("/")[-1] if c.isdigit())) for name in source.names
        ]
        assert sorted(numbers) == list(range(11))
        assert described.recognise(source).tolist() == [number < 5 for number in numbers]
        names = {name for name, number in zip(source.names, numbers, strict=True) if number < 5}
        assert described.recognise_names(source) == names


def test_an_array_is_known_again_by_shape_and_pixels():
    images = np.arange(6 * 16, dtype="uint8").reshape(6, 4, 4)
    digests = digest_images(from_arrays(images, np.zeros(6), "a"))
    assert len(set(digests.tolist())) == 6
    backwards = digest_images(from_arrays(images[::-1], np.zeros(6), "b"))
    assert backwards.tolist() == digests[::-1].tolist()
    flat = digest_images(from_arrays(images.reshape(6, 2, 8), np.zeros(6), "c"))
    assert not set(flat.tolist()) & set(digests.tolist())


def test_what_cannot_be_read_and_empty_files_are_like_nothing(photos):
    source = load_data(str(photos), split=False).split("train")
    (photos / source.names[0]).unlink()
    (photos / source.names[1]).write_bytes(b"")
    (photos / source.names[2]).write_bytes(b"")
    digests = digest_images(source)
    assert digests[:3].tolist() == [trained_on.UNKNOWN] * 3
    assert (digests[3:] != trained_on.UNKNOWN).all()
    described = describe(load_data(str(photos), **OPTIONS))
    assert not described.recognise(source)[:3].any()


def test_the_record_comes_back_from_json_and_draws_the_same_split(photos):
    data = load_data(str(photos), **OPTIONS)
    described = describe(data)
    again = TrainedOn.from_json(json.loads(json.dumps(described.to_json())))
    assert again.options == OPTIONS
    assert again.digests.tolist() == described.digests.tolist()
    assert again.split_sha256 == data.digest
    whole = load_data(str(photos), split=False)
    assert split_data(whole, **again.options).digest == data.digest
    assert split_data(whole, seed=0).digest != data.digest


@pytest.mark.parametrize(
    "change",
    [
        dict(seed="1"),
        dict(digests="not base64!"),
        dict(digests="AAAA"),
        dict(digests=3),
        dict(images=None),
        dict(unknown=1),
        dict(noted="yes"),
        dict(trained_elsewhere=None),
        dict(split_sha256=["\x1b[31m" * 10000]),
    ],
)
def test_a_damaged_record_is_refused_in_a_line(photos, change):
    values = describe(load_data(str(photos), **OPTIONS)).to_json() | change
    with pytest.raises(ValueError, match="record of the images it was trained on, ") as error:
        TrainedOn.from_json(values)
    assert len(str(error.value)) < 500
    assert str(error.value).isprintable()


@pytest.mark.parametrize("values", [None, 3, "abc", [], ["ab"], {}])
def test_what_is_no_record_is_refused_as_one_that_is_damaged(values):
    with pytest.raises(ValueError, match="record of the images it was trained on, "):
        TrainedOn.from_json(values)


def test_a_record_of_before_other_training_was_noted_does_not_say_that_there_was_none(photos):
    values = describe(load_data(str(photos), **OPTIONS)).to_json()
    del values["noted"], values["trained_elsewhere"]
    again = TrainedOn.from_json(values)
    assert (again.noted, again.trained_elsewhere, len(again.digests)) == (True, True, 18)
    again = TrainedOn.from_json(values | dict(digests=None))
    assert (again.noted, again.complete, len(again.digests)) == (False, False, 0)


def test_more_images_than_the_limit_are_not_noted_one_by_one(photos, monkeypatch):
    monkeypatch.setattr(trained_on, "MAX_DIGESTS", 17)
    data = load_data(str(photos), **OPTIONS)
    described = describe(data)
    assert (described.images, len(described.digests), described.noted) == (18, 0, False)
    assert not described.complete
    assert not described.recognise(data.split("train")).any()
    again = TrainedOn.from_json(json.loads(json.dumps(described.to_json())))
    assert (again.noted, again.trained_elsewhere) == (False, False)


@pytest.fixture
def other(tmp_path):
    """Data of 10 training images, none of which is in the photos."""
    folder = make_photos(tmp_path / "other", 8, classes=("triangle", "star"))
    for i, path in enumerate(sorted(folder.rglob("*.png"))):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(path)
    return load_data(str(folder), **OPTIONS)


def test_what_the_weights_were_trained_on_before_counts_too(photos, other):
    first = describe(load_data(str(photos), **OPTIONS))
    assert first.complete
    described = describe(other).after(first)
    assert (described.images, len(described.digests)) == (10, 28)
    assert described.split_sha256 == other.digest
    assert described.complete
    assert described.recognise(load_data(str(photos), **OPTIONS).split("train")).all()
    assert described.recognise(other.split("train")).all()


def test_earlier_training_that_is_not_noted_is_said(photos, other, monkeypatch):
    first = describe(load_data(str(photos), **OPTIONS))
    second = describe(other)
    for before in (
        None,
        dataclasses.replace(first, trained_elsewhere=True),
        dataclasses.replace(first, noted=False),
    ):
        together = second.after(before)
        assert (together.noted, together.trained_elsewhere) == (True, True)
        assert not together.complete
        assert together.after(None).trained_elsewhere
    assert len(second.after(None).digests) == 10
    assert len(second.after(dataclasses.replace(first, noted=False)).digests) == 28
    monkeypatch.setattr(trained_on, "MAX_TOGETHER", 27)
    together = second.after(first)
    assert (len(together.digests), together.complete) == (10, False)


def test_earlier_training_is_known_where_the_later_one_has_too_many_images(
    photos, other, monkeypatch
):
    first = describe(load_data(str(photos), **OPTIONS))
    monkeypatch.setattr(trained_on, "MAX_DIGESTS", 9)
    together = describe(other).after(first)
    assert (len(together.digests), together.noted, together.trained_elsewhere) == (18, False, False)
    again = TrainedOn.from_json(json.loads(json.dumps(together.to_json())))
    for record in (together, again):
        assert record.digests.dtype == "uint64"
        assert record.recognise(load_data(str(photos), **OPTIONS).split("train")).all()
        assert not record.recognise(other.split("train")).any()


def test_images_are_read_in_chunks_and_stay_in_order(photos, monkeypatch):
    source = load_data(str(photos)).split("all")
    whole = digest_images(source).tolist()
    monkeypatch.setattr(trained_on, "CHUNK", 7)
    assert digest_images(source).tolist() == whole
