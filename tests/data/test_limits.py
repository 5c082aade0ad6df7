"""What one image may take: bombs, the largest images that are read, scans, parts."""

import struct
import sys

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from senet.data import containers, limits
from senet.data.decode import ImageError, decode
from tests.data import hostile, measure
from tests.data.hostile import EXIF, encode, grey_tiff, jpeg, png, tiff, webp

MEMORY, SECONDS = 400_000_000, 2
"""What one image may take: bytes above the ordinary size of the program, and of a processor."""


READ = {
    *("animation.webp", "deep.png", "transparent.png", "text.png"),
    *("exif.jpg", "long-exif.jpg", "between.gif", "profiles.png"),
}
"""Bombs of which no more is read than the pixels."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What each file took, in a program of its own."""
    folder = tmp_path_factory.mktemp("files")
    made = (
        hostile.BOMBS | hostile.SCAN_BOMBS | {f"large-{k}": v for k, v in hostile.LARGEST.items()}
    )
    for name, make in made.items():
        (folder / name).write_bytes(make())
    return {one["name"]: one for one in measure.run_on(folder)}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was taken")
@pytest.mark.parametrize(
    "name", [*hostile.BOMBS, *hostile.SCAN_BOMBS, *(f"large-{name}" for name in hostile.LARGEST)]
)
def test_one_image_takes_no_more_than_it_may(measured, name):
    taken = measured[name]
    assert taken["bytes"] <= MEMORY
    assert taken["seconds"] <= SECONDS
    read = name.startswith("large-") or name in READ
    assert (taken["result"] == "read") == read, taken["result"]


@pytest.mark.parametrize(
    ("size", "options", "scale"),
    [
        ((300, 200), {}, 1),
        ((8000, 6000), {}, 1),
        ((8000, 6000), dict(exif=b"Exif\0\0" + EXIF), 2),  # a second image of it would be too much
        ((12_000, 8500), {}, 2),
        ((12_000, 8500), dict(progressive=True), 2),
    ],
)
def test_a_large_jpeg_is_read_at_the_largest_scale_that_fits(size, options, scale):
    image = decode(jpeg(*size, **options))
    expected = tuple(side // scale for side in size)
    assert image.size == (expected[::-1] if "exif" in options else expected)
    assert image.getpixel((0, 0)) == (77, 77, 77)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(7070, 7080), "7070 x 7080 pixels, more than 50,000,000"),
        (png(65_536, 1), "65536 x 1 pixels: no side may be longer than 65,535"),
        (
            hostile.resized(jpeg(8, 8), 12_700, 12_700),
            "12700 x 12700 pixels, more than 160,000,000",
        ),
        (
            webp(5000, 5000),
            "of mode RGB: to decode such a WEBP takes 463 million",
        ),
        (hostile.scanned(8, 1000, "L"), "8 x 8 pixels in 1,006 scans"),
        (hostile.scanned(4000, 75, "L"), "4000 x 4000 pixels in 81 scans"),
    ],
)
def test_what_would_take_too_much_is_refused_with_its_size(content, message):
    with pytest.raises(ImageError, match=message):
        decode(content)


@pytest.mark.parametrize("options", [{}, dict(progressive=True)])
def test_what_stands_behind_a_jpeg_counts_as_no_scans(options):
    content = jpeg(6000, 4000, **options)
    film = np.random.default_rng(0).bytes(9_000_000)
    assert film.count(containers.SCAN) > 100
    bare = containers.take_pixels(content + film, "JPEG")
    assert bare.scans == (6 if options else 1)
    assert bare.content.endswith(b"\xff\xd9")
    assert decode(content + film).size == (6000, 4000)


def test_a_png_that_is_cut_off_in_its_end_is_read():
    content = png(8, 8)
    for cut in range(1, 13):
        assert decode(content[:-cut]).size == (8, 8)


def test_the_tags_that_pillow_reads_are_counted():
    count = containers.MAX_NUMBERS + 1
    more = [(259, 3, 1, 1), (273, 4, 1, 200), (278, 4, 1, 8), (279, 4, 1, 64)]
    tags = grey_tiff(8, 8, *more, (60_000, 4, count, 300))
    entries = b"".join(
        struct.pack(">HHIHxx" if kind == 3 else ">HHII", tag, kind, *rest)
        for tag, kind, *rest in tags
    )
    # What begins so is no BigTIFF for Pillow, although it should be.
    content = b"MM\0+" + struct.pack(">IH", 8, len(tags)) + entries + bytes(4)
    with pytest.raises(ImageError, match="its tags have 200,001 numbers, more than 200,000"):
        decode(content.ljust(300, b"\0") + bytes(4 * count))


def test_a_jpeg_of_more_scans_than_usual_is_read():
    assert decode(hostile.scanned(4000, 60, "L")).size == (4000, 4000)


def test_a_small_bmp_in_runs_is_read():
    content = hostile.bmp_in_runs(4, 2, b"\x04\0\0\0\x04\0\0\1")
    assert decode(content).size == (4, 2)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_large_metadata_change_neither_pixels_nor_orientation(kind):
    image = hostile.picture()
    options = dict(lossless=True) if kind == "WEBP" else {}
    plain = np.asarray(decode(encode(image, kind, **options)))
    exif = Image.Exif()
    exif[containers.ORIENTATION] = 6
    profile = np.random.default_rng(0).bytes(300_000)
    content = encode(image, kind, exif=exif, icc_profile=profile, **options)
    assert len(content) > 300_000
    np.testing.assert_array_equal(np.asarray(decode(content)), np.rot90(plain, -1))


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'
PROFILE = "\nexif\n      34\n" + (b"Exif\0\0" + EXIF).hex()


def texts(**options):
    made = PngImagePlugin.PngInfo()
    for keyword, text in options.items():
        made.add_text(keyword.replace("_", " "), text, zip=keyword.startswith("Raw"))
    return made


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", dict(xmp=XMP.encode())),
        ("WEBP", dict(xmp=XMP.encode(), lossless=True)),
        ("PNG", dict(pnginfo=texts(**{"XML:com.adobe.xmp": XMP}))),
        ("PNG", dict(pnginfo=texts(Raw_profile_type_exif=PROFILE))),
        ("PNG", dict(pnginfo=texts(Raw_profile_type_exif=PROFILE, Other="a" * 100_000))),
    ],
)
def test_an_orientation_counts_wherever_programs_write_it(kind, options):
    image = hostile.picture()
    plain = {name: value for name, value in options.items() if name == "lossless"}
    expected = np.rot90(np.asarray(decode(encode(image, kind, **plain))), -1)
    content = encode(image, kind, **options)
    np.testing.assert_array_equal(np.asarray(decode(content)), expected)


@pytest.mark.parametrize("profile", ["", "\nexif\n1\nno hex", PROFILE[:-30], "a" * 10**6])
def test_a_broken_profile_of_text_says_nothing(profile):
    content = encode(hostile.picture(), "PNG", pnginfo=texts(Raw_profile_type_exif=profile))
    np.testing.assert_array_equal(np.asarray(decode(content)), np.asarray(hostile.picture()))


def test_exif_is_not_read_where_its_tags_are_larger_than_it_is():
    exif = hostile.exif_of_one_place()[: containers.MAX_EXIF - 10]
    with pytest.raises(containers.TooManyParts, match="more than the whole file"):
        containers.take_pixels(exif, "TIFF")
    assert containers.read_orientation(exif) == 0
    assert containers.read_orientation(EXIF) == 6
    assert containers.read_orientation(EXIF + bytes(containers.MAX_EXIF)) == 0


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (limits.MAX_TILES + 1, "in pieces that are too many, 65,537"),
        (containers.MAX_NUMBERS, "its tags have 400,000 numbers, more than 200,000"),
    ],
)
def test_a_tiff_in_too_many_pieces_is_refused(count, message):
    more = [(259, 3, 1, 1), (273, 4, count, 200), (278, 4, 1, 1), (279, 4, count, 200)]
    places = np.arange(count, dtype="<u4").tobytes()
    content = tiff(grey_tiff(8, 8, *more)).ljust(200, b"\0")
    with pytest.raises(ImageError, match=message):
        decode(content + places + places)


def test_a_file_that_is_too_long_is_refused_whoever_read_it():
    with pytest.raises(ImageError, match="larger than 67,108,864 bytes"):
        decode(bytes(limits.MAX_FILE + 1))
