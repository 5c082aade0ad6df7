"""Which files below a folder or in an archive are images: one rule for all who look for some.

Hidden files and what Apple and Windows put beside the files of people are passed over. Links are
followed. All else is either found, or said to be left out.
"""

import collections
import dataclasses
import glob
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping

from senet.data.decode import SUFFIXES
from senet.errors import NotFoundError
from senet.foreign import escape_text, listed

UNREAD_SUFFIXES = (
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".psd", ".svg", ".exr", ".hdr", ".tga"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".dcm"),
    *(".pbm", ".pgm", ".ppm", ".pnm"),
)
"""What files end in that are images of kinds that are not read."""
APPLE = "__MACOSX"
"""Folder in which Apple's zip program keeps what is no file of the user."""
WINDOWS = ("thumbs.db", "ehthumbs.db", "desktop.ini")
"""Files that Windows hides."""
MAX_VISITS = 16
"""Times that one folder is looked into, as different links lead there: links to folders of links
could make any number of names otherwise."""
SHOWN = 5
"""Endings, folders or links that a sentence names."""


@dataclasses.dataclass(frozen=True)
class Listing:
    """What lies below a folder or in an archive; nothing hidden is in it.

    Args:
        files: names of all files, in rising order.
        folders: names of the folders that were looked into.
        unread: what could not be looked into, each with the reason.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...]
    unread: Mapping[str, str]

    @property
    def images(self) -> list[str]:
        """Names of the files that end like images."""
        return [name for name in self.files if is_image(name)]

    def describe_others(self) -> Iterator[str]:
        """What is no image by its ending, and what could not be read: a sentence each."""
        if others := count_endings(name for name in self.files if not is_image(name)):
            yield f"Not read, by the ending: {others}."
        if self.unread:
            reasons = [f"{escape_text(name)} ({why})" for name, why in self.unread.items()]
            yield f"Left out, because it cannot be read: {listed(reasons, SHOWN)}."


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Files that paths stand for.

    Args:
        paths: of the files.
        notes: what was left out, a sentence each.
        missing: paths and patterns that stand for nothing.
    """

    paths: tuple[str, ...]
    notes: tuple[str, ...]
    missing: tuple[str, ...] = ()


def is_image(name: str) -> bool:
    """Whether a name ends like that of an image that is read."""
    return name.lower().endswith(SUFFIXES)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name alone is none that its user put there."""
    own = (".", "..")  # the folder itself and the one above it, in paths
    dotted = name.startswith(".") and name not in own
    return dotted or name == APPLE or name.lower() in WINDOWS


def split_name(name: str) -> tuple[str, ...]:
    r"""The parts of a name of an archive or list, whose folders may be told by `\\`.

    Steps up or to the folder itself lead nowhere in an archive, and count for nothing.
    """
    return tuple(p for p in name.replace("\\", "/").split("/") if p not in ("", ".", ".."))


def list_names(names: Iterable[str]) -> Listing:
    """The names of an archive; those that end in `/` are folders."""
    files, folders = [], set[str]()
    for name in names:
        parts = split_name(name)
        if any(map(is_hidden, parts)):
            continue
        folder = name.endswith(("/", "\\"))
        if not folder:
            files.append(name)
        folders |= {"/".join(parts[:end]) for end in range(1, len(parts) + folder)}
    return Listing(tuple(sorted(files)), tuple(sorted(folders)), {})


def list_folder(folder: str | os.PathLike) -> Listing:
    """All that lies below a folder, behind links too.

    A link that leads back to a folder that it lies in, or above that which was given, is not
    followed: what is in there is found already, or is something else.

    Raises:
        OSError: the folder itself cannot be read.
    """
    files, folders = list[str](), list[str]()
    unread: dict[str, str] = {}
    visits = collections.Counter[tuple[int, int]]()
    parents = pathlib.Path(folder).resolve().parents
    waiting = [("", frozenset(map(_identify, parents)))]
    while waiting:
        name, above = waiting.pop()
        path = os.path.join(folder, name) if name else os.fspath(folder)
        try:
            place = _identify(path)
            visits[place] += 1
            if place in above:
                unread[name] = "it leads back to a folder that it lies in"
                continue
            if visits[place] > MAX_VISITS:
                unread[name] = f"more than {MAX_VISITS} links lead to the same folder"
                continue
            with os.scandir(path) as inside:
                entries = [entry for entry in inside if not is_hidden(entry.name)]
        except OSError as error:
            if not name:
                raise
            unread[name] = error.strerror or str(error)
            continue
        folders.append(name)
        for entry in entries:
            below = f"{name}/{entry.name}" if name else entry.name
            match _tell_kind(entry):
                case "folder":
                    waiting.append((below, above | {place}))
                case "file":
                    files.append(below)
                case reason:
                    unread[below] = reason
    return Listing(
        tuple(sorted(files)), tuple(sorted(filter(None, folders))), dict(sorted(unread.items()))
    )


def _identify(path: str | os.PathLike) -> tuple[int, int]:
    """What a folder is, whatever leads to it."""
    about = os.stat(path)
    return about.st_dev, about.st_ino


def _tell_kind(entry: os.DirEntry) -> str:
    """`"folder"`, `"file"`, or why it is neither."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        if entry.is_symlink() and not os.path.exists(entry.path):
            return "it links to nothing"
    except OSError as error:
        return error.strerror or str(error)
    return "it is no regular file"


def find_files(paths: Iterable[str]) -> ImageFiles:
    """Files that paths, folders and shell patterns stand for, each once.

    Args:
        paths: files, which are taken whatever they end in; folders, searched to any depth for
            images, those of kinds that are not read among them; or patterns.

    Returns:
        Paths in the order given and sorted within a folder or pattern, and what was left out.

    Raises:
        FileNotFoundError: there is no image at all.
    """
    files: dict[str, None] = {}
    notes: list[str] = []
    missing: dict[str, None] = {}
    for path in paths:
        matches = [path] if os.path.exists(path) else _expand(path)
        if not matches:
            missing[path] = None
        for match in matches:
            if not os.path.isdir(match):
                files[match] = None
                continue
            inside, left_out = _find_in_folder(match)
            files |= dict.fromkeys(inside)
            notes += left_out
    if not files:
        if missing:
            notes.insert(0, f"There is no image at {listed(map(repr, missing), SHOWN)}.")
        raise NotFoundError(" ".join(notes))
    return ImageFiles(tuple(files), tuple(notes), tuple(missing))


def _expand(pattern: str) -> list[str]:
    """What a shell pattern stands for; hidden is nothing that it names."""
    named = set(pathlib.PurePath(pattern).parts)
    return sorted(
        match
        for match in glob.glob(pattern, recursive=True)
        if not any(is_hidden(part) for part in {*pathlib.PurePath(match).parts} - named)
    )


def _find_in_folder(folder: str) -> tuple[list[str], list[str]]:
    """Paths of the images in a folder, and what else is in there."""
    listing = list_folder(folder)
    endings = SUFFIXES + UNREAD_SUFFIXES
    found = [name for name in listing.files if name.lower().endswith(endings)]
    rest = dataclasses.replace(listing, files=tuple(sorted({*listing.files} - {*found})))
    notes = [f"In '{escape_text(folder)}': {line}" for line in rest.describe_others()]
    if not found:
        notes.insert(0, f"There is no image at '{escape_text(folder)}'.")
    return [str(pathlib.Path(folder, name)) for name in found], notes


def count_endings(names: Iterable[str]) -> str:
    """How many files there are of each ending, each with the name of one."""
    by_ending: dict[str, list[str]] = {}
    for name in names:
        base = (split_name(name) or (name,))[-1]  # a name may be nothing but dots or slashes
        by_ending.setdefault(os.path.splitext(base)[1].lower(), []).append(name)
    counts = []
    for ending, held in sorted(by_ending.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        advice = ": save as JPEG" if ending in UNREAD_SUFFIXES else ""
        more = ", ..." if len(held) > 1 else ""
        shown = escape_text(ending) or "without an ending"
        counts.append(f"{len(held)} {shown} ({escape_text(held[0])}{more}{advice})")
    return listed(counts, SHOWN)
