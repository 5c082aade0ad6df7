"""Write files so that they appear whole or not at all."""

import contextlib
import csv
import json
import os
import pathlib
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from senet.errors import ExistsError, NotFoundError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Give a temporary name to write to, then flush the file to disk and rename it to `path`.

    If the body fails, what was at `path` before stays as it was and nothing is left beside it.

    Args:
        path: final name; its folder must exist.

    Yields:
        A name of the same ending in a hidden folder beside the final one.

    Raises:
        OSError: the folder is missing or cannot be written.

    Example:
        >>> with replacing("metrics.csv") as path:
        ...     characters = path.write_text("epoch,loss")
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise NotFoundError(f"There is no folder {str(path.parent)!r} to write {path.name} in.")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder:
        written = pathlib.Path(folder, path.name)
        yield written
        _give_usual_mode([written], pathlib.Path(folder))
        with open(written, "rb+") as file:  # Windows flushes only what may be written
            os.fsync(file.fileno())
        written.replace(path)
    _flush_folder(path.parent)


@contextlib.contextmanager
def making_parents(path: str | os.PathLike) -> Iterator[None]:
    """Make the folders above a path while the body writes it.

    If the body fails, those that were made are removed again.

    Args:
        path: of a file or folder to be written.

    Raises:
        OSError: they cannot be made.
    """
    missing = []
    for folder in pathlib.Path(path).absolute().parents:
        if folder.exists():
            break
        missing.append(folder)
    made = []
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            made.append(folder)
        yield
    except BaseException:
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # somebody else may have put something there
                folder.rmdir()
        raise


def _give_usual_mode(files: Iterable[pathlib.Path], folder: pathlib.Path) -> None:
    """Let files be read by those who may read a new file: some libraries write for the owner alone.

    Args:
        files: to change.
        folder: for a file that shows what the umask gives.
    """
    new = folder / ".new"
    new.touch()
    mode = stat.S_IMODE(new.stat().st_mode)
    new.unlink()
    for file in files:
        file.chmod(mode)


def write_json(path: str | os.PathLike, values: Mapping[str, Any]) -> None:
    """Write plain values to a file of JSON that appears whole or not at all."""
    with replacing(path) as written:
        written.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def write_rows(
    path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write a file of CSV that appears whole or not at all.

    Args:
        path: of the file.
        columns: names of the columns, in their order.
        rows: a value for each column; letters that UTF-8 cannot hold are escaped as in Python.
    """
    with (
        replacing(path) as written,
        open(written, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _flush_folder(folder: pathlib.Path) -> None:
    """Make a rename durable, where the system lets folders be flushed."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike, ours: str) -> Iterator[pathlib.Path]:
    """Give a temporary folder to fill, then flush it to disk and rename it to `path`.

    If the body fails, what was at `path` before stays as it was and nothing is left beside it.

    Args:
        path: final name. Folders above it are made; a folder of that name is replaced if it is
            empty or holds the file `ours`.
        ours: name of a file by which a folder that may be replaced is known.

    Yields:
        An empty folder beside the final one.

    Raises:
        FileExistsError: there is something else at the path.
        OSError: the folder above it cannot be made or written.
    """
    path = pathlib.Path(path)
    if path.exists() and not (
        path.is_dir() and ((path / ours).is_file() or not any(path.iterdir()))
    ):
        raise ExistsError(
            f"{str(path)!r} exists and holds something else: name another folder, or remove it."
        )
    with (
        making_parents(path),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as beside,
    ):
        written = pathlib.Path(beside, path.name)
        written.mkdir()
        yield written
        files = [inside for inside in written.rglob("*") if inside.is_file()]
        _give_usual_mode(files, pathlib.Path(beside))
        for inside in written.rglob("*"):
            if inside.is_file():
                with open(inside, "rb+") as file:
                    os.fsync(file.fileno())
            else:
                _flush_folder(inside)
        _flush_folder(written)
        before = pathlib.Path(beside, "before")
        if path.exists():
            path.rename(before)
        try:
            written.rename(path)
        except OSError:
            if before.exists():
                before.rename(path)
            raise
    _flush_folder(path.parent)
