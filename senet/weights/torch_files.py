"""What torch saved: the zip archives of today and the pickles in a row before 1.6.

The tensors of a checkpoint are found wherever they are in it: in dicts, lists and the attributes of
objects, whose classes are not looked up. Each is called by the way to it, `state_dict.fc.bias`.

Reference: `torch/serialization.py`, `_save`, `_legacy_save` and their loading counterparts.
"""

import collections
import dataclasses
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from senet.foreign import clean_text, listed
from senet.weights import zip_files
from senet.weights.arrays import (
    ITEMSIZES,
    Contents,
    Malformed,
    decoded,
    read_bytes,
)
from senet.weights.pickles import PICKLE_LIMIT, Inert
from senet.weights.signatures import describe_archive
from senet.weights.torch_tensors import Tensor, Unread, machine

MAGIC = 0x1950A86A20F9469CFC6C
"""First object of a file of the older format."""

NESTING_LIMIT = 32
NAME_LIMIT = 300
"""Most letters of the name of an array."""

MODULE_PARTS = ("_parameters", "_buffers", "_modules")
"""Attributes of torch's modules that hold what a state dict has under the module's own name."""


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
    pickled = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    program = any(name.rpartition("/")[2] == "constants.pkl" for name in members)
    if program or len(pickled) != 1:
        raise Malformed(f"it is {describe_archive(members)}")
    if not zip_files.is_stored(members[pickled[0]]):
        raise Malformed("members of its zip archive are compressed, which torch never does.")
    folder = pickled[0].removesuffix("data.pkl")
    order = members.get(f"{folder}byteorder")
    if order is not None and zip_files.read_member(file, order, size, 16) != b"little":
        raise Malformed("it was saved on a big-endian machine. Load and save it on another.")
    storages: dict[str, tuple[int, int]] = {}
    stream = io.BytesIO(zip_files.read_member(file, members[pickled[0]], size, PICKLE_LIMIT))
    value = machine(storages).load(stream)
    if stream.read(1):
        raise Malformed("its pickle goes on after its end.")

    def place(key: str) -> Place:
        nbytes, _ = storages[key]
        member = members.get(f"{folder}data/{key}")
        if member is None or member.file_size != nbytes:
            has = "does not have" if member is None else f"has in {member.file_size}"
            raise Malformed(
                f"its pickle asks for {nbytes} bytes of storage {key[:40]!r}, which it {has}."
            )
        if not zip_files.is_stored(member):
            raise Malformed("members of its zip archive are compressed, which torch never does.")
        return Place(zip_files.start(file, member, size), nbytes, member)

    return _contents(file, value, place)


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
    return _contents(file, value, places.__getitem__)


def _contents(file: BinaryIO, value: Any, place: Callable[[str], Place]) -> Contents:
    """The tensors in a loaded object.

    Args:
        file: open for reading.
        value: the object.
        place: tells where the storage of a key lies, or raises `Malformed`.
    """
    tensors: dict[str, Tensor] = {}
    places: dict[str, Place | str] = {}  # or why there is none
    unread: dict[str, str] = {}
    for name, found in _find_tensors(value):
        if name in tensors or name in unread:
            tensors.pop(name, None)
            unread[name] = "there are two of that name."
            continue
        try:
            if type(found) is Unread:
                raise Malformed(found.reason)
            key = found.storage.key
            if key not in places:
                places[key] = _place_or_reason(place, key)
            if isinstance(there := places[key], str):
                raise Malformed(there)
            tensors[name] = found
        except Malformed as problem:
            unread[name] = str(problem)
    if not tensors and not unread:
        raise Malformed(
            f"it holds no state dict, but {_describe_value(value)}: expected tensors by name. Save "
            "model.state_dict()."
        )

    def read(name: str) -> np.ndarray:
        return _values(file, tensors[name], place(tensors[name].storage.key))

    arrays = {name: tensor.stored for name, tensor in tensors.items()}
    return Contents("torch", arrays, read, unread=unread, about=_describe_value(value))


def _place_or_reason(place: Callable[[str], Place], key: str) -> Place | str:
    """Where a storage lies, or why it cannot be read."""
    try:
        return place(key)
    except Malformed as problem:
        return str(problem)


def _find_tensors(value: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor of an object with the way to it, those that are nearest first.

    What is in an object in several places is met once, so that this ends.
    """
    pending = collections.deque([("", value, 0)])
    met = {id(value)}
    while pending:
        way, holder, depth = pending.popleft()
        for name, inside in _entries(holder):
            if len(way) + len(name) > NAME_LIMIT:
                continue
            full = f"{way}{name}"
            if type(inside) in (Tensor, Unread):
                yield full, inside
            elif _holds(inside) and depth < NESTING_LIMIT and id(inside) not in met:
                met.add(id(inside))
                pending.append((f"{full}.", inside, depth + 1))


def _holds(value: Any) -> bool:
    return type(value) in (dict, list, tuple, Inert)


def _entries(holder: Any) -> Iterator[tuple[str, Any]]:
    """What an object holds, by name; of a module of torch as its state dict has it."""
    if type(holder) in (list, tuple):
        yield from ((str(i), inside) for i, inside in enumerate(holder))
        return
    if type(holder) is dict:
        yield from ((name, inside) for name, inside in holder.items() if type(name) is str)
        return
    if type(holder) is Inert:
        yield from _entries(holder.items)
        for name, inside in _entries(holder.state):
            if name in MODULE_PARTS:
                yield from _entries(inside)
            else:
                yield name, inside


def _describe_value(value: Any) -> str:
    """What an object is, in a few words, for errors."""
    if type(value) is Inert:
        return f"an object of class {clean_text(value.name)}"
    if type(value) is not dict:
        return f"a {type(value).__name__.lower()}"
    if not value:
        return "an empty dict"
    return f"a dict of {listed([clean_text(key) for key in value], 8)}"


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
