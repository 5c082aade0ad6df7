"""Safetensors: a JSON header, then the bytes of the arrays end to end.

Reference: https://github.com/huggingface/safetensors#format
"""

import json
import struct
from typing import Any, BinaryIO

import numpy as np

from senet.foreign import clean_text
from senet.weights.arrays import (
    Contents,
    Malformed,
    Stored,
    decoded,
    natural,
    read_bytes,
)

HEADER_LIMIT = 16 * 2**20
"""Largest header, bytes: a hundred thousand arrays."""

MARKS_LIMIT = 2_000_000
"""Most brackets, commas and quotes of a header: they bound what parsing it can allocate."""

DTYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"},
    **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "BOOL": "bool"},
    **{"U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8"},
}


def read_safetensors(file: BinaryIO, size: int) -> Contents:
    """Parse the header of a safetensors file and check every word of it.

    Args:
        file: open for reading.
        size: of the file, bytes.

    Raises:
        Malformed: the header is not what the format asks for, or does not describe the file.
    """
    header, start = _header(file, size)
    metadata = header.pop("__metadata__", {})
    if type(metadata) is not dict or not all(type(v) is str for v in metadata.values()):
        raise Malformed("its __metadata__ is not an object of strings.")
    entries = {name: _entry(name, header[name]) for name in header}
    _check_cover([(begin, end) for _, begin, end in entries.values()], size - start)
    arrays = {name: stored for name, (stored, _, _) in entries.items() if stored is not None}
    known = ", ".join(DTYPES)
    unread = {
        name: f"it is of dtype {clean_text(header[name]['dtype'])!r}; known are {known}."
        for name in entries
        if name not in arrays
    }

    def read(name: str) -> np.ndarray:
        raw = read_bytes(file, start + entries[name][1], arrays[name].nbytes)
        return decoded(raw, arrays[name].dtype).reshape(arrays[name].shape)

    return Contents("safetensors", arrays, read, metadata, unread)


def _header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The parsed header, and where the data begins."""
    (length,) = struct.unpack("<Q", read_bytes(file, 0, 8))
    if length > min(size - 8, HEADER_LIMIT):
        raise Malformed(
            f"its header claims {length} bytes, of a file of {size} and at most {HEADER_LIMIT}. "
            "Download it again."
        )
    text = read_bytes(file, 8, length).tobytes().decode("utf-8")
    if sum(map(text.count, '[{,"')) > MARKS_LIMIT:
        raise Malformed("its header lists more arrays than any network has.")
    header = json.loads(text, object_pairs_hook=_without_duplicates)
    if type(header) is not dict:
        raise Malformed("its header is not a JSON object.")
    return header, 8 + length


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed("a name is in its header twice.")
    return made


def _entry(name: str, entry: Any) -> tuple[Stored | None, int, int]:
    """One array, if its dtype is read, and where it begins and ends, relative to the data."""
    if type(entry) is not dict or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Malformed(f"{name!r} is not described by dtype, shape and data_offsets alone.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(dtype) is not str:
        raise Malformed(f"{name!r} is of dtype {str(dtype)[:20]!r}; known are {', '.join(DTYPES)}.")
    if type(shape) is not list or type(offsets) is not list:
        raise Malformed(f"shape and data_offsets of {name!r} are not lists.")
    if len(offsets) != 2 or not natural(offsets):
        raise Malformed(f"data_offsets of {name!r} are not two numbers from 0 up.")
    begin, end = offsets
    if dtype not in DTYPES:
        return None, begin, max(begin, end)
    stored = Stored(tuple(shape), DTYPES[dtype])
    stored.check(name)
    if end - begin != stored.nbytes:
        raise Malformed(f"{name!r} needs {stored.nbytes} bytes and has other data_offsets.")
    return stored, begin, end


def _check_cover(stretches: list[tuple[int, int]], size: int) -> None:
    """Refuse arrays that overlap, or bytes that belong to none."""
    reached = 0
    for begin, end in sorted(stretches):
        if begin != reached:
            raise Malformed("its arrays overlap or leave bytes between them.")
        reached = end
    if reached != size:
        raise Malformed(
            f"its arrays need {reached} bytes and {size} follow the header: it is cut short or has "
            "more in it. Download it again."
        )
