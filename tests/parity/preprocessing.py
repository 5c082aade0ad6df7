"""What timm's evaluation transform makes of images: tests/golden/preprocessing.npz.

python tests/parity/preprocessing.py tests/golden/preprocessing.npz [PHOTOS.zip]

In an environment with torch and timm. For every way in which the catalogue prepares images and for
synthetic images of odd shapes it writes pixels of timm's tensor, for tests without torch. With
photographs it also compares the whole tensors and prints the greatest difference in grey levels.
"""

import io
import pathlib
import sys
import zipfile

import numpy as np
from PIL import Image
from timm.data import create_transform

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from senet.data.preprocessing import Preprocessing
from senet.weights import catalogue
from tests.weights import generated


def transform(way):
    """timm's evaluation transform for one way of the catalogue."""
    size, crop_fraction, interpolation = way
    return create_transform(
        (3, size, size), interpolation=interpolation, crop_pct=crop_fraction, crop_mode="center"
    )


def main(path, photographs=None):
    """Write the golden file, and compare photographs."""
    ways = sorted({(r.size, r.crop_fraction, r.interpolation) for r in catalogue.table()})
    golden = {}
    for way in ways:
        for shape in generated.PHOTO_SHAPES:
            tensor = transform(way)(generated.photo(*shape)).permute(1, 2, 0).numpy()
            golden[generated.photo_key(way, shape)] = generated.some_pixels(tensor)
    np.savez_compressed(path, **golden)
    if photographs is None:
        return
    with zipfile.ZipFile(photographs) as archive:
        names = [n for n in archive.namelist() if n.lower().endswith((".jpg", ".png"))][::90]
        images = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names]
    worst = 0.0
    for way in ways:
        ours = Preprocessing(way[0], way[1], way[2])
        theirs = transform(way)
        levels = [
            abs(ours(image) - theirs(image).permute(1, 2, 0).numpy()) * ours.std * 255
            for image in images
        ]
        greatest = max(level.max() for level in levels)
        worst = max(worst, greatest)
        print(f"{way}: {len(images)} photographs, {greatest:.4f} grey levels at most", flush=True)
    sys.exit(worst > 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
