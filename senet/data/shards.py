"""WebDataset: samples in uncompressed tar files, read at random by their offsets."""

import glob
import json
import os
import pathlib
import re
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from senet.data.decode import SUFFIXES
from senet.data.finding import UNREAD_SUFFIXES, count_endings, is_hidden, split_name
from senet.data.layouts import SPLIT, SPLITS, Entry, Found
from senet.data.readers import TarReader
from senet.errors import InputError, NotFoundError
from senet.foreign import open_file

LABELS = (".cls", ".txt", ".json")
"""Endings of the members that hold a label, the first of them counts."""
MAX_LABEL = 2**20
"""Largest member with a label, or header of a member, that is read, bytes."""
MAX_SHARDS = 100_000
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def is_pattern(where: str) -> bool:
    """Whether a text stands for several shards, as `train-{000..009}.tar` or `train-*.tar`."""
    return where.endswith(".tar") and bool(RANGE.search(where) or glob.has_magic(where))


def expand(pattern: str) -> list[pathlib.Path]:
    """The shards that a pattern stands for.

    Args:
        pattern: a path with ranges, as `{000..009}`, or the wildcards of a shell.

    Raises:
        FileNotFoundError: one of a range is not there, or none matches.
        ValueError: a range is empty or longer than 100,000.
    """
    names = [pattern]
    while match := RANGE.search(names[0]):
        first, last = (int(number) for number in match.groups())
        if not 0 <= last - first < MAX_SHARDS // len(names):
            raise InputError(
                f"{pattern!r} stands for no shards or more than {MAX_SHARDS:,}: expected a range "
                "like {000..009}."
            )
        width = len(match[1])
        names = [
            RANGE.sub(f"{number:0{width}d}", name, count=1)
            for name in names
            for number in range(first, last + 1)
        ]
    if not any(glob.has_magic(name) for name in names):
        if missing := [name for name in names if not os.path.isfile(name)]:
            raise NotFoundError(
                f"{len(missing)} of the {len(names)} shards that {pattern!r} stands for are not "
                f"there, {missing[0]!r} among them."
            )
        return [pathlib.Path(name) for name in names]
    matches = sorted({match for name in names for match in glob.glob(name)})
    if not matches:
        raise NotFoundError(f"No file matches {pattern!r}.")
    return [pathlib.Path(match) for match in matches]


def find_in_shards(where: str, paths: Iterable[pathlib.Path]) -> Found:
    """Images of tar shards: a sample is an image and a label in members of one stem.

    The label is the content of a `.cls` or `.txt` member, or `"label"` or `"cls"` in a `.json`. The
    split is what the name of a shard begins with: train, val, test.

    Images of kinds that are not read are named in the notes.

    Raises:
        ValueError: a shard is damaged, cut off or packed, a sample is incomplete, or some shards
            name a split and others do not.
    """
    paths = tuple(paths)
    splits = [SPLIT.match(path.name) for path in paths]
    if any(splits) and not all(splits):
        unnamed = next(p.name for p, split in zip(paths, splits, strict=True) if not split)
        raise InputError(
            f"{where!r} has shards whose names begin with a split, and {unnamed!r}: rename it so "
            "that it begins with train, val or test, or leave it out."
        )
    sections: dict[str, list[Entry]] = {}
    unread: list[str] = []
    names = _short_names(paths)
    for number, (path, split) in enumerate(zip(paths, splits, strict=True)):
        section = SPLITS[split[1].lower()] if split else "train"
        entries = sections.setdefault(section, [])
        for name, label, offset, size in _samples(path, unread):
            entries.append(Entry(f"{names[number]}/{name}", label, (number, offset, size)))
    if not any(sections.values()):
        raise InputError(
            f"There are no images in {where!r}: expected members that end in {', '.join(SUFFIXES)} "
            f"with a label beside each, in one that ends in {', '.join(LABELS)}."
        )
    notes = (f"Not read, by the ending: {count_endings(unread)}.",) if unread else ()
    return Found(TarReader(paths), {k: v for k, v in sections.items() if v}, notes=notes)


def _short_names(paths: tuple[pathlib.Path, ...]) -> list[str]:
    """Names of the shards, with as much of their folders as tells them apart."""
    folder = os.path.commonpath([path.parent for path in paths])
    return [pathlib.Path(os.path.relpath(path, folder)).as_posix() for path in paths]


def _samples(path: pathlib.Path, unread: list[str]) -> Iterator[tuple[str, str, int, int]]:
    """Name, label, offset and size of each image of a shard.

    Names of images of kinds that are not read are added to `unread`.
    """
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, dict[str, str]] = {}
    with open_file(path) as file:
        for member in _members(path, file):
            folder, _, base = member.name.rpartition("/")
            if any(map(is_hidden, split_name(member.name))):
                continue  # Apple's tar puts `._1.jpg` beside `1.jpg`
            key = f"{folder}/{base.partition('.')[0]}"
            suffix = os.path.splitext(base)[1].lower()
            if suffix in SUFFIXES:
                if key in images:
                    raise InputError(
                        f"A sample of {str(path)!r} has two images, {images[key].name!r} and "
                        f"{member.name!r}: expected one for each stem."
                    )
                images[key] = member
            elif suffix in UNREAD_SUFFIXES:
                unread.append(member.name)
            elif suffix in LABELS:
                label = _label(path, file, member, suffix)
                if label:
                    labels.setdefault(key, {})[suffix] = label
    if alone := [key for key in labels if key not in images and ".cls" in labels[key]]:
        raise InputError(
            f"The sample {alone[0].lstrip('/')!r} of {str(path)!r} has a label and no image: "
            f"expected a member that ends in {', '.join(SUFFIXES)}."
        )
    for key, member in images.items():
        found = [labels[key][s] for s in LABELS if s in labels.get(key, {})]
        if not found:
            raise InputError(
                f"{member.name!r} of {str(path)!r} has no label: expected a member of the same "
                f"stem that ends in .cls or .txt, or in .json with the key label or cls."
            )
        yield member.name, found[0], member.offset_data, member.size


class _Sparing:
    """A file of which only short pieces are read: a tar file may say that a name is gigabytes."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_LABEL:
            raise tarfile.TarError(f"it has a header of {size:,} bytes")
        return self.file.read(size)


def _members(path: pathlib.Path, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Regular files in a tar file that is whole."""
    size = os.fstat(file.fileno()).st_size
    cut_off = InputError(
        f"{str(path)!r} is cut off or damaged: it does not end like a tar file. Copy it again."
    )
    try:
        sparing: Any = _Sparing(file)
        with tarfile.open(fileobj=sparing, mode="r:") as archive:
            for member in archive:
                if member.offset_data + member.size > size:
                    raise cut_off
                if member.isreg() and not member.issparse():
                    yield member
            end = archive.offset
    except (tarfile.TarError, RecursionError) as error:
        raise InputError(
            f"{str(path)!r} is no tar file that can be read, or cut off: {error}. Shards must not "
            "be compressed."
        ) from error
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise cut_off


def _label(path: pathlib.Path, file: BinaryIO, member: tarfile.TarInfo, suffix: str) -> str:
    """The label in a member; empty where it is JSON without one."""
    if member.size > MAX_LABEL:
        raise InputError(
            f"{member.name!r} of {str(path)!r} is larger than a label, {MAX_LABEL:,} bytes."
        )
    file.seek(member.offset_data)
    data = file.read(member.size)
    try:
        if suffix != ".json":
            return data.decode().strip()
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{member.name!r} of {str(path)!r} holds no label: {error}") from error
    label = content.get("label", content.get("cls")) if isinstance(content, dict) else None
    return str(label).strip() if isinstance(label, (str, int)) else ""
