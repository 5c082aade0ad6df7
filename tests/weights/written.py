"""Weight files byte by byte, right and wrong, without torch and without safetensors."""

import dataclasses
import json
import struct
import zipfile

import numpy as np

TORCH = {
    **{"float64": "Double", "float32": "Float", "float16": "Half", "int64": "Long"},
    **{"int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool"},
}
SAFE = {
    **{"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32"},
    **{"int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32"},
    **{"uint64": "U64", "bool": "BOOL"},
}
MAGIC = 0x1950A86A20F9469CFC6C


def safetensors(path, arrays, metadata=None, **changes):
    """A safetensors file; `changes` replace entries of its header."""
    header, data = {} if metadata is None else {"__metadata__": metadata}, b""
    for name, array in arrays.items():
        end = len(data) + array.nbytes
        offsets = [len(data), end]
        header[name] = dict(
            dtype=SAFE[array.dtype.name], shape=list(array.shape), data_offsets=offsets
        )
        data += array.tobytes()
    return raw_safetensors(path, json.dumps(header | changes), data)


def raw_safetensors(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else header.encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


@dataclasses.dataclass
class Name:
    """A mention of a name, as a pickle spells it: `"module name"`."""

    text: str


@dataclasses.dataclass
class Call:
    name: str
    arguments: tuple
    state: object = None


@dataclasses.dataclass
class Reference:
    """A persistent id."""

    value: tuple


@dataclasses.dataclass
class Python2:
    """A text as Python 2 wrote it: bytes."""

    text: str


@dataclasses.dataclass
class Opcodes:
    code: bytes


def pickled(value, protocol=2):
    return b"\x80" + bytes([protocol]) + code(value) + b"."


def code(value):
    """The opcodes that make a value."""
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int() if 0 <= value < 256:
            return b"K" + bytes([value])
        case int():
            digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(digits)]) + digits
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case Python2(text):
            return b"U" + bytes([len(text)]) + text.encode()
        case dict():
            return b"}(" + b"".join(code(k) + code(v) for k, v in value.items()) + b"u"
        case list():
            return b"](" + b"".join(map(code, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(code, value)) + b"t"
        case Name(text):
            return b"c" + text.replace(" ", "\n").encode() + b"\n"
        case Call(name, arguments, state):
            built = b"" if state is None else code(state) + b"b"
            return code(Name(name)) + code(arguments) + b"R" + built
        case Reference(reference):
            return code(reference) + b"Q"
        case Opcodes(raw):
            return raw


def storage(kind, key, numel, *view):
    return Reference(("storage", Name(f"torch {kind}Storage"), key, "cpu", numel, *view))


def tensor(of, shape, stride=None, offset=0):
    if stride is None:
        stride = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    hooks = Call("collections OrderedDict", ())
    arguments = (of, offset, tuple(shape), tuple(stride), False, hooks)
    return Call("torch._utils _rebuild_tensor_v2", arguments)


def state(arrays, legacy=False):
    """The objects of a state dict and the bytes of its storages."""
    view = (None,) if legacy else ()
    made, storages = {}, {}
    for i, (name, array) in enumerate(arrays.items()):
        of = storage(TORCH[array.dtype.name], str(i), array.size, *view)
        made[name] = tensor(of, array.shape)
        storages[str(i)] = array.tobytes()
    return made, storages


def torch_zip(path, value, storages, protocol=2, **members):
    """What torch.save writes; `members` are added, or replace its own."""
    contents = {
        "data.pkl": value if isinstance(value, bytes) else pickled(value, protocol),
        "byteorder": b"little",
        **{f"data/{key}": data for key, data in storages.items()},
        "version": b"3\n",
        **{name.replace("__", "/"): data for name, data in members.items()},
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(f"archive/{name}", data)
    return path


def torch_legacy(path, value, storages, keys=None, system=None, itemsize=4, protocol=2):
    """What torch.save wrote before 1.6."""
    system = system or {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [MAGIC, 1001, system, value, list(storages) if keys is None else keys]
    data = b"".join(pickled(part, protocol) for part in parts)
    for content in storages.values():
        data += struct.pack("<q", len(content) // itemsize) + content
    path.write_bytes(data)
    return path
