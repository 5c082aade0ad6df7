"""Images that cannot be read: looked for, counted, listed; too many of them stop a run."""

import csv
import functools
import math
import os
import pathlib
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, get_args

import numpy as np

from senet.data import sharing
from senet.data.decode import ImageError
from senet.data.sources import Data, Source
from senet.errors import InputError
from senet.files import replacing
from senet.progress import meter

Policy = Literal["limit", "stop", "ignore"]
MOST = 0.01
"""Share of all images that may be damaged under the policy `"limit"`."""
MOST_OF_CLASS = 0.1
"""Share of the images of a class that may be."""
SHOWN = 10
COLUMNS = ("file", "class", "split", "reason")
CHUNK = 64
"""Images between two looks at the clock."""
DECODING_THREADS = min(8, os.cpu_count() or 1)
"""Decoders do not hold Python up; each may have a large image in memory."""


class TooManyBadImages(InputError):
    """More images are damaged than the run was told to put up with; the message lists them."""


class BadImages:
    """The damaged images of a data set, as they are met.

    Args:
        data: that they are of. Their indices are those in its split `"all"`, whose first images are
            the training images.
        policy: `"limit"` stops at more than 1 % of all images or more than 10 % of a class,
            `"stop"` at the first one, `"ignore"` never.
        path: of the CSV file that lists them, with the columns file, class, split and reason. It is
            written at the first one; lines on other images that are there already stay. `None`
            writes none.

    Example:
        >>> from senet.data.sources import load_data
        >>> data = load_data("digits")
        >>> bad = BadImages(data, "limit", None)
        >>> bad.add("train", [3, 14])
        >>> bad.indices
        (3, 14)
    """

    def __init__(self, data: Data, policy: Policy, path: str | os.PathLike | None) -> None:
        if policy not in get_args(Policy):
            raise InputError(
                f"The policy on damaged images must be one of {', '.join(get_args(Policy))}; got "
                f"{policy!r}."
            )
        self.source, self.policy = data.split("all"), policy
        self.path = None if path is None else pathlib.Path(path)
        self.class_names = data.class_names
        ends = np.cumsum([len(split) for split in data.splits.values()]).tolist()
        self._starts = dict(zip([*data.splits, "all"], [0, *ends], strict=True)) | dict(all=0)
        self._splits = np.repeat([*data.splits], [len(split) for split in data.splits.values()])
        self._reasons: dict[int, str | None] = {}

    @property
    def indices(self) -> tuple[int, ...]:
        """Index among all images of each damaged image so far, in rising order."""
        return tuple(sorted(self._reasons))

    def add(self, split: str, indices: Iterable[int]) -> None:
        """Count images as damaged, each once, list them with the reason, and stop if they are many.

        Args:
            split: that the images are of; `"all"` too.
            indices: in it.

        Raises:
            TooManyBadImages: the policy says that the run ends here.
        """
        if self.note(split, indices):
            self.check()

    def note(
        self, split: str, indices: Iterable[int], reasons: Mapping[int, str] | None = None
    ) -> bool:
        """Count and list images as `add` does, however many they are; whether one is new.

        Args:
            split: that the images are of; `"all"` too.
            indices: in it.
            reasons: for indices, why they cannot be read, where that is known already.
        """
        start, known = self._starts[split], reasons or {}
        found = {start + int(index): known.get(int(index)) for index in indices}
        new = {index: reason for index, reason in found.items() if index not in self._reasons}
        self._reasons |= new
        if new and self.path is not None:
            self._write(self.path)
        return bool(new)

    def explain(self, split: str, index: int) -> str:
        """Why an image of a split that was noted cannot be read; it is read once for that."""
        place = self._starts[split] + index
        reason = self._reasons[place]
        if reason is None:
            reason = self._reasons[place] = explain_damage(self.source, place)
        return reason

    def check(self) -> None:
        """End the run where the policy says so.

        Raises:
            TooManyBadImages: it does; the message lists the first images.
        """
        total, damaged = len(self.source), len(self._reasons)
        reasons = []
        if self.policy == "stop" and damaged:
            reasons = [f"{damaged} of {total} images cannot be read, and one is enough to stop"]
        elif self.policy == "limit":
            if damaged > MOST * total:
                reasons.append(f"{damaged} of {total} images cannot be read, more than {MOST:.0%}")
            whole = np.bincount(self.source.labels)
            lost = np.bincount(self.source.labels[list(self.indices)], minlength=len(whole))
            reasons += [
                f"{lost[c]} of the {whole[c]} images of {self.class_names[c]} cannot be read, more "
                f"than {MOST_OF_CLASS:.0%}"
                for c in np.flatnonzero(lost > MOST_OF_CLASS * whole).tolist()
            ]
        if reasons:
            raise TooManyBadImages(self._message(reasons))

    def counts(self) -> dict[str, Any]:
        """Damaged images, of how many, and by class and by split those that have any."""
        found = list(self.indices)
        by_class = np.bincount(self.source.labels[found]).tolist()
        splits = self._splits[found].tolist()
        return dict(
            damaged=len(found),
            images=len(self.source),
            by_class={self.class_names[c]: n for c, n in enumerate(by_class) if n},
            by_split={split: splits.count(split) for split in dict.fromkeys(splits)},
        )

    @property
    def lost_classes(self) -> list[str]:
        """Names of the classes none of whose images can be read."""
        whole = np.bincount(self.source.labels)
        bad = np.bincount(self.source.labels[list(self.indices)], minlength=len(whole))
        return [self.class_names[c] for c in np.flatnonzero((bad == whole) & (whole > 0)).tolist()]

    def describe(self) -> list[str]:
        """Name, split and reason of each in a line."""
        return [f"{name} ({split}): {reason}" for name, _, split, reason in self._rows()]

    def _rows(self, most: int | None = None) -> list[tuple[str, str, str, str]]:
        """The lines of the list, the first ones of them."""
        names, labels = self.source.names, self.source.labels
        return [
            (names[i], self.class_names[labels[i]], str(self._splits[i]), self.explain("all", i))
            for i in self.indices[:most]
        ]

    def _write(self, path: pathlib.Path) -> None:
        rows = self._rows()
        ours = {row[0] for row in rows}
        kept: list[Sequence[str]] = []
        if path.is_file():
            with open(path, newline="", encoding="utf-8", errors="backslashreplace") as file:
                found = [*csv.DictReader(file)]  # of older runs without the split
            kept = [[row.get(column) or "" for column in COLUMNS] for row in found]
        with replacing(path) as written, open(written, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([COLUMNS, *(row for row in kept if row[0] not in ours), *rows])

    def _message(self, reasons: list[str]) -> str:
        lines = [f"  {name} ({split}): {reason}" for name, _, split, reason in self._rows(SHOWN)]
        if len(self._reasons) > SHOWN:
            lines.append(f"  and {len(self._reasons) - SHOWN} more")
        more = f"; so do {len(reasons) - 3} other classes" if len(reasons) > 3 else ""
        listed = f"The list so far is {str(self.path)!r}. " if self.path else ""
        return (
            f"{'; '.join(reasons[:3])}{more}:\n"
            + "\n".join(lines)
            + f"\n{listed}Repair or remove these files and begin again, or go on "
            "without them with --bad-images ignore."
        )


def explain_damage(source: Source, index: int) -> str:
    """Why an image cannot be read."""
    return _find_reason(source, index) or "It could not be read at first, and could later."


def _find_reason(source: Source, index: int) -> str | None:
    """Why an image cannot be read; `None` where it can."""
    try:
        with sharing.holding():  # until the image is let go
            source.image(index)
    except ImageError as error:
        return str(error).removeprefix(f"{source.names[index]}: ")
    return None


def find_damaged(source: Source, seconds: float = math.inf) -> tuple[dict[int, str], int]:
    """Look for images that cannot be read, for a while.

    The images that are looked at first are spread over all, so that an early end tells something of
    each class.

    Args:
        source: of the images.
        seconds: after which no more are looked at.

    Returns:
        Indices of those that cannot be read, in rising order and each with the reason, and how many
        images were looked at.
    """
    order = np.random.default_rng(0).permutation(len(source))
    end = time.monotonic() + seconds
    damaged: dict[int, str] = {}
    looked = 0
    with (
        ThreadPoolExecutor(DECODING_THREADS) as threads,
        meter("looking for damaged images", len(source)) as progress,
    ):
        while looked < len(source) and time.monotonic() < end:
            part = order[looked : looked + CHUNK].tolist()
            reasons = threads.map(functools.partial(_find_reason, source), part)
            damaged |= {i: reason for i, reason in zip(part, reasons, strict=True) if reason}
            looked += len(part)
            progress.advance(len(part))
    return dict(sorted(damaged.items())), looked
