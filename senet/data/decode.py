"""Bytes of an image file into RGB pixels, by stated rules, or a reason why not."""

import contextlib
import io
import threading
import warnings
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from senet.data import signatures

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (*(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),)
MAX_PIXELS = 50_000_000
"""Largest image that is decoded, pixels: 150 MB in memory. Larger ones are refused unread."""
WHITES = (255, 1023, 4095, 16383, 65535)
"""What white is in grey images of more than 8 bits: cameras and scanners fill 8 to 16 of them."""
SIGNED_WHITE = 32767
"""What it may be too, where numbers have a sign."""
MOST_OF_12_BITS = 15
"""The upper 8 of 16 bits of a colour are at most this where only the lower 12 are used."""
ORIENTATION = 0x0112
"""Tag of EXIF."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its orientation."""


class ImageError(ValueError):
    """A file is not an image that can be decoded; the message has the reason."""


class Silence:
    """Keeps warnings back while anyone is inside, in whatever thread.

    `warnings.catch_warnings` alone would restore, in the last thread that leaves, what another one
    had set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught: warnings.catch_warnings | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._caught is None:
                self._caught = warnings.catch_warnings(action="ignore")
                self._caught.__enter__()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._caught is not None:
                self._caught.__exit__(None, None, None)
                self._caught = None


SILENCE = Silence()
"""Pillow warns of much that is wrong beside the pixels, which decides nothing."""


def decode(data: bytes | BinaryIO) -> Image.Image:
    """Decode an image into upright RGB.

    The orientation of the camera (EXIF) is applied. Grey and palette images become RGB, transparent
    pixels are laid on white, CMYK is converted. Text, EXIF and colour profiles decide nothing else:
    where they are broken, the pixels are used without them.

    What has more than 8 bits is scaled to 8:

    - grey of whole numbers: white is the smallest of 255, 1023, 4095, 16383 and 65535 that no pixel
      exceeds; with negative numbers or larger ones the smallest pixel becomes black and the largest
      white;
    - grey of floats: the same, and white is 1 where no pixel exceeds that; images with infinite
      numbers, or none, are refused;
    - colours of 16 bits: 65535 is white; images that use 12 of the bits or fewer are refused, for
      they would be black.

    Args:
        data: content of a JPEG, PNG, WebP, BMP, GIF or TIFF file; the first frame is used.

    Returns:
        A Pillow image of mode RGB.

    Raises:
        ImageError: the content is no such image, is damaged or of a kind that is not read, or has
            more than 50 million pixels.
    """
    content = data if isinstance(data, bytes) else data.read()
    kind = signatures.find_format(content)
    if kind is None:
        raise ImageError(signatures.describe(content))
    try:
        with SILENCE:
            image = _load(content, kind)
            turn = _read_turn(image)
            upright = _to_rgb(image, content, kind)
            return upright if turn is None else upright.transpose(turn)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise what a damaged header makes of them.
        raise ImageError(signatures.describe_damage(content, kind, error)) from error


def _load(content: bytes, kind: str) -> Image.Image:
    """The image with its pixels; without what stands beside them where that cannot be read."""
    try:
        return _load_pixels(content, kind)
    except ImageError:
        raise
    except Exception:
        bare = signatures.strip_metadata(content, kind)
        if bare == content:
            raise
        return _load_pixels(bare, kind)


def _load_pixels(content: bytes, kind: str) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=(kind,))
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"The image has {width} x {height} pixels, more than {MAX_PIXELS:,}.")
    try:
        image.load()
    except Exception:
        if kind != "TIFF" or image.tile:
            raise
        # all pixels are there: it was one of the other tags, which Pillow reads after them
    return image


def _read_turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright by its EXIF, where that can be read."""
    with contextlib.suppress(Exception):  # Pillow raises whatever broken metadata lead it to
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    return None


def _to_rgb(image: Image.Image, content: bytes, kind: str) -> Image.Image:
    """Eight bits of red, green and blue."""
    tags = getattr(image, "tag_v2", {})  # of TIFF
    signed = signatures.as_tuple(tags.get(signatures.SAMPLE_FORMAT, 1))[0] == signatures.SIGNED
    if image.mode.startswith(("I", "F")) or (image.mode == "L" and signed):
        return _scale_grey(image, tags, signed=signed)
    if image.mode == "LAB":
        raise ImageError(f"{kind} in Lab colours, which are not read: save it as RGB.")
    if signatures.has_wide_colours(content, kind, tags):
        _require_bright(image, kind)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _scale_grey(image: Image.Image, tags: Mapping[int, Any], *, signed: bool) -> Image.Image:
    """Grey of more than 8 bits, or below 0, in 8 bits.

    Args:
        image: of mode I, F or, of signed numbers, L.
        tags: of a TIFF.
        signed: whether its whole numbers may be negative.
    """
    values = np.asarray(image)
    if image.mode == "L":
        values = values.view("int8")
    elif image.mode == "I" and tags and not signed:  # Pillow takes unsigned numbers for signed
        values = values.view("uint32")
    floats = image.mode == "F"
    values = values.astype("float32")
    low, high = values.min(), values.max()
    span = high - low
    if not np.isfinite(span):
        raise ImageError("An image of floats that are infinite or no numbers: replace these.")
    whites = [*((1,) if floats else ()), *WHITES, *((SIGNED_WHITE,) if signed else ())]
    white = min((white for white in whites if high <= white), default=None)
    if low < 0 or white is None:
        values, white = values - low, span or 1
    grey = (values / white * 255).round().astype("uint8")
    if tags.get(signatures.PHOTOMETRIC) == signatures.WHITE_IS_ZERO:
        grey = 255 - grey
    return Image.fromarray(grey).convert("RGB")


def _require_bright(image: Image.Image, kind: str) -> None:
    """Refuse colours of 16 bits of which Pillow keeps nothing: it takes the upper 8."""
    colours = sum(band not in "Aa" for band in image.getbands())
    if np.asarray(image)[..., :colours].max() <= MOST_OF_12_BITS:
        raise ImageError(
            f"{kind} with 16 bits for each colour of which at most 12 are used: it would be black. "
            "Save it with 8 bits."
        )
