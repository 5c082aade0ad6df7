"""What a file is by its first bytes, and why it is not read."""

import contextlib
import io
import re
import struct
from collections.abc import Mapping
from typing import Any

from PIL import Image, TiffImagePlugin

FORMATS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0"),  # the last are wrong
}
"""What files of these formats begin with."""
BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
"""Sizes of the headers of BMP; its two letters alone begin some texts too."""
HEIC = {*(b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")}
AVIF = {b"avif", b"avis"}
OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"\0\0\0\x0cjP  ", "JPEG 2000: save it as JPEG."),
    (b"\xff\x4f\xff\x51", "JPEG 2000: save it as JPEG."),
    (b"\0\0\0\x0cJXL ", "JPEG XL: save it as JPEG."),
    (b"\xff\x0a", "JPEG XL: save it as JPEG."),
    (b"8BPS", "Photoshop: save it as PNG."),
    (b"%PDF", "PDF: save its pages as PNG."),
    (b"v/1\x01", "OpenEXR: save it as PNG."),
    (b"#?RADIANCE", "Radiance HDR: save it as PNG."),
    (b"#?RGBE", "Radiance HDR: save it as PNG."),
    (b"\0\0\x01\0", "An icon (ICO): save it as PNG."),
    (b"SIMPLE  =", "FITS: save it as PNG."),
    (b"IIU\0", "Raw data of a camera: save it as JPEG."),
    (b"IIRO", "Raw data of a camera: save it as JPEG."),
    (b"IIRS", "Raw data of a camera: save it as JPEG."),
    (b"FUJIFILM", "Raw data of a camera: save it as JPEG."),
    (b"\x93NUMPY", "An array of NumPy: save it as PNG, or give an .npz file of all images."),
    (b"\x89HDF", "HDF5: save its images as PNG."),
    (b"PK\x03\x04", "A zip file: unpack it."),
    (b"\x1f\x8b", "A gzip file: unpack it."),
    (b"7z\xbc\xaf", "A 7z file: unpack it."),
    (b"Rar!", "A RAR file: unpack it."),
    (b"\x1aE\xdf\xa3", "A video: save its frames as JPEG."),
    (b"version https://git-lfs", "A pointer of Git LFS: git lfs pull gets the image."),
)
"""What other files begin with, and what they are and what helps."""
PNM = re.compile(rb"P[1-7]\s+[#\dW]")
HTML = (b"<!doctype html", b"<html")
MARKUP = 1000
"""Bytes in which what a page of HTML or XML is must show."""
UNKNOWN = "Not a JPEG, PNG, WEBP, BMP, GIF, TIFF image."
PNG_SEVERAL = (2, 4, 6)
"""Kinds of colours of PNG with several numbers for each pixel: RGB, grey or RGB with alpha."""
BITS, COMPRESSION, PHOTOMETRIC, SAMPLE_FORMAT = 258, 259, 262, 339
"""Tags of TIFF."""
WHITE_IS_ZERO, SIGNED = 0, 2
"""Values of the last two of them."""
SAMPLES = {
    **{1: "whole numbers", SIGNED: "signed whole numbers", 3: "floats"},
    **{5: "complex whole numbers", 6: "complex numbers"},
}
"""What the numbers of a TIFF are, by its tag."""
COMPRESSIONS = {*range(1, 9), 32771, 32773, 32946, 34676, 34677, 34925, 50000, 50001}
"""Of TIFF, those that are read."""


def find_format(content: bytes) -> str | None:
    """The format of an image that is read, by Pillow's name; `None` for other files."""
    for name, beginnings in FORMATS.items():
        if content.startswith(beginnings):
            return name
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    if content.startswith(b"BM") and content[14:16] in [struct.pack("<H", n) for n in BMP_HEADERS]:
        return "BMP"
    return None


def describe(content: bytes) -> str:
    """What a file is that is no image of a format that is read, and what to do, in a sentence."""
    if not content.strip(b"\0"):
        return f"{'Nothing but zeros' if content else 'The file is empty'}: copy it again."
    if content[4:8] == b"ftyp":
        return _describe_container(content)
    for beginning, what in OTHERS:
        if content.startswith(beginning):
            return what
    if PNM.match(content):
        return "PNM: save it as PNG."
    if content[128:132] == b"DICM":
        return "DICOM: save it as PNG."
    text = content[:MARKUP].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(HTML):
        return "A page of HTML, as a server sends in place of an image: download it again."
    if b"<svg" in text and text.startswith((b"<svg", b"<?xml", b"<!")):
        return "SVG: save it as PNG."
    if text.startswith(b"<?xml"):
        return "XML, as a server sends in place of an image: download it again."
    return UNKNOWN


def _describe_container(content: bytes) -> str:
    """What a file of the family of MP4 is, by the brands that it names."""
    size = min(int.from_bytes(content[:4], "big"), 256)
    brands = [content[8:12], *(content[at : at + 4] for at in range(16, size, 4))]
    if brands[0] in AVIF or (brands[0] in HEIC and AVIF & {*brands}):
        return "AVIF: save it as JPEG."
    if HEIC & {*brands}:
        return "HEIC: save it as JPEG."
    if brands[0] == b"crx ":
        return "Raw data of a camera: save it as JPEG."
    return "A video: save its frames as JPEG."


def describe_damage(content: bytes, kind: str, error: Exception) -> str:
    """Why an image of a format that is read cannot be."""
    if not isinstance(error, Image.UnidentifiedImageError):
        return f"{kind}, damaged: {error}"
    if kind == "TIFF":
        with contextlib.suppress(Exception):  # what a damaged header makes of it
            return _describe_tiff(content)
    return f"{kind}, damaged: its header cannot be read."


def _describe_tiff(content: bytes) -> str:
    """What a TIFF holds that is not read."""
    header = content[: 16 if content[2:3] == b"+" else 8]
    tags = TiffImagePlugin.ImageFileDirectory_v2(header)
    stream = io.BytesIO(content)
    stream.seek(tags.next)
    tags.load(stream)
    bits = as_tuple(tags.get(BITS, 1))
    samples = as_tuple(tags.get(SAMPLE_FORMAT, 1))
    compression = tags.get(COMPRESSION, 1)
    if {*bits} - {1, 2, 4, 8, 12, 16} or {*samples} - {1, 2}:
        what = SAMPLES.get(samples[0], "numbers of an unknown kind")
        bands = f"{len(bits)} bands of " if len(bits) > 1 else ""
        return f"TIFF of {bands}{bits[0]}-bit {what}, which is not read: save it with 8 or 16 bits."
    if compression not in COMPRESSIONS:
        return f"TIFF compressed in a way that is not read ({compression}): save it as PNG."
    return "TIFF, damaged, or of a kind that is not read: save it as PNG."


def as_tuple(value: Any) -> tuple:
    """The values of a tag that may have one or several."""
    return value if isinstance(value, tuple) else (value,)


def has_wide_colours(content: bytes, kind: str, tags: Mapping[int, Any]) -> bool:
    """Whether each pixel of an image has several numbers of 16 bits.

    Args:
        content: of the file.
        kind: its format.
        tags: of a TIFF.
    """
    if kind == "PNG":
        depth, colours = content[24:26]
        return depth == 16 and colours in PNG_SEVERAL
    bits = as_tuple(tags.get(BITS, 1))
    return len(bits) > 1 and max(bits) == 16
