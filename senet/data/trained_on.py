"""Which images a network was trained on: what of it travels with the network, and what it tells.

A score on images that were trained on is better than the truth. Where the split was drawn at
random, another draw holds out other images, and a folder of everything holds all of them; so the
split is drawn again as it was, and images are known again by their content.
"""

import base64
import binascii
import dataclasses
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from senet.data.decode import ImageError
from senet.data.readers import UNREADABLE
from senet.data.sources import Data, Source
from senet.progress import meter

MAX_DIGESTS = 100_000
"""Training images up to which the content of each is noted; all of a larger set would take long to
read, and megabytes of every file of the network."""
DIGEST_BYTES = 8
"""Of the hash of an image: among so many images two have the same one by chance once in a billion
cases."""
UNKNOWN = 0
"""In place of the digest of an image that cannot be read."""
READING_THREADS = min(8, 2 * (os.cpu_count() or 1))
"""They wait for the disk and for hashes, neither of which holds Python up."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedOn:
    """Which images a network was trained on.

    Args:
        seed: of the split, where it was drawn at random.
        validation: share that was drawn for validation.
        test: share that was drawn for testing.
        fraction: share of the training images that was used.
        split_sha256: `Data.digest` of the images and their splits.
        images: number of training images.
        digests: of the content of each training image and of those that the weights it started from
            were trained on, `(N,)` uint64 in rising order; `None` where there are more than
            100,000.

    Raises:
        ValueError: a field is of another kind.
    """

    seed: int
    validation: float
    test: float
    fraction: float
    split_sha256: str
    images: int
    digests: np.ndarray | None = None

    def __post_init__(self) -> None:
        kinds: dict[str, Any] = dict(
            seed=int,
            validation=int | float,
            test=int | float,
            fraction=int | float,
            split_sha256=str,
            images=int,
            digests=np.ndarray | None,
        )
        for field, kind in kinds.items():
            if not isinstance(getattr(self, field), kind):
                raise ValueError(
                    f"The {field} of the images that a network was trained on cannot be "
                    f"{getattr(self, field)!r}."
                )

    @property
    def options(self) -> dict[str, Any]:
        """Those of `split_data` that draw the same split of the same images."""
        names = ("seed", "validation", "test", "fraction")
        return {name: getattr(self, name) for name in names}

    def recognise(self, source: Source) -> np.ndarray | None:
        """Which images of a source were trained on, `(N,)` bool; `None` where that is not known.

        An image is known again by the bytes of its file: it may have another name or lie in an
        archive, but one that was saved anew is another image.
        """
        if self.digests is None:
            return None
        return np.isin(digest_images(source), self.digests)

    def recognise_names(self, source: Source) -> set[str] | None:
        """Names of the images of a source that were trained on; `None` as for `recognise`."""
        seen = self.recognise(source)
        return None if seen is None else {source.names[i] for i in np.flatnonzero(seen).tolist()}

    def after(self, before: "TrainedOn | None") -> "TrainedOn":
        """This training, after the one that made the weights it started from."""
        if before is None or before.digests is None or self.digests is None:
            return self
        together = np.union1d(self.digests, before.digests)
        return dataclasses.replace(self, digests=together) if len(together) <= MAX_DIGESTS else self

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values; `from_json` reads it back."""
        digests = self.digests
        if digests is None:
            return vars(self)
        packed = digests.astype("<u8").tobytes()
        return vars(self) | dict(digests=base64.b64encode(packed).decode())

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TrainedOn":
        """The record that `to_json` wrote.

        Raises:
            ValueError: a field is missing, unknown or of another kind.
        """
        values = dict(values)
        try:
            if values["digests"] is not None:
                packed = base64.b64decode(values["digests"], validate=True)
                values["digests"] = np.frombuffer(packed, "<u8").astype("uint64")
            return cls(**values)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise ValueError(
                f"What it says of the images it was trained on is damaged: {error}"
            ) from error


def describe_training(
    data: Data, options: dict[str, Any], digests: Mapping[str, np.ndarray] | None
) -> TrainedOn:
    """Which images a network is about to be trained on.

    Args:
        data: split.
        options: of `split_data`, that it was split with.
        digests: of its splits, as `digest_splits` gives them.
    """
    return TrainedOn(
        **options,
        split_sha256=data.digest,
        images=len(data.split("train")),
        digests=None if digests is None else np.setdiff1d(digests["train"], np.uint64(UNKNOWN)),
    )


def digest_splits(data: Data) -> dict[str, np.ndarray] | None:
    """`digest_images` of every split; `None` where the training images are more than 100,000."""
    if len(data.split("train")) > MAX_DIGESTS:
        return None
    whole = digest_images(data.split("all"))
    ends = np.cumsum([len(source) for source in data.splits.values()])
    return dict(zip(data.splits, np.split(whole, ends[:-1]), strict=True))


def digest_images(source: Source) -> np.ndarray:
    """The first 8 bytes of the SHA-256 of each image's content, `(N,)` uint64.

    The content is the bytes of a file or of a member of an archive; of an array shape and pixels.
    Images that cannot be read, and empty files, have `UNKNOWN`.
    """
    digests = np.full(len(source), UNKNOWN, "uint64")
    with (
        ThreadPoolExecutor(READING_THREADS) as threads,
        meter("reading images", len(source)) as progress,
    ):
        for place, digest in enumerate(
            threads.map(_digest_image, [source] * len(source), source.keys)
        ):
            digests[place] = digest
            progress.advance(1)
    return digests


def _digest_image(source: Source, key: Any) -> int:
    try:
        content = source.reader.content(key)
    except (ImageError, *UNREADABLE):
        return UNKNOWN
    if not content:
        return UNKNOWN
    return int.from_bytes(hashlib.sha256(content).digest()[:DIGEST_BYTES], "little")
