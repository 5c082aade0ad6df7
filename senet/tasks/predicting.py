"""`senet.predict`: what is on images."""

import dataclasses
import io
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeAlias, overload

import numpy as np
from PIL import Image

from senet.data.finding import SHOWN, find_files
from senet.errors import InputError, NotFoundError, one_family
from senet.foreign import escape_text, listed
from senet.prediction.predicting import Named, Prediction, predict_each, write_table
from senet.prediction.trained import TrainedLike, load_trained
from senet.tasks.arguments import require_count

Images: TypeAlias = str | os.PathLike | Image.Image | np.ndarray
"""An image, or what leads to some: a file, a folder, a pattern; pixels 0-255, `(H, W, 3)` or
`(N, H, W, 3)` uint8."""


@dataclasses.dataclass(frozen=True, repr=False)
class PredictionResult(Sequence[Prediction]):
    """Predictions in the order of the images.

    Args:
        predictions: one for each image; of those that cannot be read with an `error`.
        warnings: what was left out, a sentence each.

    Example:
        >>> result = senet.predict("runs/pets", "photo.jpg", top=2)
        >>> result[0].name, round(result[0].probability, 2)
        ('cat', 0.93)
    """

    predictions: tuple[Prediction, ...]
    warnings: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Prediction, ...]: ...
    def __getitem__(self, index: int | slice) -> Prediction | tuple[Prediction, ...]:
        return self.predictions[index]

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def failed(self) -> list[Prediction]:
        """Those of files that cannot be read."""
        return [prediction for prediction in self.predictions if prediction.error]

    def __repr__(self) -> str:
        text = io.StringIO()
        write_table(self.predictions, text)
        errors = [f"error: {escape_text(p.file)}: {p.error}" for p in self.failed]
        warnings = [f"warning: {line}" for line in self.warnings]
        return "\n".join([*text.getvalue().splitlines(), *errors, *warnings])


@one_family()
def predict(
    trained: TrainedLike,
    images: Images | Sequence[Images],
    *,
    weights: str | os.PathLike | None = None,
    top: int = 1,
    batch_size: int = 32,
) -> PredictionResult:
    """Name what is on images.

    Each is resized, cropped and normalised as the network wants it. Predictions are in the order of
    the images; a file that a folder or pattern gives is not given twice.

    Args:
        trained: a run folder or what `senet.train` gave, a file, an exported network,
            `"se_resnet50.imagenet"`, or a network from `senet.load`.
        images: one or several of: files, folders (searched to any depth), patterns; images of
            Pillow; arrays of pixels 0-255, `(H, W, 3)` or `(N, H, W, 3)` uint8, RGB.
        weights: published weights, where `trained` is the name of a network.
        top: classes to give for each image, the best first.
        batch_size: images in a batch.

    Returns:
        A `PredictionResult`: a sequence with a `Prediction` for each image. That of a file that is
        not there or cannot be read has an `error`, and the others are made all the same.

    Raises:
        InputError: the network lacks class names or preprocessing, or an array is no image.
        NotFoundError: there is no such network, or no image at all.

    Example:
        >>> senet.predict("runs/pets", ["photo.jpg", "scans/"], top=2)
        photo.jpg                                  93.1%  cat
                                                    6.9%  dog
        ...
    """
    require_count("top", top)
    require_count("batch_size", batch_size)
    found, notes = _collect_images(images)
    loaded = load_trained(trained, weights)
    predictions = tuple(predict_each(loaded, found, top=top, batch_size=batch_size))
    return PredictionResult(predictions, notes)


def _collect_images(
    images: Images | Sequence[Images],
) -> tuple[list[Named], tuple[str, ...]]:
    """Every image with its name, and what was left out.

    Raises:
        NotFoundError: there is none.
    """
    several = images if isinstance(images, list | tuple) else [images]
    found: list[Named] = []
    notes: list[str] = []
    for one in several:
        if isinstance(one, str | os.PathLike):
            files, left_out = _find(os.fspath(one), {named.name for named in found})
            found += files
            notes += left_out
        else:
            found += [Named(f"image {len(found) + i}", image) for i, image in _split(one)]
    if not found and not notes:
        raise InputError("There are no images to predict: the list of them is empty.")
    missing = [repr(named.name) for named in found if named.image is None]
    if len(missing) == len(found):
        said = [f"There is no image at {listed(missing, SHOWN)}."] if missing else []
        raise NotFoundError(" ".join([*said, *notes]))
    return found, tuple(notes)


def _find(path: str, known: Collection[str]) -> tuple[list[Named], tuple[str, ...]]:
    """What a path stands for, and what was left out; of a folder or pattern what is not known."""
    if os.path.isfile(path):
        return [Named(path, path)], ()
    try:
        files = find_files([path])
    except NotFoundError as error:
        return ([], (str(error),)) if os.path.isdir(path) else ([Named(path, None)], ())
    return [Named(file, file) for file in files.paths if file not in known], files.notes


def _split(images: Any) -> Iterator[tuple[int, Image.Image]]:
    """The images of an array, or the one that it is.

    Raises:
        InputError: it is neither an image of Pillow nor an array of pixels.
    """
    if isinstance(images, Image.Image):
        yield 1, images
        return
    try:
        array = np.asarray(images)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[-1] != 3:
        raise InputError(
            "An image must be a path, an image of Pillow, or pixels 0-255 as an array of uint8 "
            f"(H, W, 3) or (N, H, W, 3); got {type(images).__name__} of {array.dtype}, shape "
            f"{array.shape}. Of values between 0 and 1 make pixels by (255 * x).round().astype("
            '"uint8").'
        )
    for number, pixels in enumerate(array[None] if array.ndim == 3 else array, 1):
        yield number, Image.fromarray(pixels)
