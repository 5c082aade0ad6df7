"""Batches of inputs and labels, through Grain.

What a batch holds depends on the seed, the epoch and the position only: neither on the number of
threads nor on what was read before, so any batch of any epoch can be made on its own.
"""

from collections.abc import Iterator

import grain
import numpy as np

from senet.data.augment import Augmentation
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source

Batch = tuple[np.ndarray, np.ndarray]

READING = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)


def training_batches(
    source: Source,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    first: int = 0,
) -> Iterator[Batch]:
    """Shuffled, augmented batches of one epoch.

    The order is drawn from `(seed, epoch)`, the change of an image from `(seed, epoch, index)`.
    Every batch is full: up to `batch_size - 1` images, others in each epoch, are left out.

    Args:
        source: labelled images.
        preprocessing: gives the size and normalises.
        augmentation: random changes.
        batch_size: images in a batch; at most all of them.
        seed: of the run.
        epoch: number of the epoch, from 0.
        first: number of the batch to start with, from 0.

    Yields:
        Inputs `(batch_size, size, size, 3)` float32 and labels `(batch_size,)`.

    Raises:
        ImageError: an image cannot be decoded.
    """

    def example(index):
        rng = np.random.default_rng((seed, epoch, index))
        image = augmentation(source.image(index), preprocessing, rng)
        return preprocessing.normalise(image), source.labels[index]

    order = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
    batches = (
        grain.MapDataset.range(len(source))
        .shuffle(seed=order)
        .map(lambda index: example(int(index)))
        .batch(min(batch_size, len(source)), drop_remainder=True)
    )
    return iter(batches[first:].to_iter_dataset(READING))


def evaluation_batches(
    source: Source, preprocessing: Preprocessing, *, batch_size: int
) -> Iterator[Batch]:
    """All images in order, each once; the last batch may be smaller.

    Args:
        source: labelled images.
        preprocessing: makes inputs of them.
        batch_size: images in a batch.

    Yields:
        Inputs `(n, size, size, 3)` float32 and labels `(n,)`.

    Raises:
        ImageError: an image cannot be decoded.
    """
    batches = (
        grain.MapDataset.range(len(source))
        .map(lambda index: (preprocessing(source.image(int(index))), source.labels[int(index)]))
        .batch(batch_size, drop_remainder=False)
    )
    return iter(batches.to_iter_dataset(READING))
