"""How the bytes or pixels of one image are got, in any process.

A reader is a small record that can be sent to a worker process: it names files and opens them where
it is used. What one image is to its reader is its key.
"""

import dataclasses
import functools
import hashlib
import lzma
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

import numpy as np
from PIL import Image

from senet.data import archives, limits, sharing
from senet.data.decode import ImageError, decode
from senet.foreign import open_file, read_file

UNREADABLE = (
    *(OSError, EOFError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What reading a file or a member of a zip file raises: missing, encrypted, packed otherwise."""


class Reader(Protocol):
    """Gives images by key; can be pickled."""

    def image(self, key: Any) -> Image.Image:
        """The image as RGB; `ImageError` or one of `UNREADABLE` where there is none."""

    def content(self, key: Any) -> bytes:
        """The bytes that the image is made of, as they are stored; raises as `image` does."""

    def pieces(self, key: Any) -> Iterator[bytes]:
        """The same bytes piece by piece, of which none is large."""

    def stamp(self, key: Any) -> str:
        """What changes, as a rule, when the image does; cheap where it is stored with the file."""


@dataclasses.dataclass(frozen=True)
class FolderReader:
    """Files; a key is a path, below `root` unless it is absolute."""

    root: pathlib.Path

    def image(self, key: str) -> Image.Image:
        """The image in a file."""
        return decode(self.content(key))

    def content(self, key: str) -> bytes:
        """The bytes of a file."""
        path = self.root / key
        _ask_for(path.stat().st_size)
        return read_file(path, limits.MAX_FILE)

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes of a file piece by piece."""
        with open_file(self.root / key) as file:
            yield from _read_pieces(file, os.fstat(file.fileno()).st_size)

    def stamp(self, key: str) -> str:
        """Size of the file, bytes."""
        try:
            return str((self.root / key).stat().st_size)
        except OSError as error:
            return type(error).__name__


@dataclasses.dataclass(frozen=True)
class ZipReader:
    """Members of a zip file; a key is the name of one."""

    path: pathlib.Path

    def image(self, key: str) -> Image.Image:
        """The image in a member."""
        return decode(self.content(key))

    def content(self, key: str) -> bytes:
        """The bytes of a member, unpacked."""
        member = self._member(key)
        _ask_for(member.file_size)
        return b"".join(archives.read_pieces(self._archive, member))

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes of a member piece by piece."""
        member = self._member(key)
        _require_size(member.file_size)
        return archives.read_pieces(self._archive, member)

    def stamp(self, key: str) -> str:
        """Size of the member, bytes, and its checksum."""
        member = self._member(key)
        return f"{member.file_size} {member.CRC:08x}"

    def _member(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._archive.getinfo(name)
        except KeyError:
            raise ImageError(f"It is no longer in {self.path.name}.") from None

    @functools.cached_property
    def _archive(self) -> zipfile.ZipFile:
        return archives.RegularZip(self.path)

    def __reduce__(self) -> tuple:
        return ZipReader, (self.path,)  # an open file stays in its process


@dataclasses.dataclass(frozen=True)
class TarReader:
    """Members of uncompressed tar files; a key is number of the file, offset and size, bytes."""

    paths: tuple[pathlib.Path, ...]

    def image(self, key: tuple[int, int, int]) -> Image.Image:
        """The image in a member."""
        return decode(self.content(key))

    def content(self, key: tuple[int, int, int]) -> bytes:
        """The bytes of a member."""
        shard, offset, size = key
        _ask_for(size)
        with open_file(self.paths[shard]) as file:
            file.seek(offset)
            return file.read(size)

    def pieces(self, key: tuple[int, int, int]) -> Iterator[bytes]:
        """The bytes of a member piece by piece."""
        shard, offset, size = key
        with open_file(self.paths[shard]) as file:
            file.seek(offset)
            yield from _read_pieces(file, size)

    def stamp(self, key: tuple[int, int, int]) -> str:
        """Size of the member, bytes."""
        return str(key[2])


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayReader:
    """Images in memory, `(N, H, W)` grey or `(N, H, W, 3)`, uint8; a key is an index."""

    images: np.ndarray

    def image(self, key: int) -> Image.Image:
        """The image at an index."""
        height, width = self.images.shape[1:3]
        sharing.PIXELS.take(limits.RGB_BYTES * height * width)
        return Image.fromarray(self.images[key]).convert("RGB")

    def content(self, key: int) -> bytes:
        """Shape and pixels."""
        image = self.images[key]
        return repr(image.shape).encode() + image.tobytes()

    def pieces(self, key: int) -> Iterator[bytes]:
        """Shape and pixels."""
        yield self.content(key)

    def stamp(self, key: int) -> str:
        """Hash of the pixels."""
        return hashlib.sha256(self.images[key].tobytes()).hexdigest()


@dataclasses.dataclass(frozen=True)
class JoinedReader:
    """Several readers; a key is the number of one and a key of that."""

    readers: tuple[Reader, ...]

    def image(self, key: tuple[int, Any]) -> Image.Image:
        """The image of one of the readers."""
        return self.readers[key[0]].image(key[1])

    def content(self, key: tuple[int, Any]) -> bytes:
        """The bytes of the image of one of the readers."""
        return self.readers[key[0]].content(key[1])

    def pieces(self, key: tuple[int, Any]) -> Iterator[bytes]:
        """The bytes of the image of one of the readers, piece by piece."""
        return self.readers[key[0]].pieces(key[1])

    def stamp(self, key: tuple[int, Any]) -> str:
        """The stamp that one of the readers gives."""
        return self.readers[key[0]].stamp(key[1])


def _read_pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """So many bytes of a file, or as many as there are."""
    _require_size(size)
    while size > 0 and (piece := file.read(min(size, archives.PIECE))):
        size -= len(piece)
        yield piece


def _ask_for(size: int) -> None:
    """Take memory for a file, if it may be that large."""
    _require_size(size)
    sharing.FILES.take(size)


def _require_size(size: int) -> None:
    if size > limits.MAX_FILE:
        raise ImageError(f"The file is larger than {limits.MAX_FILE:,} bytes.")
