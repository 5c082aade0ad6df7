"""What one image may take: known from its header, before it is decoded."""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from senet.data.containers import Bare
from senet.data.signatures import as_tuple
from senet.errors import InputError

MAX_FILE = 64 * 2**20
"""Largest image file that is read, bytes."""
MAX_DECODING = 312 * 2**20
"""Most memory that an image takes beside its file, bytes: with the largest file 394 million."""
MAX_SIDE = 65_535
"""Longest side of an image, pixels: that of a JPEG."""
MAX_PIXELS = 50_000_000
"""Most pixels that are decoded."""
MAX_REDUCED = 160_000_000
"""Most pixels of a JPEG, which is decoded at a half, a quarter or an eighth of its sides where it
would be too large otherwise."""
SCALES = (1, 2, 4, 8)
"""Parts of its sides at which a JPEG is decoded."""
MAX_SCANS = 1_000
"""Most scans of a JPEG, which is written in some ten of them."""
MAX_SCANNED = 1_200_000_000
"""Most pixels of a JPEG times its scans, as each may go over all of them."""
MAX_RUNS = 8_000_000
"""Most pixels, and bytes, of a BMP packed in runs: Pillow unpacks them one by one."""
MAX_PROGRESSIVE = 24 * 2**20
"""Largest JPEG of several scans, bytes: to make numbers finer scan by scan is slow."""
RUNS = "bmp_rle"
"""Pillow's name of such a decoder."""
MAX_TILES = 2**16
"""Most pieces that a TIFF is stored in: an image of that many rows, each alone."""
MAX_BANDS = 8
"""Times that the pieces of an image may cover it: its colours may be stored apart."""

PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""Bytes of a pixel in the modes of Pillow in which it does not take four."""
FOUR, POINTER = 4, 8
COEFFICIENT = 2
"""Bytes of a number of a JPEG of several scans: all are kept until the last scan."""
WEBP_BYTES = 14.5
"""Bytes that libwebp takes for a pixel, beside the image that it makes."""
RGB_BYTES = FOUR
COMPRESSION, WINDOWED = 259, (34925, 50000)
"""Tag of TIFF, and its values for LZMA and Zstandard, which keep what they have unpacked."""
TILE_WIDTH, TILE_LENGTH, STRIP_ROWS, SAMPLES, BITS = 322, 323, 278, 277, 258
"""Tags of TIFF."""


class TooLarge(InputError):
    """An image would take more memory or time than one may."""


def find_scale(image: Image.Image, bare: Bare, kind: str, *, turned: bool) -> tuple[int, float]:
    """Part of its sides at which an image is decoded, and the bytes of memory that this takes.

    The part is 1 for the whole, 2 for half of its sides.

    Args:
        image: opened, not decoded yet.
        bare: what it was opened from.
        kind: its format.
        turned: whether it is to be turned.

    Raises:
        TooLarge: decoding it would take too much at any scale.
    """
    width, height = image.size
    shown = f"The image has {width} x {height} pixels"
    if max(image.size) > MAX_SIDE:
        raise TooLarge(f"{shown}: no side may be longer than {MAX_SIDE:,}.")
    scales = SCALES if kind == "JPEG" else SCALES[:1]
    most = MAX_REDUCED if kind == "JPEG" else MAX_PIXELS
    pixels = width * height
    if pixels > most:
        raise TooLarge(f"{shown}, more than {most:,}.")
    if bare.scans > max(1, min(MAX_SCANS, MAX_SCANNED // max(1, pixels))):
        raise TooLarge(f"{shown} in {bare.scans:,} scans, which would take long: save it again.")
    if bare.scans > 1 and len(bare.content) > MAX_PROGRESSIVE:
        raise TooLarge(
            f"{shown} in {bare.scans:,} scans of {len(bare.content):,} bytes, more than "
            f"{MAX_PROGRESSIVE:,}: save it as a JPEG that is not progressive."
        )
    _check_pieces(image, bare, shown)
    needed = 0.0
    for scale in scales:
        needed = _count_bytes(image, bare, kind, scale, turned=turned)
        if needed <= MAX_DECODING and pixels <= MAX_PIXELS * scale**2:
            return scale, needed
    raise TooLarge(
        f"{shown} of mode {image.mode}: to decode such a {kind} takes {needed / 1e6:,.0f} million "
        f"bytes, and one may take {MAX_DECODING / 1e6:,.0f}: save it smaller, or as JPEG."
    )


def _check_pieces(image: Image.Image, bare: Bare, shown: str) -> None:
    """Refuse an image that is stored in too many pieces, or in runs that are unpacked slowly."""
    tiles = _tiles(image)
    covered = sum((right - left) * (low - top) for _, (left, top, right, low), *_ in tiles)
    if len(tiles) > MAX_TILES or covered > MAX_BANDS * image.width * image.height:
        raise TooLarge(f"{shown} in pieces that are too many, {len(tiles):,}, or cover it again.")
    if _is_in_runs(image) and max(image.width * image.height, len(bare.content)) > MAX_RUNS:
        raise TooLarge(f"{shown} packed in runs, of which {MAX_RUNS:,} are read: save it as PNG.")


def _tiles(image: Image.Image) -> Sequence[Any]:
    """What Pillow is to decode: decoder, place in the image, place in the file."""
    return getattr(image, "tile", ())


def _is_in_runs(image: Image.Image) -> bool:
    return any(tile[0] == RUNS for tile in _tiles(image))


def _count_bytes(image: Image.Image, bare: Bare, kind: str, scale: int, *, turned: bool) -> float:
    """Most bytes of memory that decoding, converting to RGB and turning take at one time."""
    size = tuple(-(-side // scale) for side in image.size)
    stored, rgb = _count_stored(image.mode, size), _count_stored("RGB", size)
    pixels = image.width * image.height
    beside = float(bare.beside)
    if kind == "JPEG" and bare.scans > 1:
        beside += COEFFICIENT * bare.samples * pixels
    elif kind == "WEBP":
        beside += WEBP_BYTES * pixels
    elif kind == "TIFF":
        tags = getattr(image, "tag_v2", {})
        piece = _count_piece(tags, image.size)
        beside += piece * (2 if tags.get(COMPRESSION) in WINDOWED else 1)
    elif kind == "PNG" and len(image.getbands()) > 1:
        beside += pixels  # of 16 bits, a band is looked at alone
    elif _is_in_runs(image):
        beside += 2 * pixels
    plain = image.mode == "RGB" and not image.has_transparency_data and kind != "TIFF"
    return max(stored + beside, stored * (not plain) + rgb * (1 + turned))


def _count_stored(mode: str, size: tuple[int, ...]) -> int:
    """Bytes of an image in the memory of Pillow: rows of whole words, and a pointer to each."""
    width, height = size
    row = -(-width * PIXEL_BYTES.get(mode, FOUR) // FOUR) * FOUR
    return height * (row + POINTER)


def _count_piece(tags: Mapping[int, Any], size: tuple[int, int]) -> int:
    """Bytes of one strip or tile of a TIFF, which is unpacked as a whole."""
    bits = [int(number) for number in as_tuple(tags.get(BITS, 1))]
    deep = max(FOUR, int(tags.get(SAMPLES, 1)) * max(bits) // 8)
    across, down = (int(tags.get(tag) or 0) for tag in (TILE_WIDTH, TILE_LENGTH))
    if across and down:
        return across * down * deep
    return size[0] * min(size[1], int(tags.get(STRIP_ROWS) or size[1])) * deep
