"""Bytes of an image file into RGB pixels, by stated rules, or a reason why not."""

import contextlib
import io
import math
import struct
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from senet.data import containers, limits, sharing, signatures
from senet.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (*(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),)
WHITES = (255, 4095, 65535)
"""What white is in grey images of more than 8 bits, of which 8, 12 or all are used as a rule."""
SIGNED_WHITE = 32767
"""What it may be too, where numbers have a sign."""
OVERSHOOT = 0.1
"""Part of white that floats may be above it, or below black, as resampling makes them."""
BLACKISH = 15
"""Of 255, what looks black. The upper 8 of 16 bits are at most this where the lower 12 are used."""
STRIP = 2**20
"""Pixels that are made RGB at a time."""
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

    One image takes at most 400 million bytes of memory, its file among them. Of each format what
    would take more is refused by what its header says, and a JPEG is decoded at a half, a quarter
    or an eighth of its sides: of one with more than 50 million pixels that is so.

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
        ImageError: the content is no such image, is damaged or of a kind that is not read, or
            would take too much memory or time: a file of more than 64 MiB, more than 50 million
            pixels (of a JPEG 160 million, of a progressive one 53 to 106), more than 1,000 scans.
    """
    content = data if isinstance(data, bytes) else data.read()
    del data  # memory that is needed for the pixels
    if len(content) > limits.MAX_FILE:
        raise ImageError(f"The file is larger than {limits.MAX_FILE:,} bytes.")
    kind = signatures.find_format(content)
    if kind is None:
        raise ImageError(signatures.describe(content))
    with SILENCE:
        try:
            bare = containers.take_pixels(content, kind)
        except containers.TooManyParts as error:
            raise ImageError(f"{kind}, not read: {error}.") from error
        except (IndexError, struct.error):
            raise ImageError(f"{kind}, damaged: its header cannot be read.") from None
        try:
            del content
            return _decode_pixels(bare, kind)
        except ImageError:
            raise
        except Exception as error:  # Pillow's decoders raise what a damaged header makes of them.
            raise ImageError(signatures.describe_damage(bare.content, kind, error)) from error


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
            return _turn(_to_rgb(image), _read_turn(image))
        except ImageError:
            raise
        except Exception as error:  # as for `decode`
            raise ImageError(f"Pillow cannot read it: {error}") from error


def _decode_pixels(bare: containers.Bare, kind: str) -> Image.Image:
    """The upright pixels of a file in which nothing else stands, in RGB."""
    try:
        image = Image.open(io.BytesIO(bare.content), formats=(kind,))
    except Image.DecompressionBombError:
        raise ImageError(
            f"The image has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, twice "
            "Image.MAX_IMAGE_PIXELS of Pillow."
        ) from None
    turn = TURNS.get(bare.orientation)
    if kind == "TIFF":
        turn = _read_turn(image)
        # It would turn the image, too, and read all other tags.
        image.load_end = lambda: None  # type: ignore[method-assign]
    try:
        scale, needed = limits.find_scale(image, bare, kind, turned=turn is not None)
    except limits.TooLarge as error:
        raise ImageError(str(error)) from None
    if scale > 1:
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
    sharing.PIXELS.take(needed)
    image.load()
    rgb = _to_rgb(image, kind, wide=signatures.has_wide_colours(bare.content, kind, _tags(image)))
    del image  # memory that is needed to turn it
    return _turn(rgb, turn)


def _turn(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return image if turn is None else image.transpose(turn)


def _read_turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright by its EXIF, where that can be read."""
    with contextlib.suppress(Exception):  # Pillow raises whatever broken metadata lead it to
        stored = _tags(image).get(containers.ORIENTATION)
        return TURNS.get(stored or image.getexif().get(containers.ORIENTATION, 1))
    return None


def _tags(image: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF; none of other images."""
    return getattr(image, "tag_v2", {})


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """An image in pieces of some rows, each with the number of its first one.

    What is made of a whole image on the way to RGB would take several times its memory.
    """
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _to_rgb(image: Image.Image, kind: str = "", *, wide: bool = False) -> Image.Image:
    """Eight bits of red, green and blue.

    Args:
        image: with its pixels.
        kind: format of its file.
        wide: whether its file has several numbers of 16 bits for each pixel.
    """
    tags = _tags(image)
    if tags and image.im.size != image.size:  # that of the image when it is turned
        image = image.copy()
    signed = signatures.as_tuple(tags.get(signatures.SAMPLE_FORMAT, 1))[0] == signatures.SIGNED
    if image.mode.startswith(("I", "F")) or (image.mode == "L" and signed):
        return _scale_grey(image, tags, signed=signed)
    if wide:
        _require_bright(image, kind)
    if not image.has_transparency_data:
        return image if image.mode == "RGB" and not tags else image.convert("RGB")
    result = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        strip = strip.convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        result.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return result


def _scale_grey(image: Image.Image, tags: Mapping[int, Any], *, signed: bool) -> Image.Image:
    """Grey of more than 8 bits, or below 0, in 8 bits.

    Args:
        image: of mode I, F or, of signed numbers, L.
        tags: of a TIFF.
        signed: whether its whole numbers may be negative.
    """

    def read(strip: Image.Image) -> np.ndarray:
        values = np.asarray(strip)
        if image.mode == "L":
            values = values.view("int8")
        elif image.mode == "I" and tags and not signed:  # Pillow takes unsigned numbers for signed
            values = values.view("uint32")
        return values.astype("float32")

    whites = [*WHITES, *((SIGNED_WHITE,) if signed else ())]
    slack = 0.0
    if image.mode == "F":
        whites, slack = [1, *whites], OVERSHOOT
    ends = np.array([[v.min(), v.max()] for v in (read(strip) for _, strip in _strips(image))])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
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
    result = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        grey = (read(strip) / white * 255).clip(0, 255).round().astype("uint8")
        if tags.get(signatures.PHOTOMETRIC) == signatures.WHITE_IS_ZERO:
            grey = 255 - grey
        result.paste(Image.fromarray(grey).convert("RGB"), (0, top))
    return result


def _require_bright(image: Image.Image, kind: str) -> None:
    """Refuse colours of 16 bits of which Pillow keeps nothing: it takes the upper 8.

    Black on a transparent ground is a picture all the same, and no ink is white.
    """
    bands = (image.getchannel(number) for number in range(len(image.getbands())))
    ends: list[Any] = [band.getextrema() for band in bands]
    if image.getbands()[-1] in "Aa" and ends.pop()[0] < WHITES[0]:
        return
    if image.mode != "CMYK" and max(high for _, high in ends) <= BLACKISH:
        raise ImageError(
            f"{kind} with 16 bits for each colour of which at most 12 are used: it would be black. "
            "Save it with 8 bits."
        )
