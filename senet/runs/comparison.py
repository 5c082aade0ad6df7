"""Runs side by side, from what their folders say."""

import dataclasses
import os
import pathlib
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from senet.foreign import MAX_PATH, clean_text
from senet.plotting.curves import draw_comparison
from senet.plotting.style import both
from senet.runs.comparison_table import COLUMNS, TEXT_COLUMNS, align_columns, fill_row
from senet.runs.folder import REPORT
from senet.runs.page import picture, relative, value, write_page
from senet.runs.reading import PastRun, read_run


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs, and what tells them apart.

    Args:
        runs: that are compared, at least one.
    """

    runs: Sequence[PastRun]

    @property
    def table(self) -> list[list[str]]:
        """A row for each run, after a row of headings."""
        return [list(COLUMNS), *map(fill_row, self.runs)]

    @property
    def differences(self) -> dict[str, dict[str, list[Any]]]:
        """Fields of recipe, versions and machine that differ, each with its value in every run."""
        groups = {}
        for group in ("recipe", "versions", "machine"):
            given = [getattr(run, group) for run in self.runs]
            fields = dict.fromkeys(field for values in given for field in values)
            rows = {clean_text(field): [values.get(field) for values in given] for field in fields}
            different = {f: row for f, row in rows.items() if any(v != row[0] for v in row)}
            if different:
                groups[group] = different
        return groups

    @property
    def warnings(self) -> list[str]:
        """What keeps the scores from being compared, or may make them better than the truth."""
        found = self.differing_images
        doubtful = [
            run.name for run in self.runs if run.score and run.score.trained_on_complete is False
        ]
        if doubtful:
            found.append(
                f"Not every image that {', '.join(doubtful)} was trained on is noted: images that "
                "it was scored on may be among them."
            )
        return found

    @property
    def differing_images(self) -> list[str]:
        """What says that the scores are not of the same images."""
        found = []
        unknown = [run.name for run in self.runs if not run.digest]
        if unknown and len(self.runs) > 1:
            names = ", ".join(unknown)
            found.append(f"It is not recorded which images were held out in {names}.")
        splits = self._group_names(lambda run: run.digest)
        if len(splits) > 1:
            parts = "; ".join(", ".join(names) for names in splits.values())
            found.append(
                "These runs do not hold out the same images, so their scores cannot be compared: "
                f"{parts}."
            )
        scored = self._group_names(
            lambda run: f"{run.score.images} {run.score.split} images" if run.score else None
        )
        if len(scored) > 1:
            parts = "; ".join(f"{', '.join(names)} on {what}" for what, names in scored.items())
            found.append(f"These runs were not scored on the same images: {parts}.")
        return found

    def write(self, folder: str | os.PathLike) -> list[pathlib.Path]:
        """Write `compare.svg` and `.png`, the curves of all runs, and a page, `compare.html`.

        Args:
            folder: for them; made if it is missing.

        Returns:
            Paths of all three.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        pictures, page = both(folder / "compare.png"), folder / "compare.html"
        title = f"{len(self.runs)} run{'s' if len(self.runs) != 1 else ''} compared"
        draw_comparison({run.name: run.history for run in self.runs}, pictures, title=title)
        write_page(
            page,
            "compare.html",
            table=self.table,
            names=[run.name for run in self.runs],
            folders=[_link_report(run.folder, folder) for run in self.runs],
            differences={
                group: {field: list(map(relative, values)) for field, values in fields.items()}
                for group, fields in self.differences.items()
            },
            warnings=self.warnings,
            curves=picture(pictures[0], "Validation loss and accuracy of each epoch"),
        )
        return [*pictures, page]

    def to_json(self) -> dict[str, Any]:
        """Numbers of every run and their differences."""
        return dict(
            runs=[run.summary() for run in self.runs],
            differences=self.differences,
            same_images=not self.differing_images,
        )

    def __str__(self) -> str:
        """The table, and a table of the differences."""
        parts = [align_columns(self.table, left=TEXT_COLUMNS)]
        for group, fields in self.differences.items():
            rows = [[f, *map(clean_text, map(value, values))] for f, values in fields.items()]
            headings = [group, *(run.name for run in self.runs)]
            parts.append(align_columns([headings, *rows], left=len(headings)))
        if len(self.runs) > 1 and not self.differences:
            parts.append("no difference in recipe, versions and machine")
        return "\n\n".join(parts)

    def _group_names(self, key: Callable[[PastRun], str | None]) -> dict[str, list[str]]:
        """Names of the runs by what they have in common; those that have nothing are left out."""
        groups: dict[str, list[str]] = {}
        for run in self.runs:
            common = key(run)
            if common:
                groups.setdefault(common, []).append(run.name)
        return groups


def read_runs(folders: Iterable[str | os.PathLike]) -> tuple[list[PastRun], list[str]]:
    """What run folders say, each folder once.

    Args:
        folders: of the runs.

    Returns:
        What each says that can be read, and a line for each that cannot.
    """
    paths = {os.path.realpath(folder): pathlib.Path(folder) for folder in folders}
    runs, errors = [], []
    for path, name in zip(paths.values(), _tell_apart(list(paths)), strict=True):
        try:
            runs.append(read_run(path, name))
        except (OSError, ValueError) as error:
            errors.append(clean_text(error, MAX_PATH))
    return runs, errors


def _link_report(run: str, page: pathlib.Path) -> dict[str, str | None]:
    """Where a run lies as seen from the folder of a page, and the address of its report there."""
    try:
        path = os.path.relpath(run, page)
    except ValueError:  # another drive
        return dict(path=pathlib.PurePath(run).name, link=None)
    there = (pathlib.Path(run) / REPORT).is_file()
    address = urllib.parse.quote(pathlib.PurePath(path, REPORT).as_posix())
    return dict(path=path, link=address if there else None)


def _tell_apart(paths: Sequence[str]) -> list[str]:
    """Names of folders that tell them apart: the last part of the path, or more of it."""
    names = [os.path.basename(path) for path in paths]
    if len(set(names)) < len(names):
        above = os.path.commonpath(paths)
        names = [os.path.relpath(path, above) for path in paths]
    names = [clean_text(name) for name in names]
    twice = len(set(names)) < len(names)
    return [f"{i + 1}: {name}" if twice else name for i, name in enumerate(names)]
