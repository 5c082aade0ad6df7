"""Scoring the network of a run: every image once, each process its share of them."""

import dataclasses
import functools

import keras
import numpy as np

from senet.data.damage import BadImages
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Data, Source
from senet.errors import InputError
from senet.evaluation import Evaluation, Watch, evaluation_of, predictions
from senet.training.distribution import Team, use_one_device
from senet.training.step import copy_value


@dataclasses.dataclass(frozen=True)
class Validation:
    """Scores a network on a split of the data of a run.

    Args:
        data: of the run.
        preprocessing: makes inputs of images.
        team: the processes that share the work; all of them must score at the same place.
        bad_images: where those that cannot be read are noted.
        batch_size: images in a batch.
        workers: processes that read images; with 0 threads do.
        copy: of the network, on one device of this process; needed where the run has several,
            because a network that is spread over all processes cannot work on images of one.
    """

    data: Data
    preprocessing: Preprocessing
    team: Team
    bad_images: BadImages
    batch_size: int
    workers: int = 0
    copy: keras.Model | None = None

    def copy_to_one_device(self, model: keras.Model) -> keras.Model:
        """The network itself, or its values in the copy on one device of this process."""
        if self.copy is None:
            return model
        with use_one_device():
            for variable, value in zip(self.copy.variables, model.variables, strict=True):
                variable.assign(copy_value(value))
        return self.copy

    def score(
        self, model: keras.Model, split: str, label: str, watch: Watch | None = None
    ) -> Evaluation:
        """Every image of a split once.

        Args:
            model: gives probabilities, on one device of this process.
            split: name of it.
            label: what the progress says.
            watch: predicts in place of the model, to look into it on the way; it sees the share of
                this process, as `take_share` gives it.

        Returns:
            An `Evaluation` of all images, the same in every process.

        Raises:
            ValueError: the split has no images.
        """
        source, names = self.data.split(split), self.data.class_names
        if not len(source):
            raise InputError(f"There are no {split} images to evaluate on.")
        share = self.take_share(source)
        with use_one_device():
            read, scores = predictions(
                model,
                share,
                self.preprocessing,
                len(names),
                self.batch_size,
                self.workers,
                label,
                watch,
            )
        if self.team.size > 1:
            read, scores = self._gather_shares(read, scores, len(source))
        self.bad_images.note(split, np.flatnonzero(~read).tolist())
        explain = functools.partial(self.bad_images.explain, split)
        return evaluation_of(source, names, read, scores, explain)

    def take_share(self, source: Source) -> Source:
        """The images of this process: every so many-th, from its own number on."""
        if self.team.size == 1:
            return source
        return source.take(np.arange(self.team.rank, len(source), self.team.size))

    def _gather_shares(
        self, read: np.ndarray, scores: np.ndarray, images: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The answers of all processes in the order of the images.

        Shares differ by one image where the processes do not divide them evenly, and only equal
        arrays can be gathered: the shorter ones are filled up, and what filled them falls off.
        """
        missing = -(-images // self.team.size) - len(read)
        read, scores = np.pad(read, (0, missing)), np.pad(scores, ((0, missing), (0, 0)))
        read = self.team.gather(read).T.reshape(-1)[:images]
        scores = self.team.gather(scores).swapaxes(0, 1).reshape(-1, scores.shape[1])[:images]
        return read, scores
