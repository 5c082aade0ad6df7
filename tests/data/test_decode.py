import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from senet.data.decode import MAX_PIXELS, ImageError, decode


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


def test_grey_16_bit_of_tiff_keeps_its_brightness_in_both_byte_orders():
    for mark, order in ((b"II", "<"), (b"MM", ">")):
        tags = [(256, 3, 2), (257, 3, 1), (258, 3, 16), (262, 3, 1), (273, 4, 8), (279, 4, 4)]
        pixels = struct.pack(f"{order}2H", 257 * 10, 65535)
        content = mark + struct.pack(f"{order}HI", 42, 12) + pixels
        content += struct.pack(f"{order}H", len(tags))
        for tag, kind, value in tags:
            field = struct.pack(f"{order}HH" if kind == 3 else f"{order}I", *[value, 0][: 5 - kind])
            content += struct.pack(f"{order}HHI", tag, kind, 1) + field
        assert np.asarray(decode(content + bytes(4)))[0, :, 0].tolist() == [10, 255]


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
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    side = int(MAX_PIXELS**0.5) + 1
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match=f"{side} x {side} pixels"):
        decode(bomb)
