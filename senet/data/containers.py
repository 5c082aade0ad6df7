"""What in an image file decides about its pixels: all else never reaches a decoder.

Text, profiles, previews and later frames may be millions of parts, or be packed a thousand times:
reading them can take more than the pixels do.
"""

import contextlib
import dataclasses
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from PIL import Image

from senet.errors import InputError

MAX_PARTS = 100_000
"""Parts (chunks, segments, blocks) of an image file that are gone through, a second's work at most:
an image of 64 MiB in parts of a kilobyte has fewer."""
MAX_ENTRIES = 65_535
"""Tags of a TIFF: an ordinary one cannot say more."""
MAX_NUMBERS = 200_000
"""Numbers in all tags of a TIFF, each of them an object in memory. An image of 50,000 rows, each
stored alone, has 100,000."""
MAX_EXIF = 2**16
"""Bytes of EXIF, which is one segment of a JPEG."""

START_OF_SCAN, APP0, APP1, APP14, APP15, COMMENT = 0xDA, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
"""Markers of JPEG."""
BARE = {0x01, *range(0xD0, 0xDA)}
"""Those without a length: what they mark is nothing but a place."""
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Those of a segment with the size of the image."""
MARKER = re.compile(rb"\xff([^\x00\xff])")
BEHIND_PIXELS = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""What ends the pixels of a scan: they have no such bytes, though marks of places among them."""
SCAN, END_OF_IMAGE = b"\xff\xda", 0xD9
"""In a JPEG these bytes begin a scan, and stand in no pixels."""
JFIF = b"JFIF\0"
WHOLE_JFIF, WHOLE_ADOBE = 18, 16
"""Bytes of segments APP0 and APP14 that say what the colours are."""
EXIF_HEADER = b"Exif\0\0"
XMP_HEADER = b"http://ns.adobe.com/xap/"
XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")
PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
"""Of PNG, those that decide about pixels."""
EXIF_CHUNK = b"eXIf"
TEXT_CHUNKS = {EXIF_CHUNK, b"tEXt", b"zTXt", b"iTXt"}
"""Of PNG, those in which an orientation may be."""
XMP_KEYWORD, PROFILE_KEYWORD = b"XML:com.adobe.xmp\0", b"Raw profile type exif\0"
"""What the text of such a one begins with."""
PIXEL_PARTS = {b"VP8 ", b"VP8L", b"ALPH", b"ANIM"}
"""Of WebP, those of an image without animation, and the colour behind one."""
METADATA_FLAGS = 0x20 | 0x08 | 0x04
"""Bits of a WebP that has a profile, EXIF, XMP."""
BLOCK = re.compile(rb"[!,;]")
"""What a block of a GIF begins with: an extension, an image, the end."""
EXTENSION, GRAPHIC_CONTROL = 0x21, 0xF9
"""The latter is the extension that says which colour is transparent."""
ORIENTATION = 0x0112
"""Tag of EXIF."""
SIZES = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4},
    **{16: 8, 17: 8, 18: 8},
}
"""Bytes of a number of a TIFF, by its type."""
BYTES = (1, 2, 7)
"""Types of a TIFF that are one value, however long."""


class TooManyParts(InputError):
    """A file is in more parts than any image is."""


@dataclasses.dataclass(frozen=True)
class Bare:
    """An image file without what decides nothing about its pixels.

    Args:
        content: of a file that a decoder takes.
        orientation: what its EXIF or XMP says, 1 to 8; 0 where they do not.
        samples: numbers for each pixel that a JPEG stores, as some colours are stored coarsely.
        scans: times that the pixels of a JPEG are gone over, at most.
        beside: bytes of a TIFF that are no pixels.
    """

    content: bytes
    orientation: int = 0
    samples: float = 0.0
    scans: int = 1
    beside: int = 0


def take_pixels(content: bytes, kind: str) -> Bare:
    """Take what decides about pixels out of an image file.

    Args:
        content: of the file.
        kind: its format.

    Raises:
        TooManyParts: going through it would take long.
        IndexError, struct.error: its header is cut off.
    """
    return TAKERS.get(kind, Bare)(content)


def _take_jpeg(content: bytes) -> Bare:
    """The segments that are needed, and all from the first scan on."""
    exif, xmp, samples = b"", b"", 0.0
    kept: list[bytes | memoryview] = [content[:2]]
    place = 2
    for _ in _parts():
        found = MARKER.search(content, place)  # Pillow passes over what is between segments, too
        if found is None:
            raise IndexError("there is no scan")
        marker, start, place = found[1][0], found.end() - 2, found.end()
        if marker == START_OF_SCAN:
            several = content.count(SCAN, start) > 1
            end = _find_end(content, start) if several else len(content)
            kept.append(memoryview(content)[start:end])
            scans = content.count(SCAN, start, end)  # however its parts are read, at most so many
            return Bare(b"".join(kept), read_orientation(exif, xmp), samples, scans)
        if marker not in BARE:
            (length,) = struct.unpack_from(">H", content, place)
            place += max(length, 2)
        segment = content[start:place]
        if marker in FRAMES:
            samples = _count_samples(segment)
        if _decides(marker, segment):
            kept.append(segment)
        elif marker == APP1 and segment[4:10] == EXIF_HEADER:
            exif = exif or segment[10:]
        elif marker == APP1 and segment[4:].startswith(XMP_HEADER):
            xmp = xmp or segment
    raise IndexError("there is no scan")


def _find_end(content: bytes, place: int) -> int:
    """Where a JPEG ends whose first scan begins at a place: a film may stand behind it.

    One that does not end, or is in very many parts, ends with its file.
    """
    for _ in range(MAX_PARTS):
        found = BEHIND_PIXELS.search(content, place)
        if found is None:
            break
        marker, place = found[1][0], found.end()
        if marker == END_OF_IMAGE:
            return place
        if marker not in BARE and place + 2 <= len(content):
            (length,) = struct.unpack_from(">H", content, place)
            place += max(length, 2)
    return len(content)


def _decides(marker: int, segment: bytes) -> bool:
    """Whether a segment of a JPEG says what the pixels are, or what their numbers mean."""
    if marker == APP0:
        return len(segment) >= WHOLE_JFIF and segment[4:9] == JFIF
    if marker == APP14:
        return len(segment) >= WHOLE_ADOBE
    return marker != COMMENT and not APP0 < marker <= APP15


def _count_samples(segment: bytes) -> float:
    """Numbers that a JPEG stores for each pixel: colours may be halved in width and in height."""
    shares = [number >> 4 for number in segment[11::3]], [number & 15 for number in segment[11::3]]
    across, down = (max(share, default=1) or 1 for share in shares)
    return sum(a * d for a, d in zip(*shares, strict=True)) / (across * down)


def _take_png(content: bytes) -> Bare:
    """The chunks that are needed, and the orientation in others whose checksum is right."""
    exif, xmp, profile = b"", b"", b""
    kept: list[bytes | memoryview] = [content[:8]]
    place = 8
    for _ in _parts():
        if place + 8 > len(content):
            break
        length, name = struct.unpack_from(">I4s", content, place)
        if name in PIXEL_CHUNKS:
            kept.append(memoryview(content)[place : place + length + 12])
        elif name in TEXT_CHUNKS and length <= MAX_EXIF:
            chunk = content[place : place + length + 12]
            whole = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
            if whole and name == EXIF_CHUNK:
                exif = exif or chunk[8:-4]
            elif whole and chunk[8:].startswith(XMP_KEYWORD):
                xmp = xmp or chunk
            elif whole and chunk[8:].startswith(PROFILE_KEYWORD):
                profile = profile or chunk
        if name == b"IEND":  # more may stand behind it
            break
        place += length + 12
    return Bare(b"".join(kept), read_orientation(exif or _read_profile(profile), xmp))


def _read_profile(chunk: bytes) -> bytes:
    """EXIF as ImageMagick writes it into the text of a PNG: three lines, then the bytes in hex."""
    text = chunk[8 + len(PROFILE_KEYWORD) : -4]
    with contextlib.suppress(zlib.error, ValueError):
        if chunk[4:8] == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], 3 * MAX_EXIF)
        hexadecimal = b"".join(text.split(b"\n", 3)[3:]).decode("ascii")
        return bytes.fromhex(hexadecimal).removeprefix(EXIF_HEADER)
    return b""


def _take_webp(content: bytes) -> Bare:
    """The parts of the first frame, with a header that promises no more."""
    exif, xmp, moving = b"", b"", False
    kept: list[bytes | memoryview] = [b"WEBP"]
    place = 12
    for _ in _parts():
        if place + 8 > len(content):
            break
        name, length = struct.unpack_from("<4sI", content, place)
        part = memoryview(content)[place : place + 8 + length + length % 2]
        if name == b"VP8X":
            kept.append(bytes(part[:8]) + bytes([part[8] & ~METADATA_FLAGS]) + bytes(part[9:]))
        elif name in PIXEL_PARTS or (name == b"ANMF" and not moving):
            kept.append(part)
            moving = moving or name == b"ANMF"
        elif name == b"EXIF":
            exif = exif or bytes(part[8 : 8 + length]).removeprefix(EXIF_HEADER)
        elif name == b"XMP " and length <= MAX_EXIF:
            xmp = xmp or bytes(part)
        place += len(part)
    size = struct.pack("<I", sum(map(len, kept)))
    return Bare(b"".join([b"RIFF", size, *kept]), read_orientation(exif, xmp))


def _take_gif(content: bytes) -> Bare:
    """All but the comments and programs before the first image."""
    place = 13 + (3 << (content[10] & 7) + 1 if content[10] & 128 else 0)  # behind the colours
    kept: list[bytes | memoryview] = [content[:place]]
    parts = _parts()
    while found := BLOCK.search(content, place):  # Pillow passes over what is between blocks, too
        start, place = found.start(), found.end()
        next(parts)
        if content[start] != EXTENSION:
            kept.append(memoryview(content)[start:])
            break
        place += 1
        while size := content[place]:
            place += size + 1
            next(parts)
        place += 1
        if content[start + 1] == GRAPHIC_CONTROL:
            kept.append(content[start:place])
    return Bare(b"".join(kept))


def _check_tiff(content: bytes) -> Bare:
    """A TIFF as it is, if its first directory can be gone through and taken into memory."""
    order, big = "<" if content[:2] == b"II" else ">", content[2:3] == b"+"  # as Pillow takes it
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)
    if start > len(content):
        raise IndexError("its directory is behind its end")
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, start)
    if count > MAX_ENTRIES:
        raise TooManyParts(f"it says it has {count:,} tags, and none has more than {MAX_ENTRIES:,}")
    entry = struct.Struct(order + ("HHQQ" if big else "HHII"))
    start += 8 if big else 2
    end = min(start + count * entry.size, len(content) - entry.size + 1)
    numbers, beside = 0, 0
    for place in range(start, end, entry.size):
        _, kind, length, offset = entry.unpack_from(content, place)
        size = SIZES.get(kind, 0) * length
        if size > (8 if big else 4):  # smaller ones stand in place of the offset
            size = max(0, min(size, len(content) - offset))
            beside += size
            numbers += size // SIZES[kind] if kind not in BYTES else 0
    if numbers > MAX_NUMBERS:
        raise TooManyParts(f"its tags have {numbers:,} numbers, more than {MAX_NUMBERS:,}")
    if beside > len(content):
        raise TooManyParts(
            f"its tags say that they have {beside:,} bytes, more than the whole file"
        )
    return Bare(content, beside=beside)


def _parts() -> Iterator[int]:
    """Numbers of parts, as many as a file may be in."""
    yield from range(MAX_PARTS)
    raise TooManyParts(f"it is in more than {MAX_PARTS:,} parts")


TAKERS: Mapping[str, Callable[[bytes], Bare]] = {
    "JPEG": _take_jpeg,
    "PNG": _take_png,
    "WEBP": _take_webp,
    "GIF": _take_gif,
    "TIFF": _check_tiff,
}
"""What takes the pixels out of a file, by its format; those of BMP stand alone."""


def read_orientation(exif: bytes, xmp: bytes = b"") -> int:
    """The number of the orientation in EXIF, or else in XMP; 0 where neither has one.

    Args:
        exif: from the header of a TIFF on.
        xmp: text, which may have something around it.
    """
    stored: Any = 0
    if exif and len(exif) <= MAX_EXIF:
        read = Image.Exif()
        with contextlib.suppress(Exception):  # Pillow raises whatever broken metadata lead it to
            _check_tiff(exif)
            read.load(exif)
            stored = read.get(ORIENTATION, 0)
    if not stored and (found := XMP_ORIENTATION.search(xmp)):
        stored = int(found[1])
    return stored if stored in range(1, 9) else 0
