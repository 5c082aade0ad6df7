"""The objects in a pickled state dict: storages and the tensors that are views of them."""

import dataclasses
from collections.abc import Callable
from typing import Any

from senet.foreign import clean_text
from senet.weights.arrays import ITEMSIZES, Malformed, Stored, natural
from senet.weights.pickles import Global, Inert, Machine, dict_of

STORAGES = {
    **{"torch.DoubleStorage": "float64", "torch.FloatStorage": "float32"},
    **{"torch.HalfStorage": "float16", "torch.BFloat16Storage": "bfloat16"},
    **{"torch.LongStorage": "int64", "torch.IntStorage": "int32", "torch.ShortStorage": "int16"},
    **{"torch.CharStorage": "int8", "torch.ByteStorage": "uint8", "torch.BoolStorage": "bool"},
    **{"torch.storage.UntypedStorage": "uint8"},
}
"""Dtype of the elements of each kind of storage."""

DTYPES = {f"torch.{dtype}": dtype for dtype in ITEMSIZES}
"""How pickles mention dtypes."""


FURTHER_STORAGES = {
    **{"torch.ComplexFloatStorage": 8, "torch.ComplexDoubleStorage": 16},
    **{"torch.QInt8Storage": 1, "torch.QUInt8Storage": 1, "torch.QInt32Storage": 4},
    **{"torch.QUInt4x2Storage": 1, "torch.QUInt2x4Storage": 1},
}
"""Kinds of storage whose elements are not read, and bytes of each: they can lie before others."""


@dataclasses.dataclass(frozen=True)
class Unread:
    """A tensor that cannot be read, and why: it counts only where the network needs it."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Storage:
    """A stretch of bytes that tensors are views of.

    Args:
        key: its name in the file.
        dtype: of its elements.
        start: first byte.
        nbytes: number of bytes.
    """

    key: str
    dtype: str
    start: int
    nbytes: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage; `offset` and `stride` count elements."""

    storage: Storage
    stored: Stored
    offset: int
    stride: tuple[int, ...]

    @property
    def span(self) -> int:
        """Elements from the first that is used to the last."""
        if not self.stored.size:
            return 0
        return 1 + sum((n - 1) * s for n, s in zip(self.stored.shape, self.stride, strict=True))


def _tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, *_: Any, dtype: str | None = None
) -> Tensor | Unread:
    """A view of a storage, checked to lie inside it."""
    if type(storage) is Unread:
        return storage
    if type(storage) is not Storage or type(shape) is not tuple or type(stride) is not tuple:
        raise Malformed("its pickle makes a tensor of something else than a storage.")
    try:
        return _view(storage, offset, Stored(shape, dtype or storage.dtype), stride)
    except Malformed as problem:
        return Unread(str(problem))


def _view(storage: Storage, offset: Any, stored: Stored, stride: tuple[Any, ...]) -> Tensor:
    """The tensor that a pickle asks for.

    Raises:
        Malformed: there is none of that shape in the storage.
    """
    stored.check("a tensor")
    if not natural((offset, *stride)) or len(stride) != len(stored.shape):
        raise Malformed("offset or strides of a tensor are not numbers from 0 up.")
    tensor = Tensor(storage, stored, offset, stride)
    room = storage.nbytes // ITEMSIZES[stored.dtype]
    if offset + tensor.span > room:
        raise Malformed("a tensor reaches beyond the end of its storage.")
    if stored.size > room:
        raise Malformed(
            f"a tensor shows the {room} elements of its storage {stored.size} times over. "
            "Save it after .contiguous()."
        )
    return tensor


def _tensor_with_dtype(
    storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Tensor | Unread:
    if type(dtype) is not Global:
        raise Malformed("its pickle makes a tensor of no known dtype.")
    if dtype.name not in DTYPES:
        return Unread(f"a tensor is of dtype {clean_text(dtype.name)}, which is not read.")
    return _tensor(storage, offset, shape, stride, dtype=DTYPES[dtype.name])


def _parameter(tensor: Any, *_: Any) -> Tensor | Unread:
    if type(tensor) is Inert:
        return Unread(f"a tensor is made by {clean_text(tensor.name)}, which is not read.")
    if type(tensor) not in (Tensor, Unread):
        raise Malformed("its pickle makes a parameter of something else than a tensor.")
    return tensor


def _tensor_of_class(function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """A tensor of a class of its own, which is made as one of torch's and then given its class."""
    if type(function) is Global and function.name in CALLS and type(arguments) is tuple:
        return CALLS[function.name](*arguments)
    return Inert("a tensor of a class of its own")


def _ordered_dict(items: Any = ()) -> dict[Any, Any]:
    """An ordered dict; Python 2 wrote its items as a list of lists."""
    if type(items) not in (list, tuple) or not all(
        type(pair) in (list, tuple) and len(pair) == 2 for pair in items
    ):
        raise Malformed("its pickle makes a dict of something else than pairs.")
    return dict_of(items)


def _size(numbers: Any = ()) -> tuple[Any, ...]:
    if type(numbers) is not tuple:
        raise Malformed("its pickle makes a shape of something else than numbers.")
    return numbers


CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _tensor_of_class,
    "torch._tensor._rebuild_from_type": _tensor_of_class,
    "torch.Size": _size,
}
"""What the known names stand for."""


def machine(storages: dict[str, tuple[int, int]]) -> Machine:
    """A machine for the pickles of torch.

    Args:
        storages: gets bytes and bytes per element of each storage that is mentioned, by key.
    """

    def resolve(reference: Any) -> Storage | Unread | Global:
        return _storage(reference, storages)

    return Machine(CALLS, STORAGES.keys() | DTYPES.keys(), resolve)


def _storage(reference: Any, storages: dict[str, tuple[int, int]]) -> Storage | Unread | Global:
    """The storage that a persistent id stands for.

    It is `("storage", type, key, location, numel)`, in the older format with a sixth: `None` or
    `(key, offset, numel)` of a part.
    """
    match reference:
        case ("storage", Global(name), str(key), _, numel, *view) if name.endswith("Storage"):
            pass
        case ("module", Global() as kind, *_):  # before 1.6 the class of a module, with its source
            return kind
        case _:
            raise Malformed("its pickle refers to something that is no storage.")
    dtype = STORAGES.get(name)
    itemsize = ITEMSIZES[dtype] if dtype else FURTHER_STORAGES.get(name)
    if itemsize is None:
        return Unread(f"a tensor is of {clean_text(name)}, which is not read.")
    first, count = 0, numel
    if view and view[0] is not None:
        _, first, count = view[0]
    if not natural((numel, first, count)) or first + count > numel:
        raise Malformed(f"the size of storage {key[:40]!r} is no number from 0 up.")
    known, _ = storages.setdefault(key, (numel * itemsize, itemsize))
    if known != numel * itemsize:
        raise Malformed(f"storage {key[:40]!r} has two sizes.")
    if dtype is None:
        return Unread(f"a tensor is of {name}, which is not read.")
    return Storage(key, dtype, first * itemsize, count * itemsize)
