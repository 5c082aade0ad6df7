"""Labelled images for a network: matched by class, and told from those that it was trained on."""

import dataclasses
import os
from typing import Any, NoReturn

import numpy as np

from senet.data.sources import Data, Source, absolute, load_data, split_data
from senet.errors import InputError
from senet.foreign import listed, name_class
from senet.prediction.trained import Trained
from senet.runs.reading import read_data_of_run
from senet.weights import imagenet


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """Images to score a network on.

    Args:
        where: they are, as `load_data` takes it.
        data: that they are, split if that was wanted.
        own: whether they are those that the network was trained on, split as they were then.
        seed: that they were split with at random for this, if they were.
    """

    where: str
    data: Data
    own: bool = False
    seed: int | None = None

    def about(self, split: str) -> dict[str, Any]:
        """Where the images of a split come from, for the result of what is done with them.

        `own_split` says whether they are those of the training, split as they were then; otherwise
        `seed` is that of a split that was drawn for this. `warnings` say what was left out.
        """
        drawn = {} if self.seed is None or split == "all" else dict(seed=self.seed)
        about = dict(data=self.where, split=split, own_split=self.own)
        return about | dict(warnings=list(self.data.notes)) | drawn


@dataclasses.dataclass(frozen=True)
class Seen:
    """Which images of a split a network was trained on.

    Args:
        names: of those that are known to be; `None` where nothing is known.
        complete: whether it was trained on none of the others, as far as images can be known again.
    """

    names: frozenset[str] | None = None
    complete: bool = False


def images_of(
    trained: Trained,
    data: str | os.PathLike | None = None,
    split: str | None = None,
    class_map: str | os.PathLike | None = None,
) -> LabelledImages:
    """The images to use a network on; those that it was trained on are split as they were then.

    Args:
        trained: the network.
        data: what `load_data` takes; by default what the run was trained on.
        split: the one that is wanted; `None` or `"all"` draws none from other data.
        class_map: of `load_data`; by default that of the run for its own images.

    Raises:
        ValueError: no data is named, or the images of the run have changed.
    """
    data = None if data is None else os.fspath(data)
    of_run = read_data_of_run(trained.run) if trained.run else None
    known, named, own_map = trained.trained_on, data is not None, class_map is None
    of_training = of_run is not None and (data is None or absolute(data) == of_run.where)
    if of_run is not None and of_training:
        data, class_map = of_run.where, class_map or of_run.class_map
    if data is None:
        raise InputError(
            "Say which images to evaluate on with --data: there is no whole record of the training "
            "data."
        )
    images = load_data(data, class_map=class_map, split=False, trained=True)
    if known is not None:
        again = _split_or_none(images, known.options)
        if again is not None and again.is_same(known.split_sha256, trained.class_names):
            return LabelledImages(data, again, own=True)
    if of_training and not (named and known is not None and known.noted):
        _refuse_changed(data, own_map, noted=known is not None and known.noted)
    if split in (None, "all"):
        return LabelledImages(data, images)
    options = known.options if known else dict(seed=0)
    parts = split_data(images, **options)
    drawn = parts.splits.keys() != images.splits.keys() and split not in {*images.splits} - {
        "train"
    }
    return LabelledImages(data, parts, seed=options["seed"] if drawn else None)


def _refuse_changed(data: str, own_map: bool, noted: bool) -> NoReturn:
    """Say why images at the place of the training images cannot be split as they were then."""
    if not own_map:
        why = "With this class map the images in {} are not split as in the training: leave it out"
    else:
        why = "The images in {} are not those of the training any more"
    if noted:
        way = "to score all that is there but what was trained on, name it with --data"
    else:
        way = (
            "and which of them were trained on was not noted, so that some could count as held "
            "out: put the images to score in a folder of their own and name it with --data"
        )
    raise InputError(f"{why.format(repr(data))}{', or ' if not own_map else '; '}{way}.")


def _split_or_none(images: Data, options: dict[str, Any]) -> Data | None:
    """The data, split; `None` where they cannot be."""
    try:
        return split_data(images, **options)
    except ValueError:
        return None


def labelled_images(
    trained: Trained,
    data: str | os.PathLike | None = None,
    split: str | None = None,
    class_map: str | os.PathLike | None = None,
) -> LabelledImages:
    """`images_of` with labels that are indices of the network's classes, matched by name.

    The data may have some of the classes only. Those of ImageNet may be called by their WordNet
    ids.

    Raises:
        ValueError: as there, or the network does not know a class of the data.
    """
    images = images_of(trained, data, split, class_map)
    known, given = trained.class_names, images.data.class_names
    if given == known:
        return images
    names = [name_class(name) for name in known]
    numbers = {name: number for number, name in enumerate(names) if names.count(name) == 1}
    if known == imagenet.class_names():
        known = tuple(synset for synset, _ in imagenet.classes())
        numbers |= {synset: number for number, synset in enumerate(known)}
    if unknown := [name for name in given if name not in numbers]:
        raise InputError(
            f"The network knows the classes {listed(known)}; {images.where!r} has "
            f"{listed(unknown)}, which it does not know: leave them out, or rename them with a "
            "class map (--class-map)."
        )
    labels = [numbers[name] for name in given]
    return dataclasses.replace(images, data=images.data.relabel(trained.class_names, labels))


def require_unseen(count: int, images: LabelledImages, split: str) -> None:
    """Refuse to use nothing but images that the network was trained on."""
    if not count:
        raise InputError(
            f"The network was trained on every image of {images.where!r} ({split}) that can be "
            "scored: that would not say how good it is on others. Name other images with --data."
        )


def recognise(trained: Trained, images: LabelledImages, split: str) -> Seen:
    """Which images of a split a network was trained on: by their content, and by the split.

    Args:
        trained: the network.
        images: that are split.
        split: one of them.

    Raises:
        ValueError: there is no such split, or what the network says of its training is damaged.
    """
    source, known = images.data.split(split), trained.trained_on
    if known is None or not (images.own or known.noted or len(known.digests)):
        return Seen()
    names = known.recognise_names(source)
    if images.own:
        names |= set(images.data.split("train").names).intersection(source.names)
    return Seen(frozenset(names), known.complete)


def take_held_out(
    trained: Trained, images: LabelledImages, split: str
) -> tuple[Source, dict[str, Any]]:
    """The images of a split that a network was not trained on, as far as that is known.

    Args:
        trained: the network.
        images: that are split.
        split: one of them; of the training images of its own split all are given.

    Returns:
        The images, and how many were left out, as `trained_on` (`None` where it is not known which
        were trained on) and `trained_on_complete`.

    Raises:
        ValueError: there is no such split, or no such image.
    """
    source, seen = images.data.split(split), recognise(trained, images, split)
    about = dict(
        trained_on=None if seen.names is None else len(seen.names),
        trained_on_complete=seen.complete,
    )
    if not seen.names or (split == "train" and images.own):
        return source, about
    unseen = np.array([name not in seen.names for name in source.names])
    require_unseen(int(unseen.sum()), images, split)
    return source.take(np.flatnonzero(unseen)), about
