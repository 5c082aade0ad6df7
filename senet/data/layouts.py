"""Which images there are and of what class: folders, zip files, lists; maps of classes."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import pathlib
import re
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from senet.data import archives
from senet.data.decode import SUFFIXES
from senet.data.finding import SHOWN, Listing, list_names, split_name
from senet.data.readers import UNREADABLE, FolderReader, Reader, ZipReader
from senet.errors import InputError, NotFoundError
from senet.foreign import escape_text, listed, name_class, read_file

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""What a split may be called, and what we call it."""
SPLIT = re.compile(rf"({'|'.join(sorted(SPLITS, key=len, reverse=True))})(?![a-z])", re.IGNORECASE)
"""What a name begins with that stands for a split: `train-0001.tar`, `test1`, `Val_images`."""
BESIDE = 0.1
"""Share of a class's images, or one, that may lie beside several folders of others, which are taken
for the classes nevertheless: an overview, say."""
ENCRYPTED, UTF_8 = 0x1, 0x800
"""Flags of a member of a zip file."""
MAX_MAP = 2**24
"""Largest class map that is read, bytes."""
MAX_LIST = 2**27
"""Largest list of images that is read, bytes: it has a million lines and more."""


class Entry(NamedTuple):
    """One image that was found: its name, its label and what it is to its reader."""

    name: str
    label: str
    key: Any


@dataclasses.dataclass(frozen=True)
class Found:
    """What a data set holds, before it is split.

    Args:
        reader: of its images.
        sections: images by split; `"train"` alone where the data are not split.
        class_names: in order, where the data fix one; otherwise the labels are the classes.
        mirror: whether the mirror image of an image is of the same class.
        notes: what was left out, a sentence each.
    """

    reader: Reader
    sections: dict[str, list[Entry]]
    class_names: tuple[str, ...] | None = None
    mirror: bool = True
    notes: tuple[str, ...] = ()


def find_in_folder(where: str, path: pathlib.Path, listing: Listing) -> Found:
    """Images of a folder that holds this."""
    return _find_in_listing(where, FolderReader(path), listing)


def find_in_zip(where: str, path: pathlib.Path) -> Found:
    """Images of a zip file.

    Raises:
        ValueError: it is damaged or encrypted, or its layout is not understood.
    """
    try:
        with archives.RegularZip(path) as archive:
            members = archive.infolist()
    except (*UNREADABLE, UnicodeDecodeError) as error:
        raise InputError(f"{where!r} is a damaged zip file: {error}") from error
    keys: dict[str, str] = {}
    for member in members:
        name = _read_name(member)
        if name.endswith("/"):
            keys.setdefault(name, member.filename)
            continue
        while keys.get(name, member.filename) != member.filename:  # two that are read alike
            name = "~".join(os.path.splitext(name))
        keys[name] = member.filename
    listing = list_names(keys)
    images = {keys[name] for name in listing.images}
    if any(member.flag_bits & ENCRYPTED and member.filename in images for member in members):
        raise InputError(
            f"{where!r} is encrypted: unpack it with its password, and give the folder, or a zip "
            "file without a password."
        )
    return _find_in_listing(where, ZipReader(path), listing, keys)


def _read_name(member: zipfile.ZipInfo) -> str:
    """The name of a member of a zip file.

    Apple's program and others write UTF-8 without the flag that says so, and Python reads the
    letters of MS-DOS then. What is no UTF-8 is taken as that.
    """
    name = member.filename
    if not (member.flag_bits & UTF_8 or name.isascii()):
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return f"{name[:-1]}/" if name.endswith("\\") else name  # a folder, as some programs write it


def _find_in_listing(
    where: str, reader: Reader, listing: Listing, keys: Mapping[str, str] | None = None
) -> Found:
    """Images of a listing; the key of one is its name where `keys` do not say otherwise."""
    files = _strip_shared(listing.images)
    if not files:
        others = " ".join(listing.describe_others())
        raise InputError(
            f"There are no images in {where!r}: expected a folder for each class with files that "
            f"end in {', '.join(SUFFIXES)}, or tar shards, or the files of an IDX data set. "
            f"{others}".rstrip()
        )
    sections, depth = _sort_into_sections(where, files)
    entries = {
        section: [Entry(name, label, keys[name] if keys else name) for name, label in held]
        for section, held in sections.items()
    }
    notes = [*listing.describe_others(), *_describe_barren(listing, files, depth)]
    return Found(reader, entries, notes=tuple(notes))


def _strip_shared(names: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Names, each with its path below the folder that all share."""
    files = [(name, split_name(name)) for name in names]
    while files and min(len(parts) for _, parts in files) > 2:
        if len({parts[0] for _, parts in files}) > 1:
            break
        files = [(name, parts[1:]) for name, parts in files]
    return files


def _describe_barren(
    listing: Listing, files: list[tuple[str, tuple[str, ...]]], depth: int
) -> Iterable[str]:
    """Folders that stand where classes or splits do and have no image that is read.

    Args:
        listing: of all that is there.
        files: the images, each with its path below the folder that all share.
        depth: parts of such a path up to the class.
    """
    paths = [split_name(name) for name, _ in files]
    level = len(paths[0]) - len(files[0][1]) + depth
    used = {path[:end] for path in paths for end in range(len(path))}
    folders = [parts for name in listing.folders if len(parts := split_name(name)) <= level]
    barren = [parts for parts in folders if parts not in used and parts[:-1] in used]
    if barren:
        names = [escape_text("/".join(parts)) for parts in sorted(barren)]
        some = listed(names, SHOWN)
        yield f"Folders without an image that is read, which count for nothing: {some}."


def _sort_into_sections(
    where: str, files: list[tuple[str, tuple[str, ...]]]
) -> tuple[dict[str, list[tuple[str, str]]], int]:
    """Name and label of files whose folders are classes, or splits and then classes.

    Returns:
        They by section, and how many parts of a path there are up to the class.
    """
    if loose := [name for name, parts in files if len(parts) < 2]:
        raise InputError(
            f"{where!r} has images that are in no class folder, '{escape_text(loose[0])}' among "
            "them: expected a folder for each class, for example cat/1.jpg and dog/2.jpg."
        )
    _require_classes_in_splits(where, files)
    sections: dict[str, list[tuple[str, str]]] = {}
    has_splits = any(parts[0].lower() in SPLITS and len(parts) > 2 for _, parts in files)
    depth = 2 if has_splits else 1
    _require_images_in_classes(where, files, depth)
    for name, parts in files:
        section, label = "train", parts[0]
        if has_splits:
            section, label = SPLITS.get(parts[0].lower(), ""), parts[1]
            if not section or len(parts) < 3:
                raise InputError(
                    f"{where!r} has folders for splits, and '{escape_text(name)}' is in none of "
                    "train/CLASS, validation/CLASS and test/CLASS: move it there or away."
                )
        sections.setdefault(section, []).append((name, label))
    return sections, depth


def _require_classes_in_splits(where: str, files: Iterable[tuple[str, tuple[str, ...]]]) -> None:
    """Refuse folders of splits that hold images directly: nothing says the classes of those.

    A class may be called like a split, so that one such name beside others is no sign of splits:
    `train` beside `plane`, or `test_positive` beside `test_negative`.

    Args:
        where: as the data were named.
        files: each with its path.
    """
    holders = {parts[0] for _, parts in files}
    direct = {parts[0]: name for name, parts in reversed([*files]) if len(parts) == 2}
    found = {folder: match for folder in sorted(direct) if (match := SPLIT.match(folder))}
    splits = {SPLITS[match[1].lower()] for match in found.values()}
    alone = holders == set(found) and (len(found) == 1 or any(f.lower() in SPLITS for f in found))
    if len(splits) > 1 or alone:
        raise InputError(
            f"{where!r} has images directly in {' and '.join(found)}, {direct[min(found)]!r} among "
            "them, so nothing says their classes: expected a folder for each class in there, as "
            "train/cat/1.jpg, or a CSV list with the columns path and label."
        )


def _require_images_in_classes(
    where: str, files: Iterable[tuple[str, tuple[str, ...]]], depth: int
) -> None:
    """Refuse class folders whose images lie in several folders, all of them or nearly so.

    These are the classes, as a rule, and the folder that was given lies too high. A folder that
    stands alone in that of a class is passed over, and a few folders beside images are of their
    class.

    Args:
        where: as the data were named.
        files: each with its path.
        depth: parts of a path up to the class.
    """
    inside: dict[tuple[str, ...], list[tuple[str, tuple[str, ...]]]] = {}
    for name, parts in files:
        inside.setdefault(parts[:depth], []).append((name, parts[depth:]))
    below = {path: nested for path, held in inside.items() if (nested := _take_nested(held))}
    if not below:
        return
    path = max(below, key=lambda path: len(below[path]))
    name, parts = below[path][0]
    folder = "/".join(name.replace("\\", "/").split("/")[: -len(parts)])
    folders = listed(class_order({parts[0] for _, parts in below[path]}))
    label, count, whole = "/".join(path), len(below[path]), len(inside[path])
    raise InputError(
        f"The folder {label!r} of {where!r} would be a class, and "
        f"{'all' if count == whole else count} of its {whole} images lie in folders: {folders}. If "
        f"these are the classes, give the folder {os.path.join(where, folder)!r} (of a zip file, "
        f"unpacked); if they are parts of one class, move their images up into {label!r}, or give "
        "a CSV list with the columns path and label."
    )


def _take_nested(
    files: list[tuple[str, tuple[str, ...]]],
) -> list[tuple[str, tuple[str, ...]]]:
    """Those files of a class that lie in several folders; none where too many lie beside them."""
    least = len(files) - max(1, BESIDE * len(files))
    while True:
        files = [(name, parts) for name, parts in files if len(parts) > 1]
        if not files or len(files) < least:
            return []
        if len({parts[0] for _, parts in files}) > 1:
            return files
        files = [(name, parts[1:]) for name, parts in files]


def find_in_list(where: str, path: pathlib.Path) -> Found:
    """Images of a CSV file with the columns path, label and, where it is split, split.

    A path is below the folder of the list, or absolute; the list is its user's own, so both it and
    `..` may lead anywhere.

    Raises:
        ValueError: columns, labels or splits are missing, or an image is listed twice.
        FileNotFoundError: a file of the list is not there.
    """
    sections: dict[str, list[Entry]] = {}
    seen: dict[str, int] = {}
    missing: list[str] = []
    for line, row in _rows(where, path, ("path", "label")):
        name, label, split = (row.get(k, "").strip() for k in ("path", "label", "split"))
        if not (name and label):
            raise InputError(f"Line {line} of {where!r} lacks its path or its label.")
        section = SPLITS.get(split.lower()) if "split" in row else "train"
        if section is None:
            raise InputError(
                f"Line {line} of {where!r} has the split {split!r}: expected train, validation or "
                "test in every line, or no column split."
            )
        name = _locate_listed(path.parent, name)
        file = os.path.normpath(path.parent / name)
        if file in seen:
            raise InputError(f"{where!r} lists {name!r} twice, in lines {seen[file]} and {line}.")
        seen[file] = line
        if not os.path.isfile(file):
            missing.append(name)
        sections.setdefault(section, []).append(Entry(name, label, name))
    if missing:
        raise NotFoundError(
            f"{len(missing)} of the {len(seen)} files that {where!r} lists are not there, "
            f"{missing[0]!r} among them: paths are relative to the folder of the list."
        )
    if not sections:
        raise InputError(f"{where!r} lists no images: expected lines like cat/1.jpg,cat.")
    return Found(FolderReader(path.parent), sections)


def _locate_listed(folder: pathlib.Path, name: str) -> str:
    """A path of a list; a backslash is taken for a slash where that leads to a file."""
    if "\\" not in name:
        return name
    slashed = name.replace("\\", "/")
    there = os.path.isfile(folder / slashed) and not os.path.isfile(folder / name)
    return slashed if there else name


def normalise_names(found: Found) -> Found:
    """The same images under names that can be written, and labels that can be compared."""
    sections = {
        section: [
            Entry(escape_text(entry.name), name_class(entry.label), entry.key) for entry in entries
        ]
        for section, entries in found.sections.items()
    }
    names = found.class_names
    if names is not None:
        names = tuple(dict.fromkeys(map(name_class, names)))
    return dataclasses.replace(found, sections=sections, class_names=names)


def _rows(
    where: str, path: pathlib.Path, columns: tuple[str, ...]
) -> Iterable[tuple[int, dict[str, str]]]:
    """Lines of a CSV file with a header, by column, each with its number."""
    try:
        content = io.BytesIO(read_file(path, MAX_LIST))
    except OSError as error:
        raise InputError(f"{where!r} is no list that can be read: {error}") from error
    try:
        reader = csv.reader(io.TextIOWrapper(content, encoding="utf-8-sig", newline=""))
        header = [name.strip().lower() for name in next(reader, [])]
        if not set(columns) <= set(header):
            raise InputError(
                f"{where!r} needs the columns {' and '.join(columns)} in its first line, with "
                f"commas between them; it has {', '.join(header)[:200]!r}."
            )
        for row in reader:
            if row and len(row) != len(header):
                raise InputError(
                    f"Line {reader.line_num} of {where!r} has {len(row)} columns, the first "
                    f"line has {len(header)}."
                )
            if row:
                yield reader.line_num, dict(zip(header, row, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where!r} is no CSV file in UTF-8: {error}") from error


def rename(found: Found, path: str | os.PathLike) -> Found:
    """The same images under the names that a class map gives to their classes.

    Args:
        found: the images.
        path: of a CSV file with two columns, label and name of the class, and a header; or of a
            JSON file with an object from labels to names. Labels of one name are merged.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no class map, or lacks a label of the data.
    """
    names = _read_class_map(pathlib.Path(path))
    labels = {entry.label for entries in found.sections.values() for entry in entries}
    if unknown := sorted(labels - set(names)):
        raise InputError(
            f"The class map {str(path)!r} has no name for {len(unknown)} labels of the data: "
            f"{listed(unknown)}. Add a line for each."
        )
    sections = {
        section: [entry._replace(label=names[entry.label]) for entry in entries]
        for section, entries in found.sections.items()
    }
    return dataclasses.replace(found, sections=sections, class_names=None)


def _read_class_map(path: pathlib.Path) -> dict[str, str]:
    wrong = InputError(
        f"{str(path)!r} is no class map: expected a CSV file with a header and two columns, label "
        "and name of the class, or a JSON object from labels to names."
    )
    try:
        content = read_file(path, MAX_MAP)
    except FileNotFoundError:
        raise NotFoundError(f"There is no class map {str(path)!r}.") from None
    except OSError as error:
        raise InputError(f"The class map {str(path)!r} cannot be read: {error}") from error
    try:
        text = content.decode("utf-8-sig")
        if text.lstrip().startswith("{"):
            pairs = list(json.loads(text).items())
        else:
            pairs = [row for row in csv.reader(text.splitlines()) if row][1:]
    except (ValueError, csv.Error, RecursionError) as error:
        raise wrong from error
    if not pairs or any(
        len(pair) != 2 or not all(isinstance(part, str) and part.strip() for part in pair)
        for pair in pairs
    ):
        raise wrong
    names: dict[str, str] = {}
    for label, name in ((name_class(part.strip()) for part in pair) for pair in pairs):
        if names.setdefault(label, name) != name:
            raise InputError(
                f"The class map {str(path)!r} gives {label!r} two names, {names[label]!r} and "
                f"{name!r}."
            )
    return names


def class_order(labels: Iterable[str]) -> list[str]:
    """Labels in the order of their classes: whole numbers by value, others by name."""
    distinct = set(labels)
    if all(label.isascii() and label.isdigit() and len(label) < 20 for label in distinct):
        return sorted(distinct, key=lambda label: (int(label), label))
    return sorted(distinct)
