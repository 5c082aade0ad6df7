"""Checkpoints: everything that a run needs to go on as if it had never stopped."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from senet.errors import InputError
from senet.files import replacing
from senet.foreign import open_file
from senet.runs.folder import CHECKPOINTS

KEPT = 2
"""Checkpoints that stay: the newest, and the one before it in case the disk damages the newest."""

NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.safetensors")
"""Step, and the first 16 digits of the SHA-256: a damaged file does not fit its name."""
METADATA = "senet"
"""Key of the record among the metadata of the file."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a run after a step.

    Args:
        step: number of steps that were taken.
        arrays: of the network, its optimizer and its average, by name.
        state: everything else, as plain JSON values.
    """

    step: int
    arrays: Mapping[str, np.ndarray]
    state: Mapping[str, Any]


def write(folder: pathlib.Path, checkpoint: Checkpoint) -> pathlib.Path:
    """Write a checkpoint beside the older ones, then delete all but the newest two.

    The file gets its name, in which the first 16 digits of its SHA-256 stand, when it is on the
    disk as a whole.

    Args:
        folder: of the run.
        checkpoint: to write.

    Returns:
        Path of the file.

    Raises:
        OSError: it cannot be written; the older ones are left as they were.
    """
    inside = folder / CHECKPOINTS
    inside.mkdir(exist_ok=True)
    data = save(dict(checkpoint.arrays), {METADATA: json.dumps(dict(checkpoint.state))})
    checksum = hashlib.sha256(data).hexdigest()[:16]
    path = inside / f"step-{checkpoint.step:09d}-{checksum}.safetensors"
    with replacing(path) as written:
        written.write_bytes(data)
    others = [old for old in _list_checkpoints(inside) if old != path]
    for old in others[KEPT - 1 :]:
        old.unlink(missing_ok=True)
    return path


def read_newest(folder: pathlib.Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole; damaged ones are renamed, so as not to count as newer.

    Args:
        folder: of the run.

    Returns:
        The checkpoint, or `None` if there is none, and a line for each newer one that is damaged.
    """
    damaged: list[str] = []
    for path in _list_checkpoints(folder / CHECKPOINTS):
        try:
            return _read_checkpoint(path), damaged
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            aside = path.with_name(f"{path.name}.damaged")
            path.rename(aside)
            damaged.append(f"{aside.name} is passed over: {error}")
    return None, damaged


def _list_checkpoints(inside: pathlib.Path) -> list[pathlib.Path]:
    """Checkpoints by their names, the newest first."""
    if not inside.is_dir():
        return []
    files = {path: match[1] for path in inside.iterdir() if (match := NAME.fullmatch(path.name))}
    # Two of one step can be there: a run that is repeated from an older one writes other times.
    return sorted(files, key=lambda path: (files[path], os.stat(path).st_mtime_ns), reverse=True)


def _read_checkpoint(path: pathlib.Path) -> Checkpoint:
    """A checkpoint whose content is that of which its name has the checksum.

    Raises:
        ValueError: it is damaged.
    """
    step, checksum = NAME.fullmatch(path.name).groups()  # type: ignore[union-attr]
    with open_file(path) as file:
        data = file.read()
    found = hashlib.sha256(data).hexdigest()[:16]
    if found != checksum:
        raise InputError(f"its SHA-256 begins with {found}")
    # A safetensors file begins with the length of its header, which the library does not give.
    length = int.from_bytes(data[:8], "little")
    state = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][METADATA])
    return Checkpoint(int(step), load(data), state)
