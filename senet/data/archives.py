"""Archives of images and arrays: what a member takes is bounded by what is read of it."""

import os
import zipfile
from collections.abc import Collection, Iterator
from typing import BinaryIO

from senet.errors import FileError, InputError
from senet.foreign import PACKED, count_believable, open_file

BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Ways to pack of which no more is unpacked than is asked for."""
PIECE = 2**20
"""Bytes that are unpacked at a time."""


class RegularZip(zipfile.ZipFile):
    """A zip file that is a regular file, open for reading.

    Args:
        path: of it.

    Raises:
        OSError: it is no regular file, or cannot be read.
        BadZipFile: it is no zip file.
    """

    _opened: BinaryIO | None = None  # closing comes also after what failed to open

    def __init__(self, path: str | os.PathLike) -> None:
        self._opened = open_file(path)
        try:
            super().__init__(self._opened)
        except BaseException:
            self._opened.close()
            raise

    def close(self) -> None:
        """Close it."""
        if self._opened is not None:
            super().close()
            self._opened.close()


def require_believable(members: Collection[zipfile.ZipInfo], stored: int, largest: int) -> None:
    """Refuse arrays that a file of this length does not hold, or that are much longer unpacked.

    Args:
        members: that are to be unpacked into memory, all of them.
        stored: bytes of the file.
        largest: most bytes of them together.

    Raises:
        InputError: they are longer, or packed otherwise than by deflate.
    """
    packed = sum(member.compress_size for member in members)
    size = sum(member.file_size for member in members)
    if packed > stored:
        raise InputError(f"its arrays have {packed:,} bytes, and it has {stored:,}")
    if size > min(largest, count_believable(packed)):
        raise InputError(
            f"its arrays take {size:,} bytes of memory, and no more are read than {largest:,} and "
            f"{PACKED} times what is stored, {packed:,}: save them without compression"
        )
    if any(member.compress_type not in BOUNDED for member in members):
        raise InputError("its arrays are packed otherwise than by deflate: save them again")


def read_pieces(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Unpack a member piece by piece, and no more of it than it says it has.

    Raises:
        FileError: it is packed otherwise than by deflate.
        BadZipFile: it is not what its checksum says, because it is longer, for example.
    """
    if member.compress_type not in BOUNDED:
        raise FileError("It is packed otherwise than by deflate: pack it again.")
    with archive.open(member) as file:
        yield from iter(lambda: file.read(PIECE), b"")  # at once, all would be unpacked
