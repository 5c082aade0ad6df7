"""From an image to what a network reads: resize, centre crop, normalise."""

import dataclasses
import math
from typing import Any

import numpy as np
from PIL import Image

from senet.errors import InputError
from senet.foreign import MAX_PATH, clean_text

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
VALUES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "0-1": ((0.0,) * 3, (1.0,) * 3),
    "-1-1": ((0.5,) * 3, (0.5,) * 3),
    "0-255": ((0.0,) * 3, (1 / 255,) * 3),
}
"""What networks read, and the mean and deviation that make it of values between 0 and 1."""
MAX_SIZE = 4096
"""Largest side of an input, pixels."""
LARGEST = 1_000_000
"""Largest mean or deviation, of values between 0 and 1: no network reads more."""
MAX_ENLARGED = 5_000_000
"""Largest enlarged strip, pixels. Only the centre of a larger one is resized, which shifts it by a
fraction of a pixel."""

COLOURS = 3
"""Channels of an image as it is read: RGB."""


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How an image becomes an input.

    The shorter edge is resized to `size / crop_fraction`, the centre is cropped to `size`, values
    are divided by 255, the mean is subtracted and the result divided by the standard deviation.
    Fractions of a pixel are rounded as torchvision rounds them, whose transforms the published
    networks were scored with.

    Args:
        size: side of the square input, pixels.
        crop_fraction: side of the crop over the shorter edge, 0 to 1; the paper has 224 / 256.
        interpolation: `"bicubic"` or `"bilinear"`, of the resizing.
        mean: per channel, of values between 0 and 1.
        std: per channel, of values between 0 and 1.

    Reference:
        Hu et al., arXiv 1709.01507, section 5.1 (shorter edge 256, centre crop 224).
    """

    size: int
    crop_fraction: float = 0.875
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            if isinstance(given := getattr(self, name), list):
                object.__setattr__(self, name, tuple(given))
        lists = all(isinstance(given, tuple) for given in (self.mean, self.std))
        numbers = (self.crop_fraction, *self.mean, *self.std) if lists else ("",)
        if (
            not (isinstance(self.size, int) and 1 <= self.size <= MAX_SIZE)
            or not all(isinstance(n, (int, float)) and -LARGEST <= n <= LARGEST for n in numbers)
            or not 0.01 <= self.crop_fraction <= 1
            or (len(self.mean), len(self.std)) != (3, 3)
            or min(self.std) < 1 / LARGEST
            or any(isinstance(number, bool) for number in (self.size, *numbers))
            or self.interpolation not in list(INTERPOLATIONS)
        ):
            raise InputError(
                f"A preprocessing needs a size from 1 to {MAX_SIZE} pixels, a crop fraction from "
                f"0.01 to 1, interpolation {' or '.join(INTERPOLATIONS)}, and for each of 3 "
                f"channels a mean, up to {LARGEST:,}, and a deviation, from {1 / LARGEST:.6f} to "
                f"{LARGEST:,}; got {self}."
            )

    @classmethod
    def of_values(cls, values: str, size: int, crop_fraction: float = 1.0) -> "Preprocessing":
        """The preprocessing of a network that reads values of a usual range.

        Args:
            values: `"imagenet"` (mean and deviation of ImageNet taken out), `"0-1"`, `"-1-1"` or
                `"0-255"`.
            size: side of the square input, pixels.
            crop_fraction: side of the centre crop over the shorter edge, 0 to 1.

        Raises:
            InputError: there is no such range.

        Example:
            >>> Preprocessing.of_values("0-1", 32).std
            (1.0, 1.0, 1.0)
        """
        if values not in list(VALUES):
            raise InputError(f"values must be one of {', '.join(VALUES)}; got {values!r}.")
        mean, std = VALUES[values]
        return cls(size, crop_fraction=crop_fraction, mean=mean, std=std)

    @property
    def shorter_edge(self) -> int:
        """What the shorter edge of an image is resized to, pixels."""
        return math.floor(self.size / self.crop_fraction)

    def crop(self, image: Image.Image) -> Image.Image:
        """Resize the shorter edge and cut out the centre: `size` x `size` pixels."""
        edge = self.shorter_edge
        if edge * edge * max(image.size) > MAX_ENLARGED * min(image.size):
            image = _trim(image)
        shorter = min(image.size)
        width, height = (max(edge, edge * side // shorter) for side in image.size)
        image = image.resize((width, height), INTERPOLATIONS[self.interpolation])
        left, top = (round((side - self.size) / 2) for side in (width, height))
        return image.crop((left, top, left + self.size, top + self.size))

    def normalise(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """Pixels 0-255 `(H, W, 3)` as float32 with mean and standard deviation taken out."""
        pixels = np.asarray(image, dtype="float32") / np.float32(255)
        return (pixels - np.array(self.mean, "float32")) / np.array(self.std, "float32")

    def __call__(self, image: Image.Image) -> np.ndarray:
        """The input for one image, `(size, size, 3)` float32."""
        return self.normalise(self.crop(image))

    def to_pixels(self, inputs: np.ndarray) -> np.ndarray:
        """Undo `normalise`: pixels 0-255 as uint8, to show an input."""
        pixels = (inputs * np.array(self.std) + np.array(self.mean)) * 255
        return pixels.clip(0, 255).round().astype("uint8")

    def describe_steps(self) -> dict[str, dict[str, Any]]:
        """The same rule as the steps that a program of somebody else takes, as plain JSON values.

        `resize`: the shorter edge, the other one in proportion, rounded down. `crop`: the centre,
        from half of what is over, rounded. `scale`: `(pixels - mean) / std`, of pixels 0-255.

        Example:
            >>> Preprocessing.of_values("-1-1", 224).describe_steps()["scale"]
            {'mean': [127.5, 127.5, 127.5], 'std': [127.5, 127.5, 127.5]}
        """
        scale = dict(mean=self.mean, std=self.std)
        return dict(
            resize=dict(
                shorter_edge=self.shorter_edge, interpolation=self.interpolation, antialias=True
            ),
            crop=dict(size=self.size, where="centre"),
            scale={k: [float(f"{255 * part:.12g}") for part in v] for k, v in scale.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values; `from_json` reads it back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preprocessing":
        """The record that `to_json` wrote.

        Raises:
            ValueError: a field is missing, unknown or out of range.
        """
        try:
            fields: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
            }
            return cls(**fields)
        except (TypeError, AttributeError) as error:
            reason = clean_text(error, MAX_PATH)
            raise InputError(f"Not a record of a preprocessing: {reason}") from error


def _trim(image: Image.Image) -> Image.Image:
    """The centre of a strip: one pixel by thousands would be enlarged to gigabytes."""
    longest = 4 * min(image.size)
    width, height = (min(side, longest) for side in image.size)
    if (width, height) == image.size:
        return image
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
