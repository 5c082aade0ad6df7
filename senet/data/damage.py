"""Images that cannot be read: counted, listed in a file, and too many of them stop a run."""

import csv
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np

from senet.data.decode import ImageError
from senet.data.sources import Source
from senet.files import replacing

Policy = Literal["limit", "stop", "ignore"]
MOST = 0.01
"""Share of all images that may be damaged under the policy `"limit"`."""
MOST_OF_CLASS = 0.1
"""Share of the images of a class that may be."""
SHOWN = 10
COLUMNS = ("file", "class", "reason")


class TooManyBadImages(ValueError):
    """More images are damaged than the run was told to put up with; the message lists them."""


class BadImages:
    """The damaged images of a source, as they are met.

    Args:
        source: that they are of.
        policy: `"limit"` stops at more than 1 % of all images or more than 10 % of a class,
            `"stop"` at the first one, `"ignore"` never.
        path: of the CSV file that lists them, with the columns file, class and reason. It is
            written at the first one; lines on other images that are there already stay. `None`
            writes none.
        class_names: one for each label; the numbers of the classes by default.

    Example:
        >>> bad = BadImages(source, "limit", "run/bad_images.csv")
        >>> for batch in batches:
        ...     bad.add(batch.bad)
    """

    def __init__(
        self,
        source: Source,
        policy: Policy,
        path: str | os.PathLike | None,
        *,
        class_names: Sequence[str] | None = None,
    ) -> None:
        if policy not in get_args(Policy):
            raise ValueError(
                f"The policy on damaged images must be one of {', '.join(get_args(Policy))}; got "
                f"{policy!r}."
            )
        self.source, self.policy = source, policy
        self.path = None if path is None else pathlib.Path(path)
        self.class_names = class_names
        self._reasons: dict[int, str] = {}

    @property
    def indices(self) -> tuple[int, ...]:
        """Index in the source of each damaged image so far, in rising order."""
        return tuple(sorted(self._reasons))

    def add(self, indices: Iterable[int]) -> None:
        """Count images as damaged, each once, and list them with the reason.

        Args:
            indices: in the source.

        Raises:
            TooManyBadImages: the policy says that the run ends here.
        """
        if new := {int(index) for index in indices} - set(self._reasons):
            self._reasons |= {index: self._reason(index) for index in sorted(new)}
            if self.path is not None:
                self._write(self.path)
            self._check()

    def counts(self) -> dict[str, Any]:
        """Damaged images, of how many, and by class those that have any."""
        by_class = np.bincount(self.source.labels[list(self.indices)])
        return dict(
            damaged=len(self._reasons),
            images=len(self.source),
            by_class={self._name(c): n for c, n in enumerate(by_class.tolist()) if n},
        )

    def _reason(self, index: int) -> str:
        try:
            self.source.image(index)
        except ImageError as error:
            return str(error).removeprefix(f"{self.source.names[index]}: ")
        return "It could not be read at first, and could later."

    def _name(self, label: int) -> str:
        return str(label) if self.class_names is None else self.class_names[label]

    def _rows(self) -> list[tuple[str, str, str]]:
        names, labels = self.source.names, self.source.labels
        return [(names[i], self._name(labels[i]), self._reasons[i]) for i in self.indices]

    def _write(self, path: pathlib.Path) -> None:
        rows = self._rows()
        ours = {row[0] for row in rows}
        kept: list[list[str]] = []
        if path.is_file():
            with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
                kept = [row for row in list(csv.reader(file))[1:] if row and row[0] not in ours]
        with (
            replacing(path) as written,
            open(written, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file)
            writer.writerows([COLUMNS, *kept, *rows])

    def _check(self) -> None:
        total, damaged = len(self.source), len(self._reasons)
        reasons = []
        if self.policy == "stop":
            reasons = [f"{damaged} of {total} images cannot be read, and one is enough to stop"]
        elif self.policy == "limit":
            if damaged > MOST * total:
                reasons.append(f"{damaged} of {total} images cannot be read, more than {MOST:.0%}")
            whole = np.bincount(self.source.labels)
            lost = np.bincount(self.source.labels[list(self.indices)], minlength=len(whole))
            reasons += [
                f"{lost[c]} of the {whole[c]} images of {self._name(c)} cannot be read, more than "
                f"{MOST_OF_CLASS:.0%}"
                for c in np.flatnonzero(lost > MOST_OF_CLASS * whole).tolist()
            ]
        if reasons:
            raise TooManyBadImages(self._message(reasons))

    def _message(self, reasons: list[str]) -> str:
        lines = [f"  {name}: {reason}" for name, _, reason in self._rows()[:SHOWN]]
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
