"""Random changes to training images; the same random generator gives the same change."""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from senet.data.preprocessing import Preprocessing

ASPECT = 4 / 3
OPERATIONS = 2
"""Changes that RandAugment makes to an image."""


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image before it is normalised.

    Args:
        crop: `"resized"` takes a random part of the image, 3:4 to 4:3 in aspect, and resizes it;
            `"shift"` moves the centre crop by up to an eighth of its side and fills with black;
            `"centre"` changes nothing.
        flip: probability of a left-right mirror image, 0 to 1.
        jitter: greatest relative change of brightness, contrast and colour, 0 to 1.
        area: smallest share of the image that a resized crop shows, 0 to 1.
        random_augment: magnitude of RandAugment, 0 to 10; 0 is none.
        erase: probability that a rectangle of 2 to 33 % of the area is filled with noise.

    Reference:
        Szegedy et al., arXiv 1409.4842, section 6 (resized crop, from 8 % of the area);
        He et al., arXiv 1512.03385, section 4.2 (shift, by 4 of 32 pixels); Cubuk et al.,
        arXiv 1909.13719 (RandAugment: two changes of one magnitude, each of its 14 equally
        probable; signs are random here, as in timm); Zhong et al., arXiv 1708.04896 (erasing).
    """

    crop: Literal["resized", "shift", "centre"] = "resized"
    flip: float = 0.5
    jitter: float = 0.2
    area: float = 0.3
    random_augment: float = 0.0
    erase: float = 0.0

    def __call__(
        self, image: Image.Image, preprocessing: Preprocessing, rng: np.random.Generator
    ) -> Image.Image:
        """A random view of an RGB image, of the size that `preprocessing` gives."""
        if self.crop == "resized":
            image = resized_crop(image, preprocessing.size, self.area, rng)
        else:
            image = preprocessing.crop(image)
        if self.crop == "shift":
            image = shift(image, preprocessing.size // 8, rng)
        if rng.random() < self.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.random_augment:
            image = random_augment(image, self.random_augment / 10, rng)
        if self.jitter:
            for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                image = enhance(image).enhance(rng.uniform(1 - self.jitter, 1 + self.jitter))
        if rng.random() < self.erase:
            image = erased(image, rng)
        return image


def resized_crop(
    image: Image.Image, size: int, smallest: float, rng: np.random.Generator
) -> Image.Image:
    """A random rectangle of the image, resized to `size` x `size`; the centre if none fits."""
    width, height = image.size
    for _ in range(10):
        w, h = _rectangle(width * height * rng.uniform(smallest, 1), ASPECT, rng)
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


def random_augment(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Two changes drawn from `CHANGES`, each of this strength, 0 to 1."""
    for index in rng.integers(len(CHANGES), size=OPERATIONS):
        sign = 1 if rng.random() < 0.5 else -1
        image = CHANGES[index](image, strength, sign)
    return image


def erased(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image with one rectangle of random pixels."""
    pixels = np.array(image)
    height, width = pixels.shape[:2]
    for _ in range(10):
        w, h = _rectangle(width * height * rng.uniform(0.02, 1 / 3), 10 / 3, rng)
        if 0 < w < width and 0 < h < height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            noise = rng.integers(0, 256, (h, w, 3), dtype="uint8")
            pixels[top : top + h, left : left + w] = noise
            return Image.fromarray(pixels)
    return image


def _rectangle(area: float, aspect: float, rng: np.random.Generator) -> tuple[int, int]:
    """Width and height of a rectangle of this area, up to `aspect` times as long as wide."""
    ratio = math.exp(rng.uniform(-math.log(aspect), math.log(aspect)))
    return round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))


def _enhanced(kind: Callable) -> Callable:
    return lambda image, strength, sign: kind(image).enhance(1 + sign * 0.9 * strength)


def _sheared(image: Image.Image, across: float, down: float) -> Image.Image:
    return _moved(image, (1, across, 0, down, 1, 0))


def _moved(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    how = Image.Resampling.BILINEAR
    return image.transform(image.size, Image.Transform.AFFINE, matrix, how, fillcolor=GREY)


GREY = (124, 116, 104)
"""What a change leaves uncovered is filled with: the mean of ImageNet."""

CHANGES: tuple[Callable[[Image.Image, float, int], Image.Image], ...] = (
    lambda image, strength, sign: image,
    lambda image, strength, sign: ImageOps.autocontrast(image),
    lambda image, strength, sign: ImageOps.equalize(image),
    lambda image, strength, sign: image.rotate(
        30 * sign * strength, Image.Resampling.BILINEAR, fillcolor=GREY
    ),
    lambda image, strength, sign: ImageOps.solarize(image, round(256 * (1 - strength))),
    lambda image, strength, sign: ImageOps.posterize(image, 8 - round(4 * strength)),
    _enhanced(ImageEnhance.Color),
    _enhanced(ImageEnhance.Contrast),
    _enhanced(ImageEnhance.Brightness),
    _enhanced(ImageEnhance.Sharpness),
    lambda image, strength, sign: _sheared(image, 0.3 * sign * strength, 0),
    lambda image, strength, sign: _sheared(image, 0, 0.3 * sign * strength),
    lambda image, strength, sign: _moved(
        image, (1, 0, image.width * 0.45 * sign * strength, 0, 1, 0)
    ),
    lambda image, strength, sign: _moved(
        image, (1, 0, 0, 0, 1, image.height * 0.45 * sign * strength)
    ),
)
"""Image, strength from 0 to 1, sign -> image: identity, autocontrast, equalise, rotate, solarise,
posterise, colour, contrast, brightness, sharpness, shear and move in both directions. The greatest
changes are those of timm's RandAugment at magnitude 10."""


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Mixes the images of a batch and their targets.

    With both, each batch is mixed by one of them, with equal probability.

    Args:
        mixup: alpha of the Beta distribution that images are blended with; 0 is none.
        cutmix: alpha of the Beta distribution of the share that a rectangle of another image does
            not cover; 0 is none.

    Reference:
        Zhang et al., arXiv 1710.09412 (mixup); Yun et al., arXiv 1905.04899 (cutmix). A batch is
        mixed with itself in reverse order, one share for the whole batch.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __bool__(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0

    def __call__(
        self, images: np.ndarray, targets: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mixed images `(N, H, W, C)` and targets `(N, classes)`, in their precision."""
        cut = self.cutmix > 0 and (not self.mixup or rng.random() < 0.5)
        alpha = self.cutmix if cut else self.mixup
        share = float(rng.beta(alpha, alpha))
        if cut:
            height, width = images.shape[1:3]
            h, w = (round(side * math.sqrt(1 - share)) for side in (height, width))
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            box = (slice(None), slice(top, top + h), slice(left, left + w))
            mixed = images.copy()
            mixed[box] = images[::-1][box]
            share = 1 - h * w / (height * width)
        else:
            mixed = _blend(images, share)
        return mixed, _blend(targets, share)


def _blend(values: np.ndarray, share: float) -> np.ndarray:
    """This share of the values, and for the rest those of the batch in reverse order."""
    kind = values.dtype.type
    return values * kind(share) + values[::-1] * kind(1 - share)
