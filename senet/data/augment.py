"""Random changes to training images; the same random generator gives the same change."""

import dataclasses
import math
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance

from senet.data.preprocessing import Preprocessing

SMALLEST_AREA = 0.3
ASPECT = 4 / 3


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image before it is normalised.

    Args:
        crop: `"resized"` takes a random part of 30 to 100 % of the area, 3:4 to 4:3 in aspect, and
            resizes it; `"shift"` moves the centre crop by up to an eighth of its side and fills
            with black; `"centre"` changes nothing.
        flip: probability of a left-right mirror image, 0 to 1.
        jitter: greatest relative change of brightness, contrast and colour, 0 to 1.

    Reference:
        Szegedy et al., arXiv 1409.4842, section 6 (resized crop); He et al., arXiv 1512.03385,
        section 4.2 (shift). The paper's crop starts at 8 % of the area, meant for 1.28 million
        images; ours starts at 30 %.
    """

    crop: Literal["resized", "shift", "centre"] = "resized"
    flip: float = 0.5
    jitter: float = 0.2

    def __call__(
        self, image: Image.Image, preprocessing: Preprocessing, rng: np.random.Generator
    ) -> Image.Image:
        """A random view of an RGB image, of the size that `preprocessing` gives."""
        if self.crop == "resized":
            image = resized_crop(image, preprocessing.size, rng)
        else:
            image = preprocessing.crop(image)
        if self.crop == "shift":
            image = shift(image, preprocessing.size // 8, rng)
        if rng.random() < self.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.jitter:
            for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                image = enhance(image).enhance(rng.uniform(1 - self.jitter, 1 + self.jitter))
        return image


def resized_crop(image: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """A random rectangle of the image, resized to `size` x `size`; the centre if none fits."""
    width, height = image.size
    for _ in range(10):
        area = width * height * rng.uniform(SMALLEST_AREA, 1)
        aspect = math.exp(rng.uniform(-math.log(ASPECT), math.log(ASPECT)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            break
    else:
        w = h = min(width, height)
        left, top = (width - w) // 2, (height - h) // 2
    box = (left, top, left + w, top + h)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def shift(image: Image.Image, most: int, rng: np.random.Generator) -> Image.Image:
    """The image moved by up to `most` pixels in each direction, the gap filled with black."""
    left, top = (int(v) for v in rng.integers(-most, most + 1, size=2))
    return image.crop((left, top, left + image.width, top + image.height))
