"""Published weights from the Hugging Face hub into its cache, once."""

import hashlib
import pathlib
import sys

from senet.weights.catalogue import Published
from senet.weights.readers import WeightsError


def fetch(published: Published) -> pathlib.Path:
    """The file of published weights: from the cache, or downloaded into it.

    `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` are those of `huggingface_hub`, which downloads,
    resumes and keeps the file. A checksum is compared where one is known; where none is, standard
    error says so.

    Args:
        published: a row of the catalogue.

    Returns:
        Path of the file.

    Raises:
        WeightsError: the weights are not on the hub, cannot be downloaded, or are not those that
            were published.
    """
    if published.repository is None:
        raise WeightsError(
            published.id,
            f"these weights are not on the hub. Download {published.url} and pass the path of the "
            "file: weights='path/to/file.pth'.",
        )
    import huggingface_hub

    try:
        path = pathlib.Path(
            huggingface_hub.hf_hub_download(
                published.repository, published.file, revision=published.revision
            )
        )
    except Exception as error:  # of the network, the hub and its client, which has many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(
            published.id,
            f"{published.file} of {published.repository} cannot be downloaded: {reason} Without a "
            "connection, copy the file here and pass its path as weights=.",
        ) from error
    _verify(path, published)
    return path


def _verify(path: pathlib.Path, published: Published) -> None:
    """Compare the checksum, or say that there is none to compare with."""
    if published.sha256 is None:
        print(
            f"senet: {published.id} from {published.repository}: no published checksum is known, "
            "so the file is not verified",
            file=sys.stderr,
        )
        return
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(published.sha256):
        raise WeightsError(
            path,
            f"its SHA-256 is {found[:16]}..., that of {published.id} begins with "
            f"{published.sha256[:16]}. Delete the file and download it again.",
        )
