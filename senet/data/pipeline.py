"""Batches of inputs and targets, through Grain, in threads or in worker processes.

What a batch holds depends on the seed, the epoch and the number of the batch only: neither on the
number of threads or processes nor on what was read before, so any batch of any epoch can be made on
its own. An image that cannot be read is left out and reported with the batch.
"""

import contextlib
import dataclasses
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from multiprocessing import resource_tracker
from typing import NamedTuple

import grain
import numpy as np
from PIL import Image

from senet.data import sharing
from senet.data.augment import Augmentation
from senet.data.decode import ImageError
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.errors import FileError, InputError

READING = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
"""How batches are made in this process, where there are no workers."""
IN_TURN = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
"""How a worker makes its batches."""
BLOCKS = 4
"""Pieces of 16 MiB that Pillow keeps for the next image."""
BEYOND = 8
"""Empty numbers after the last batch for each worker, more than one reads ahead: a worker that came
to the end would wait for half a second, and Grain would hold its last batch in shared memory."""

Mixing = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""Takes images, targets and random numbers of one batch and gives images and targets."""


class Batch(NamedTuple):
    """Images as a network reads them, and what it should say.

    Args:
        images: `(N, size, size, 3)` float32.
        targets: `(N, classes)` float32: 1 for the class of the image, 0 for others; or mixed.
        indices: of each image in the source, `(N,)` int64.
        bad: indices of images that should have been in the batch and cannot be read, int64.
    """

    images: np.ndarray
    targets: np.ndarray
    indices: np.ndarray
    bad: np.ndarray


class WorkerDied(FileError, ChildProcessError):
    """A worker process ended before its work was done."""


def training_batches(
    source: Source,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    n_classes: int,
    first: int = 0,
    workers: int = 0,
    mixing: Mixing | None = None,
    part: tuple[int, int] = (0, 1),
) -> Generator[Batch]:
    """Shuffled, augmented batches of one epoch.

    The order is drawn from `(seed, epoch)`, the change of an image from `(seed, epoch, index)`, the
    mixing from `(seed, epoch, batch, 1)`. Every batch is full: up to `batch_size - 1` images,
    others in each epoch, are left out, and the next one of the order that can be read, from the
    beginning again after the last, stands in for an image that cannot.

    Args:
        source: labelled images.
        preprocessing: gives the size and normalises.
        augmentation: random changes.
        batch_size: images in a batch; at most all of them.
        seed: of the run.
        epoch: number of the epoch, from 0.
        n_classes: columns of the targets.
        first: number of the batch to start with, from 0.
        workers: processes that make batches; with 0 threads of this one do. Workers import the main
            program again, so a script needs `if __name__ == "__main__":` around what it does. All
            that is given here must be picklable then.
        mixing: mixes the images and targets of a batch with those of the batch in reverse order, as
            mixup does; none by default.
        part: `(k, n)` gives the `k`-th of `n` equal parts of every batch, from 0, as it is in the
            whole. With mixing, the images that these are mixed with are read as well.

    Returns:
        A generator; closing it ends the workers.

    Raises:
        ValueError: the batch cannot be parted equally.
        ImageError: no image at all can be read (while it runs).
        WorkerDied: a worker process was killed or crashed (while it runs).

    Example:
        >>> from senet.data.sources import load_data
        >>> source = load_data("digits").split("train")
        >>> sizes = dict(batch_size=16, seed=0, epoch=0, n_classes=10)
        >>> batches = training_batches(source, Preprocessing(32), Augmentation("shift"), **sizes)
        >>> with contextlib.closing(batches):
        ...     batch = next(batches)
        >>> batch.images.shape, batch.targets.shape
        ((16, 32, 32, 3), (16, 10))
    """
    size = min(batch_size, len(source))
    if size % part[1]:
        raise InputError(f"Batches of {size} images cannot be parted into {part[1]} equal parts.")
    make = _Training(
        source, preprocessing, n_classes, size, augmentation, seed, epoch, mixing, part
    )
    return _batches(make, len(source) // size, first, workers)


def evaluation_batches(
    source: Source,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    n_classes: int,
    workers: int = 0,
) -> Generator[Batch]:
    """All images in order, each once, without those that cannot be read.

    Args:
        source: labelled images.
        preprocessing: makes inputs of them.
        batch_size: images in a batch; the last one may hold fewer.
        n_classes: columns of the targets.
        workers: processes that make batches, as for `training_batches`.

    Returns:
        A generator; closing it ends the workers.

    Raises:
        WorkerDied: a worker process was killed or crashed (while it runs).
    """
    make = _Evaluation(source, preprocessing, n_classes, batch_size)
    return _batches(make, -(-len(source) // batch_size), 0, workers)


def count_batches_ahead(workers: int) -> int:
    """The most batches that may be made already when the first one is handed out.

    Args:
        workers: processes that make them, as for `training_batches`.
    """
    # Each worker goes on until four of its batches lie between it and who asks.
    return 4 * workers or READING.prefetch_buffer_size


@dataclasses.dataclass(frozen=True)
class _Maker:
    """Makes the batch of a number; picklable."""

    source: Source
    preprocessing: Preprocessing
    n_classes: int
    batch_size: int

    def batch(self, inputs: list[np.ndarray], indices: list[int], bad: list[int]) -> Batch:
        size = self.preprocessing.size
        targets = np.zeros((len(indices), self.n_classes), "float32")
        targets[np.arange(len(indices)), self.source.labels[indices]] = 1
        return Batch(
            np.stack(inputs) if inputs else np.zeros((0, size, size, 3), "float32"),
            targets,
            np.array(indices, "int64"),
            np.array(bad, "int64"),
        )


@dataclasses.dataclass(frozen=True)
class _Evaluation(_Maker):
    def __call__(self, number: int) -> Batch:
        start = int(number) * self.batch_size
        inputs, indices, bad = [], [], list[int]()
        for index in range(start, min(start + self.batch_size, len(self.source))):
            try:
                inputs.append(self.make_input(index))
                indices.append(index)
            except ImageError:
                bad.append(index)
        return self.batch(inputs, indices, bad)

    def make_input(self, index: int) -> np.ndarray:
        """The input of an image, which is let go before its memory is given back."""
        with sharing.holding():
            return self.preprocessing(self.source.image(index))


@dataclasses.dataclass(frozen=True)
class _Training(_Maker):
    augmentation: Augmentation
    seed: int
    epoch: int
    mixing: Mixing | None
    part: tuple[int, int]

    @functools.cached_property
    def order(self) -> grain.MapDataset:
        seed = int(np.random.SeedSequence((self.seed, self.epoch)).generate_state(1)[0])
        return grain.MapDataset.range(len(self.source)).shuffle(seed=seed)

    def __call__(self, number: int) -> Batch:
        inputs, indices, bad = [], [], list[int]()
        start, total = int(number) * self.batch_size, self.batch_size
        count = total // self.part[1]
        own = range(self.part[0] * count, (self.part[0] + 1) * count)
        # In reverse order these are what the own ones are mixed with.
        others = range(total - own.stop, total - own.start) if self.mixing and count < total else ()
        for place in (*own, *others):
            index, made = self._readable(start + place, bad)
            inputs.append(made)
            indices.append(index)
        batch = self.batch(inputs, indices, bad)
        if self.mixing is None:
            return batch
        rng = np.random.default_rng((self.seed, self.epoch, int(number), 1))
        images, targets = self.mixing(batch.images, batch.targets, rng)
        return Batch(images[:count], targets[:count], batch.indices[:count], batch.bad)

    def make_input(self, index: int) -> np.ndarray:
        """An augmented input of an image, which is let go before its memory is given back."""
        rng = np.random.default_rng((self.seed, self.epoch, index))
        with sharing.holding():
            view = self.augmentation(self.source.image(index), self.preprocessing, rng)
        return self.preprocessing.normalise(view)

    def _readable(self, position: int, bad: list[int]) -> tuple[int, np.ndarray]:
        """The first image that can be read at a place of the order or after it, and its index."""
        reason: ImageError | None = None
        for place in range(position, position + len(self.source)):
            index = int(self.order[place % len(self.source)])
            if index not in bad:
                try:
                    return index, self.make_input(index)
                except ImageError as error:
                    bad.append(index)
                    reason = error
        raise ImageError(f"None of the {len(self.source)} images can be read. {reason}")


def _batches(
    make: Callable[[int], Batch], total: int, first: int, workers: int
) -> Generator[Batch]:
    """The batches from the `first` on, in order."""
    first = min(first, total)
    workers = min(workers, total - first)
    if not workers:
        numbers = grain.MapDataset.range(first, total)
        batches = numbers.map(make).to_iter_dataset(READING)
        with _reusing_memory(), contextlib.closing(iter(batches)) as iterator:
            yield from iterator
        return
    numbers = grain.MapDataset.range(first, total + BEYOND * workers)
    options = grain.MultiprocessingOptions(num_workers=workers)
    dataset = numbers.map(_Ending(make, total)).to_iter_dataset(IN_TURN)
    prepare = functools.partial(_prepare_worker, folder=sharing.get_folder())
    with contextlib.closing(iter(dataset.mp_prefetch(options, prepare))) as iterator:
        for number in range(first, total):
            yield _next(iterator, starting=number == first)


@contextlib.contextmanager
def _reusing_memory() -> Iterator[None]:
    """Let Pillow use the memory of one image for the next one.

    With threads, to ask the system for that of a photograph takes a quarter of the whole time.
    """
    before = Image.core.get_blocks_max()
    Image.core.set_blocks_max(max(before, BLOCKS))
    try:
        yield
    finally:
        Image.core.set_blocks_max(before)
        Image.core.clear_cache()


@dataclasses.dataclass(frozen=True)
class _Ending:
    """Makes batches up to a number, and nothing of the numbers beyond."""

    make: Callable[[int], Batch]
    total: int

    def __call__(self, number: int) -> Batch | tuple[()]:
        return self.make(number) if number < self.total else ()


def _next(iterator: Iterator[Batch], *, starting: bool) -> Batch:
    """The next batch of the workers, copied out of the shared memory that it came in."""
    try:
        with _ctrl_c_held_back() if starting else contextlib.nullcontext():
            return Batch(*map(np.array, next(iterator)))
    except RuntimeError as error:
        if "terminated unexpectedly" not in str(error):
            raise
        raise WorkerDied(
            f"{error} It may have been killed because memory ran out, that in /dev/shm too: use "
            "fewer workers or smaller batches, or 0 workers."
        ) from error


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Keep Ctrl-C from what is started in the body, and from this thread until it is over."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let Ctrl-C through again if it began inside
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker(number: int, workers: int, folder: str) -> None:
    """Leave Ctrl-C to the program that started this worker, and end when that does.

    Args:
        number: of the worker.
        workers: how many there are.
        folder: of the memory that they share.
    """
    sharing.use_folder(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
