"""State dicts that torch saved: the zip archives of today and the pickles in a row before 1.6.

Reference: `torch/serialization.py`, `_save`, `_legacy_save` and their loading counterparts.
"""

import dataclasses
import io
import struct
import zipfile
import zlib
from typing import Any, BinaryIO

import numpy as np

from senet.weights import zip_files
from senet.weights.arrays import (
    ITEMSIZES,
    Contents,
    Malformed,
    decoded,
    read_bytes,
    without_prefix,
)
from senet.weights.pickles import PICKLE_LIMIT
from senet.weights.torch_tensors import Tensor, machine

MAGIC = 0x1950A86A20F9469CFC6C
"""First object of a file of the older format."""

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict")
"""Names under which training checkpoints hold averaged weights, which are the better ones."""

WRAPPERS = (*AVERAGED, "state_dict", "model_state_dict", "model", "net", "module")
"""Names under which they hold weights, in the order in which they are looked for."""

NESTING_LIMIT = 4


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the bytes of a storage lie; `member` has its checksum, if there is one."""

    start: int
    nbytes: int
    member: zipfile.ZipInfo | None = None


def read_torch_zip(file: BinaryIO, size: int, members: dict[str, zipfile.ZipInfo]) -> Contents:
    """Parse the archive that `torch.save` writes since 1.6.

    Args:
        file: open for reading.
        size: of the file, bytes.
        members: of the archive.

    Raises:
        Malformed: the archive or the pickle in it is not that of a state dict.
    """
    if not all(map(zip_files.is_stored, members.values())):
        raise Malformed("members of its zip archive are compressed, which torch never does.")
    pickled = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(pickled) != 1:
        raise Malformed(f"its zip archive has {len(pickled)} members data.pkl; torch writes one.")
    folder = pickled[0].removesuffix("data.pkl")
    order = members.get(f"{folder}byteorder")
    if order is not None and _member(file, order, size, 16) != b"little":
        raise Malformed("it was saved on a big-endian machine. Load and save it on another.")
    storages: dict[str, tuple[int, int]] = {}
    stream = io.BytesIO(_member(file, members[pickled[0]], size, PICKLE_LIMIT))
    value = machine(storages).load(stream)
    if stream.read(1):
        raise Malformed("its pickle goes on after its end.")
    places = {}
    for key, (nbytes, _) in storages.items():
        member = members.get(f"{folder}data/{key}")
        if member is None or member.file_size != nbytes:
            has = "does not have" if member is None else f"has in {member.file_size}"
            raise Malformed(
                f"its pickle asks for {nbytes} bytes of storage {key!r}, which it {has}."
            )
        places[key] = Place(zip_files.start(file, member, size), nbytes, member)
    return _contents(file, value, places)


def _member(file: BinaryIO, member: zipfile.ZipInfo, size: int, limit: int) -> bytes:
    """A small member as a whole."""
    if member.file_size > limit:
        raise Malformed(f"{member.filename!r} in it is larger than {limit} bytes.")
    data = read_bytes(file, zip_files.start(file, member, size), member.file_size).tobytes()
    zip_files.compare(member, zlib.crc32(data))
    return data


def read_torch_legacy(file: BinaryIO, size: int) -> Contents:
    """Parse what `torch.save` wrote before 1.6: five pickles, then each storage behind its length.

    Args:
        file: open for reading.
        size: of the file, bytes.

    Raises:
        Malformed: the pickles are not those of a state dict.
    """
    stream = io.BytesIO(read_bytes(file, 0, min(size, PICKLE_LIMIT)).tobytes())
    storages: dict[str, tuple[int, int]] = {}
    reader = machine(storages)
    magic, protocol, system, value, keys = (reader.load(stream) for _ in range(5))
    if magic != MAGIC or protocol != 1001 or type(system) is not dict:
        raise Malformed("it does not begin as torch's older format does.")
    if system.get("little_endian") is not True:
        raise Malformed("it was saved on a big-endian machine. Load and save it on another.")
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise Malformed("its list of storages is no list of texts.")
    if len(set(keys)) != len(keys) or set(keys) != set(storages):
        raise Malformed("its list of storages is not that of its tensors.")
    places, at = {}, stream.tell()
    for key in keys:
        nbytes, itemsize = storages[key]
        if at + 8 + nbytes > size:
            raise Malformed("it ends before its last storage does: it is cut short.")
        (numel,) = struct.unpack("<q", read_bytes(file, at, 8))
        if numel * itemsize != nbytes:
            raise Malformed(f"storage {key!r} is of {numel} elements and its tensors of others.")
        places[key] = Place(at + 8, nbytes)
        at += 8 + nbytes
    if at != size:
        raise Malformed(f"{size - at} bytes follow its last storage.")
    return _contents(file, value, places)


def _contents(file: BinaryIO, value: Any, places: dict[str, Place]) -> Contents:
    """The tensors of the state dict in a loaded object."""
    state, notes = _unwrapped(value)
    tensors = {name: t for name, t in state.items() if type(name) is str and type(t) is Tensor}
    tensors.pop("n_averaged", None)  # the counter that AveragedModel puts beside `module.`
    tensors = without_prefix(tensors)

    def read(name: str) -> np.ndarray:
        return _values(file, tensors[name], places[tensors[name].storage.key])

    arrays = {name: tensor.stored for name, tensor in tensors.items()}
    return Contents("torch", arrays, read, notes=notes)


def _unwrapped(value: Any) -> tuple[dict[Any, Any], list[str]]:
    """The innermost state dict, averaged weights first, and what there is to say."""
    notes: list[str] = []
    for _ in range(NESTING_LIMIT):
        key = next((k for k in WRAPPERS if _has_tensors(value, k)), None)
        if key is None:
            break
        value = value[key]
        if key in AVERAGED:
            notes.append(f"used {key}")
    if not _holds_tensors(value):
        raise Malformed(
            "it holds no state dict: expected tensors by name, or such a dict under "
            f"{', '.join(WRAPPERS)}. Save model.state_dict()."
        )
    return value, notes


def _has_tensors(value: Any, key: str) -> bool:
    """Whether there are tensors under a key, at once or further wrapped."""
    if type(value) is not dict or type(value.get(key)) is not dict:
        return False
    inner = value[key]
    return _holds_tensors(inner) or any(
        type(inner.get(further)) is dict and _holds_tensors(inner[further]) for further in WRAPPERS
    )


def _holds_tensors(value: Any) -> bool:
    return type(value) is dict and any(
        type(name) is str and type(tensor) is Tensor for name, tensor in value.items()
    )


def _values(file: BinaryIO, tensor: Tensor, place: Place) -> np.ndarray:
    """The elements of a tensor, read from the first that it uses to the last."""
    itemsize = ITEMSIZES[tensor.stored.dtype]
    nbytes = tensor.span * itemsize
    raw = read_bytes(file, place.start + tensor.storage.start + tensor.offset * itemsize, nbytes)
    if place.member is not None and nbytes == place.nbytes:
        zip_files.compare(place.member, zlib.crc32(raw))
    values = decoded(raw, tensor.stored.dtype)
    if not tensor.stored.size:
        return values.reshape(tensor.stored.shape)
    strides = [stride * values.itemsize for stride in tensor.stride]
    view = np.lib.stride_tricks.as_strided(values, tensor.stored.shape, strides)
    return view if view.flags.c_contiguous else view.copy(order="C")
