"""Data sets that are arrays: scikit-learn's digits, those of Keras, npz and IDX files."""

import contextlib
import gzip
import io
import math
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO

import numpy as np

from senet.data import archives, limits
from senet.data.layouts import Entry, Found, class_order
from senet.data.readers import ArrayReader, JoinedReader
from senet.errors import FileError, InputError
from senet.foreign import count_believable, open_file

KERAS_DATA = ("fashion_mnist", "cifar10", "cifar100")
FASHION_FOLDER = pathlib.Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its IDX files."""
MAX_ARRAYS = 4 * 2**30
"""Most bytes of the arrays of one file."""
MAX_HEADER = 2**16
"""Bytes in which the header of an array is: NumPy reads those of up to 10,000."""

CLASS_NAMES = {
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
}


def find_digits() -> Found:
    """The 1,797 handwritten digits of scikit-learn, 8 x 8 pixels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images * (255 / 16)).round().astype("uint8")
    classes = tuple(str(d) for d in range(10))
    return _found("digits", {"train": (images, bunch.target)}, classes, mirror=False)


def find_keras_data(name: str) -> Found:
    """A data set of Keras, from its cache or downloaded; Fashion-MNIST from its package first.

    Raises:
        OSError: it is not in the cache and could not be downloaded.
    """
    if name == "fashion_mnist" and is_idx(FASHION_FOLDER):
        return find_in_idx(str(FASHION_FOLDER), FASHION_FOLDER, name)
    import keras

    try:
        train, test = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails.
        raise FileError(
            f"{name} is not in the Keras cache and could not be downloaded: {error}"
        ) from error
    classes = CLASS_NAMES.get(name) or tuple(str(c) for c in range(int(train[1].max()) + 1))
    return _found(name, {"train": train, "test": test}, classes)


HEADERS: Mapping[tuple[int, int], Callable[[IO[bytes]], tuple[tuple, bool, np.dtype]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""What reads the header of an array, by its version."""
NPZ_LAYOUTS: tuple[Mapping[str, tuple[str, str]], ...] = (
    {
        "train": ("x_train", "y_train"),
        "validation": ("x_val", "y_val"),
        "test": ("x_test", "y_test"),
    },
    {"train": ("images", "labels")},
)


def find_in_npz(where: str, path: pathlib.Path) -> Found:
    """Images of an npz file of NumPy; nothing pickled is read.

    Raises:
        ValueError: it is damaged, or its arrays are not those of a data set of images.
    """
    arrays = dict(_npz_arrays(where, path))
    layout = next((names for names in NPZ_LAYOUTS if set(names["train"]) <= set(arrays)), None)
    if layout is None:
        raise InputError(
            f"{where!r} has the arrays {', '.join(arrays) or 'none'}: expected x_train and y_train "
            "(and x_val, y_val, x_test, y_test), or images and labels."
        )
    parts = {}
    for section, (images, labels) in layout.items():
        if (images in arrays) != (labels in arrays):
            raise InputError(f"{where!r} has one of {images} and {labels}: both are needed.")
        if images in arrays:
            parts[section] = arrays[images], arrays[labels]
    classes = None
    if "class_names" in arrays:
        if arrays["class_names"].ndim != 1 or arrays["class_names"].dtype.kind != "U":
            raise InputError(f"class_names of {where!r} must be a list of texts.")
        classes = tuple(str(name) for name in arrays["class_names"])
    return _found(where, parts, classes, name=path.stem)


def _npz_arrays(where: str, path: pathlib.Path) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays that are ours to read; sizes are compared with the file before memory is taken."""
    wanted = {name for layout in NPZ_LAYOUTS for names in layout.values() for name in names}
    wanted.add("class_names")
    try:
        with archives.RegularZip(path) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            members = {name: m for name, m in members.items() if name in wanted}
            archives.require_believable(members.values(), path.stat().st_size, MAX_ARRAYS)
            for name, member in members.items():
                yield name, _read_array(archive, member, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{where!r} is no npz file that can be read: {error}") from error


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> np.ndarray:
    """An array that takes as much memory as its member says it has, and no more."""
    with archive.open(member) as file:
        start = io.BytesIO(file.read(MAX_HEADER))
    shape, _, dtype = HEADERS[np.lib.format.read_magic(start)](start)
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise InputError(f"{name} holds Python objects, which are never read")
    if not dtype.itemsize:
        raise InputError(f"{name} has values of no bytes")
    if start.tell() + size != member.file_size:
        raise InputError(
            f"{name} of shape {shape} needs {size:,} bytes after a header of {start.tell()}, and "
            f"has {member.file_size:,} in all"
        )
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


IDX_FILES = {"train": "train", "test": "t10k"}
IDX_NAMES = ("{}-{}-idx{}-ubyte", "{}-{}.idx{}-ubyte")


def is_idx(folder: pathlib.Path) -> bool:
    """Whether a folder has the training images of an IDX data set."""
    return _idx_file(folder, "train", "images", 3) is not None


def find_in_idx(where: str, folder: pathlib.Path, name: str | None = None) -> Found:
    """Images of a folder of IDX files, as MNIST has them, packed by gzip or not.

    The classes of Fashion-MNIST get their names where the name of the folder has "fashion" in it;
    other sets in these files are of written characters, whose mirror images mean something else.

    Raises:
        ValueError: a file is missing or damaged, or images and labels are not equal in number.
    """
    parts = {}
    for section, prefix in IDX_FILES.items():
        images, labels = (
            _idx_file(folder, prefix, "images", 3),
            _idx_file(folder, prefix, "labels", 1),
        )
        if images is None and labels is None and section != "train":
            continue
        if images is None or labels is None:
            raise InputError(
                f"{where!r} has one of {prefix}-images-idx3-ubyte and {prefix}-labels-idx1-ubyte "
                "(packed by gzip or not): both are needed."
            )
        parts[section] = _read_idx(images, 3), _read_idx(labels, 1)
    fashion = "fashion" in folder.name.lower()
    classes = CLASS_NAMES["fashion_mnist"] if fashion else None
    return _found(where, parts, classes, name=name or folder.name, mirror=fashion)


def _idx_file(folder: pathlib.Path, prefix: str, what: str, dimensions: int) -> pathlib.Path | None:
    stems = [pattern.format(prefix, what, dimensions) for pattern in IDX_NAMES]
    files = [folder / f"{stem}{suffix}" for stem in stems for suffix in ("", ".gz")]
    return next((file for file in files if file.is_file()), None)


def _read_idx(path: pathlib.Path, dimensions: int) -> np.ndarray:
    """The bytes of an IDX file; sizes are compared with the file before memory is taken."""
    packed = path.suffix == ".gz"
    header, stored = 4 + 4 * dimensions, path.stat().st_size
    try:
        with contextlib.ExitStack() as stack:
            stored_file = stack.enter_context(open_file(path))
            file = stack.enter_context(gzip.open(stored_file)) if packed else stored_file
            start = file.read(header)
            if start[:4] != bytes((0, 0, 8, dimensions)) or len(start) < header:
                raise InputError(f"it begins with {start[:4].hex(' ') or 'nothing'}")
            shape = struct.unpack(f">{dimensions}I", start[4:])
            size = math.prod(shape)
            largest = count_believable(stored) if packed else stored - header
            if size > min(largest, MAX_ARRAYS):
                raise InputError(f"it says {size:,} bytes follow and has {stored:,} in all")
            data = file.read(size + 1)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(
            f"{str(path)!r} is damaged or no IDX file of bytes in {dimensions} dimensions: {error}."
        ) from error
    if len(data) != size:
        raise InputError(
            f"{str(path)!r} is damaged: {' x '.join(map(str, shape))} bytes should follow its "
            f"header; there are {'more' if len(data) > size else f'{len(data):,}'}."
        )
    return np.frombuffer(data, "uint8").reshape(shape)


def _found(
    where: str,
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    classes: tuple[str, ...] | None,
    *,
    name: str | None = None,
    mirror: bool = True,
) -> Found:
    """What arrays of images and labels hold, by split."""
    readers, sections = [], {}
    for number, (section, (images, labels)) in enumerate(parts.items()):
        images, texts = _check(where, section, images, labels, classes)
        readers.append(ArrayReader(images))
        prefix = f"{name or where}/{section}" if len(parts) > 1 else name or where
        sections[section] = [
            Entry(f"{prefix}/{i}", text, (number, i)) for i, text in enumerate(texts)
        ]
    return Found(
        JoinedReader(tuple(readers)),
        sections,
        classes or tuple(class_order(e.label for entries in sections.values() for e in entries)),
        mirror,
    )


def _check(
    where: str, section: str, images: np.ndarray, labels: np.ndarray, classes: tuple | None
) -> tuple[np.ndarray, list[str]]:
    """Images as they are read, and the label of each as text."""
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if (
        images.dtype != np.uint8
        or images.ndim not in (3, 4)
        or (images.ndim == 4 and images.shape[3] != 3)
        or 0 in images.shape
    ):
        raise InputError(
            f"The {section} images of {where!r} are {images.dtype} of shape {images.shape}: "
            "expected uint8, 0-255, of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3)."
        )
    height, width = images.shape[1:3]
    if max(height, width) > limits.MAX_SIDE or height * width > limits.MAX_PIXELS:
        raise InputError(
            f"The {section} images of {where!r} have {width} x {height} pixels: at most "
            f"{limits.MAX_PIXELS:,} are read, and no side longer than {limits.MAX_SIDE:,}."
        )
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iuU":
        raise InputError(
            f"The {section} labels of {where!r} are {labels.dtype} of shape {labels.shape}: "
            f"expected a whole number or a text for each of the {len(images)} images."
        )
    if labels.dtype.kind == "U":
        texts = [str(label) for label in labels]
        if classes and (unknown := sorted(set(texts) - set(classes))):
            raise InputError(f"{where!r} has labels that are in no class name: {unknown[:20]}.")
        return images, texts
    if labels.min() < 0 or (classes and labels.max() >= len(classes)):
        raise InputError(
            f"The {section} labels of {where!r} go from {labels.min()} to {labels.max()}: expected "
            f"0 to {len(classes) - 1 if classes else 'the number of classes - 1'}."
        )
    return images, [classes[label] if classes else str(label) for label in labels]
