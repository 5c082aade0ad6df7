"""Published weights from the Hugging Face hub or a release page into its cache, once."""

import contextlib
import hashlib
import pathlib
import socket
import sys

from senet.weights.catalogue import Published
from senet.weights.readers import WeightsError

TIMEOUT = 30.0
"""Seconds without a byte after which a release page is given up."""


def fetch(published: Published) -> pathlib.Path:
    """The file of published weights: from the cache, or downloaded into it.

    What lies on the hub is downloaded, resumed and kept by `huggingface_hub`, whose `HF_ENDPOINT`,
    `HF_HOME` and `HF_HUB_OFFLINE` hold; the rest by Keras in `models/senet` of its own cache
    (`KERAS_HOME`). A checksum is compared where one is known; where none is, standard error says
    so.

    Args:
        published: a row of the catalogue.

    Returns:
        Path of the file.

    Raises:
        WeightsError: the weights cannot be downloaded, or are not those that were published.
    """
    try:
        path = _from_hub(published) if published.repository else _from_url(published)
    except Exception as error:  # of the network, the hub and its client, which has many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(
            published.id,
            f"{published.file} of {published.repository or published.url} cannot be downloaded: "
            f"{reason} Without a connection, copy the file here and load it with "
            f"senet.load(path, weights={published.tag!r}), as --model PATH --weights "
            f"{published.tag}, or to train from it as --weights PATH.",
        ) from error
    verify(path, published)
    return path


def verify(path: pathlib.Path, published: Published) -> None:
    """Compare the checksum of a file, or say on standard error that there is none to compare with.

    Args:
        path: of the file.
        published: the weights that it is said to hold.

    Raises:
        WeightsError: the checksum is another one.
    """
    if published.sha256 is None:
        print(
            f"senet: {published.id} from {published.repository}: no published checksum is known, "
            "so the file is not verified",
            file=sys.stderr,
        )
    elif not (found := _sha256(path)).startswith(published.sha256):
        raise WeightsError(
            path,
            f"its SHA-256 is {found[:16]}..., that of {published.id} begins with "
            f"{published.sha256[:16]}. Delete the file and download it again.",
        )


def _from_hub(published: Published) -> pathlib.Path:
    import huggingface_hub

    return pathlib.Path(
        huggingface_hub.hf_hub_download(
            str(published.repository), published.file, revision=published.revision
        )
    )


def _from_url(published: Published) -> pathlib.Path:
    """The file of a release page; one that a killed download left incomplete is fetched again."""
    import keras

    name = str(published.url).rsplit("/", 1)[-1]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            where = dict(origin=published.url, cache_subdir="models/senet")
            path = pathlib.Path(keras.utils.get_file(name, **where))
            if published.sha256 and not _sha256(path).startswith(published.sha256):
                path = pathlib.Path(keras.utils.get_file(name, **where, force_download=True))
    finally:
        socket.setdefaulttimeout(before)
    return path


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
