"""Image files made to take the machine, to mislead, or damaged at random."""

import io
import itertools
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

ENCODINGS = {
    "baseline.jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", dict(progressive=True)),
    "plain.png": ("PNG", {}),
    "lossy.webp": ("WEBP", {}),
    "lossless.webp": ("WEBP", dict(lossless=True)),
    "palette.gif": ("GIF", {}),
    "plain.bmp": ("BMP", {}),
    "packed.tif": ("TIFF", dict(compression="tiff_lzw")),
}
"""The files that are changed at random: name, format of Pillow, options."""


def picture(side: int = 48, seed: int = 0) -> Image.Image:
    """Smooth colours, as a photograph has them."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 6, 3), dtype="uint8")
    return Image.fromarray(small).resize((side, side), Image.Resampling.BILINEAR)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file of an image."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def mutants(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Files of eight encodings with bytes changed, left out, doubled or cut off, `count` in all."""
    rng = np.random.default_rng(seed)
    whole = {
        name: encode(picture(), kind, **options) for name, (kind, options) in ENCODINGS.items()
    }
    for number, (name, content) in enumerate(itertools.cycle(whole.items())):
        if number == count:
            return
        made = bytearray(content)
        for _ in range(rng.integers(1, 5)):
            # Half of the changes are in the header, where they do more.
            end = len(made) if rng.random() < 0.5 else min(len(made), 100)
            at = int(rng.integers(end))
            match rng.integers(6):
                case 0:
                    made[at] = rng.integers(256)
                case 1:
                    made[at] ^= 1 << int(rng.integers(8))
                case 2:
                    made[at : at + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
                case 3:
                    del made[at : at + int(rng.integers(1, 9))]
                case 4:
                    made[at:at] = made[at : at + int(rng.integers(1, 60))]
                case _:
                    del made[max(at, 20) :]
        yield f"mutant-{number:05d}-{name}", bytes(made)


# Bombs


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of PNG."""
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def png(width: int, height: int, *between: bytes, depth: int = 8, colours: int = 2) -> bytes:
    """A PNG of zeros; `between` are chunks before its pixels."""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    size = height * (1 + -(-width * bits // 8))
    packer = zlib.compressobj(9)
    step = 2**22
    pixels = b"".join(packer.compress(bytes(min(step, size - at))) for at in range(0, size, step))
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    palette = [chunk(b"PLTE", bytes(3))] if colours == 3 else []
    parts = (*palette, *between, chunk(b"IDAT", pixels + packer.flush()), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(parts)


def webp(width: int, height: int) -> bytes:
    """A lossless WebP of one colour: 34 bytes for any size."""
    content = bytearray(encode(Image.new("RGB", (1, 1), (9, 8, 7)), "WEBP", lossless=True))
    at = content.index(b"VP8L") + 9
    (bits,) = struct.unpack_from("<I", content, at)
    struct.pack_into("<I", content, at, bits | (width - 1) | (height - 1) << 14)
    return bytes(content)


def resized(content: bytes, width: int, height: int) -> bytes:
    """A JPEG that says it has another size."""
    at = re.search(rb"\xff[\xc0-\xc2]\0", content).end() + 2
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def segment(marker: int, data: bytes) -> bytes:
    """A segment of JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def behind_start(content: bytes, made: bytes) -> bytes:
    """A JPEG with more segments at its beginning."""
    return content[:2] + made + content[2:]


def tiff(
    entries: list[tuple[int, int, int, int]], behind: bytes = b"", *, big: bool = False
) -> bytes:
    """A TIFF of tags (number, type, count, value or place), and what they lead to."""
    if big:
        head = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(entries))
        return head + b"".join(struct.pack("<HHQQ", *entry) for entry in entries) + behind
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4) + behind


def grey_tiff(width: int, height: int, *more: tuple[int, int, int, int]) -> list:
    """The tags of a grey image of 8 bits, without those of its pixels."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    return sorted([*tags, *more])


def tiff_of_pieces() -> bytes:
    """Two million pieces, each an object in memory."""
    count = 2_000_000
    entries = grey_tiff(
        8, count, (259, 3, 1, 1), (273, 4, count, 200), (278, 4, 1, 1), (279, 4, count, 200)
    )
    return tiff(entries).ljust(200, b"\0") + bytes(4 * count)


def tiff_drawn_again() -> bytes:
    """Pieces that cover 40 million pixels 30,000 times."""
    count = 60_000
    entries = grey_tiff(
        40_000, 1001, (259, 3, 1, 1), (273, 4, count, 200), (278, 4, 1, 1000), (279, 4, count, 200)
    )
    places = b"".join(struct.pack("<I", 200 + number % 7) for number in range(count))
    return tiff(entries).ljust(200, b"\0") + places + bytes(40_000_000)


def tiff_of_a_large_tile() -> bytes:
    """Four pixels in a tile of 1.6 billion bytes."""
    packed = zlib.compress(bytes(10_000))
    entries = grey_tiff(
        *(2, 2, (259, 3, 1, 8), (322, 4, 1, 40_000), (323, 4, 1, 40_000)),
        *((324, 4, 1, 200), (325, 4, 1, len(packed))),
    )
    return tiff(entries).ljust(200, b"\0") + packed


def tiff_of_fractions() -> bytes:
    """Two million fractions for the resolution, each an object in memory."""
    count = 2_000_000
    entries = grey_tiff(
        8, 8, (259, 3, 1, 1), (273, 4, 1, 200), (279, 4, 1, 64), (282, 5, count, 264)
    )
    return tiff(entries).ljust(264, b"\0") + b"\x01\0\0\0" * 2 * count


def exif_of_one_place() -> bytes:
    """EXIF of 5,000 tags that all are the same 200,000 bytes."""
    count = 5_000
    header = b"MM\0*" + struct.pack(">IH", 8, count)
    entries = (struct.pack(">HHII", 40_000 + i, 7, 200_000, 60_020) for i in range(count))
    return header + b"".join(entries) + bytes(200_100)


def bmp_in_runs(width: int, height: int, runs: bytes) -> bytes:
    """A BMP of 8 bits packed in runs."""
    colours = bytes(1024)
    start = 14 + 40 + len(colours)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start) + header + colours + runs


def webp_in_parts() -> bytes:
    """A WebP with four million parts of which nobody knows what they are."""
    content = encode(picture(), "WEBP", exif=b"Exif\0\0MM\0*")
    body = content[12:] + b"none\0\0\0\0" * 4_000_000
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def gif_with(made: bytes) -> bytes:
    """A GIF with blocks before its first image."""
    content = encode(picture(), "GIF")
    at = 13 + (3 << (content[10] & 7) + 1)
    return content[:at] + made + content[at:]


def animation() -> bytes:
    """A WebP of a thousand frames of two million pixels."""
    frame = webp(1400, 1400)[12:]
    canvas = struct.pack("<I", 0x12)[:4] + (1399).to_bytes(3, "little") * 2
    head = b"VP8X" + struct.pack("<I", 10) + canvas + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    place = bytes(6) + (1399).to_bytes(3, "little") * 2 + bytes(4)
    moved = b"ANMF" + struct.pack("<I", len(place) + len(frame)) + place + frame
    body = head + moved * 1000
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


PROFILE_OF_LINES = b"Raw profile type exif\0\0" + zlib.compress(b"\n" * 190_000, 9)
BOMBS: dict[str, Callable[[], bytes]] = {
    "flat.webp": lambda: webp(7000, 7000),
    "animation.webp": animation,
    "parts.webp": webp_in_parts,
    "deep.png": lambda: png(7000, 7000, depth=16, colours=0),
    "deep-colours.png": lambda: png(7000, 7000, depth=16, colours=6),
    "narrow.png": lambda: png(1, 50_000_000, depth=1, colours=0),
    "transparent.png": lambda: png(7000, 7000, chunk(b"tRNS", b"\0"), colours=3),
    "text.png": lambda: png(
        8, 8, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6), 9))] * 400
    ),
    "parts.png": lambda: png(8, 8, *[chunk(b"IDAT", b"")] * 1_000_000),
    "sides.jpg": lambda: resized(encode(picture(), "JPEG"), 65_500, 65_500),
    "fill.jpg": lambda: b"\xff\xd8" + b"\xff" * 30_000_000 + b"\0",
    "profiles.png": lambda: png(8, 8, *[chunk(b"zTXt", PROFILE_OF_LINES)] * 90_000),
    "comments.jpg": lambda: behind_start(encode(picture(), "JPEG"), segment(0xFE, b"") * 4_000_000),
    "exif.jpg": lambda: behind_start(
        encode(picture(), "JPEG"),
        b"".join(
            segment(0xE1, b"Exif\0\0" + exif_of_one_place()[at : at + 60_000])
            for at in range(0, 260_000, 60_000)
        ),
    ),
    "long-exif.jpg": lambda: behind_start(
        encode(picture(), "JPEG"), segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 900
    ),
    "comments.gif": lambda: gif_with(b"!\xfe" + b"\x01a" * 15_000_000 + b"\0"),
    "between.gif": lambda: gif_with(b"a" * 30_000_000),
    "screen.gif": lambda: gif_with(b"")[:6] + b"\xff" * 4 + gif_with(b"")[10:],
    "runs.bmp": lambda: bmp_in_runs(7000, 7000, b"\xff\0" * 200_000),
    "lines.bmp": lambda: bmp_in_runs(60_000, 800, b"\x01\0\0\0" * 800),
    "pieces.tif": tiff_of_pieces,
    "again.tif": tiff_drawn_again,
    "tile.tif": tiff_of_a_large_tile,
    "fractions.tif": tiff_of_fractions,
    "tags.tif": lambda: tiff([(i % 9, 99, 1, 0) for i in range(3_000_000)], big=True),
}
"""Files that would take much more memory or time than images of their length do."""


def scanned(side: int, more: int, mode: str = "RGB") -> bytes:
    """A progressive JPEG of one colour with its last scan many times over."""
    content = encode(Image.new(mode, (side, side), "grey"), "JPEG", progressive=True)
    *_, last = re.split(b"(?=\xff\xda)", content[:-2])
    return content[:-2] + last * more + content[-2:]


def refined(side: int, more: int, quality: int) -> bytes:
    """A progressive JPEG of noise, whose numbers are made finer again and again."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side), dtype="uint8")
    content = encode(Image.fromarray(noise), "JPEG", progressive=True, quality=quality)
    *_, last = re.split(b"(?=\xff\xda)", content[:-2])
    return content[:-2] + last * more + content[-2:]


SCAN_BOMBS: dict[str, Callable[[], bytes]] = {
    "scans-1000.jpg": lambda: scanned(4000, 1000),
    "scans-5000.jpg": lambda: scanned(4000, 5000),
    "scans-grey.jpg": lambda: scanned(7000, 300, "L"),
    "scans-noise.jpg": lambda: refined(2000, 90, 30),
    "scans-small.jpg": lambda: scanned(16, 1_000_000),
}
"""JPEGs whose pixels are gone over again and again."""


EXIF = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
"""Says that an image is to be turned to the right."""


def jpeg(width: int, height: int, **options: object) -> bytes:
    """A grey JPEG of one brightness."""
    return encode(Image.new("L", (width, height), 77), "JPEG", **options)


def floats(width: int, height: int, rows: int = 100) -> bytes:
    """A TIFF of floats, some rows together."""
    strips = [
        zlib.compress(bytes(4 * width * min(rows, height - top)), 9)
        for top in range(0, height, rows)
    ]
    count = len(strips)
    sizes = list(map(len, strips))
    places = np.cumsum([400 + 8 * count, *sizes])[:-1].tolist()
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 32), (259, 3, 1, 8)]
    tags += [(262, 3, 1, 1), (273, 4, count, 400), (277, 3, 1, 1), (278, 4, 1, rows)]
    tags += [(279, 4, count, 400 + 4 * count), (339, 3, 1, 3)]
    lists = struct.pack(f"<{2 * count}I", *places, *sizes)
    return tiff(tags).ljust(400, b"\0") + lists + b"".join(strips)


LARGEST = {
    "grey.png": lambda: png(7070, 7070, depth=16, colours=0),
    "turned.png": lambda: png(7000, 5800, chunk(b"eXIf", EXIF)),
    "transparent.png": lambda: png(6300, 6300, depth=8, colours=6),
    "flat.webp": lambda: webp(4190, 4190),
    "floats.tif": lambda: floats(7000, 5700),
    "photograph.jpg": lambda: jpeg(16_000, 10_000),
    "turned.jpg": lambda: jpeg(12_000, 8333, exif=b"Exif\0\0" + EXIF),
    "refined.jpg": lambda: refined(2000, 30, 30),
    "scanned.jpg": lambda: scanned(4000, 64),
    "film-behind.jpg": lambda: jpeg(8000, 6000) + np.random.default_rng(0).bytes(30_000_000),
    "progressive.jpg": lambda: jpeg(12_000, 8333, progressive=True),
    "runs.bmp": lambda: bmp_in_runs(2805, 2800, (b"\xff\7" * 11 + b"\0\0") * 2800),
}
"""Images as large as are read."""


# Files that are two things at once


def zipped() -> bytes:
    """A zip file with a text in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", "nothing")
    return stream.getvalue()


HOSTS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "WEBP": ".webp",
}
KINDS = {suffix: kind for kind, suffix in HOSTS.items()}
PAGE = b"<!doctype html><script>alert(1)</script>"


def polyglots() -> dict[str, bytes]:
    """Images that are something else as well, or say they are another kind of image: 20 of them."""
    made = {}
    behind = {"zip": zipped(), "pdf": b"%PDF-1.4\n%%EOF\n", "html": PAGE}
    for (kind, suffix), (what, added) in itertools.product(HOSTS.items(), behind.items()):
        made[f"{kind.lower()}-and-{what}{suffix}"] = encode(picture(), kind) + added
    made["page-in-gif.gif"] = gif_with(b"!\xfe" + bytes([len(PAGE)]) + PAGE + b"\0")
    made["jpeg-named-png.png"] = behind_start(encode(picture(), "JPEG"), segment(0xFE, PAGE))
    return made
