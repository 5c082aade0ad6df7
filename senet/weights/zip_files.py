"""Where the members of a zip archive lie, so that they are read as stretches of the file."""

import struct
import zipfile
import zlib
from typing import Any, BinaryIO

from senet.foreign import count_believable
from senet.weights.arrays import Malformed, read_bytes

DIRECTORY_LIMIT = 8 * 2**20
"""Largest list of members, bytes: some fifty thousand of them."""

CHUNK = 2**20

ENCRYPTED = 1


class _Sparing:
    """A file that refuses to be read in large pieces."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY_LIMIT:
            raise Malformed("its zip archive lists more members than any weights file has.")
        return self.file.read(size)


def members(file: BinaryIO, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive, by name.

    Raises:
        Malformed: two have one name, one is encrypted, or together they are longer than the file.
    """
    readable: Any = _Sparing(file)
    try:
        with zipfile.ZipFile(readable) as archive:
            infos = archive.infolist()
    except zipfile.BadZipFile as error:
        raise Malformed(f"its zip archive is damaged ({error}). Download it again.") from error
    found = {info.filename: info for info in infos}
    if len(found) != len(infos):
        raise Malformed("two members of its zip archive have the same name.")
    if sum(info.compress_size for info in infos) > size:
        raise Malformed("the members of its zip archive are longer than the file: it is cut short.")
    if any(info.flag_bits & ENCRYPTED for info in infos):
        raise Malformed("it is an encrypted zip archive: unpack it with its password.")
    return found


def is_stored(member: zipfile.ZipInfo) -> bool:
    """Whether a member lies in the file as it is, uncompressed."""
    return member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size


def start(file: BinaryIO, member: zipfile.ZipInfo, size: int) -> int:
    """First byte of a member's data.

    Raises:
        Malformed: there is no such member there, or it ends beyond the file.
    """
    at = member.header_offset
    if not 0 <= at <= size - 30:
        raise Malformed(f"{member.filename!r} in its zip archive is outside the file.")
    signature, n_name, n_extra = struct.unpack("<4s22xHH", read_bytes(file, at, 30))
    begin = at + 30 + n_name + n_extra
    if signature != b"PK\x03\x04" or begin + member.compress_size > size:
        raise Malformed(f"{member.filename!r} in its zip archive is not where the list says.")
    return begin


def check_sum(file: BinaryIO, member: zipfile.ZipInfo, begin: int) -> None:
    """Compare a stored member with its checksum, a piece at a time."""
    value, end = 0, begin + member.file_size
    for at in range(begin, end, CHUNK):
        value = zlib.crc32(read_bytes(file, at, min(CHUNK, end - at)), value)
    compare(member, value)


def compare(member: zipfile.ZipInfo, value: int) -> None:
    """Refuse a member with another checksum; torch can be told to write 0 for none."""
    if member.CRC not in (0, value):
        raise Malformed(f"{member.filename!r} in it is damaged (checksum). Download it again.")


def read_member(file: BinaryIO, member: zipfile.ZipInfo, size: int, limit: int) -> bytes:
    """A member as a whole, compressed or not.

    Args:
        file: the archive, open for reading.
        member: of it.
        size: of the file, bytes.
        limit: most bytes of the member.

    Raises:
        Malformed: it is longer than the limit, or than it can be believed to be, or damaged.
    """
    if member.file_size > limit:
        raise Malformed(f"{member.filename!r} in it is larger than {limit} bytes.")
    begin = start(file, member, size)
    if not is_stored(member):
        return inflated(file, member, begin, min(limit, believable(member)))
    data = read_bytes(file, begin, member.file_size).tobytes()
    compare(member, zlib.crc32(data))
    return data


def believable(member: zipfile.ZipInfo) -> int:
    """Most bytes that a compressed member may become."""
    return count_believable(member.compress_size, CHUNK)


def inflated(file: BinaryIO, member: zipfile.ZipInfo, begin: int, limit: int) -> bytes:
    """A compressed member, if it is no longer than it says and `limit`.

    Raises:
        Malformed: it is longer, damaged or compressed in another way than by deflate.
    """
    if member.compress_type != zipfile.ZIP_DEFLATED or member.file_size > limit:
        raise Malformed(
            f"{member.filename!r} in it is compressed, and not by deflate or to a size that is "
            "not believable. Save it again."
        )
    raw = read_bytes(file, begin, member.compress_size)
    try:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, member.file_size + 1)
    except zlib.error:
        raise Malformed(f"{member.filename!r} in it is damaged. Download it again.") from None
    if len(data) != member.file_size:
        raise Malformed(f"{member.filename!r} in it is not of the size it says.")
    compare(member, zlib.crc32(data))
    return data
