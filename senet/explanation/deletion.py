"""Whether heat maps show what a network uses: what is hot is removed, and the score looked at."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from senet.acceleration import accelerate
from senet.errors import InputError
from senet.explanation.gates import as_inputs, split
from senet.explanation.gradcam import Halves, pixel_axes
from senet.graph import functional
from senet.progress import meter

SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(10))
"""Of the pixels that are removed, one after the other; without any it is 0."""
CLAIM = "The heat maps show what the network uses."
CONFIDENCE = 0.95
"""Of the interval."""


@dataclasses.dataclass(frozen=True, repr=False)
class Deletion:
    """What the score of images falls to when pixels are removed, those first that are hottest.

    Args:
        shares: of the pixels that were removed, `(S,)`, 0 to 1, the first one 0.
        hottest: score of each image with that share of its hottest pixels removed, `(N, S)`.
        random: the same with pixels that a random map puts first, `(N, S)`.
        classes: index of the class whose score it is, `(N,)`.

    Example:
        >>> Deletion((0.0, 0.5), np.array([[0.9, 0.2]] * 3), np.array([[0.9, 0.6]] * 3), [0, 0, 0])
        The heat maps show what the network uses. Yes: with 50% of the pixels removed the score
        falls from 0.900 to 0.200 where the hottest go, to 0.600 where random ones go; over all
        shares the difference is 0.200 (95 % interval 0.200 to 0.200, 3 images).
    """

    shares: tuple[float, ...]
    hottest: np.ndarray
    random: np.ndarray
    classes: np.ndarray

    @property
    def images(self) -> int:
        """How many were looked at."""
        return len(self.hottest)

    @functools.cached_property
    def gains(self) -> np.ndarray:
        """Area between the curves of each image, `(N,)`; above 0 where its map beats a random one.

        It is the mean over all shares of how much lower the score is without the hottest pixels.
        """
        return (self.random - self.hottest).mean(axis=1)

    @functools.cached_property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean of the gains (Student's t); `None` for one image."""
        from scipy import stats

        if self.images < 2:
            return None
        error = float(self.gains.std(ddof=1)) / self.images**0.5
        reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.images - 1)) * error
        return float(self.gains.mean()) - reach, float(self.gains.mean()) + reach

    @property
    def beats_random(self) -> bool | None:
        """Whether the maps are better than random ones; `None` where chance can be the reason."""
        if self.interval is None or not (self.interval[0] > 0 or self.interval[1] < 0):
            return None
        return self.interval[0] > 0

    @property
    def answer(self) -> str:
        """`"yes"`, `"no"` or `"cannot be said"`."""
        return {True: "yes", False: "no", None: "cannot be said"}[self.beats_random]

    @property
    def found(self) -> str:
        """What was found, in a sentence with its numbers."""
        half = int(np.argmin(np.abs(np.asarray(self.shares) - 0.5)))
        start, hot = self.hottest[:, [0, half]].mean(axis=0)
        between = (
            f"95 % interval {self.interval[0]:.3f} to {self.interval[1]:.3f}, "
            if self.interval
            else ""
        )
        images = f"{self.images} image{'s' if self.images != 1 else ''}"
        return (
            f"with {self.shares[half]:.0%} of the pixels removed the score falls from {start:.3f} "
            f"to {hot:.3f} where the hottest go, to {self.random[:, half].mean():.3f} where random "
            f"ones go; over all shares the difference is {self.gains.mean():.3f} "
            f"({between}{images})."
        )

    def to_json(self) -> dict[str, Any]:
        """The means of both curves, the difference and the answer as plain JSON values."""
        return dict(
            images=self.images,
            shares=list(self.shares),
            hottest=self.hottest.mean(axis=0).tolist(),
            random=self.random.mean(axis=0).tolist(),
            difference=float(self.gains.mean()),
            interval=self.interval and list(self.interval),
            beats_random=self.beats_random,
            answer=self.answer,
            found=self.found,
        )

    def __str__(self) -> str:
        return f"{CLAIM} {self.answer.capitalize()}: {self.found}"

    __repr__ = __str__


def deletion_test(
    model: keras.Model,
    images: np.ndarray,
    layer: str | None = None,
    classes: np.ndarray | Sequence[int] | int | None = None,
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Deletion:
    """Say whether the heat maps of Grad-CAM beat random ones: the deletion test.

    A tenth of the pixels after the other takes the mean colour of the image, the hottest first, and
    the score of the class is looked at: the lower it falls, the more of what the network used was
    hot. For each image the same is done by a random map of as many cells, enlarged alike, because
    single pixels taken at random destroy an image faster than patches do.

    Args:
        model: as for `grad_cam`.
        images: inputs of the model, `(N, H, W, C)`; some dozens of them to tell chance apart.
        layer: as for `grad_cam`.
        classes: as for `grad_cam`.
        batch_size: images in a batch.
        seed: of the random maps.

    Returns:
        A `Deletion`: `beats_random`, the difference with its interval, and both curves. The score
        is what the network gives for the class, a probability where it ends in a softmax.

    Raises:
        ValueError: as for `grad_cam`.
        NotImplementedError: the backend has no gradients.

    Example:
        >>> images = np.random.default_rng(0).random((4, 64, 64, 3))
        >>> found = senet.deletion_test(senet.SEResNet18(input_shape=(64, 64, 3)), images)
        >>> found.shares[:3], found.hottest.shape
        ((0.0, 0.1, 0.2), (4, 10))

    Reference:
        Petsiuk et al., arXiv 1806.07421, section 3.2 (there black takes the place of pixels).
    """
    images = as_inputs(model, images)
    halves, predict = Halves.of(model, layer, images), _make_predict(model)
    parts = [keras.tree.flatten(part)[0] for part in split(model, images, batch_size)]
    if classes is None:
        classes = np.concatenate([predict(part).argmax(axis=1) for part in parts])
    count = sum(map(len, parts))
    chosen = halves.read_classes(classes, count)
    start = 0
    scores = np.full((2, count, len(SHARES)), np.nan)
    with meter("removing pixels", count * (2 * len(SHARES) - 1), "images") as progress:
        for part in parts:
            own = slice(start, start + len(part))
            rows, wanted = np.arange(len(part)), chosen[own]
            heat = halves.compute_heat(_pack(model, part), wanted, len(part))
            draws = [np.random.default_rng((seed, start + row)) for row in range(len(part))]
            random = np.stack([draw.random(heat.shape[1:], dtype="float32") for draw in draws])
            for i, maps in enumerate((heat, random)):
                order = _order_pixels(halves.enlarge(maps, part), draws)
                for k, share in enumerate(SHARES):
                    if i and not share:  # nothing is removed: it is the same image
                        scores[1, own, 0] = scores[0, own, 0]
                        continue
                    given = _remove(part, order, share, halves.image_axis)
                    scores[i, own, k] = predict(given)[rows, wanted]
                    progress.advance(len(part))
            start += len(part)
    if not np.isfinite(scores).all():
        raise InputError(f"What {model.name!r} gives for these images are no finite numbers.")
    return Deletion(SHARES, scores[0], scores[1], chosen)


def _make_predict(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """What a network of one input and output gives for images, `(N, classes)`."""
    twin = accelerate(functional(model))

    def predict(images: np.ndarray) -> np.ndarray:
        (scores,) = keras.tree.flatten(twin.predict_on_batch(_pack(model, images)))
        return scores.astype("float32")

    return predict


def _pack(model: keras.Model, images: np.ndarray) -> Any:
    """Images in the structure that a model of one input takes."""
    return keras.tree.map_structure(lambda _: images, functional(model).input)


def _order_pixels(maps: np.ndarray, draws: Sequence[np.random.Generator]) -> np.ndarray:
    """The place of each pixel in the order of heat, hottest first, `(N, H, W)`.

    Pixels that are as hot as each other come in random order: a map is often 0 in large parts.
    """
    order = np.empty((len(maps), maps[0].size), "int32")
    for i, (heat, draw) in enumerate(zip(maps, draws, strict=True)):
        pixels = np.lexsort((draw.random(heat.size, dtype="float32"), -heat.ravel()))
        order[i, pixels] = np.arange(heat.size)
    return order.reshape(maps.shape)


def _remove(images: np.ndarray, order: np.ndarray, share: float, axis: int) -> np.ndarray:
    """Images with a share of their pixels, the first in order, in the mean colour of the image."""
    gone = order < round(share * order[0].size)
    mean = images.mean(axis=pixel_axes(axis), keepdims=True, dtype="float64")
    return np.where(np.expand_dims(gone, axis), mean.astype(images.dtype), images)
