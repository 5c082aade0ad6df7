"""Where images come from: named data sets, folders, zip files."""

import dataclasses
import functools
import hashlib
import os.path
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from senet.data.decode import SUFFIXES, ImageError, decode

KERAS_DATA = ("fashion_mnist", "cifar10", "cifar100")
NAMED = ("digits", *KERAS_DATA)
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2
MAX_FILE = 64 * 2**20
"""Largest image file that is read, bytes."""

UNREADABLE = (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What reading a file or a member of a zip file raises: missing, encrypted, packed otherwise."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Labelled images that are decoded when asked for.

    Args:
        names: one for each image, to name it to people.
        labels: index of the class of each image, `(N,)`.
        read: gives the image of an index as RGB.
    """

    names: Sequence[str]
    labels: np.ndarray
    read: Callable[[int], Image.Image]

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Image.Image:
        """The image at `index`.

        Raises:
            ImageError: it cannot be decoded; the message has its name.
        """
        try:
            return self.read(index)
        except (ImageError, *UNREADABLE) as error:
            raise ImageError(f"{self.names[index]}: {error}") from error

    def take(self, indices: np.ndarray) -> "Source":
        """The source of these indices only."""
        names = [self.names[i] for i in indices]
        return Source(names, self.labels[indices], lambda i: self.read(int(indices[i])))


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set: its classes and its splits.

    Args:
        class_names: one for each label.
        splits: `"train"`, `"validation"` and, where there are some to hold out, `"test"`.
        mirror: whether the mirror image of an image is of the same class.
        pixels: side of the images where all have the same small size, else `None`.
        drawn: whether the images to hold out were drawn at random here.
    """

    class_names: tuple[str, ...]
    splits: dict[str, Source]
    mirror: bool = True
    pixels: int | None = None
    drawn: bool = True

    def split(self, name: str) -> Source:
        """One split by name; `"all"` is every image.

        Raises:
            ValueError: there is none of that name.
        """
        if name == "all":
            return _join(list(self.splits.values()))
        if name not in self.splits:
            known = ", ".join([*self.splits, "all"])
            raise ValueError(f"There is no split {name!r} in this data, only {known}.")
        return self.splits[name]

    @property
    def held_out(self) -> str:
        """The split to quote results on: `"test"`, or `"validation"` where there is no test."""
        return "test" if "test" in self.splits else "validation"

    @property
    def digest(self) -> str:
        """SHA-256 of which image is in which split, to see later that it is still so."""
        lines = [f"{split}/{n}" for split, source in self.splits.items() for n in source.names]
        return hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()


def load_data(where: str, seed: int = 0) -> Data:
    """Find a data set by name or path and split it.

    A folder or zip file holds a folder for each class, either directly or inside `train`,
    `validation` and `test`. Splits that are missing are taken from the training images, class by
    class: 10 % for validation, and 20 % for testing where there are no splits at all.

    Args:
        where: `"digits"` (scikit-learn's 1,797 handwritten digits, always at hand),
            `"fashion_mnist"`, `"cifar10"`, `"cifar100"` (from the Keras cache or downloaded), or
            the path of a folder or a `.zip` file.
        seed: of the random split; the same seed gives the same split.

    Returns:
        A `Data`.

    Raises:
        FileNotFoundError: there is no such name or path.
        ValueError: the layout is not understood, or there are too few classes or images.
        OSError: a data set by name is not in the cache and could not be downloaded.

    Example:
        >>> data = load_data("digits")
        >>> len(data.splits["train"])
        1257
    """
    if where == "digits":
        return _digits(seed)
    if where in KERAS_DATA:
        return _keras_data(where, seed)
    path = pathlib.Path(os.path.expanduser(where))
    if path.is_dir():
        names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        return _from_layout(where, names, seed, functools.partial(_read_file, path))
    if path.is_file() and zipfile.is_zipfile(path):
        try:
            archive = zipfile.ZipFile(path)
        except UNREADABLE as error:
            raise ValueError(f"{where!r} is a damaged zip file: {error}") from error
        names = sorted({info.filename for info in archive.infolist() if not info.is_dir()})
        return _from_layout(where, names, seed, functools.partial(_read_member, archive))
    if path.exists():
        raise ValueError(f"{where!r} is neither a folder nor a zip file of images.")
    raise FileNotFoundError(
        f"There is no folder or zip file {where!r}, and no data set of that name: "
        f"known are {', '.join(NAMED)}."
    )


def absolute(where: str) -> str:
    """What `load_data` takes, so that it means the same from every folder."""
    return where if where in NAMED else os.path.abspath(os.path.expanduser(where))


def from_arrays(images: np.ndarray, labels: np.ndarray, name: str) -> Source:
    """A source of images in memory, `(N, H, W)` grey or `(N, H, W, 3)`, uint8."""
    return Source(
        [f"{name}/{i}" for i in range(len(images))],
        np.asarray(labels, dtype="int64").ravel(),
        lambda i: Image.fromarray(images[i]).convert("RGB"),
    )


def _join(sources: list[Source]) -> Source:
    """The images of several sources, one after the other."""
    where = [(source, i) for source in sources for i in range(len(source))]
    names = [name for source in sources for name in source.names]
    labels = np.concatenate([source.labels for source in sources])
    return Source(names, labels, lambda i: where[i][0].read(where[i][1]))


def divide(
    labels: np.ndarray, share: float, seed: int, class_names: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Take a share of every class, at least one image of each, at random.

    Args:
        labels: class of each image.
        share: to take, 0 to 1.
        seed: of the choice.
        class_names: one for each label, for the message of an error.

    Returns:
        Indices that stay and indices that are taken, each in rising order.

    Raises:
        ValueError: a class has a single image, so that one side would have none.
    """
    rng = np.random.default_rng(seed)
    taken = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < 2:
            name = repr(class_names[label]) if class_names else label
            raise ValueError(
                f"Class {name} has a single image left, so it cannot be split: every class needs "
                "at least three images, or the data its own train, validation and test folders."
            )
        taken.append(members[: max(1, round(share * len(members)))])
    chosen = np.sort(np.concatenate(taken))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def _split(
    whole: Source, seed: int, classes: Sequence[str], *, test: Source | None = None
) -> dict[str, Source]:
    """Train and validation, and test where none is given, out of one source."""
    if test is None:
        kept, held_out = divide(whole.labels, TEST_SHARE, seed, classes)
        whole, test = whole.take(kept), whole.take(held_out)
    kept, held_out = divide(whole.labels, VALIDATION_SHARE, seed + 1, classes)
    return {"train": whole.take(kept), "validation": whole.take(held_out), "test": test}


def _digits(seed: int) -> Data:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images * (255 / 16)).round().astype("uint8")
    whole = from_arrays(images, bunch.target, "digits")
    classes = tuple(str(d) for d in range(10))
    return Data(classes, _split(whole, seed, classes), mirror=False, pixels=8)


def _keras_data(name: str, seed: int) -> Data:
    import keras

    try:
        (images, labels), (test_images, test_labels) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails.
        raise OSError(
            f"{name} is not in the Keras cache and could not be downloaded: {error}"
        ) from error
    classes = _CLASS_NAMES.get(name) or tuple(str(c) for c in range(int(labels.max()) + 1))
    splits = _split(
        from_arrays(images, labels, f"{name}/train"),
        seed,
        classes,
        test=from_arrays(test_images, test_labels, f"{name}/test"),
    )
    return Data(classes, splits, pixels=images.shape[1], drawn=False)


_CLASS_NAMES = {
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
}


def _from_layout(where: str, names: list[str], seed: int, read: Callable) -> Data:
    """Data of files whose folders are classes, or splits and then classes."""
    files = _images(names)
    if not files:
        raise ValueError(
            f"There are no images in {where!r}: expected a folder for each class with files that "
            f"end in {', '.join(SUFFIXES)}."
        )
    if loose := [name for name, parts in files if len(parts) < 2]:
        raise ValueError(
            f"{where!r} has images that are in no class folder, {loose[0]!r} among them: expected "
            "a folder for each class, for example cat/1.jpg and dog/2.jpg."
        )
    sections: dict[str, list[tuple[str, str]]] = {}
    has_splits = any(parts[0].lower() in SPLITS and len(parts) > 2 for _, parts in files)
    for name, parts in files:
        section, label = "train", parts[0]
        if has_splits:
            section, label = SPLITS.get(parts[0].lower(), ""), parts[1]
            if not section or len(parts) < 3:
                raise ValueError(
                    f"{where!r} has folders for splits, and {name!r} is in none of train/CLASS, "
                    "validation/CLASS and test/CLASS: move it there or away."
                )
        sections.setdefault(section, []).append((name, label))
    return _data_of_sections(where, sections, seed, read)


def _images(names: list[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Names that end like images, each with its path below the folder that all share."""
    slashed = [name.replace("\\", "/") for name in names]  # as some zip programs write paths
    paths = [(n, pathlib.PurePosixPath(s).parts) for n, s in zip(names, slashed, strict=True)]
    files = [
        (name, parts)
        for name, parts in paths
        if name.lower().endswith(SUFFIXES) and not any(p.startswith((".", "__")) for p in parts)
    ]
    while files and len({parts[0] for _, parts in files}) == 1:
        if min(len(parts) for _, parts in files) < 3:
            break
        files = [(name, parts[1:]) for name, parts in files]
    return files


def _data_of_sections(
    where: str, sections: dict[str, list[tuple[str, str]]], seed: int, read: Callable
) -> Data:
    if "train" not in sections:
        raise ValueError(
            f"{where!r} has folders for {' and '.join(sections)} but none for training: expected "
            "train/CLASS beside them, or a folder for each class."
        )
    classes = sorted({label for _, label in sections["train"]})
    if len(classes) < 2:
        raise ValueError(
            f"{where!r} has one class, {classes[0]!r}: a network that tells classes apart needs at "
            "least two class folders."
        )
    sources = {}
    for section, files in sections.items():
        if unknown := sorted({label for _, label in files} - set(classes)):
            raise ValueError(
                f"The {section} images of {where!r} have classes that no training image has: "
                f"{', '.join(unknown)}."
            )
        sources[section] = _source(files, classes, read)
    if "validation" in sources:
        splits = {s: sources[s] for s in dict.fromkeys(SPLITS.values()) if s in sources}
    else:
        splits = _split(sources["train"], seed, classes, test=sources.get("test"))
    return Data(tuple(classes), splits, drawn=set(sources) == {"train"})


def _source(files: list[tuple[str, str]], classes: list[str], read: Callable) -> Source:
    names = [name for name, _ in files]
    labels = np.array([classes.index(label) for _, label in files])
    return Source(names, labels, lambda i: read(names[i]))


def _read_file(root: pathlib.Path, name: str) -> Image.Image:
    path = root / name
    if path.stat().st_size > MAX_FILE:
        raise ImageError(f"The file is larger than {MAX_FILE:,} bytes.")
    return decode(path.read_bytes())


def _read_member(archive: zipfile.ZipFile, name: str) -> Image.Image:
    if archive.getinfo(name).file_size > MAX_FILE:
        raise ImageError(f"The file is larger than {MAX_FILE:,} bytes.")
    return decode(archive.read(name))
