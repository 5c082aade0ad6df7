"""What people name weights by: a run folder, a file, or the tag of published weights.

Every command and function that takes weights asks here what they are, so that all of them take the
same.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from senet.errors import InputError, NotFoundError
from senet.models import family
from senet.runs.folder import find_network
from senet.weights import catalogue, hub, imagenet, transfer
from senet.weights.card import MEMBER, Card
from senet.weights.catalogue import Published

ENDINGS = (".keras", ".safetensors", ".h5", ".pth", ".pt", ".bin", ".ckpt")
"""Of files of weights: what ends so is no tag."""


def locate_weights(
    where: str | os.PathLike, network: str | None = None
) -> pathlib.Path | Published:
    """The file or the published weights that a reference stands for; nothing is read or downloaded.

    Args:
        where: a file; a run folder; `network.tag` as
            `senet.list_weights()` has it, as `"se_resnet50.ra2_in1k"` or `"se_resnet50.imagenet"`;
            or a tag alone, of the weights of `network`.
        network: that the weights are for, where that is known; a tag comes before a folder of the
            same name then.

    Returns:
        Path of a file, or a row of the catalogue.

    Raises:
        NotFoundError: there is no such file or folder.
        InputError: there is no such tag, it is a network's name alone, or the folder holds no
            network for Keras.
    """
    if not isinstance(where, str | os.PathLike) or not os.fspath(where):
        raise InputError(
            "Weights are named by a tag such as 'imagenet', a run folder or the path of a file; "
            f"got {where!r}."
        )
    path, text = pathlib.Path(where), os.fspath(where)
    if network is not None and catalogue.is_tag(text) and text not in family.names():
        return catalogue.published(network, text)
    if path.is_dir():
        if (path / MEMBER).is_file():
            raise InputError(
                f"{str(path)!r} is an exported network: name the run or the .keras file that it "
                "was made of."
            )
        return find_network(path)
    name, dot, tag = text.partition(".")
    if not os.path.lexists(path):
        if dot and name in family.names() and path.suffix not in ENDINGS:
            return catalogue.published(name, tag)
        if text in family.names():
            raise InputError(_describe_name(text))
    if not path.exists():
        raise NotFoundError(f"There is no run folder or weights file {text!r}.")
    return path


def _describe_name(network: str) -> str:
    """What to say where a network's name stands in place of weights."""
    known = catalogue.tags(network)
    if not known:
        return (
            f"{network!r} is the name of a network, and no weights are published for it: name a "
            "run folder or a file of weights."
        )
    return (
        f"{network!r} is the name of a network: '{network}.imagenet' names its published weights "
        f"(or .{', .'.join(known)})."
    )


@contextlib.contextmanager
def open_weights(where: str | os.PathLike, network: str | None = None) -> Iterator[transfer.Source]:
    """Open the weights that a reference stands for; published ones are downloaded once.

    Args:
        where: as for `locate_weights`.
        network: that they are for, where that is known.

    Yields:
        Their `Source`.

    Raises:
        NotFoundError: there is no such file or folder.
        InputError: there is no such tag; or, as `WeightsError`, the file cannot be used.
    """
    found = locate_weights(where, network)
    if isinstance(found, Published):
        if network not in (None, found.network):
            raise InputError(f"{found.id!r} are weights of {found.network}, not of {network}.")
        with transfer.source(hub.fetch(found), network or found.network) as source:
            yield source.copy_of(found)
    else:
        with transfer.source(found, network) as source:
            yield source


def read_card(where: str | os.PathLike, network: str | None = None) -> Card:
    """What weights are of: network, input size, classes, preprocessing; nothing is downloaded.

    Args:
        where: as for `locate_weights`.
        network: that they are for, where that is known.

    Raises:
        NotFoundError: there is no such file or folder.
        InputError: as `open_weights`, or the file does not say what network it holds.
    """
    found = locate_weights(where, network)
    if isinstance(found, Published):
        return describe_published(found)
    with transfer.source(found, network) as source:
        if source.card is None:
            raise transfer.WeightsError(found, transfer.NAMELESS)
        return source.card


def describe_published(published: Published) -> Card:
    """The card of published weights, as the catalogue has it."""
    size = published.size
    return Card(
        network=published.network,
        spec=family.named_spec(published.network, published.variant, input_size=size),
        input_shape=(size, size, 3),
        classes=published.classes,
        class_names=imagenet.class_names() if published.classes == 1000 else None,
        preprocessing=published.preprocessing(),
    )
