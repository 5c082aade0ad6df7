"""The run folder: the name of every file in it, and who may write there."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

import filelock

from senet.errors import ExistsError, NotFoundError

RECORD = "run.json"
"""What began the run; a folder is a run's as soon as this file is there."""
RECIPE = "recipe.toml"
IMAGES = "images.csv"
"""Every image with its split, class and a stamp of its content."""
MODEL = "model.keras"
"""The network of the last whole epoch."""
BEST = "best.keras"
"""That of the best validation accuracy."""
METRICS = "metrics.csv"
"""A row for each epoch."""
RESULT = "result.json"
BAD_IMAGES = "bad_images.csv"
CHECKPOINTS = "checkpoints"
EARLY = (RECIPE, IMAGES, BAD_IMAGES)
"""Written before the record, which makes the folder a run's."""
EVENTS = "events"
LOCK = ".lock"

CURVES = "curves.png"
CONFUSION = "confusion.png"
CALIBRATION = "calibration.png"
PREDICTIONS = "predictions.png"
SAMPLES = "samples.png"
GATES_PROFILE = "gates_profile.png"
"""Of networks with squeeze and excitation; so is the next one."""
GATES_CLASSES = "gates_classes.png"
REPORT = "report.html"


def is_run(folder: pathlib.Path) -> bool:
    """Whether a run began in a folder."""
    return (folder / RECORD).is_file()


def find_network(folder: pathlib.Path) -> pathlib.Path:
    """The file of the network in a folder that training or folding left.

    Raises:
        NotFoundError: it holds none; the message says why that may be.
    """
    file = folder / MODEL
    if file.is_file():
        return file
    if is_run(folder):
        why = f"its training ended before the first epoch was over; --resume {folder} goes on"
    else:
        why = "it is no run folder"
    raise NotFoundError(f"{str(folder)!r} holds no {MODEL}: {why}.")


def require_new(folder: pathlib.Path) -> None:
    """Refuse a folder with anything in it but what a start leaves that failed or was cut off.

    Raises:
        ExistsError: the folder holds a run that has something to lose, or something else.
    """
    if not folder.exists() or _is_start(folder):
        return
    if is_run(folder):
        raise ExistsError(
            f"{str(folder)!r} is a run already: senet train --resume {folder} goes on with it; or "
            "choose another --out."
        )
    raise ExistsError(
        f"{str(folder)!r} exists and is not an empty folder: choose another --out, or move it."
    )


def _is_start(folder: pathlib.Path) -> bool:
    """Whether a folder holds nothing but what a run writes before its first checkpoint."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    checkpoints = folder / CHECKPOINTS
    if checkpoints.is_dir() and not any(p.name[0] != "." for p in checkpoints.iterdir()):
        names.discard(CHECKPOINTS)
    events = {path.name for path in (folder / EVENTS).glob("*") if ".tfevents." not in path.name}
    began = (RECORD, EVENTS) if is_run(folder) and not events else ()
    return names <= {*EARLY, *began}


def forget_start(folder: pathlib.Path) -> None:
    """Let a folder be no run's, whose start failed before its first checkpoint, to begin anew.

    What else a start writes is replaced by the next one. Nobody else may train there: the lock must
    be held.
    """
    if is_run(folder) and _is_start(folder):
        for path in (folder / EVENTS).glob("*.tfevents.*"):
            path.unlink()
        if (folder / EVENTS).is_dir() and not any((folder / EVENTS).iterdir()):
            (folder / EVENTS).rmdir()
        (folder / RECORD).unlink()
    forget_bad_images(folder)


@contextlib.contextmanager
def lock_folder(folder: pathlib.Path) -> Iterator[None]:
    """Refuse to train where another process does.

    The lock is the system's, not the file's being there: a process that was killed holds none.

    Raises:
        FileExistsError: another process has the lock.
    """
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ExistsError(
            f"Another process trains in {str(folder)!r}: wait for its end, or stop it."
        ) from None
    try:
        yield
    finally:
        lock.release()


def forget_bad_images(folder: pathlib.Path) -> None:
    """Remove the list of a start that was cut off: its images may have been mended since."""
    (folder / BAD_IMAGES).unlink(missing_ok=True)


def remove_half_written(folder: pathlib.Path) -> None:
    """Remove what a process was writing when it was killed.

    A file is written in a folder beside it whose name begins with a dot, and then moved into its
    place (`senet.files.replacing`): such folders are what a kill leaves.
    """
    for path in (*folder.glob(".*-*"), *(folder / CHECKPOINTS).glob(".step-*")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
