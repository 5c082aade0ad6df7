"""Lists, arrays, IDX files and tar shards, class maps, shares and the digest."""

import csv
import gc
import gzip
import io
import json
import os
import pickle
import shutil
import struct
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from senet.data import archives, arrays, layouts, sources
from senet.data.decode import ImageError
from senet.data.sources import load_data
from senet.errors import FileError
from tests.conftest import make_photos
from tests.data.measure import measure
from tests.data.test_sources import split_folders, zipped


def images(n, *shape):
    return np.random.default_rng(n).integers(0, 256, (n, *shape), dtype="uint8")


def write_list(path, rows, header=("path", "label")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def png(value):
    stream = io.BytesIO()
    Image.new("RGB", (6, 5), (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def samples(n, start=0):
    """Members of n samples of two classes; the red of an image is its number."""
    return [
        member
        for i in range(start, start + n)
        for member in ((f"{i:04d}.png", png(i)), (f"{i:04d}.cls", str(i % 2).encode()))
    ]


def write_idx(folder, prefix, pictures, labels, pack=False, dotted=False):
    folder.mkdir(exist_ok=True)
    for what, array in (("images", pictures), ("labels", labels)):
        name = f"{prefix}-{what}{'.' if dotted else '-'}idx{array.ndim}-ubyte"
        content = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        content += array.astype("uint8").tobytes()
        (folder / (name + ".gz" * pack)).write_bytes(gzip.compress(content) if pack else content)
    return folder


def reds(source):
    return [source.image(i).getpixel((0, 0))[0] for i in range(len(source))]


# Lists


def test_a_list_names_images_anywhere_with_their_labels_and_splits(tmp_path, photos):
    files = sorted(photos.rglob("*.png"))
    rows = [
        (os.path.relpath(f, photos) if i % 2 else f, f.parent.name, ("train", "val", "test")[i % 3])
        for i, f in enumerate(files)
    ]
    data = load_data(write_list(photos / "list.csv", rows, ("Path", "label", "split")))
    assert data.class_names == ("circle", "square")
    assert not data.drawn
    for split, part in data.splits.items():
        wanted = {str(path) for path, _, s in rows if s[:3] == split[:3]}
        assert set(part.names) == wanted
        for i, name in enumerate(part.names):
            pixels = np.asarray(Image.open(photos / name))
            np.testing.assert_array_equal(np.asarray(part.image(i)), pixels)
            assert data.class_names[part.labels[i]] in str(photos / name)


def test_a_list_without_splits_is_split(photos):
    rows = [(f.relative_to(photos), f.parent.name) for f in sorted(photos.rglob("*.png"))]
    data = load_data(write_list(photos / "list.csv", rows))
    assert [len(data.splits[s]) for s in ("train", "validation", "test")] == [18, 2, 4]


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([("circle/00.png", "a")], ("file", "label"), "needs the columns path and label"),
        ([("circle/00.png;a",)], ("path;label",), "needs the columns path and label"),
        ([("circle/00.png", "")], ("path", "label"), "Line 2 .* lacks its path or its label"),
        ([("circle/00.png", "a", "b")], ("path", "label"), "Line 2 .* has 3 columns"),
        (
            [("circle/00.png", "a"), ("circle/../circle/00.png", "b")],
            ("path", "label"),
            "twice, in lines 2 and 3",
        ),
        (
            [("circle/00.png", "a", "train"), ("circle/01.png", "a", "")],
            ("path", "label", "split"),
            "Line 3 .* has the split ''",
        ),
        ([], ("path", "label"), "lists no images"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_with_its_line(photos, rows, header, message):
    with pytest.raises(ValueError, match=message):
        load_data(write_list(photos / "list.csv", rows, header))


def test_a_list_of_missing_files_is_refused(photos):
    path = write_list(photos / "list.csv", [("circle/00.png", "a"), ("gone.png", "b")])
    with pytest.raises(FileNotFoundError, match=r"1 of the 2 files .*'gone\.png'"):
        load_data(path)


def test_lists_and_class_maps_that_are_too_large_or_no_files_are_refused(
    tmp_path, photos, monkeypatch
):
    path = write_list(photos / "list.csv", [("circle/00.png", "a"), ("square/01.png", "b")])
    for name in ("MAX_LIST", "MAX_MAP"):
        monkeypatch.setattr(layouts, name, 30)
    with pytest.raises(ValueError, match=r"list\.csv' is no list .* larger than 30 bytes"):
        load_data(path)
    with pytest.raises(ValueError, match=r"class map .*list\.csv' cannot be read: .* 30 bytes"):
        load_data(str(photos), class_map=path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "map.csv")
        with pytest.raises(ValueError, match=r"map\.csv' cannot be read: It is a pipe"):
            load_data(str(photos), class_map=tmp_path / "map.csv")
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FileError, match="It is a pipe"):
            archives.RegularZip(tmp_path / "pipe")
        gc.collect()  # a half-opened one is closed without a sound
        with pytest.raises(ValueError, match=r"map\.csv' is neither a folder nor"):
            load_data(str(tmp_path / "map.csv"))


def test_a_list_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"path,label\n\xff\xfe,a\n")
    with pytest.raises(ValueError, match="no CSV file in UTF-8"):
        load_data(str(tmp_path / "list.csv"))


# npz


@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 1), (9, 12, 3)])
def test_npz_arrays_are_read_by_split(tmp_path, shape):
    parts = {"train": images(12, *shape), "val": images(6, *shape), "test": images(4, *shape)}
    content = {}
    for name, x in parts.items():
        content |= {f"x_{name}": x, f"y_{name}": np.arange(len(x)) % 2}
    np.savez_compressed(tmp_path / "set.npz", class_names=np.array(["owl", "cat"]), **content)
    data = load_data(str(tmp_path / "set.npz"))
    assert data.class_names == ("owl", "cat")
    assert data.small
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        assert data.splits[split].labels.tolist() == [i % 2 for i in range(len(parts[name]))]
        for i, pixels in enumerate(parts[name].reshape(len(parts[name]), *shape[:2], -1)):
            found = np.asarray(data.splits[split].image(i))
            np.testing.assert_array_equal(found, np.broadcast_to(pixels, found.shape))


def test_npz_of_images_and_labels_is_split_and_labels_may_be_texts(tmp_path):
    labels = np.array(["b", "a"] * 10)
    np.savez(tmp_path / "set.npz", images=images(20, 8, 8), labels=labels)
    data = load_data(str(tmp_path / "set.npz"))
    assert data.class_names == ("a", "b")
    assert [len(data.splits[s]) for s in ("train", "validation", "test")] == [14, 2, 4]
    whole = data.split("all")
    for name, label in zip(whole.names, whole.labels, strict=True):
        assert data.class_names[label] == labels[int(name.split("/")[1])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (dict(x=images(4, 8, 8)), "has the arrays none: expected x_train and y_train"),
        (dict(images=images(4, 8, 8).astype("float32"), labels=np.arange(4)), "float32 of shape"),
        (dict(images=images(4, 8, 8, 4), labels=np.arange(4)), r"uint8 of shape \(4, 8, 8, 4\)"),
        (dict(images=images(4, 8, 8), labels=np.arange(3)), "for each of the 4 images"),
        (dict(images=images(4, 8, 8), labels=np.eye(4)), r"float64 of shape \(4, 4\)"),
        (dict(images=images(4, 8, 8), labels=np.arange(4) - 1), "labels .* go from -1 to 2"),
        (
            dict(images=images(4, 8, 8), labels=np.arange(4), class_names=np.array(["a", "b"])),
            "go from 0 to 3: expected 0 to 1",
        ),
        (
            dict(images=images(4, 8, 8), labels=np.arange(4), class_names=np.arange(4)),
            "class_names of .* must be a list of texts",
        ),
        (
            dict(
                **dict(x_train=images(4, 8, 8), y_train=np.arange(4)),
                **dict(x_test=images(4, 8, 8)),
            ),
            "one of x_test and y_test",
        ),
    ],
)
def test_npz_of_something_else_is_refused(tmp_path, content, message):
    np.savez(tmp_path / "set.npz", **content)
    with pytest.raises(ValueError, match=message):
        load_data(str(tmp_path / "set.npz"))


class Mischief:
    def __reduce__(self):
        return os.mkdir, ("mischief",)


def test_what_is_pickled_in_npz_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.array([Mischief()] * 4, dtype=object)
    np.savez("set.npz", images=images(4, 8, 8), labels=labels)
    with pytest.raises(ValueError, match="labels holds Python objects, which are never read"):
        load_data("set.npz")
    assert not os.path.exists("mischief")


def test_an_npz_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path):
    stream = io.BytesIO()
    header = dict(descr="|u1", fortran_order=False, shape=(10**9, 1000, 1000))
    np.lib.format.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", stream.getvalue() + b"few")
    with pytest.raises(ValueError, match=r"needs 1,000,000,000,000,000 bytes"):
        load_data(str(tmp_path / "set.npz"))


def test_a_damaged_npz_is_refused(tmp_path):
    np.savez(tmp_path / "set.npz", images=images(4, 8, 8), labels=np.arange(4))
    path = tmp_path / "set.npz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match="no npz file that can be read"):
        load_data(str(path))


def pack(path, name, content, compression=zipfile.ZIP_DEFLATED, **declared):
    """A zip file with one member, which says what is declared of it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, content)
    made = bytearray(path.read_bytes())
    places = {"packed": (18, 20), "size": (22, 24)}
    for what, number in declared.items():
        for signature, place in zip((b"PK\3\4", b"PK\1\2"), places[what], strict=True):
            struct.pack_into("<I", made, made.index(signature) + place, number)
    path.write_bytes(made)
    return str(path)


def array(values):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, values)
    return stream.getvalue()


EMPTY = b"\x93NUMPY\1\0\x76\0" + (
    b"{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000,), }".ljust(117) + b"\n"
)
"""A billion texts of no letters."""
HEADER_OF_GIGABYTES = b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 10) + b" " * 300_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was taken")
@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (array(np.zeros((300, 1000, 1000), "uint8")), {}, "at most|no more are read than"),
        (array(np.zeros((3, 100, 100), "uint8")), dict(size=10**9), "no more are read than"),
        (array(np.zeros((300, 1000, 1000), "uint8")), dict(size=30_128), "Bad CRC-32"),
        (array(np.zeros((300, 1000), "uint8")), dict(size=400_000), "needs 300,000 bytes"),
        (HEADER_OF_GIGABYTES, dict(size=10_000_000), "no npz file"),
        (array(np.zeros((3, 100, 100), "uint8")), dict(packed=10**9), "and it has"),
        (
            array(np.zeros((300, 100, 100), "uint8")),
            dict(compression=zipfile.ZIP_BZIP2),
            "otherwise than by deflate",
        ),
    ],
)
def test_an_npz_takes_no_more_memory_than_its_length_allows(tmp_path, content, options, message):
    path = pack(tmp_path / "set.npz", "images.npy", content, **options)

    def load():
        with pytest.raises(ValueError, match=message):
            load_data(path)

    assert measure(load)[1] < 100_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (dict(class_names=None), "class_names has values of no bytes"),
        (dict(images=np.zeros((2, 1, 65_536), "uint8")), "no side longer than 65,535"),
        (dict(images=np.zeros((2, 7100, 7100), "uint8")), "7100 x 7100 pixels: at most 50,000,000"),
    ],
)
def test_an_npz_that_would_be_much_longer_in_memory_is_refused(tmp_path, content, message):
    content = dict(images=images(2, 8, 8), labels=np.arange(2)) | content
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        for name, values in content.items():
            archive.writestr(f"{name}.npy", EMPTY if values is None else array(values))
    with pytest.raises(ValueError, match=message):
        load_data(tmp_path / "set.npz")


def test_labels_of_large_numbers_are_as_many_classes_as_there_are(tmp_path):
    labels = np.repeat([0, 10**15], 5)
    np.savez(tmp_path / "set.npz", images=images(10, 8, 8), labels=labels)
    assert load_data(tmp_path / "set.npz", split=False).class_names == ("0", str(10**15))


def test_a_tar_of_names_upon_names_is_refused(tmp_path):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2
    block = header.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")
    (tmp_path / "train.tar").write_bytes(block * 1500 + bytes(10_240))
    with pytest.raises(ValueError, match="no tar file that can be read"):
        load_data(tmp_path / "train.tar")


def test_an_npz_of_equal_labels_is_read(tmp_path):
    labels = np.repeat(np.arange(2), 150_000)
    np.savez_compressed(tmp_path / "set.npz", images=images(len(labels), 2, 2), labels=labels)
    assert len(load_data(tmp_path / "set.npz", split=False).split("train")) == len(labels)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was taken")
def test_a_member_of_a_zip_takes_no_more_memory_than_it_says(tmp_path):
    content = png(1) + bytes(600_000_000)
    path = pack(tmp_path / "set.zip", "a/1.png", content, size=1000)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b/1.png", png(1))
        for number, compression in enumerate((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA), 2):
            archive.writestr(f"b/{number}.png", content[:1000], compression)
    source = load_data(path, split=False).split("train")

    def read():
        with pytest.raises(ImageError, match=r"a/1\.png: Bad CRC-32"):
            source.image(source.names.index("a/1.png"))
        assert source.image(source.names.index("b/1.png")).size == (6, 5)
        for number in (2, 3):
            with pytest.raises(ImageError, match="packed otherwise than by deflate: pack it again"):
                source.image(source.names.index(f"b/{number}.png"))

    assert measure(read)[1] < 100_000_000


def test_a_tar_shard_with_a_name_of_megabytes_is_refused(tmp_path):
    path = write_tar(tmp_path / "train.tar", [("a" * 2_000_000 + ".png", png(1)), ("b.cls", b"1")])
    with pytest.raises(ValueError, match=r"it has a header of 2,00\d,\d{3} bytes"):
        load_data(path)


# IDX


@pytest.mark.parametrize(("pack", "dotted"), [(False, False), (True, False), (False, True)])
def test_idx_files_are_read(tmp_path, pack, dotted):
    pictures, labels = images(40, 7, 7), np.arange(40) % 10
    folder = write_idx(tmp_path / "letters", "train", pictures, labels, pack, dotted)
    write_idx(folder, "t10k", pictures[:10], labels[:10], pack, dotted)
    data = load_data(str(folder))
    assert data.class_names == tuple("0123456789")
    assert (data.mirror, data.small, data.drawn) == (False, True, False)
    assert [len(data.splits[s]) for s in ("train", "validation", "test")] == [30, 10, 10]
    train = data.split("train")
    number = int(train.names[3].rsplit("/", 1)[1])
    np.testing.assert_array_equal(np.asarray(train.image(3))[..., 0], pictures[number])
    assert train.labels[3] == labels[number]


def test_fashion_in_the_name_of_the_folder_gives_the_names_of_the_classes(tmp_path):
    folder = write_idx(tmp_path / "Fashion-MNIST", "train", images(40, 8, 8), np.arange(40) % 10)
    data = load_data(str(folder))
    assert data.class_names == arrays.CLASS_NAMES["fashion_mnist"]
    assert data.mirror


def test_fashion_mnist_of_the_system_is_taken_before_keras(tmp_path, monkeypatch):
    folder = write_idx(tmp_path / "fashion_mnist", "train", images(40, 8, 8), np.arange(40) % 10)
    write_idx(folder, "t10k", images(20, 8, 8), np.arange(20) % 10)
    monkeypatch.setattr(arrays, "FASHION_FOLDER", folder)
    data = load_data("fashion_mnist")
    assert data.class_names[9] == "Ankle boot"
    assert data.split("test").names[0] == "fashion_mnist/test/0"


def break_magic(folder):
    file = folder / "train-images-idx3-ubyte"
    file.write_bytes(b"\x00\x00\x0d\x03" + file.read_bytes()[4:])


def promise_more(folder):
    file = folder / "train-images-idx3-ubyte"
    file.write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**15, 2**15) + b"few")


def promise_more_packed(folder):
    file = folder / "train-images-idx3-ubyte"
    file.unlink()
    content = struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**15, 2**15) + b"few"
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))


def cut_packed(folder):
    file = folder / "train-images-idx3-ubyte"
    content = gzip.compress(file.read_bytes())
    file.unlink()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(content[:-40])


def append(folder):
    with open(folder / "train-labels-idx1-ubyte", "ab") as file:
        file.write(b"more")


def drop_labels(folder):
    (folder / "train-labels-idx1-ubyte").unlink()


def fewer_labels(folder):
    write_idx(folder, "train", images(6, 8, 8), np.arange(5))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_magic, "it begins with 00 00 0d 03"),
        (promise_more, "it says 2,305,843,009,213,693,952 bytes follow"),
        (promise_more_packed, "it says 2,305,843,009,213,693,952 bytes follow"),
        (cut_packed, "is damaged or no IDX file"),
        (append, "40 bytes should follow its header; there are more"),
        (drop_labels, "both are needed"),
        (fewer_labels, "for each of the 6 images"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, damage, message):
    folder = write_idx(tmp_path / "set", "train", images(40, 8, 8), np.arange(40) % 10)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        load_data(str(folder))


# Shards


def test_shards_are_read_by_pattern_folder_and_file(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    for i in range(3):
        write_tar(folder / f"part-{i:03d}.tar", samples(10, 10 * i))
    ways = [folder, folder / "part-{000..002}.tar", folder / "part-*.tar"]
    for where in ways:
        data = load_data(str(where))
        assert data.class_names == ("0", "1")
        whole = data.split("all")
        assert sorted(reds(whole)) == list(range(30))
        assert [red % 2 for red in reds(whole)] == whole.labels.tolist()
        assert data.digest == load_data(str(folder)).digest
    alone = load_data(str(folder / "part-001.tar")).split("all")
    assert sorted(reds(alone)) == list(range(10, 20))
    assert sorted(alone.names)[0] == "part-001.tar/0010.png"


def test_names_of_shards_say_the_split(tmp_path):
    for name, n in (("train-0", 8), ("train-1", 4), ("val-0", 6), ("test", 4)):
        write_tar(tmp_path / f"{name}.tar", samples(n))
    data = load_data(str(tmp_path))
    assert {name: len(split) for name, split in data.splits.items()} == {
        **{"train": 12, "validation": 6, "test": 4}
    }
    write_tar(tmp_path / "trainer.tar", samples(4))
    with pytest.raises(ValueError, match=r"'trainer\.tar': rename it"):
        load_data(str(tmp_path))


def test_labels_may_be_texts_or_json_and_are_ordered_by_value(tmp_path):
    content = {
        "cls": lambda i: str(8 + i % 3).encode(),
        "txt": lambda i: f"class {i % 3}\n".encode(),
        "json": lambda i: json.dumps({"label": i % 3, "caption": "a thing"}).encode(),
    }
    for suffix, label in content.items():
        members = [
            m for i in range(9) for m in ((f"a/{i}.png", png(i)), (f"a/{i}.{suffix}", label(i)))
        ]
        data = load_data(str(write_tar(tmp_path / f"{suffix}.tar", members)), split=False)
        assert data.split("train").labels.tolist() == [i % 3 for i in range(9)]
    assert load_data(str(tmp_path / "cls.tar"), split=False).class_names == ("8", "9", "10")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.png", png(0))], r"'a\.png' of .* has no label"),
        ([("a.png", png(0)), ("a.jpg", png(0)), ("a.cls", b"0")], "has two images"),
        ([("a.cls", b"0")], "'a' of .* has a label and no image"),
        ([("a.png", png(0)), ("a.json", b"{")], "holds no label"),
        ([("a.png", png(0)), ("a.cls", b"0" * 2_000_000)], "is larger than a label"),
        ([("a.bin", b"0")], "There are no images in"),
        ([], "There are no images in"),
    ],
)
def test_samples_that_are_incomplete_are_refused(tmp_path, members, message):
    with pytest.raises(ValueError, match=message):
        load_data(str(write_tar(tmp_path / "a.tar", members)))


@pytest.mark.parametrize("length", [300, 512, 700, 3000, 9 * 512, -10240])
def test_a_shard_that_is_cut_off_is_refused(tmp_path, length):
    path = write_tar(tmp_path / "a.tar", samples(20))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="cut off"):
        load_data(str(path))


def test_a_compressed_shard_is_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", samples(4), "w:gz")
    with pytest.raises(ValueError, match="must not be compressed"):
        load_data(str(path))


def test_links_in_a_shard_are_not_followed(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(ValueError, match="There are no images in"):
        load_data(str(tmp_path / "a.tar"))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("s-{0..3}.tar", r"3 of the 4 shards .*s-1\.tar' among them"),
        ("t-*.tar", "No file matches"),
    ],
)
def test_shards_that_are_missing_are_named(tmp_path, pattern, message):
    write_tar(tmp_path / "s-0.tar", samples(4))
    with pytest.raises(FileNotFoundError, match=message):
        load_data(str(tmp_path / pattern))


def test_a_range_of_no_shards_or_millions_is_refused(tmp_path):
    for numbers in ("{3..1}", "{0..9999999}", "{0..9999}-{0..9999}"):
        with pytest.raises(ValueError, match="no shards or more than 100,000"):
            load_data(str(tmp_path / f"s-{numbers}.tar"))


# Class maps, shares and splits


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_class_map_renames_and_merges_classes(tmp_path, kind):
    make_photos(tmp_path / "data", 4, ("n01", "n02"))
    shutil.copytree(tmp_path / "data" / "n02", tmp_path / "data" / "n03")
    names = {"n01": "zebra", "n02": "ape", "n03": "ape", "unused": "x"}
    path = tmp_path / f"map.{kind}"
    if kind == "json":
        path.write_text(json.dumps(names))
    else:
        path.write_text("folder,class\n" + "".join(f"{k}, {v}\n" for k, v in names.items()))
    data = load_data(str(tmp_path / "data"), class_map=path)
    assert data.class_names == ("ape", "zebra")
    whole = data.split("all")
    for name, label in zip(whole.names, whole.labels, strict=True):
        assert data.class_names[label] == names[name.split("/")[0]]


def test_a_class_map_goes_for_named_data_too(tmp_path):
    (tmp_path / "map.json").write_text(
        json.dumps({str(d): "odd" if d % 2 else "even" for d in range(10)})
    )
    data = load_data("digits", class_map=tmp_path / "map.json")
    assert data.class_names == ("even", "odd")
    assert set(data.split("train").labels) == {0, 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,class\ncircle,a\n", "has no name for 1 labels of the data: square"),
        ("label,class\ncircle,a\ncircle,b\n", "gives 'circle' two names, 'a' and 'b'"),
        ("label\ncircle\n", "is no class map"),
        ('{"circle": 3}', "is no class map"),
        ("{", "is no class map"),
        ("label,class\ncircle,a\nsquare,a\n", "has one class, 'a'"),
    ],
)
def test_a_class_map_that_does_not_fit_is_refused(tmp_path, photos, text, message):
    (tmp_path / "map").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_data(str(photos), class_map=tmp_path / "map")


def test_a_missing_class_map_is_refused(tmp_path, photos):
    with pytest.raises(FileNotFoundError, match="There is no class map"):
        load_data(str(photos), class_map=tmp_path / "map.csv")


def test_a_fraction_of_the_training_images_leaves_the_others_whole():
    full, part = load_data("digits", seed=2), load_data("digits", seed=2, fraction=0.1)
    for split in ("validation", "test"):
        assert part.split(split).names == full.split(split).names
    counts, whole = (np.bincount(d.split("train").labels) for d in (part, full))
    assert counts.tolist() == [round(0.1 * n) for n in whole]
    assert set(part.split("train").names) < set(full.split("train").names)
    again, other = (load_data("digits", seed=s, fraction=0.1).split("train") for s in (2, 3))
    assert again.names == part.split("train").names != other.names


def test_a_small_fraction_keeps_one_image_of_each_class(photos):
    data = load_data(str(photos), fraction=0.001)
    assert data.split("train").labels.tolist() == [0, 1]


def test_shares_for_validation_and_test_can_be_chosen(photos):
    data = load_data(str(photos), validation=0.25, test=0.5)
    assert [len(data.splits[s]) for s in ("train", "validation", "test")] == [8, 4, 12]
    data = load_data(str(photos), test=0)
    assert (set(data.splits), data.held_out) == ({"train", "validation"}, "validation")


@pytest.mark.parametrize(
    "shares", [dict(validation=0), dict(test=1), dict(fraction=0), dict(fraction=1.5)]
)
def test_shares_outside_their_range_are_refused(shares):
    with pytest.raises(ValueError, match="The share for validation must be above 0"):
        load_data("digits", **shares)


def test_a_share_that_would_take_a_whole_class_is_refused(photos):
    with pytest.raises(ValueError, match="Class 'circle' has 12 images left, so it cannot be"):
        load_data(str(photos), test=0.99)


def test_without_splitting_a_class_may_have_one_image(tmp_path):
    make_photos(tmp_path / "data", 1)
    with pytest.raises(ValueError, match="cannot be split"):
        load_data(str(tmp_path / "data"))
    data = load_data(str(tmp_path / "data"), split=False)
    assert (list(data.splits), data.held_out, data.drawn) == (["train"], "all", False)
    assert len(data.split("all")) == 2


def test_without_splitting_the_splits_that_there_are_stay_and_none_is_needed(tmp_path):
    split_folders(tmp_path / "two", ("train", "test"))
    data = load_data(str(tmp_path / "two"), split=False)
    assert (list(data.splits), data.held_out) == (["train", "test"], "test")
    split_folders(tmp_path / "data", ("validation", "test"))
    data = load_data(str(tmp_path / "data"), split=False)
    assert list(data.splits) == ["validation", "test"]


# Digest and processes


def test_the_digest_sees_a_changed_image_label_class_or_split(tmp_path, photos):
    first = load_data(str(photos)).digest
    content = (photos / "circle" / "00.png").read_bytes()
    (photos / "circle" / "00.png").write_bytes(content + b"\0")
    changed = load_data(str(photos)).digest
    (photos / "circle" / "00.png").write_bytes(content)
    assert load_data(str(photos)).digest == first
    (tmp_path / "map.json").write_text('{"circle": "disc", "square": "square"}')
    renamed = load_data(str(photos), class_map=tmp_path / "map.json").digest
    (tmp_path / "map.json").write_text('{"circle": "square", "square": "circle"}')
    exchanged = load_data(str(photos), class_map=tmp_path / "map.json").digest
    assert len({first, changed, renamed, exchanged, load_data(str(photos), seed=1).digest}) == 5


def test_the_digest_sees_changed_pixels_of_arrays_and_zip_members_of_equal_size(tmp_path, photos):
    pixels = images(20, 8, 8)
    digests = set()
    for value in (0, 1, 0):
        pixels[3, 3, 3] = value
        np.savez(tmp_path / "set.npz", images=pixels, labels=np.arange(20) % 2)
        digests.add(load_data(str(tmp_path / "set.npz")).digest)
    assert len(digests) == 2
    bmp = tmp_path / "bmp"
    digests = set()
    for value in (0, 1):
        for label in ("a", "b"):
            (bmp / label).mkdir(parents=True, exist_ok=True)
            for i in range(3):
                Image.new("RGB", (4, 4), (value, i, 0)).save(bmp / label / f"{i}.bmp")
        digests.add(load_data(str(zipped(bmp))).digest)
    assert len(digests) == 2


def test_the_digest_of_a_file_that_went_away_is_another(photos):
    data, other = load_data(str(photos)), load_data(str(photos))
    before = other.digest
    shutil.rmtree(photos / "circle")
    assert data.digest != before


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "arrays"])
def test_a_source_can_be_sent_to_another_process_after_it_was_read(tmp_path, photos, kind):
    where = {
        "folder": lambda: str(photos),
        "zip": lambda: str(zipped(photos)),
        "tar": lambda: str(write_tar(tmp_path / "a.tar", samples(20))),
        "arrays": lambda: "digits",
    }[kind]()
    whole = load_data(where).split("all")
    pixels = whole.image(5).tobytes()
    again = pickle.loads(pickle.dumps(whole))  # noqa: S301
    assert again.image(5).tobytes() == pixels
    part = pickle.loads(pickle.dumps(whole.take(np.array([5, 1]))))  # noqa: S301
    assert part.image(0).tobytes() == pixels
    assert (part.names[0], part.labels[0]) == (whole.names[5], whole.labels[5])


def test_a_member_that_left_the_zip_is_named(photos):
    path = zipped(photos)
    whole = load_data(str(path)).split("all")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "")
    with pytest.raises(ImageError, match=r"\.png: It is no longer in photos0\.zip"):
        whole.image(0)


def test_what_is_no_data_is_refused_with_what_would_be(tmp_path):
    (tmp_path / "data.tar.gz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"nor a \.csv list, \.npz arrays or an uncompressed"):
        load_data(str(tmp_path / "data.tar.gz"))
    assert sources.absolute("digits") == "digits"
