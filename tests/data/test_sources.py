import dataclasses
import os
import shutil
import unicodedata
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from senet.data import arrays, limits
from senet.data.decode import ImageError
from senet.data.sources import divide, from_arrays, load_data
from tests.conftest import make_photos


def zipped(folder, inside=""):
    path = folder.with_name(f"{folder.name}{len(inside)}.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, inside + file.relative_to(folder).as_posix())
        archive.writestr("__MACOSX/circle/._00.png", b"resource fork")
        archive.writestr(inside + "README.txt", "about")
    return path


def split_folders(folder, names=("train", "validation", "test")):
    for name in names:
        make_photos(folder / name, 4)
    return folder


def test_members_of_one_name_count_once_and_backslashes_are_folders(tmp_path, photos):
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of a name that is there already
        for file in sorted(photos.rglob("*.png")) * 2:
            archive.writestr(f"{file.parent.name}\\{file.name}", file.read_bytes())
    data = load_data(str(path))
    names = [name for split in data.splits.values() for name in split.names]
    assert len(names) == len(set(names)) == 24
    assert data.class_names == ("circle", "square")
    assert data.split("train").image(0).size == (48, 40)


def test_data_are_the_same_whose_classes_an_older_version_did_not_compose(tmp_path):
    folder = make_photos(tmp_path / "data", 3, ("Käse", "Brot"))
    data = load_data(str(folder), split=False)
    before = ("Brot", unicodedata.normalize("NFD", "Käse"))
    older = dataclasses.replace(data, class_names=before).digest
    assert older != data.digest
    assert data.is_same(data.digest, data.class_names)
    assert data.is_same(older, before)
    assert not data.is_same(older, data.class_names)
    assert not data.is_same(data.digest[::-1], before)
    other = dataclasses.replace(data, class_names=("Brot", "Wein")).digest
    assert not data.is_same(other, ("Brot", "Wein"))


def test_all_is_every_image_once_and_the_digest_tells_splits_apart(photos):
    data = load_data(str(photos))
    whole = data.split("all")
    assert sorted(whole.names) == sorted(load_data(str(photos), seed=1).split("all").names)
    assert len(set(whole.names)) == 24
    for i in (0, 23):
        source = next(s for s in data.splits.values() if whole.names[i] in s.names)
        inside = list(source.names).index(whole.names[i])
        assert whole.labels[i] == source.labels[inside]
        assert whole.image(i).tobytes() == source.image(inside).tobytes()
    assert data.digest == load_data(str(photos)).digest != load_data(str(photos), seed=1).digest


def test_folders_for_validation_and_test_alone_are_refused(tmp_path):
    folder = split_folders(tmp_path / "data", ("validation", "test"))
    with pytest.raises(ValueError, match="none for training"):
        load_data(str(folder))


def test_a_class_may_be_called_train(tmp_path):
    folder = make_photos(tmp_path / "vehicles", 4, classes=("plane", "train"))
    assert load_data(str(folder)).class_names == ("plane", "train")


def test_a_class_with_one_image_is_named(photos):
    for path in sorted((photos / "square").iterdir())[1:]:
        path.unlink()
    with pytest.raises(ValueError, match="Class 'square' has a single image"):
        load_data(str(photos))


@pytest.mark.parametrize("damage", ["packed", "noise"])
def test_unreadable_members_of_a_zip_are_named(tmp_path, photos, damage):
    path = zipped(photos)
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02", 0, data.index(b"square/00.png", data.index(b"PK\x01\x02")))
    local = data.index(b"square/00.png") - 30
    if damage == "packed":
        data[local + 8] = data[central + 10] = 99
    else:
        data[central + 10] = data[local + 8] = 8  # stored bytes are no deflate stream
    path.write_bytes(bytes(data))
    whole = load_data(str(path)).split("all")
    with pytest.raises(ImageError, match=r"square/00\.png"):
        whole.image(list(whole.names).index("square/00.png"))


def test_an_encrypted_zip_is_refused_when_it_is_opened(tmp_path, photos):
    path = zipped(photos)
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02")
    central = data.rindex(b"PK\x01\x02", 0, data.index(b"square/00.png", start))
    data[data.index(b"square/00.png") - 30 + 6] |= 1
    data[central + 8] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="is encrypted: unpack it with its password"):
        load_data(str(path))


def test_files_larger_than_the_limit_are_refused_unread(photos, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILE", 100)
    for path in (photos, zipped(photos)):
        with pytest.raises(ImageError, match="larger than 100 bytes"):
            load_data(str(path)).split("train").image(0)


def test_digits_are_split_into_three_parts_without_overlap():
    data = load_data("digits", seed=3)
    names = [name for split in data.splits.values() for name in split.names]
    assert len(names) == len(set(names)) == 1797
    assert data.class_names == tuple("0123456789")
    assert not data.mirror
    for split in data.splits.values():
        assert set(split.labels) == set(range(10))
    assert data.splits["train"].image(0).size == (8, 8)


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    one, same, other = (load_data("digits", seed=s).splits["test"].names for s in (0, 0, 1))
    assert one == same
    assert set(one) != set(other)


def test_folders_and_zips_of_classes_give_the_same_images(photos):
    plain, archive = load_data(str(photos)), load_data(str(zipped(photos)))
    nested = load_data(str(zipped(photos, "some/where/")))
    assert plain.class_names == archive.class_names == nested.class_names == ("circle", "square")
    for name, split in plain.splits.items():
        np.testing.assert_array_equal(split.labels, archive.splits[name].labels)
        for i in range(len(split)):
            pixels = np.asarray(split.image(i))
            np.testing.assert_array_equal(pixels, np.asarray(archive.splits[name].image(i)))
            np.testing.assert_array_equal(pixels, np.asarray(nested.splits[name].image(i)))
            assert split.names[i].split("/")[0] == plain.class_names[split.labels[i]]


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("training", "val", "testing")])
def test_splits_of_a_folder_are_kept(tmp_path, names):
    data = load_data(str(split_folders(tmp_path, names)))
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 8,
        "validation": 8,
        "test": 8,
    }
    assert data.held_out == "test"
    assert all(name.startswith(names[2]) for name in data.splits["test"].names)


def test_missing_validation_is_taken_from_training(tmp_path):
    data = load_data(str(split_folders(tmp_path, ("train", "test"))))
    assert [len(data.splits[s]) for s in ("train", "validation", "test")] == [6, 2, 8]
    assert not set(data.splits["train"].names) & set(data.splits["validation"].names)


def test_without_test_images_results_are_quoted_on_validation(tmp_path):
    data = load_data(str(split_folders(tmp_path, ("train", "val"))))
    assert data.held_out == "validation"
    with pytest.raises(ValueError, match="no split 'test' in this data, only train, validation"):
        data.split("test")


def test_a_class_folder_may_have_folders_inside(photos):
    (photos / "circle" / "deep" / "er").mkdir(parents=True)
    shutil.move(photos / "circle" / "00.png", photos / "circle" / "deep" / "er" / "00.png")
    assert load_data(str(photos)).class_names == ("circle", "square")


def test_a_folder_that_stands_alone_in_each_class_is_passed_over(tmp_path):
    """As in Tiny ImageNet: train/n01443537/images/n01443537_0.JPEG."""
    for name in ("cat", "dog"):
        shutil.copytree(
            make_photos(tmp_path / name, 4) / "circle", tmp_path / "data" / name / "images"
        )
    assert load_data(str(tmp_path / "data")).class_names == ("cat", "dog")


@pytest.mark.parametrize("inside", ["", "images/", "images/all/"])
@pytest.mark.parametrize("above", ["", "download/"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_root_that_lies_too_high_is_refused_with_the_folder_to_give(
    tmp_path, inside, above, packed
):
    root = tmp_path / "root"
    signs = make_photos(root / above / "Dataset" / inside, 4, classes=[str(d) for d in range(10)])
    make_photos(root / above / "Examples", 1, classes=("a",))
    (root / above / "Examples" / "a" / "00.png").rename(root / above / "Examples" / "5.png")
    where = zipped(root) if packed else root
    expected = os.path.join(where, above, "Dataset", inside).rstrip("/")
    with pytest.raises(ValueError, match="The folder 'Dataset' of") as error:
        load_data(str(where))
    assert f"give the folder {expected!r}" in str(error.value)
    assert "all of its 40 images lie in folders: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9." in str(error.value)
    assert load_data(str(signs)).class_names == tuple("0123456789")


@pytest.mark.parametrize("inside", ["", "images/"])
def test_a_stray_image_beside_the_classes_does_not_hide_that_the_root_lies_too_high(
    tmp_path, inside
):
    signs = make_photos(tmp_path / "root/Dataset" / inside, 5, classes=("0", "1"))
    make_photos(tmp_path / "root/Examples", 2, classes=("a",))
    for path in sorted((tmp_path / "root/Examples/a").iterdir()):
        path.rename(tmp_path / "root/Examples" / path.name)
    shutil.rmtree(tmp_path / "root/Examples/a")
    shutil.copy(signs / "0/00.png", tmp_path / "root/Dataset/overview.png")
    with pytest.raises(ValueError, match="10 of its 11 images lie in folders: 0, 1") as error:
        load_data(str(tmp_path / "root"))
    assert f"give the folder {str(signs)!r}" in str(error.value)
    (tmp_path / "root/Dataset/overview.png").unlink()
    assert load_data(str(signs)).class_names == ("0", "1")


def test_a_few_folders_beside_the_images_of_a_class_are_of_it(tmp_path):
    """As many as 8 of 10 images lie in folders; of 9 of them one would be a stray."""
    for name in ("cat", "dog"):
        make_photos(tmp_path / "data" / name, 4, classes=("indoors", "outdoors"))
        for i in range(2):
            shutil.copy(tmp_path / "data" / name / f"indoors/0{i}.png", tmp_path / "data" / name)
    data = load_data(str(tmp_path / "data"), split=False)
    assert data.class_names == ("cat", "dog")
    assert len(data.split("train")) == 20
    for name in ("cat", "dog"):
        (tmp_path / "data" / name / "00.png").unlink()
    with pytest.raises(ValueError, match="8 of its 9 images lie in folders: indoors, outdoors"):
        load_data(str(tmp_path / "data"))


def test_classes_that_hold_only_folders_of_images_are_refused_in_splits_too(tmp_path):
    for name in ("train", "test"):
        for animal in ("cat", "dog"):
            make_photos(tmp_path / "data" / name / animal, 2)
    with pytest.raises(ValueError, match=r"'t\w+/cat' .* lie in folders: circle, square"):
        load_data(str(tmp_path / "data"))


@pytest.mark.parametrize(
    "names",
    [
        ("train", "test"),
        ("train", "test1"),
        ("train",),
        ("Train", "val_2"),
        ("figures", "test", "train"),
    ],
)
def test_split_folders_that_hold_images_directly_are_refused(tmp_path, names):
    for name in names:
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(6):
            file = f"{'cat' if i % 2 else 'dog'}.{i}.jpg"
            Image.new("RGB", (4, 4)).save(tmp_path / "data" / name / file)
    for options in ({}, dict(split=False, trained=True)):
        with pytest.raises(ValueError, match=f"images directly in .*{names[-1]}"):
            load_data(str(tmp_path / "data"), **options)


@pytest.mark.parametrize(
    "names", [("invalid", "valid"), ("test_negative", "test_positive"), ("Train A", "Train B")]
)
def test_classes_may_be_called_like_a_split(tmp_path, names):
    folder = make_photos(tmp_path / "tickets", 4, classes=names)
    assert load_data(str(folder)).class_names == names


def test_every_class_is_in_both_parts_of_a_division():
    labels = np.repeat([0, 1, 2], [50, 5, 2])
    kept, taken = divide(labels, 0.1, seed=0)
    assert np.bincount(labels[taken]).tolist() == [5, 1, 1]
    assert sorted([*kept, *taken]) == list(range(57))


def test_images_in_memory_are_read_as_rgb():
    images = np.arange(32, dtype="uint8").reshape(2, 4, 4)
    source = from_arrays(images, np.array([[0], [1]]), "x")
    assert source.labels.tolist() == [0, 1]
    np.testing.assert_array_equal(np.asarray(source.image(1))[..., 2], images[1])


def test_a_text_file_named_jpg_is_named_when_it_is_read(photos):
    (photos / "circle" / "notes.jpg").write_text("not an image")
    data = load_data(str(photos))
    split = next(s for s in data.splits.values() if "circle/notes.jpg" in s.names)
    with pytest.raises(ImageError, match=r"circle/notes\.jpg: Not a JPEG, PNG"):
        split.image(split.names.index("circle/notes.jpg"))


def test_a_damaged_member_of_a_zip_is_named(tmp_path, photos):
    path = zipped(photos)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("circle/00.png")
    raw = bytearray(path.read_bytes())
    middle = info.header_offset + 60 + info.compress_size // 2
    raw[middle] ^= 0xFF
    path.write_bytes(raw)
    data = load_data(str(path))
    split = next(s for s in data.splits.values() if "circle/00.png" in s.names)
    with pytest.raises(ImageError, match=r"circle/00\.png: .*CRC"):
        split.image(split.names.index("circle/00.png"))


def build_one_class(folder):
    make_photos(folder, 3, ("circle",))


def build_loose(folder):
    make_photos(folder, 3)
    Image.new("RGB", (4, 4)).save(folder / "loose.png")


def build_unknown_class(folder):
    split_folders(folder)
    make_photos(folder / "validation", 1, ("triangle",))


def build_beside_splits(folder):
    split_folders(folder)
    make_photos(folder, 1, ("extra",))


def build_single(folder):
    make_photos(folder, 6, ("circle",))
    make_photos(folder, 1, ("square",))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda folder: folder.mkdir(), "There are no images in"),
        (build_one_class, "has one class, 'circle'"),
        (build_loose, "in no class folder, 'loose.png' among them"),
        (build_unknown_class, "classes that no training image has: triangle"),
        (build_beside_splits, "is in none of train/CLASS"),
        (build_single, "every class needs at least three images"),
        (lambda folder: folder.write_text("hello"), "neither a folder nor a zip file"),
    ],
)
def test_data_that_cannot_be_used_is_refused_with_what_to_do(tmp_path, build, message):
    build(tmp_path / "data")
    with pytest.raises(ValueError, match=message):
        load_data(str(tmp_path / "data"))


def test_a_missing_path_is_refused_with_the_known_names(tmp_path):
    with pytest.raises(FileNotFoundError, match="known are digits, fashion_mnist"):
        load_data(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "cifar100"])
def test_data_of_keras_is_read_by_name(monkeypatch, tmp_path, name):
    import keras

    monkeypatch.setattr(arrays, "FASHION_FOLDER", tmp_path / "not installed")
    classes = 100 if name == "cifar100" else 10
    labels = np.tile(np.arange(classes), 4).reshape(-1, 1)
    images = np.zeros((len(labels), 32, 32, 3), "uint8")
    module = getattr(keras.datasets, name)
    monkeypatch.setattr(module, "load_data", lambda: ((images, labels), (images, labels)))
    data = load_data(name)
    assert len(data.class_names) == classes
    assert [len(data.splits[s]) for s in ("train", "validation", "test")] == [
        3 * classes,
        classes,
        4 * classes,
    ]


def test_data_that_cannot_be_downloaded_says_so(monkeypatch):
    import keras

    def offline():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", offline)
    with pytest.raises(OSError, match="not in the Keras cache and could not be downloaded: URL"):
        load_data("cifar10")
