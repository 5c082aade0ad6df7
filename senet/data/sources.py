"""Labelled images that are decoded when asked for, and how a data set is split."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os.path
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from senet.data import arrays, layouts, shards, sharing
from senet.data.decode import ImageError
from senet.data.finding import list_folder
from senet.data.layouts import SPLITS, Found
from senet.data.readers import UNREADABLE, ArrayReader, JoinedReader, Reader
from senet.errors import InputError, NotFoundError
from senet.foreign import listed, name_class

NAMED = ("digits", *arrays.KERAS_DATA)
VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2
SMALL = 64
"""Longest side of images that are taken whole rather than cropped, pixels."""
SAMPLE = 64
"""Images that are asked for their size; those of one data set are alike."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Labelled images that are decoded when asked for, in any process.

    Args:
        names: one for each image, to name it to people.
        labels: index of the class of each image, `(N,)`.
        reader: gives the images.
        keys: of each image, for the reader.
    """

    names: Sequence[str]
    labels: np.ndarray
    reader: Reader
    keys: Sequence[Any]

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Image.Image:
        """The image at `index` as RGB.

        Raises:
            ImageError: it cannot be decoded; the message has its name.
        """
        try:
            with sharing.holding():
                return self.reader.image(self.keys[index])
        except (ImageError, *UNREADABLE) as error:
            raise ImageError(f"{self.names[index]}: {error}") from error

    def take(self, indices: np.ndarray) -> "Source":
        """The source of these indices only."""
        names, keys = ([column[i] for i in indices] for column in (self.names, self.keys))
        return Source(names, self.labels[indices], self.reader, keys)


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set: its classes and its splits.

    Args:
        class_names: one for each label.
        splits: of `"train"`, `"validation"` and `"test"` those that there are.
        mirror: whether the mirror image of an image is of the same class.
        drawn: whether the images to hold out were drawn at random here.
        notes: what was left out, a sentence each.
    """

    class_names: tuple[str, ...]
    splits: dict[str, Source]
    mirror: bool = True
    drawn: bool = True
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> Source:
        """One split by name; `"all"` is every image.

        Raises:
            ValueError: there is none of that name.
        """
        if name == "all":
            return _join(list(self.splits.values()))
        if name not in self.splits:
            known = ", ".join([*self.splits, "all"])
            raise InputError(f"There is no split {name!r} in this data, only {known}.")
        return self.splits[name]

    @property
    def held_out(self) -> str:
        """The split to quote results on: `"test"`, else `"validation"`, else `"all"`."""
        return next((name for name in ("test", "validation") if name in self.splits), "all")

    @functools.cached_property
    def small(self) -> bool:
        """Whether the images are small ones: of a sample no side is above 64 pixels.

        Images that cannot be read do not count; where none can, they are not small.
        """
        source = next(iter(self.splits.values()))
        sizes = []
        for index in np.linspace(0, len(source) - 1, min(SAMPLE, len(source)), dtype=int):
            with contextlib.suppress(ImageError):
                sizes.append(max(source.image(index).size))
                if sizes[-1] > SMALL:  # photographs are large to decode, and one of them will do
                    return False
        return bool(sizes)

    @property
    def images_per_class(self) -> dict[str, dict[str, int]]:
        """For each class the number of images in each split."""
        counts = {
            name: np.bincount(source.labels, minlength=len(self.class_names)).tolist()
            for name, source in self.splits.items()
        }
        return {
            label: {split: counts[split][number] for split in counts}
            for number, label in enumerate(self.class_names)
        }

    def relabel(self, class_names: Sequence[str], numbers: Sequence[int]) -> "Data":
        """The same images, their labels among other classes, as those of a network.

        Args:
            class_names: all of them.
            numbers: for each class of these data its index among them.
        """
        indices = np.asarray(numbers, dtype="int64")
        splits = {
            name: dataclasses.replace(source, labels=indices[source.labels])
            for name, source in self.splits.items()
        }
        return dataclasses.replace(self, class_names=tuple(class_names), splits=splits)

    @functools.cached_property
    def listed(self) -> list[tuple[str, str, int, str]]:
        """Split, name, label and stamp of every image, in order.

        The stamp changes with the content as far as that is cheap to know: it is the size of a
        file, size and checksum of a member of a zip file, the size of a member of a tar file, a
        hash of the pixels of an array.
        """
        return [
            (split, name, int(label), source.reader.stamp(key))
            for split, source in self.splits.items()
            for name, label, key in zip(source.names, source.labels, source.keys, strict=True)
        ]

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the classes and of all that is `listed`, to see later that they are so."""
        return self._digest(self.class_names)

    def is_same(self, digest: str, class_names: Sequence[str]) -> bool:
        """Whether these are the data of a `digest`, whose classes were called so.

        Classes that older versions did not write in composed letters are the same classes.
        """
        if self.digest == digest:
            return True
        alike = tuple(map(name_class, class_names)) == self.class_names
        return alike and self._digest(class_names) == digest

    def _digest(self, class_names: Sequence[str]) -> str:
        digest = hashlib.sha256(json.dumps(list(class_names)).encode())
        for record in self.listed:
            digest.update(json.dumps(record).encode())
        return digest.hexdigest()


def load_data(
    where: str | os.PathLike,
    seed: int = 0,
    *,
    validation: float = VALIDATION_SHARE,
    test: float = TEST_SHARE,
    fraction: float = 1.0,
    class_map: str | os.PathLike | None = None,
    split: bool = True,
    trained: bool = False,
) -> Data:
    """Find a data set by name or path and split it.

    Splits that the data do not have are drawn from the training images, class by class: first those
    for testing where there are no splits at all, then of the rest those for validation.

    Args:
        where: one of

            - `"digits"` (scikit-learn's 1,797 handwritten digits, always at hand),
              `"fashion_mnist"`, `"cifar10"`, `"cifar100"` (from the Keras cache or downloaded);
            - a folder or `.zip` file with a folder for each class, either directly or inside
              `train`, `validation` and `test`;
            - a `.csv` file with the columns path, label and perhaps split;
            - an `.npz` file with `x_train`, `y_train` (and `x_val`, `y_val`, `x_test`, `y_test`),
              or `images`, `labels`, and perhaps `class_names`;
            - a folder of IDX files, as MNIST has them;
            - WebDataset shards: a `.tar` file, a folder of them, or a pattern of their names like
              `"train-{000000..000009}.tar"`.
        seed: of the random split; the same seed gives the same split.
        validation: share of the images to draw for validation, above 0 and below 1.
        test: share of the images to draw for testing, below 1; 0 draws none.
        fraction: share of the training images that is used, of each class, above 0 to 1.
        class_map: path of a CSV file with two columns, or of a JSON object, from labels to names of
            classes; classes of one name are merged.
        split: whether to draw splits; without, images that are in no split count as `"train"`.
        trained: whether they are for a network that is trained already, for which one class and
            images of a test alone will do.

    Returns:
        A `Data`.

    Raises:
        FileNotFoundError: there is no such name or path, or a file that it lists is missing.
        ValueError: the data are damaged, their layout is not understood, there are too few classes
            or images, a class is not in the class map, or a share is outside its range.
        OSError: a data set by name is not in the cache and could not be downloaded.

    Example:
        >>> data = load_data("digits")
        >>> len(data.splits["train"])
        1295
    """
    _check_shares(validation, test, fraction)
    where = os.fspath(where)
    found = layouts.normalise_names(_find(where))
    if class_map is not None:
        found = layouts.rename(found, class_map)
    classes, splits = _sources(where, found, trained=trained)
    data = Data(classes, splits, found.mirror, drawn=False, notes=found.notes)
    if not split:
        return data
    if not trained and "train" not in splits:
        raise InputError(
            f"{where!r} has folders for {' and '.join(splits)} but none for training: expected "
            "train/CLASS beside them, or a folder for each class."
        )
    return split_data(data, seed, validation=validation, test=test, fraction=fraction)


def split_data(
    data: Data,
    seed: int = 0,
    *,
    validation: float = VALIDATION_SHARE,
    test: float = TEST_SHARE,
    fraction: float = 1.0,
) -> Data:
    """Draw the splits that data do not have, as `load_data` does, whose arguments these are.

    Args:
        data: as `load_data(..., split=False)` gives them; without training images they stay as they
            are.
        seed: of the random split.
        validation: share of the images to draw for validation.
        test: share of the images to draw for testing.
        fraction: share of the training images that is used.

    Returns:
        A `Data`.

    Raises:
        ValueError: a share is outside its range, or a class has too few images.
    """
    _check_shares(validation, test, fraction)
    splits, classes = dict(data.splits), data.class_names
    if "train" not in splits:
        return data
    drawn = set(splits) == {"train"}
    if drawn and test:
        splits["train"], splits["test"] = _draw(splits["train"], test, seed, classes)
    if "validation" not in splits:
        kept, held_out = _draw(splits["train"], validation, seed + 1, classes)
        splits |= {"train": kept, "validation": held_out}
    if fraction < 1:
        labels = splits["train"].labels
        splits["train"] = splits["train"].take(_share(labels, fraction, seed + 2))
    return dataclasses.replace(data, splits=_in_order(splits), drawn=drawn)


def _in_order(splits: Mapping[str, Source]) -> dict[str, Source]:
    """Splits as they are told everywhere: training, validation, test."""
    return {name: splits[name] for name in dict.fromkeys(SPLITS.values()) if name in splits}


def _check_shares(validation: float, test: float, fraction: float) -> None:
    if not (0 < validation < 1 and 0 <= test < 1 and 0 < fraction <= 1):
        raise InputError(
            "The share for validation must be above 0 and below 1, the share for testing from 0 to "
            "below 1, the fraction to train on above 0 to 1; got "
            f"{validation}, {test} and {fraction}."
        )


def _find(where: str) -> Found:
    """What the data set of a name or path holds."""
    if not where.strip():
        raise InputError(
            f"Data are named by a folder, a file or one of {', '.join(NAMED)}; got {where!r}."
        )
    if where == "digits":
        return arrays.find_digits()
    if where in arrays.KERAS_DATA:
        return arrays.find_keras_data(where)
    path = pathlib.Path(os.path.expanduser(where))
    if path.is_dir():
        return _find_in_folder(where, path)
    if path.is_file() and path.suffix.lower() == ".npz":
        return arrays.find_in_npz(where, path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return layouts.find_in_list(where, path)
    if path.is_file() and path.suffix.lower() == ".tar":
        return shards.find_in_shards(where, [path])
    if path.is_file() and zipfile.is_zipfile(path):
        return layouts.find_in_zip(where, path)
    if path.exists():
        raise InputError(
            f"{where!r} is neither a folder nor a zip file of images, nor a .csv list, .npz arrays "
            "or an uncompressed .tar shard."
        )
    if shards.is_pattern(where):
        return shards.find_in_shards(where, shards.expand(str(path)))
    raise NotFoundError(
        f"There is no folder or zip file {where!r}, nor a .csv list, .npz arrays or .tar shards, "
        f"and no data set of that name: known are {', '.join(NAMED)}."
    )


def _find_in_folder(where: str, path: pathlib.Path) -> Found:
    """Images in class folders; of a folder without, those of IDX files or of shards."""
    listing = list_folder(path)
    tars = [path / name for name in listing.files if name.lower().endswith(".tar")]
    if not listing.images and (tars or arrays.is_idx(path)):
        idx = arrays.is_idx(path)
        found = arrays.find_in_idx(where, path) if idx else shards.find_in_shards(where, tars)
        rest = tuple(
            name
            for name in listing.files
            if not ("idx" in name if idx else name.lower().endswith(".tar"))
        )
        notes = dataclasses.replace(listing, files=rest).describe_others()
        return dataclasses.replace(found, notes=(*found.notes, *notes))
    return layouts.find_in_folder(where, path, listing)


def absolute(where: str) -> str:
    """What `load_data` takes, so that it means the same from every folder."""
    if where in NAMED or not where.strip():  # what is blank would become the present folder
        return where
    return os.path.abspath(os.path.expanduser(where))


def from_arrays(images: np.ndarray, labels: np.ndarray, name: str) -> Source:
    """A source of images in memory, `(N, H, W)` grey or `(N, H, W, 3)`, uint8."""
    return Source(
        [f"{name}/{i}" for i in range(len(images))],
        np.asarray(labels, dtype="int64").ravel(),
        ArrayReader(images),
        range(len(images)),
    )


def _join(sources: list[Source]) -> Source:
    """The images of several sources, one after the other."""
    if len(sources) == 1:
        return sources[0]
    return Source(
        [name for source in sources for name in source.names],
        np.concatenate([source.labels for source in sources]),
        JoinedReader(tuple(source.reader for source in sources)),
        [(number, key) for number, source in enumerate(sources) for key in source.keys],
    )


def _sources(
    where: str, found: Found, *, trained: bool
) -> tuple[tuple[str, ...], dict[str, Source]]:
    """The classes of a data set and its images by split."""
    sections = found.sections
    present = {name: {entry.label for entry in entries} for name, entries in sections.items()}
    known = set[str]().union(*present.values())
    if not trained:
        known = present.get("train") or known
        _require_classes(where, known, present)
    classes = found.class_names or layouts.class_order(known)
    numbers = {name: number for number, name in enumerate(classes)}
    sources = {}
    for name, entries in sections.items():
        names, texts, keys = zip(*entries, strict=True)
        indices = np.array([numbers[label] for label in texts], dtype="int64")
        sources[name] = Source(names, indices, found.reader, keys)
    return tuple(classes), _in_order(sources)


def _require_classes(where: str, trained: set[str], present: Mapping[str, set[str]]) -> None:
    """Refuse what no network can be trained on: one class, or images of a class for tests only."""
    if len(trained) < 2:
        raise InputError(
            f"{where!r} has one class, {min(trained)!r}: a network that tells classes apart needs "
            "at least two class folders."
        )
    for name, labels in present.items():
        if unknown := sorted(labels - trained):
            raise InputError(
                f"The {name} images of {where!r} have classes that no training image has: "
                f"{listed(unknown)}."
            )


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
        ValueError: a class has as few images as are taken, so that none would stay.
    """
    chosen = _share(labels, share, seed)
    whole = np.bincount(labels)
    taken = np.bincount(labels[chosen], minlength=len(whole))
    for label in np.flatnonzero(whole == taken).tolist():
        if whole[label]:
            name = repr(class_names[label]) if class_names else label
            count = "a single image" if whole[label] == 1 else f"{whole[label]} images"
            raise InputError(
                f"Class {name} has {count} left, so it cannot be split: every class needs at least "
                "three images, or the data its own train, validation and test folders."
            )
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def _share(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Indices of a share of every class, at least one image of each, in rising order."""
    rng = np.random.default_rng(seed)
    taken = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        taken.append(members[: max(1, round(share * len(members)))])
    return np.sort(np.concatenate(taken))


def _draw(whole: Source, share: float, seed: int, classes: Sequence[str]) -> tuple[Source, Source]:
    kept, held_out = divide(whole.labels, share, seed, classes)
    return whole.take(kept), whole.take(held_out)
