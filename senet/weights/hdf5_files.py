"""HDF5: the weights files of Keras, bare or inside a `.keras` archive; data sets and nothing else.

What a data set claims is compared with the bytes that are there before h5py is asked for values.
"""

import contextlib
import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import h5py
import numpy as np

from senet.weights import zip_files
from senet.weights.arrays import Contents, Malformed, Stored, decoded, read_bytes

MEMBER = "model.weights.h5"
"""The file of weights in a `.keras` archive."""

SKIPPED = ("optimizer", "optimizer_weights")
"""Top-level groups that hold the state of training."""

OLDER = (
    "it is an .h5 file of Keras' older format, from Keras 2 or from model.save of Keras 3 under "
    "such a name; read are the .keras and .weights.h5 files of Keras 3. If you trust it, load it "
    "in Keras (keras.saving.load_model, or load_weights into its network) and save it as .keras."
)
"""What is said of a file in which layers have the names that their author gave them."""

OBJECT_LIMIT = 100_000
DEPTH_LIMIT = 64

INFLATED_LIMIT = 2**30
"""Largest compressed member of a `.keras` archive, bytes when inflated; Keras compresses none."""

COMPRESSORS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_LZF}
FILTERS = {*COMPRESSORS, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}

LZF_LIMIT = 4 * 2**20
"""Largest chunk under LZF, bytes: h5py makes them of at most 1 MiB."""


class Window(io.RawIOBase):
    """A stretch of a file, as a file of its own.

    Args:
        file: open for reading.
        start: first byte.
        size: number of bytes.
    """

    def __init__(self, file: BinaryIO, start: int, size: int):
        self.file = file
        self.start = start
        self.size = size
        self.at = 0

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read from any place: yes."""
        return True

    def tell(self) -> int:
        """The place from which is read next."""
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as `io.IOBase.seek` does."""
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as a whole, for h5py takes what is left of it for data."""
        view = memoryview(buffer).cast("B")
        if self.at + len(view) > self.size:
            raise Malformed("it points beyond its end: it is damaged or cut short.")
        view[:] = read_bytes(self.file, self.start + self.at, len(view))
        self.at += len(view)
        return len(view)


def read_hdf5(
    file: BinaryIO,
    size: int,
    stack: contextlib.ExitStack,
    member: zipfile.ZipInfo | None = None,
) -> Contents:
    """List the data sets of an HDF5 file.

    Args:
        file: open for reading.
        size: of the file, bytes.
        stack: closes what is opened here.
        member: of the zip archive that the file is, if it is one.

    Raises:
        Malformed: there is anything but numbers in it, or more than its bytes can hold.
    """
    window: Any = Window(file, 0, size)
    if member is not None:
        window = _member_window(file, size, member)
        size = member.file_size
    root = stack.enter_context(h5py.File(window, "r"))
    if "layer_names" in root.attrs or "model_weights" in root:
        raise Malformed(OLDER)
    datasets, arrays = {}, {}
    for name, dataset in _datasets(root):
        if name.endswith(":0"):
            raise Malformed(OLDER)
        arrays[name] = _checked(name, dataset, size)
        datasets[name] = dataset

    def read(name: str) -> np.ndarray:
        dataset, dtype = datasets[name], arrays[name].dtype
        if dataset.chunks:
            _check_chunks(dataset, size)
        values = np.asarray(dataset[()], order="C")
        if dtype == "bfloat16":
            return decoded(memoryview(values.tobytes()), dtype).reshape(values.shape)
        return values.astype("float32" if dtype == "float16" else dtype, copy=False)

    return Contents("hdf5", arrays, read)


def _member_window(file: BinaryIO, size: int, member: zipfile.ZipInfo) -> io.RawIOBase | io.BytesIO:
    """The HDF5 file inside a `.keras` archive, compared with its checksum."""
    begin = zip_files.start(file, member, size)
    if zip_files.is_stored(member):
        zip_files.check_sum(file, member, begin)
        return Window(file, begin, member.file_size)
    limit = min(INFLATED_LIMIT, zip_files.believable(member))
    return io.BytesIO(zip_files.inflated(file, member, begin, limit))


def _datasets(root: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """All data sets but those of the optimizer, under their full names."""
    pending: list[tuple[str, h5py.Group, int]] = [("", root, 0)]
    seen, count = {_address(root)}, 0
    while pending:
        prefix, group, depth = pending.pop()
        for key in group:
            name = prefix + key
            count += 1
            if count > OBJECT_LIMIT or depth > DEPTH_LIMIT:
                raise Malformed("it holds more groups than any weights file does.")
            if name in SKIPPED:
                continue
            if group.get(key, getclass=True, getlink=True) is not h5py.HardLink:
                raise Malformed(f"{name!r} is a link to elsewhere, which is not followed.")
            item = group[key]
            if isinstance(item, h5py.Dataset):
                yield name, item
                continue
            if not isinstance(item, h5py.Group) or _address(item) in seen:
                raise Malformed(f"{name!r} is no array, and no group that is there once.")
            seen.add(_address(item))
            pending.append((f"{name}/", item, depth + 1))


def _address(item: h5py.HLObject) -> Any:
    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr


def _checked(name: str, dataset: h5py.Dataset, size: int) -> Stored:
    """Shape and dtype of a data set, if the bytes for them are in the file."""
    dtype = dataset.dtype
    plain = dtype.kind in "fiub" and dtype.subdtype is None
    if not plain and dtype != np.dtype("V2"):  # as which Keras writes bfloat16
        raise Malformed(f"{name!r} is of type {str(dtype)[:80]}: not an array of numbers.")
    if dataset.shape is None:
        raise Malformed(f"{name!r} is empty: not an array of numbers.")
    stored = Stored(tuple(map(int, dataset.shape)), dtype.name if plain else "bfloat16")
    stored.check(name)
    _check_layout(name, dataset, size)
    return stored


def _check_layout(name: str, dataset: h5py.Dataset, size: int) -> None:
    """Refuse values that lie elsewhere, need code to read, or are far more than the file."""
    settings = dataset.id.get_create_plist()
    layout = settings.get_layout()
    filters = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
    if layout == h5py.h5d.VIRTUAL or settings.get_external_count():
        raise Malformed(f"the values of {name!r} are in another file, which is not opened.")
    if len(COMPRESSORS & set(filters)) > 1 or len(set(filters)) < len(filters):
        raise Malformed(f"{name!r} is compressed more than once.")
    if not set(filters) <= FILTERS:
        raise Malformed(f"{name!r} is compressed by a filter that needs other software.")
    offset, stored = dataset.id.get_offset(), min(dataset.id.get_storage_size(), size)
    if layout == h5py.h5d.CONTIGUOUS and offset is not None:
        if offset + dataset.nbytes > size:
            raise Malformed(f"{name!r} reaches beyond the end of the file: it is cut short.")
        return
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if max(dataset.nbytes, chunk) > 4096 * stored + 2**20:
        raise Malformed(f"{name!r} claims {dataset.nbytes} bytes, of which {stored} are there.")
    if h5py.h5z.FILTER_LZF in filters and chunk > LZF_LIMIT:
        raise Malformed(f"{name!r} is compressed in chunks of more than {LZF_LIMIT} bytes.")


def _check_chunks(dataset: h5py.Dataset, size: int) -> None:
    """Refuse chunks outside the file, and those that inflate to more than a chunk.

    HDF5 itself inflates a chunk to whatever length it has.
    """
    settings = dataset.id.get_create_plist()
    filters = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
    room = math.prod(dataset.chunks) * dataset.dtype.itemsize + 64
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        if chunk.byte_offset is None or chunk.byte_offset + chunk.size > size:
            raise Malformed("a chunk of an array is outside the file.")
        if h5py.h5z.FILTER_DEFLATE not in filters:
            continue
        skipped, raw = dataset.id.read_direct_chunk(chunk.chunk_offset)
        inflater = zlib.decompressobj()
        if not skipped:
            inflater.decompress(raw, room)
            if not inflater.eof:
                raise Malformed("a chunk of an array inflates to more than a chunk.")
