"""Files that anybody may have written: regular ones, of bounded size, checked, and never run."""

import contextlib
import functools
import json
import os
import pathlib
import stat
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO

from senet.errors import FileError, InputError

MAX_FILE = 16 * 2**20
"""Largest file that is read, bytes: the metrics of 100,000 epochs."""
MAX_RECORD = 64 * 2**20
"""Largest record of a run, bytes: it names all classes, 100,000 of them with 600 bytes each."""
PACKED, FREE = 100, 64 * 2**20
"""Times that packed data may be longer unpacked, and bytes that they may be in any case."""
KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
"""What is no regular file: reading it may never end, or wait for ever."""
OF_THE_SYSTEM = ("/proc", "/sys")
"""Where Linux shows its own state as files."""
MAX_NUMBER = 1e15
"""Numbers beyond are taken for damage: no score, count or time comes near."""
MAX_TEXT = 60
"""Letters of a text in a table."""
MAX_PATH = 400
"""Letters of a path, or of an error, which has one in it."""


def open_file(path: str | os.PathLike) -> BinaryIO:
    """Open a regular file for reading; anything else is refused, and not waited for.

    Raises:
        OSError: it is none, or cannot be read; of what is none the message does not have the path.
    """
    try:
        _require_regular(os.stat(path))  # to open a device may do something already
    except ValueError as error:  # of a name with a zero byte
        raise FileError(f"There can be no such file: {error}.") from error
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "rb", opener=_open_at_once))
        _require_regular(os.fstat(file.fileno()))  # it may have become something else just now
        stack.pop_all()
    return file


def read_file(path: str | os.PathLike, largest: int) -> bytes:
    """The content of a regular file of bounded size.

    Of one that grows meanwhile, what it had is read.

    Raises:
        OSError: it is none, cannot be read or is larger; the message may not have its path.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise FileError(f"The file is larger than {largest:,} bytes.")
        return file.read(size)


def _open_at_once(path: str, flags: int) -> int:
    """Open what may be a pipe that nobody writes into."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _require_regular(status: os.stat_result) -> None:
    kind = KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None and status.st_dev in _find_system():
        kind = "a file of the system"
    if kind is not None:
        raise FileError(f"It is {kind}, and only regular files are read.")


@functools.cache
def _find_system() -> frozenset[int]:
    """What the files of the system lie on."""
    places = [path for path in OF_THE_SYSTEM if os.path.ismount(path)]
    with contextlib.suppress(OSError), open("/proc/self/mounts") as file:
        mounts = [line.split()[1] for line in file]
        places += [at for at in mounts if at.startswith(tuple(f"{p}/" for p in OF_THE_SYSTEM))]
    found = set()
    for place in places:
        with contextlib.suppress(OSError):  # not for everybody to see
            found.add(os.stat(place).st_dev)
    return frozenset(found - {os.stat("/").st_dev})


def count_believable(packed: int, free: int = FREE) -> int:
    """Most bytes that packed data may become: a small file may not ask for much memory.

    Args:
        packed: bytes that are there.
        free: bytes that they may become in any case.
    """
    return free + PACKED * packed


def read_json(path: pathlib.Path, largest: int = MAX_FILE) -> dict[str, Any]:
    """A file of JSON with an object in it; numbers that are no finite ones become `None`.

    Raises:
        ValueError: the file is too large, or is damaged.
    """
    try:
        return parse_json(read_text(path, largest))
    except _Damaged as error:
        raise InputError(f"{str(path)!r} is damaged: {error}.") from error


class _Damaged(InputError):
    """What is wrong with a text that should be JSON."""


def parse_json(
    text: str | bytes, most: int | None = None, number: Callable[[str], Any] | None = None
) -> dict[str, Any]:
    """An object in JSON; numbers that are no finite ones become `None`.

    Args:
        text: in UTF-8.
        most: brackets and commas in it, which bound the memory that the values take.
        number: makes a number with a point of its text; by default `read_number`.

    Raises:
        ValueError: it is none, or of more parts.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if most is not None and sum(map(text.count, "[{,")) > most:
            raise _Damaged("it has more parts than any that is written here")
        values = json.loads(text, parse_constant=lambda _: None, parse_float=number or read_number)
    except RecursionError as error:
        raise _Damaged("it is nested too deeply") from error
    except _Damaged:
        raise
    except ValueError as error:  # of a number of too many digits and of bytes that are no text too
        raise _Damaged(str(error)) from error
    if not isinstance(values, dict):
        raise _Damaged("it holds no record")
    return values


def read_text(path: pathlib.Path, largest: int = MAX_FILE) -> str:
    """The text of a file of bounded size.

    Raises:
        ValueError: it is no file, too large, or no text.
    """
    try:
        return read_file(path, largest).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} is damaged: it is no text.") from error
    except OSError as error:
        raise InputError(f"{str(path)!r} is no file of up to {largest:,} bytes.") from error


def read_number(text: Any) -> float | None:
    """A number of a sensible size, or nothing."""
    try:
        number = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < MAX_NUMBER else None


def is_count(given: Any) -> bool:
    """Whether it is a number of things; `True` is a whole number to Python, and not to us."""
    return isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 2**63


def plain_fields(given: Any, only: Sequence[str] | None = None) -> dict[str, Any]:
    """Fields of a record, those of `only`; what is neither text nor a number becomes text."""
    fields = given if isinstance(given, dict) else {}
    return {
        clean_text(key): cell if isinstance(cell, int | float | str | None) else clean_text(cell)
        for key, cell in fields.items()
        if only is None or key in only
    }


def clean_text(given: Any, longest: int = MAX_TEXT) -> str:
    """Foreign text that a terminal can show: no control characters, not too long."""
    text = str("-" if given is None else given)
    if len(text) > 2 * longest:  # of a long one no more is copied than is shown
        text = text[:longest] + text[-longest:]
    shown = "".join(c if c.isprintable() else "?" for c in text)
    if len(shown) <= longest:
        return shown
    return f"{shown[: longest // 2 - 1]}…{shown[-(longest // 2) :]}"


def escape_text(text: str) -> str:
    r"""A name as every file, page and terminal takes it, on one line.

    A name of a file may hold bytes that are no UTF-8, as Linux allows, and control characters: each
    becomes what Python writes for it, as `\xe9`.
    """
    if text.isprintable():
        return text
    return "".join(map(_escape_character, text))


def _escape_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # what Python reads of a byte that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape").decode()
    return character


def name_class(text: str) -> str:
    """The name of a class as it is compared: in composed letters (NFC), as `escape_text` gives it.

    Apple's file systems write `ä` as `a` and two dots, others as one letter.
    """
    return unicodedata.normalize("NFC", escape_text(text))


def listed(names: Iterable[str], most: int = 20) -> str:
    """Names in one line; the first ones of many."""
    names = list(names)
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
