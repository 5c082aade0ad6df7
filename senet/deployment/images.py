"""Real images to compare and to calibrate on."""

import numpy as np
from PIL import Image

from senet.data.decode import ImageError
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source


def crops(source: Source, preprocessing: Preprocessing, count: int) -> np.ndarray:
    """Images of a source, evenly spread over it, cropped as a network wants them.

    Args:
        source: of the images; those that cannot be read are passed over.
        preprocessing: resizes and crops.
        count: of images, at most.

    Returns:
        Pixels 0-255, `(N, size, size, 3)` uint8.

    Raises:
        ImageError: none could be read.
    """
    found = []
    for i in np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).round()):
        try:
            found.append(np.asarray(preprocessing.crop(source.image(int(i))), "uint8"))
        except ImageError:
            continue
    if not found:
        raise ImageError("None of the images to compare on can be read.")
    return np.stack(found)


def describe_missing(found: np.ndarray, source: Source, count: int) -> list[str]:
    """A sentence on the images that `crops` could not read, if there are any.

    Args:
        found: what it gave.
        source: of the images.
        count: that it was asked for.
    """
    wanted = min(count, len(source))
    missing = wanted - len(found)
    what = "images to calibrate on or to compare on cannot be read and are left out"
    return [f"{missing} of the {wanted} {what}."] if missing else []


def photographs(preprocessing: Preprocessing, count: int = 16) -> np.ndarray:
    """Parts of the two photographs that scikit-learn has, where there are no images of one's own.

    Args:
        preprocessing: resizes and crops.
        count: of images, even.

    Returns:
        Pixels 0-255, `(count, size, size, 3)` uint8.
    """
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    found = []
    for photograph in load_sample_images().images:
        height, width, _ = photograph.shape
        for _ in range(count // 2):
            side = int(rng.integers(min(height, width) // 3, min(height, width)))
            top, left = (int(rng.integers(0, edge - side + 1)) for edge in (height, width))
            part = Image.fromarray(photograph[top : top + side, left : left + side])
            found.append(np.asarray(preprocessing.crop(part), "uint8"))
    return np.stack(found)
