"""What is wrong with a data set all of whose images can be read: found before it is trained on."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from senet.data.sources import Data
from senet.data.trained_on import MAX_DIGESTS, UNKNOWN, TrainedOn
from senet.foreign import listed

SHOWN = 3
"""Images that a warning names."""


def list_faults(
    data: Data, digests: Mapping[str, np.ndarray] | None, trained_on: TrainedOn
) -> list[str]:
    """What makes scores on a data set better or worse than the truth, a sentence each.

    Args:
        data: split.
        digests: of its splits, as `digest_splits` gives them; without, images are not compared,
            and that is said.
        trained_on: what the network will have been trained on, before too.

    Returns:
        What was left out when the images were found, classes without images in a split, weights
        that do not say what they were trained on, images that are in two classes, and held-out
        images that are trained on; nothing where all is well.
    """
    faults = [*data.notes, *_find_absent_classes(data)]
    if trained_on.trained_elsewhere:
        faults.append(
            "Not every image that the weights at the start were trained on is noted: where such an "
            "image is held out here, the scores are better than the truth."
        )
    if digests is None:
        faults.append(
            f"With more than {MAX_DIGESTS:,} training images, the same image in two classes, or in "
            "training and held-out images, is not looked for."
        )
    else:
        faults += _find_images_of_two_classes(data, digests)
        faults += _find_trained_on(data, digests, trained_on)
    return faults


def _find_absent_classes(data: Data) -> Iterator[str]:
    """Splits that lack a class."""
    for split, source in data.splits.items():
        counts = np.bincount(source.labels, minlength=len(data.class_names))
        if absent := [data.class_names[label] for label in np.flatnonzero(counts == 0).tolist()]:
            yield f"No {split} image is of {listed(absent)}: {split} scores leave that out."


def _find_images_of_two_classes(data: Data, digests: Mapping[str, np.ndarray]) -> Iterator[str]:
    """The same image with two labels; one of them must be wrong."""
    first: dict[int, tuple[str, int]] = {}
    found: dict[int, str] = {}
    for split, source in data.splits.items():
        for digest, name, label in zip(
            digests[split].tolist(), source.names, source.labels.tolist(), strict=True
        ):
            before, other = first.setdefault(digest, (name, label))
            if digest != UNKNOWN and other != label:
                found.setdefault(digest, f"{before} and {name}")
    if found:
        yield (
            f"Images that are in two classes, with the same bytes: {len(found)}, "
            f"{_name_some(found.values())}. One of the labels is wrong."
        )


def _find_trained_on(
    data: Data, digests: Mapping[str, np.ndarray], trained_on: TrainedOn
) -> Iterator[str]:
    """Held-out images that are training images too, or were those of the weights at the start."""
    train = data.split("train")
    places = {digest: place for place, digest in enumerate(digests["train"].tolist())}
    places.pop(UNKNOWN, None)
    before = np.setdiff1d(trained_on.digests, digests["train"])
    for split in ("validation", "test"):
        if split not in data.splits:
            continue
        names, found = data.split(split).names, digests[split].tolist()
        twice = [
            f"{name} and {train.names[places[digest]]}"
            for name, digest in zip(names, found, strict=True)
            if digest in places
        ]
        if split != data.held_out:
            effect = f"{split} scores are better than the truth"
        elif np.isin(digests[split], np.append(trained_on.digests, np.uint64(UNKNOWN))).all():
            effect = "no image is left to score the run on"
        else:
            effect = "they do not count in the result of the run"
        if twice:
            yield (
                f"Of the {len(names)} {split} images {len(twice)} are among the training images "
                f"too, with the same bytes: {_name_some(twice)}; {effect}."
            )
        if earlier := int(np.isin(digests[split], before).sum()):
            yield (
                f"Of the {len(names)} {split} images {earlier} were trained on before, by the "
                f"weights that the run starts from; {effect}."
            )


def _name_some(names: Iterable[str]) -> str:
    """The first few of many."""
    names = list(names)
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "; ".join(names[:SHOWN]) + more
