"""Named arrays in a file that is open: what every format of weight files comes down to."""

import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from senet.errors import InputError
from senet.foreign import clean_text, escape_text

ITEMSIZES = {
    **{"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2},
    **{"int64": 8, "int32": 4, "int16": 2, "int8": 1},
    **{"uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1},
}
"""Bytes of one element, by dtype: the dtypes that are read."""

DENSEST = 4
"""Most values of a network in one byte of a file: eight times what float16 gives."""

RANK_LIMIT = 8
"""Most dimensions of an array that is read."""


class WeightsError(InputError):
    """A weights file cannot be used.

    Args:
        path: of the file.
        reason: what was expected, what came, and what to do where there is something.
    """

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"Weights file {str(self.path)!r} cannot be used: {self.reason}"


class Malformed(Exception):
    """What is wrong with a file, before its name is put to it."""


@contextlib.contextmanager
def refusing(path: str | os.PathLike) -> Iterator[None]:
    """Turn whatever goes wrong in the body into a `WeightsError`.

    Parsers of hostile bytes fail in more ways than can be listed: h5py and pickletools alone raise
    nine types.
    """
    try:
        yield
    except WeightsError:
        raise
    except Malformed as problem:
        raise WeightsError(path, escape_text(str(problem))) from None
    except Exception as error:
        what = clean_text(f"{type(error).__name__}: {error}", 300)
        raise WeightsError(
            path, f"it is damaged or cannot be read ({what}). Download or save it again."
        ) from error


@dataclasses.dataclass(frozen=True)
class Stored:
    """One array that is not read yet.

    Args:
        shape: of the array.
        dtype: as NumPy spells it, or `"bfloat16"`.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements as they are stored."""
        return self.size * ITEMSIZES[self.dtype]

    def check(self, name: str) -> None:
        """Refuse what no array in memory could be.

        Raises:
            Malformed: the shape is not a few plain numbers from 0, or the dtype is not known.
        """
        if self.dtype not in ITEMSIZES:
            raise Malformed(f"{name!r} is of dtype {self.dtype!r}, which is not read.")
        if not natural(self.shape) or len(self.shape) > RANK_LIMIT:
            raise Malformed(
                f"the shape of {name!r} is not of at most {RANK_LIMIT} numbers from 0 up."
            )
        if math.prod(n for n in self.shape if n) >= 2**60:  # NumPy counts zero-size arrays so
            raise Malformed(f"{name!r} is larger than any memory.")


@dataclasses.dataclass
class Contents:
    """What a parser found in a file: the arguments of an `ArrayFile`."""

    format: str
    arrays: dict[str, Stored]
    read: Callable[[str], np.ndarray]
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    unread: dict[str, str] = dataclasses.field(default_factory=dict)
    about: str = ""
    size: int = 0


class ArrayFile:
    """A weights file that is open: names, shapes and dtypes now, values when asked for.

    Args:
        path: of the file.
        contents: what its parser found.
        close: called once when the file is closed.

    Attributes:
        path: of the file.
        format: `"safetensors"`, `"torch"` or `"hdf5"`.
        arrays: what can be read, by name.
        metadata: the strings beside the arrays of a safetensors file.
        unread: why arrays that are in the file cannot be read, by name.
        about: what the file holds, in a few words, where that is more than arrays.
        size: of the file, bytes.
    """

    def __init__(self, path: pathlib.Path, contents: Contents, close: Callable[[], Any]):
        self.path = path
        self.format = contents.format
        self.arrays = contents.arrays
        self.metadata = contents.metadata
        self.unread = contents.unread
        self.about = contents.about
        self.size = contents.size
        self.close = close
        self._read = contents.read

    def read(self, name: str) -> np.ndarray:
        """Read one array and nothing else of the file.

        Args:
            name: a key of `arrays`.

        Returns:
            An array in C order of the stored dtype; float16 and bfloat16 come as float32.

        Raises:
            KeyError: there is no array of that name.
            WeightsError: the bytes are damaged, or the file changed since it was opened.
        """
        if name not in self.arrays:
            raise KeyError(f"{str(self.path)!r} has no array {name!r}.")
        with refusing(self.path):
            return self._read(name)

    def renamed(self, names: Mapping[str, str]) -> "ArrayFile":
        """This file with some of its arrays under other names.

        Args:
            names: of arrays in this file, readable or not, by the new names.
        """

        def read(name: str) -> np.ndarray:
            return self._read(names[name])

        arrays = {new: self.arrays[old] for new, old in names.items() if old in self.arrays}
        unread = {new: self.unread[old] for new, old in names.items() if old in self.unread}
        contents = Contents(self.format, arrays, read, self.metadata, unread, self.about, self.size)
        return ArrayFile(self.path, contents, self.close)

    def count(self) -> tuple[int, int]:
        """How many arrays there are and how many values, of which the file has bytes.

        What is not written, lies in several arrays or is compressed to nothing counts little.
        """
        values = sum(stored.size for stored in self.arrays.values())
        return len(self.arrays), min(values, DENSEST * self.size)

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def natural(numbers: Iterable[Any]) -> bool:
    """Whether all are plain whole numbers from 0 up: neither True nor 2.0 nor -1."""
    return all(type(number) is int and number >= 0 for number in numbers)


def read_bytes(file: BinaryIO, start: int, size: int) -> memoryview:
    """Read a stretch of a file of which the caller knows that it lies inside.

    Raises:
        Malformed: the file ends before.
    """
    raw, done = np.empty(size, "uint8").data, 0
    file.seek(start)
    while done < size:
        count = file.readinto(raw[done:])  # type: ignore[attr-defined]
        if not count:
            raise Malformed("it became shorter while it was read.")
        done += count
    return raw


def decoded(raw: memoryview, dtype: str) -> np.ndarray:
    """Give little-endian bytes their dtype: `n * itemsize` of them to `(n,)`."""
    octets = np.asarray(raw)
    if dtype == "bool":
        return octets != 0
    if dtype == "bfloat16":  # the upper half of a float32
        return (octets.view("<u2").astype("uint32") << 16).view("float32")
    values = octets.view(np.dtype(dtype).newbyteorder("<"))
    return values.astype("float32" if dtype == "float16" else dtype, copy=False)
