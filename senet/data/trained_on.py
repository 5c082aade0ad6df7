"""Which images a network was trained on: what of it travels with the network, and what it tells.

A score on images that were trained on is better than the truth. Where the split was drawn at
random, another draw holds out other images, and a folder of everything holds all of them; so the
split is drawn again as it was, and images are known again by their content.
"""

import base64
import binascii
import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from senet.data.decode import ImageError
from senet.data.readers import UNREADABLE
from senet.data.sources import Data, Source
from senet.errors import InputError
from senet.foreign import MAX_PATH, clean_text
from senet.progress import meter

MAX_DIGESTS = 100_000
"""Training images up to which the content of each is noted; all of a larger set would take long to
read, and megabytes of every file of the network."""
MAX_TOGETHER = 1_000_000
"""Images up to which those of earlier trainings are noted too: 11 MB of the file of the network,
which may have 16 MB of such records."""
CHUNK = 4096
"""Images that wait for a thread at once; each takes about 2 kB then."""
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
        digests: of the content of images that it was trained on, those of the weights it started
            from among them, `(N,)` uint64 in rising order.
        noted: whether each training image is among the digests; those of more than 100,000 are not.
        trained_elsewhere: whether it was trained on other images too that are not noted: by the
            weights that it started from, or by hand since.

    Raises:
        ValueError: a field is of another kind.
    """

    seed: int
    validation: float
    test: float
    fraction: float
    split_sha256: str
    images: int
    digests: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, "uint64"))
    noted: bool = False
    trained_elsewhere: bool = True

    def __post_init__(self) -> None:
        kinds: dict[str, Any] = dict(
            seed=int,
            validation=int | float,
            test=int | float,
            fraction=int | float,
            split_sha256=str,
            images=int,
            digests=np.ndarray,
            noted=bool,
            trained_elsewhere=bool,
        )
        for field, kind in kinds.items():
            if not isinstance(getattr(self, field), kind):
                given = clean_text(repr(getattr(self, field)))
                raise InputError(f"the field {field} cannot be {given}")

    @property
    def options(self) -> dict[str, Any]:
        """Those of `split_data` that draw the same split of the same images."""
        names = ("seed", "validation", "test", "fraction")
        return {name: getattr(self, name) for name in names}

    @property
    def complete(self) -> bool:
        """Whether an image that is not among the digests was never trained on."""
        return self.noted and not self.trained_elsewhere

    def recognise(self, source: Source) -> np.ndarray:
        """Which images of a source are known to have been trained on, `(N,)` bool.

        An image is known again by the bytes of its file: it may have another name or lie in an
        archive, but one that was saved anew is another image.
        """
        if not len(self.digests):
            return np.zeros(len(source), bool)
        return np.isin(digest_images(source), self.digests)

    def recognise_names(self, source: Source) -> set[str]:
        """Names of the images of a source that are known to have been trained on."""
        return {source.names[i] for i in np.flatnonzero(self.recognise(source)).tolist()}

    def after(self, before: "TrainedOn | None") -> "TrainedOn":
        """This training, after the one that made the weights it started from.

        Args:
            before: what those weights say of it; `None` where they say nothing.
        """
        if before is None:
            return dataclasses.replace(self, trained_elsewhere=True)
        together = np.union1d(self.digests, before.digests)
        fits = len(together) <= MAX_TOGETHER
        return dataclasses.replace(
            self,
            digests=together if fits else self.digests,
            trained_elsewhere=not (fits and before.complete),
        )

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values; `from_json` reads it back."""
        packed = self.digests.astype("<u8").tobytes()
        return vars(self) | dict(digests=base64.b64encode(packed).decode())

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TrainedOn":
        """The record that `to_json` wrote.

        Raises:
            ValueError: a field is missing, unknown or of another kind.
        """
        try:
            packed = values["digests"]
            digests = np.frombuffer(base64.b64decode(packed or "", validate=True), "<u8")
            # older records do not say whether there was other training, and have none for many
            given = dict(noted=packed is not None) | values | dict(digests=digests.astype("uint64"))
            return cls(**given)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            reason = f"the field {error} is missing" if isinstance(error, KeyError) else error
            raise InputError(
                "in its record of the images it was trained on, " + clean_text(reason, MAX_PATH)
            ) from error


def describe_training(
    data: Data, options: dict[str, Any], digests: Mapping[str, np.ndarray] | None
) -> TrainedOn:
    """Which images a network is about to be trained on, from new weights.

    Args:
        data: split.
        options: of `split_data`, that it was split with.
        digests: of its splits, as `digest_splits` gives them.
    """
    known = np.empty(0, "uint64") if digests is None else digests["train"]
    return TrainedOn(
        **options,
        split_sha256=data.digest,
        images=len(data.split("train")),
        digests=np.setdiff1d(known, np.uint64(UNKNOWN)),
        noted=digests is not None,
        trained_elsewhere=False,
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
        for start in range(0, len(source), CHUNK):
            keys = source.keys[start : start + CHUNK]
            found = threads.map(functools.partial(_digest_image, source), keys)
            for place, digest in enumerate(found, start):
                digests[place] = digest
                progress.advance(1)
    return digests


def _digest_image(source: Source, key: Any) -> int:
    digest, empty = hashlib.sha256(), True
    try:
        for piece in source.reader.pieces(key):
            digest.update(piece)
            empty = False
    except (ImageError, *UNREADABLE):
        return UNKNOWN
    return UNKNOWN if empty else int.from_bytes(digest.digest()[:DIGEST_BYTES], "little")
