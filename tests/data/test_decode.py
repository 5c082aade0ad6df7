import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from senet.data.containers import ORIENTATION
from senet.data.decode import ImageError, decode
from senet.data.limits import MAX_PIXELS


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


COLOURS = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype="uint8")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_colours_come_back_unchanged_from_lossless_files(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    image = decode(encoded(Image.fromarray(COLOURS), kind, **options))
    np.testing.assert_array_equal(np.asarray(image), COLOURS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_camera_is_applied(orientation):
    upright = np.zeros((16, 8, 3), "uint8")
    upright[:8, :4] = 255  # white in the top left corner only
    inverse = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(inverse(upright)))
    result = decode(encoded(stored, "PNG", exif=exif))
    np.testing.assert_array_equal(np.asarray(result), upright)


def test_grey_16_bit_keeps_its_brightness():
    grey = np.array([[0, 257, 32896, 65535]], "uint16")
    image = decode(encoded(Image.fromarray(grey)))
    np.testing.assert_array_equal(np.asarray(image)[0, :, 1], [0, 1, 128, 255])


def test_transparent_pixels_are_laid_on_white():
    pixels = np.array([[[200, 0, 0, 255], [200, 0, 0, 0]]], "uint8")
    result = np.asarray(decode(encoded(Image.fromarray(pixels))))
    np.testing.assert_array_equal(result, [[[200, 0, 0], [255, 255, 255]]])


def test_palette_with_a_transparent_colour_is_laid_on_white():
    image = Image.fromarray(np.array([[0, 1]], "uint8"), "L").convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    result = np.asarray(decode(encoded(image, transparency=1)))
    assert result[0, 1].tolist() == [255, 255, 255]


def test_the_orientation_in_a_jpeg_is_applied():
    upright = Image.new("RGB", (32, 16), "black")
    upright.paste("white", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned left, to be turned right
    result = decode(encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif))
    assert result.size == (32, 16)
    assert abs(np.asarray(result, "int") - np.asarray(upright)).max() < 10


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "CMYK", "RGBA"])
def test_every_mode_becomes_rgb(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    image = decode(encoded(Image.fromarray(COLOURS).convert(mode), kind))
    assert (image.mode, image.size) == ("RGB", (4, 6))


def test_grey_keeps_its_values_in_every_channel():
    grey = np.array([[0, 7, 128, 255]], "uint8")
    result = np.asarray(decode(encoded(Image.fromarray(grey))))
    np.testing.assert_array_equal(result, np.repeat(grey[..., None], 3, axis=2))


def test_one_bit_is_black_and_white():
    image = Image.fromarray(np.array([[0, 255, 255, 0]], "uint8")).convert("1")
    for kind in ("PNG", "TIFF", "BMP"):
        assert np.asarray(decode(encoded(image, kind)))[0, :, 2].tolist() == [0, 255, 255, 0]


def test_grey_with_alpha_is_laid_on_white():
    pixels = np.array([[[100, 255], [100, 0], [0, 51]]], "uint8")
    result = np.asarray(decode(encoded(Image.fromarray(pixels, "LA"))))
    np.testing.assert_array_equal(result[0, :, 0], [100, 255, 204])


def test_half_transparent_pixels_are_mixed_with_white():
    pixels = np.array([[[255, 0, 0, 51], [0, 0, 0, 204]]], "uint8")
    result = np.asarray(decode(encoded(Image.fromarray(pixels))))
    np.testing.assert_array_equal(result, [[[255, 204, 204], [51, 51, 51]]])


def test_a_palette_gives_its_colours():
    image = Image.fromarray(np.array([[0, 1, 1]], "uint8"), "L").convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    for kind in ("PNG", "GIF", "TIFF", "BMP"):
        result = np.asarray(decode(encoded(image, kind)))
        np.testing.assert_array_equal(result, [[[10, 20, 30], [40, 50, 60], [40, 50, 60]]])


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_becomes_the_colours_it_prints(kind):
    inks = {(0, 0, 0, 0): (255, 255, 255), (255, 0, 0, 0): (0, 255, 255), (0, 0, 0, 255): (0, 0, 0)}
    for ink, colour in inks.items():
        result = np.asarray(decode(encoded(Image.new("CMYK", (16, 16), ink), kind)), "int")
        assert abs(result - colour).max() < 4


def tiff(pixels, bits, kind=1, photometric=1, compression=1, order="<"):
    """A TIFF of pixels `(H, W)` or `(H, W, C)`, which NumPy has in the given order."""
    height, width, bands = (*pixels.shape, 1)[:3]
    content = pixels.tobytes()
    words = b"".join(struct.pack(f"{order}H", value) for value in [bits] * bands + [kind] * bands)
    start = 8 + len(content)
    where = (start, start + 2 * bands) if bands > 2 else (bits, kind)
    tags = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, bands, where[0])),
        *((259, 3, 1, compression), (262, 3, 1, photometric), (273, 4, 1, 8), (277, 3, 1, bands)),
        *((278, 4, 1, height), (279, 4, 1, len(content)), (339, 3, bands, where[1])),
    ]
    made = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start + len(words))
    made += content + words + struct.pack(f"{order}H", len(tags))
    for tag, size, count, value in tags:
        short = size == 3 and count == 1
        field = struct.pack(
            f"{order}HH" if short else f"{order}I", *((value, 0) if short else (value,))
        )
        made += struct.pack(f"{order}HHI", tag, size, count) + field
    return made + bytes(4)


def greys(content):
    """The grey values of an image of one row."""
    pixels = np.asarray(decode(content))
    assert (pixels == pixels[..., :1]).all()
    return pixels[0, :, 0].tolist()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("values", "kind", "bits", "sample", "expected"),
    [
        ([2570, 65535], "u2", 16, 1, [10, 255]),  # 16 of 16 bits
        ([0, 819, 4095], "u2", 16, 1, [0, 51, 255]),  # 12 of 16 bits
        ([0, 7, 255], "u2", 16, 1, [0, 7, 255]),  # 8 of 16 bits
        ([0, 32767], "i2", 16, 2, [0, 255]),
        ([0, 16383], "u2", 16, 1, [0, 64]),
        ([0, 1, 255], "i4", 32, 2, [0, 1, 255]),
        ([0, 13107, 65535], "u4", 32, 1, [0, 51, 255]),
        ([0, 127], "i1", 8, 2, [0, 127]),
        ([0, 0.2, 1], "f4", 32, 3, [0, 51, 255]),
        ([-0.05, 0.2, 1.05], "f4", 32, 3, [0, 51, 255]),
        ([0, 51, 255], "f4", 32, 3, [0, 51, 255]),
        ([0, 0.1, 0.3], "f4", 32, 3, [0, 26, 76]),
        ([0, 0], "f4", 32, 3, [0, 0]),
        ([0, 0], "i4", 32, 2, [0, 0]),
    ],
)
def test_grey_of_more_than_8_bits_is_scaled_as_the_docstring_says(
    order, values, kind, bits, sample, expected
):
    content = tiff(np.array([values], order + kind), bits, sample, order=order)
    if (order, kind) == (">", "u4"):
        with pytest.raises(ImageError, match="TIFF of 32-bit whole numbers, which is not read"):
            decode(content)
        return
    assert greys(content) == expected


@pytest.mark.parametrize(
    ("values", "kind", "bits", "sample", "message"),
    [
        ([0, np.nan], "f4", 32, 3, "no rule says what is black and white"),
        ([0, np.inf], "f4", 32, 3, "from 0 to inf"),
        ([-np.inf, 0], "f4", 32, 3, "from -inf to 0"),
        ([-3e38, 3e38], "f4", 32, 3, "no rule"),
        ([-1, 1], "f4", 32, 3, "from -1 to 1"),
        ([0, 3], "f4", 32, 3, "largest number is 3"),
        ([0, 1e6], "f4", 32, 3, r"from 0 to 1e\+06"),
        ([-1000, 1000], "i2", 16, 2, "from -1000 to 1000"),
        ([-128, 127], "i1", 8, 2, "from -128 to 127"),
        ([0, 2**32 - 1], "u4", 32, 1, r"from 0 to 4.29497e\+09"),
        ([0, 1], "u2", 16, 1, "it would be black"),
    ],
)
def test_numbers_that_no_rule_scales_are_refused(values, kind, bits, sample, message):
    with pytest.raises(ImageError, match=message):
        decode(tiff(np.array([values], kind), bits, sample))


@pytest.mark.parametrize(("kind", "bits", "sample"), [("u2", 16, 1), ("u1", 8, 1), ("f4", 32, 3)])
def test_where_zero_is_white_it_stays_so(kind, bits, sample):
    values = np.array([[0, 255]], kind)
    assert greys(tiff(values, bits, sample, photometric=0)) == [255, 0]


@pytest.mark.parametrize("bands", [3, 4])
def test_colours_of_16_bits_keep_their_brightness_or_are_refused(bands):
    bright = np.zeros((1, 2, bands), "<u2")
    bright[0, 1] = bright[..., 3:] = 65535
    pixels = np.asarray(decode(tiff(bright, 16, photometric=2)))[0]
    assert pixels[1].tolist() == [255, 255, 255]
    bright[..., :3] //= 16
    with pytest.raises(ImageError, match="TIFF with 16 bits for each colour of which at most 12"):
        decode(tiff(bright, 16, photometric=2))


@pytest.mark.parametrize(("colours", "values"), [(2, (0, 9000, 65535)), (4, (40000, 65535))])
def test_png_of_16_bit_colours_is_the_same(colours, values):
    def made(values):
        header = struct.pack(">IIBBBBB", 1, 1, 16, colours, 0, 0, 0)
        row = zlib.compress(b"\0" + struct.pack(f">{len(values)}H", *values))
        return png(chunk(b"IHDR", header), chunk(b"IDAT", row))

    pixel = np.asarray(decode(made(values)))[0, 0]
    assert pixel.tolist() == ([0, 35, 255] if colours == 2 else [156] * 3)
    dark = [value // 16 for value in values]
    with pytest.raises(ImageError, match="PNG with 16 bits for each colour"):
        decode(made(dark if colours == 2 else [dark[0], 65535]))


def chunk(kind, data, right=True):
    return (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data) ^ (0 if right else 1))
    )


def png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def with_chunk(content, made, *, behind=False):
    """A PNG with one more chunk, before or behind its pixels."""
    end = len(content) - 12 if behind else 33
    return content[:end] + made + content[end:]


BOMB = b"Comment\0\0" + zlib.compress(bytes(2_000_000))
EXIF = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, ORIENTATION, 3, 1, 6, 0, 0)


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    "made",
    [
        chunk(b"tEXt", b"Comment\0hello", right=False),
        chunk(b"zTXt", BOMB),
        chunk(b"zTXt", b"Comment\0\0no deflate"),
        chunk(b"iTXt", b"Comment"),
        chunk(b"iCCP", b"profile\0\0" + b"no deflate"),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"no profile")),
        chunk(b"pHYs", b"\0"),
        chunk(b"eXIf", b"nothing"),
        chunk(b"eXIf", b""),
        chunk(b"gAMA", b""),
        chunk(b"acTL", b""),
    ],
)
def test_pixels_of_png_are_used_whatever_stands_beside_them(made, behind):
    content = with_chunk(encoded(Image.fromarray(COLOURS)), made, behind=behind)
    np.testing.assert_array_equal(np.asarray(decode(content)), COLOURS)


def test_an_orientation_with_a_wrong_checksum_does_not_count():
    content = with_chunk(encoded(Image.fromarray(COLOURS)), chunk(b"eXIf", EXIF, right=False))
    np.testing.assert_array_equal(np.asarray(decode(content)), COLOURS)


def test_orientation_counts_beside_broken_text():
    content = with_chunk(encoded(Image.fromarray(COLOURS)), chunk(b"eXIf", EXIF))
    content = with_chunk(content, chunk(b"tEXt", b"Comment\0hello", right=False))
    np.testing.assert_array_equal(np.asarray(decode(content)), np.rot90(COLOURS, -1))


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def exif_of(*fields):
    """EXIF of fields of tag, type, count and four bytes."""
    made = b"MM\0*" + struct.pack(">IH", 8, len(fields))
    for tag, kind, count, value in fields:
        made += struct.pack(">HHI", tag, kind, count) + value
    return b"Exif\0\0" + made + bytes(4)


UPRIGHT = (ORIENTATION, 3, 1, b"\0\x06\0\0")


@pytest.mark.parametrize(
    ("made", "turned"),
    [
        (segment(0xE1, exif_of(UPRIGHT, (0x0128, 2, 2, b"no\0\0"))), True),  # text for a number
        (segment(0xE1, exif_of((0x010F, 2, 99999, b"\xff\xff\xff\xff"), UPRIGHT)), True),
        (segment(0xE1, exif_of((0x8769, 4, 1, b"\xff\xff\xff\xff"), UPRIGHT)), True),
        (segment(0xE1, exif_of((ORIENTATION, 2, 4, b"six\0"))), False),
        (segment(0xE1, exif_of((ORIENTATION, 3, 1, b"\0\x63\0\0"))), False),
        (segment(0xE1, b"Exif\0\0nothing"), False),
        (segment(0xE1, b"Exif\0\0"), False),
        (segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta"), False),
        (segment(0xE2, b"ICC_PROFILE\0\x07\x01nothing"), False),
        (segment(0xE2, b"MPF\0nothing at all"), False),
        (segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\xff\xff\xff\xff"), False),
        (segment(0xEE, b"Ado"), False),
        (segment(0xFE, b"\xff\xfe\0"), False),
    ],
)
def test_pixels_of_jpeg_are_used_whatever_stands_beside_them(made, turned):
    plain = encoded(Image.fromarray(np.tile(COLOURS, (4, 8, 1))), "JPEG")
    expected = np.asarray(decode(plain))
    result = np.asarray(decode(plain[:2] + made + plain[2:]))
    np.testing.assert_array_equal(result, np.rot90(expected, -1) if turned else expected)


def with_tag(content, *entry):
    """A TIFF with one more tag at its end."""
    content = bytearray(content)
    entries = content.rindex(struct.pack("<HHI", 256, 4, 1))
    count = struct.unpack_from("<H", content, entries - 2)[0]
    struct.pack_into("<H", content, entries - 2, count + 1)
    return bytes(content[:-4] + struct.pack("<HHIi", *entry) + content[-4:])


@pytest.mark.parametrize(
    "entry",
    [
        (0x8769, 4, 1, -(2**31)),  # EXIF far behind the end
        (0x8769, 9, 1, -1),
        (700, 2, 4, 0x41414141),  # XMP that is no bytes
        (34675, 7, 4, 7),  # a profile
    ],
)
def test_what_stands_beside_the_pixels_of_a_tiff_may_be_broken(entry):
    content = with_tag(tiff(COLOURS, 8, photometric=2), *entry)
    np.testing.assert_array_equal(np.asarray(decode(content)), COLOURS)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_damaged_pixels_of_a_compressed_tiff_are_damage_beside_broken_tags_too(compression):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype="uint8")
    content = bytearray(encoded(Image.fromarray(noise), "TIFF", compression=compression))
    np.testing.assert_array_equal(np.asarray(decode(bytes(content))), noise)
    content[1000:60000] = b"\xff" * 59000
    with pytest.raises(ImageError, match=r"^TIFF, damaged"):
        decode(bytes(content))


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("values", [COLOURS, COLOURS[..., 0], COLOURS[..., 0] / np.float32(255)])
def test_the_orientation_in_a_tiff_is_applied_once_whatever_its_numbers(values, compression):
    options = dict(compression=compression) if compression else {}
    made = Image.fromarray(np.ascontiguousarray(values))
    content = encoded(made, "TIFF", tiffinfo={ORIENTATION: 6}, **options)
    expected = np.rot90(np.asarray(decode(encoded(made, "TIFF"))), -1)
    np.testing.assert_array_equal(np.asarray(decode(content)), expected)


def test_lab_colours_become_rgb():
    content = encoded(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF")
    assert np.asarray(decode(content)).min() > 250


def test_black_of_16_bits_on_a_transparent_ground_is_a_picture():
    for colours, pixels in ((4, [(0, 65535), (0, 0)]), (6, [(0, 0, 0, 65535), (0, 0, 0, 0)])):
        header = struct.pack(">IIBBBBB", 2, 1, 16, colours, 0, 0, 0)
        row = b"\0" + b"".join(struct.pack(f">{len(p)}H", *p) for p in pixels)
        content = png(chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row)))
        assert np.asarray(decode(content))[0, :, 0].tolist() == [0, 255]


def test_no_ink_of_16_bits_is_white():
    content = tiff(np.zeros((1, 2, 4), "u2"), 16, photometric=5)
    assert np.asarray(decode(content)).min() == 255


TURNED = segment(0xE1, exif_of(UPRIGHT))


@pytest.mark.parametrize(
    "made",
    [
        segment(0xE0, b"JFIF\0\1"),
        segment(0xE2, b"ICC_PROFILE\0\2"),
        segment(0xED, b"Photoshop 3.0\x008BIM\2\0"),
        segment(0xEE, b"Adobe#"),
    ],
)
def test_orientation_counts_beside_segments_that_keep_pillow_from_opening_a_jpeg(made):
    plain = encoded(Image.fromarray(np.tile(COLOURS, (4, 8, 1))), "JPEG")
    content = plain[:2] + made + TURNED + plain[2:]
    with pytest.raises(Image.UnidentifiedImageError):
        Image.open(io.BytesIO(content))
    expected = np.rot90(np.asarray(decode(plain)), -1)
    np.testing.assert_array_equal(np.asarray(decode(content)), expected)


def test_colours_of_a_jpeg_stay_what_adobe_says_beside_broken_segments():
    inks = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    content = encoded(inks, "JPEG")
    assert b"Adobe" in content
    broken = content[:2] + segment(0xE2, b"ICC_PROFILE\0\2") + content[2:]
    np.testing.assert_array_equal(np.asarray(decode(broken)), np.asarray(decode(content)))


def test_what_stands_behind_the_end_of_a_png_decides_nothing():
    broken = chunk(b"tEXt", b"Comment\0hello", right=False)
    content = with_chunk(encoded(Image.fromarray(COLOURS)), broken) + b"\n"
    np.testing.assert_array_equal(np.asarray(decode(content)), COLOURS)


def test_an_image_that_pillow_itself_finds_too_large_is_called_that():
    header = struct.pack(">IIBBBBB", 20000, 10000, 8, 2, 0, 0, 0)
    with pytest.raises(ImageError, match="more than 178,956,970 pixels"):
        decode(png(chunk(b"IHDR", header), chunk(b"IDAT", b"")))


def test_pixels_of_png_that_are_not_as_they_were_are_damage():
    content = bytearray(encoded(Image.fromarray(COLOURS)))
    content[content.index(b"IDAT") + 10] ^= 0xFF
    with pytest.raises(ImageError, match=r"^PNG, damaged: "):
        decode(bytes(content))


HEIC = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEIC, "HEIC: save it as JPEG."),
        (HEIC.replace(b"heic", b"avif"), "AVIF: save it as JPEG."),
        (HEIC.replace(b"mif1", b"heix"), "HEIC: save it as JPEG."),
        (HEIC.replace(b"mif1", b"isom").replace(b"heic", b"mp41"), "A video"),
        (b"\xff\x0a\0\0", "JPEG XL"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (b"P6\n2 2\n255\n", "PNM"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"PK\x03\x04abc", "A zip file: unpack it."),
        (b"", "The file is empty: copy it again."),
        (bytes(5000), "Nothing but zeros: copy it again."),
        (b"\n<!DOCTYPE html><html>", "A page of HTML"),
        (b"<?xml version='1.0'?><svg xmlns=''>", "SVG"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "XML, as a server"),
        (b"version https://git-lfs.github.com/spec/v1", "A pointer of Git LFS: git lfs pull"),
        (b"BM is a text", "Not a JPEG, PNG"),
        (tiff(np.zeros((1, 2), "f8"), 64, 3), "TIFF of 64-bit floats, which is not read"),
        (tiff(np.zeros((1, 2), "u8"), 64, 1), "TIFF of 64-bit whole numbers"),
        (tiff(np.zeros((1, 2, 3), "f4"), 32, 3, 2), "TIFF of 3 bands of 32-bit floats"),
        (tiff(np.zeros((1, 2), "f2"), 16, 3), "TIFF of 16-bit floats"),
        (tiff(np.zeros((1, 2), "c8"), 64, 6), "TIFF of 64-bit complex numbers"),
        (
            tiff(np.zeros((1, 2), "u1"), 8, compression=34712),
            r"TIFF compressed in a way that is not read \(34712\)",
        ),
        (tiff(np.zeros((1, 2), "u2"), 16, 4), "TIFF of 16-bit numbers of an unknown kind"),
        (b"P2 is a text", "Not a JPEG, PNG"),
        (b"II*\0\xff\xff\xff\xff", "TIFF, damaged"),
        (b"\x89PNG\r\n\x1a\n", "PNG, damaged: its header cannot be read."),
        (b"\xff\xd8\xff\xe0\0", "JPEG, damaged"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WEBP, damaged"),
        (b"GIF89a", "GIF, damaged"),
        (b"BM" + bytes(12) + b"\x28\0\0\0", "BMP, damaged"),
    ],
)
def test_a_file_that_is_not_read_is_called_what_it_is(content, message):
    with pytest.raises(ImageError, match=f"^{message}") as error:
        decode(content)
    assert "object at" not in str(error.value)
    assert "\n" not in str(error.value)


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        stream = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert decode(stream).getpixel((0, 0)) == (255, 0, 0)


def test_text_is_refused():
    with pytest.raises(ImageError, match="Not a JPEG, PNG"):
        decode(b"this is not an image")


def test_a_truncated_image_is_refused():
    with pytest.raises(ImageError, match="damaged"):
        decode(encoded(Image.fromarray(np.tile(COLOURS, (20, 20, 1))), "JPEG")[:400])


def test_a_picture_larger_than_the_limit_is_refused_before_it_is_decoded():
    side = int(MAX_PIXELS**0.5) + 1
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = png(chunk(b"IHDR", header), chunk(b"IDAT", b""))
    with pytest.raises(ImageError, match=f"{side} x {side} pixels"):
        decode(bomb)
