"""Weight files of others, read as data: nothing in them is ever imported, called or run.

The format is told by the first bytes. Every size that a file claims is compared with the bytes that
are there before memory is asked for, and whatever is wrong with a file ends in a `WeightsError`.
"""

import contextlib
import dataclasses
import os
import pathlib
import stat
from typing import BinaryIO

from senet.errors import NotFoundError
from senet.foreign import escape_text, open_file
from senet.weights import zip_files
from senet.weights.arrays import ArrayFile, Contents, Malformed, Stored, WeightsError, refusing
from senet.weights.hdf5_files import MEMBER, read_hdf5
from senet.weights.safetensors_files import read_safetensors
from senet.weights.signatures import describe_file
from senet.weights.torch_files import MAGIC, read_torch_legacy, read_torch_zip

__all__ = ["ArrayFile", "Stored", "WeightsError", "open_arrays"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
LEGACY_SIGNATURE = b"\x8a\x0a" + MAGIC.to_bytes(10, "little")


def open_arrays(path: str | os.PathLike) -> ArrayFile:
    """Open a weights file and list its arrays; their values stay in the file until read.

    The tensors of a torch file have the names of the way to them, as `state_dict.fc.bias`. What
    lies beside arrays of numbers is passed over; arrays that cannot be read are in `unread` with
    the reason.

    Args:
        path: of a safetensors file, a state dict saved by torch, a `.keras` or an HDF5 file; the
            ending of the name does not matter.

    Returns:
        An `ArrayFile`, to be closed or used in a `with` statement.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        WeightsError: the file is of none of these formats, damaged or hostile; it says why.

    Example:
        >>> senet.save(senet.SEResNet50(), "se_resnet50.safetensors")
        >>> with open_arrays("se_resnet50.safetensors") as file:
        ...     kernel = file.read("stem_conv.kernel")
        >>> kernel.shape
        (7, 7, 3, 64)
    """
    path = pathlib.Path(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise NotFoundError(f"There is no weights file {str(path)!r}.") from None
    except (OSError, ValueError) as error:
        raise WeightsError(path, f"it cannot be opened ({error}).") from error
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise WeightsError(path, "it is not a file.")
    with refusing(path), contextlib.ExitStack() as stack:
        file = stack.enter_context(open_file(path))
        size = os.fstat(file.fileno()).st_size
        contents = dataclasses.replace(_parse(file, size, stack), size=size)
        if contents.unread and not contents.arrays:
            name, reason = next(iter(contents.unread.items()))
            raise Malformed(f"of its arrays, as {escape_text(name)!r}, none can be read: {reason}")
        return ArrayFile(path, contents, stack.pop_all().close)


def _parse(file: BinaryIO, size: int, stack: contextlib.ExitStack) -> Contents:
    """Tell the format of a file and parse it."""
    head = file.read(512)
    if head.startswith(HDF5_SIGNATURE):
        return read_hdf5(file, size, stack)
    if head.startswith(b"\x80") and LEGACY_SIGNATURE in head[:32]:
        return read_torch_legacy(file, size)
    if head.startswith(ZIP_SIGNATURE):
        members = zip_files.members(file, size)
        if MEMBER in members:
            return read_hdf5(file, size, stack, members[MEMBER])
        return read_torch_zip(file, size, members)
    if head[8:9] == b"{":
        return read_safetensors(file, size)
    raise Malformed(f"it is {describe_file(head)}")


def read_member(path: str | os.PathLike, name: str, limit: int) -> bytes | None:
    """A small member of a file that is a zip archive; `None` where there is none of that name.

    Args:
        path: of the file.
        name: of the member.
        limit: most bytes of it.

    Raises:
        WeightsError: the archive or the member is damaged, or the member is larger.
    """
    with refusing(path), open_file(path) as file:
        if not file.read(4).startswith(ZIP_SIGNATURE):
            return None
        size = os.fstat(file.fileno()).st_size
        member = zip_files.members(file, size).get(name)
        return None if member is None else zip_files.read_member(file, member, size, limit)
