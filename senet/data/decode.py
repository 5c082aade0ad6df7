"""Bytes of an image file into RGB pixels, by stated rules, or a reason why not."""

import contextlib
import io
import math
import threading
import warnings
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from senet.data import signatures
from senet.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (*(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),)
MAX_PIXELS = 50_000_000
"""Largest image that is decoded, pixels: 150 MB in memory. Larger ones are refused unread."""
WHITES = (255, 4095, 65535)
"""What white is in grey images of more than 8 bits, of which 8, 12 or all are used as a rule."""
SIGNED_WHITE = 32767
"""What it may be too, where numbers have a sign."""
OVERSHOOT = 0.1
"""Part of white that floats may be above it, or below black, as resampling makes them."""
BLACKISH = 15
"""Of 255, what looks black. The upper 8 of 16 bits are at most this where the lower 12 are used."""
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


class ImageError(InputError):
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

    - grey of whole numbers: white is the smallest of 255, 4095 and 65535 that no pixel exceeds, or
      32767 where they have a sign;
    - grey of floats: white is 1, or else one of these; a tenth of it beyond white or below black is
      clipped, as resampling makes such;
    - colours of 16 bits: 65535 is white.

    Where no such rule holds it is refused, rather than given a scale of its own: with negative,
    larger or infinite numbers. So is what would be black: if only the lowest 4 of 8 bits, or of
    opaque colours the lowest 12 of 16, are used.

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
    with SILENCE:
        try:
            image = _load(content, kind)
            turn = _read_turn(image)
            upright = _to_rgb(image, content, kind)
            return upright if turn is None else upright.transpose(turn)
        except ImageError:
            raise
        except Exception as error:  # Pillow's decoders raise what a damaged header makes of them.
            raise ImageError(signatures.describe_damage(content, kind, error)) from error


def convert_image(image: Image.Image) -> Image.Image:
    """An image that Pillow has opened or made, in upright RGB as `decode` gives it.

    Raises:
        ImageError: its pixels cannot be read, or no rule says what is white.
    """
    if not all(image.size):
        raise ImageError(f"The image has no pixels: its size is {image.size}.")
    with SILENCE:
        try:
            image.load()
            turn = _read_turn(image)
            upright = _to_rgb(image, b"", "")
            return upright if turn is None else upright.transpose(turn)
        except ImageError:
            raise
        except Exception as error:  # as for `decode`
            raise ImageError(f"Pillow cannot read it: {error}") from error


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
    try:
        image = Image.open(io.BytesIO(content), formats=(kind,))
    except Image.DecompressionBombError:
        raise ImageError(f"The image has more than {MAX_PIXELS:,} pixels.") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"The image has {width} x {height} pixels, more than {MAX_PIXELS:,}.")
    if kind == "TIFF":  # which reads all other tags then, broken ones too, and turns the image
        image.load_end = lambda: None  # type: ignore[method-assign]
    image.load()
    return image


def _read_turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright by its EXIF, where that can be read."""
    with contextlib.suppress(Exception):  # Pillow raises whatever broken metadata lead it to
        stored = getattr(image, "tag_v2", {}).get(ORIENTATION)  # of TIFF
        return TURNS.get(stored or image.getexif().get(ORIENTATION, 1))
    return None


def _to_rgb(image: Image.Image, content: bytes, kind: str) -> Image.Image:
    """Eight bits of red, green and blue."""
    tags = getattr(image, "tag_v2", {})  # of TIFF
    if tags and image.im.size != image.size:  # that of the image when it is turned
        image = image.copy()
    signed = signatures.as_tuple(tags.get(signatures.SAMPLE_FORMAT, 1))[0] == signatures.SIGNED
    if image.mode.startswith(("I", "F")) or (image.mode == "L" and signed):
        return _scale_grey(image, tags, signed=signed)
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
    values = values.astype("float32")
    whites = [*WHITES, *((SIGNED_WHITE,) if signed else ())]
    slack = 0.0
    if image.mode == "F":
        whites, slack = [1, *whites], OVERSHOOT
    low, high = float(values.min()), float(values.max())
    white = min((white for white in whites if high <= white * (1 + slack)), default=None)
    if white is None or low < -white * slack or not math.isfinite(low):
        raise ImageError(
            f"Its numbers go from {low:g} to {high:g}, and no rule says what is black and white: "
            "save it with 8 or 16 bits."
        )
    if white == WHITES[0] and 0 < high <= BLACKISH:
        raise ImageError(
            f"Its largest number is {high:g}, and no rule says what is white: it would be black. "
            "Save it with 8 bits."
        )
    grey = (values / white * 255).clip(0, 255).round().astype("uint8")
    if tags.get(signatures.PHOTOMETRIC) == signatures.WHITE_IS_ZERO:
        grey = 255 - grey
    return Image.fromarray(grey).convert("RGB")


def _require_bright(image: Image.Image, kind: str) -> None:
    """Refuse colours of 16 bits of which Pillow keeps nothing: it takes the upper 8.

    Black on a transparent ground is a picture all the same, and no ink is white.
    """
    bands = [image.getchannel(number) for number in range(len(image.getbands()))]
    if image.getbands()[-1] in "Aa" and np.asarray(bands.pop()).min() < WHITES[0]:
        return
    if image.mode != "CMYK" and max(np.asarray(band).max() for band in bands) <= BLACKISH:
        raise ImageError(
            f"{kind} with 16 bits for each colour of which at most 12 are used: it would be black. "
            "Save it with 8 bits."
        )
