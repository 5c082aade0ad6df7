"""Bytes of an image file into RGB pixels."""

import io
import warnings
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (*(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),)
MAX_PIXELS = 50_000_000
"""Largest image that is decoded, pixels: 150 MB in memory. Larger ones are refused unread."""


class ImageError(ValueError):
    """A file is not an image that can be decoded; the message has the reason."""


def decode(data: bytes | BinaryIO) -> Image.Image:
    """Decode an image into upright RGB.

    The orientation of the camera (EXIF) is applied. Grey and palette images become RGB, 16-bit grey
    is scaled to 8 bits, transparent pixels are laid on white, CMYK is converted.

    Args:
        data: content of a JPEG, PNG, WebP, BMP, GIF or TIFF file; the first frame is used.

    Returns:
        A Pillow image of mode RGB.

    Raises:
        ImageError: the content is no such image, is damaged, or has more than 50 million pixels.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(stream, formats=FORMATS)
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(
                    f"The image has {width} x {height} pixels, more than {MAX_PIXELS:,}."
                )
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError(f"Not a {', '.join(FORMATS)} image.") from None
    except Exception as error:  # Pillow's decoders raise what a damaged header makes of them.
        raise ImageError(f"The image is damaged: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype="float64") / 257
        image = Image.fromarray(values.clip(0, 255).round().astype("uint8"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
