import argparse
import collections
import datetime
import decimal
import enum
import fractions
import functools
import inspect
import io
import json
import logging
import operator
import os
import pathlib
import pickle
import pickletools
import platform
import random
import re
import resource
import struct
import sys
import threading
import time
import tracemalloc
import types
import uuid
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from senet.weights import readers
from senet.weights.pickles import STEP_LIMIT
from senet.weights.readers import Stored, WeightsError, open_arrays
from tests.weights.written import (
    MAGIC,
    SAFE,
    TORCH,
    Call,
    Name,
    Opcodes,
    Python2,
    Reference,
    code,
    pickled,
    raw_safetensors,
    safetensors,
    state,
    storage,
    tensor,
    torch_legacy,
    torch_zip,
)

KINDS = ("safetensors", "torch", "legacy", "hdf5", "keras")


@pytest.fixture(autouse=True)
def fresh_keras():
    """Of no use to files, and a quarter of a second for each of hundreds of tests."""


def sample(dtype="float32"):
    rng = np.random.default_rng(0)
    shapes = {"conv.weight": (4, 3, 3, 2), "conv.bias": (4,), "count": (), "none": (0, 5)}
    return {name: np.array(rng.uniform(0, 90, shape) > 45 if dtype == "bool" else
            rng.uniform(0, 90, shape)).astype(dtype) for name, shape in shapes.items()}  # fmt: skip


def write(kind, folder, arrays=None):
    """A file of each kind with the same arrays."""
    arrays = sample() if arrays is None else arrays
    path = folder / f"{kind}.weights"
    if kind == "safetensors":
        return safetensors(path, arrays, {"made": "here"})
    if kind == "torch":
        return torch_zip(path, *state(arrays))
    if kind == "legacy":
        itemsize = next(iter(arrays.values())).itemsize
        return torch_legacy(path, *state(arrays, legacy=True), itemsize=itemsize)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    if kind == "keras":
        data = path.read_bytes()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{not read}")
            archive.writestr("model.weights.h5", data)
    return path


def values(path):
    with open_arrays(path) as file:
        return {name: file.read(name) for name in file.arrays}


def refused(path, reason):
    """Open and read all; it must fail and say why."""
    with pytest.raises(WeightsError, match=reason) as caught:
        values(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].flags.c_contiguous, name
        np.testing.assert_array_equal(found[name], array)


# What comes back is what was written


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TORCH)
def test_values_of_each_dtype_come_back(tmp_path, kind, dtype):
    arrays = sample(dtype)
    path = write(kind, tmp_path, arrays)
    loaded = "float32" if dtype == "float16" else dtype
    assert_same(values(path), {name: a.astype(loaded) for name, a in arrays.items()})
    with open_arrays(path) as file:
        assert file.arrays["conv.weight"] == Stored((4, 3, 3, 2), dtype)
        assert file.arrays["conv.weight"].size == 72
        assert file.arrays["conv.weight"].nbytes == 72 * arrays["conv.bias"].itemsize
        assert file.format == {"legacy": "torch", "keras": "hdf5"}.get(kind, kind)
        assert file.metadata == ({"made": "here"} if kind == "safetensors" else {})
        assert file.unread == {}
        assert file.path == path


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_unsigned_numbers_come_back_from_safetensors_and_hdf5(tmp_path, dtype):
    for kind in ("safetensors", "hdf5"):
        assert_same(values(write(kind, tmp_path, sample(dtype))), sample(dtype))


def test_files_of_the_safetensors_package_are_read(tmp_path):
    arrays = {f"a{i}": a for i, dtype in enumerate(SAFE) for a in [sample(dtype)["conv.weight"]]}
    save_file(arrays, tmp_path / "a.safetensors", {"x": "y"})
    expected = {n: a.astype("float32") if a.dtype == "float16" else a for n, a in arrays.items()}
    assert_same(values(tmp_path / "a.safetensors"), expected)


def brain(array):
    """A float32 array rounded down to bfloat16, and the bytes of that."""
    halves = (array.view("uint32") >> 16).astype("uint16")
    return (halves.astype("uint32") << 16).view("float32"), halves.tobytes()


def test_bfloat16_comes_as_float32(tmp_path):
    rounded, data = brain(np.linspace(-3, 1e30, 12, dtype="float32").reshape(3, 4))
    entry = dict(dtype="BF16", shape=[3, 4], data_offsets=[0, 24])
    paths = [
        raw_safetensors(tmp_path / "s", json.dumps({"x": entry}), data),
        torch_zip(tmp_path / "t", {"x": tensor(storage("BFloat16", "0", 12), (3, 4))}, {"0": data}),
        tmp_path / "h",
    ]
    with h5py.File(paths[2], "w") as file:  # as Keras does
        file["x"] = np.frombuffer(data, "V2").reshape(3, 4)
    for path in paths:
        assert_same(values(path), {"x": rounded})
        with open_arrays(path) as opened:
            assert opened.arrays["x"] == Stored((3, 4), "bfloat16")
            assert opened.arrays["x"].nbytes == 24


@pytest.mark.parametrize("policy", ["float32", "bfloat16"])
def test_files_of_keras_are_read_and_the_optimizer_is_not(tmp_path, policy):
    inner = [keras.layers.Conv2D(4, 3, dtype=policy), keras.layers.BatchNormalization(dtype=policy)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *inner])
    model.compile("adam", "mse")
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    counts = {"conv2d": 2, "batch_normalization": 4}
    names = [f"layers/{layer}/vars/{i}" for layer, n in counts.items() for i in range(n)]
    expected = [np.asarray(v.value, "float32") for v in model.variables]
    for file in ("m.keras", "m.weights.h5"):
        assert_same(values(tmp_path / file), dict(zip(names, expected, strict=True)))


def test_the_format_is_told_by_the_contents_and_not_by_the_name(tmp_path):
    for kind in KINDS:
        path = write(kind, tmp_path).rename(tmp_path / "a.pth")
        assert_same(values(str(path)), sample())


def test_only_the_bytes_of_one_array_are_read(tmp_path):
    arrays = {"large": np.zeros(2**22, "float32"), "small": np.ones(3, "float32")}
    for kind in KINDS:
        with open_arrays(write(kind, tmp_path, arrays)) as file:
            tracemalloc.start()
            file.read("small")
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 2**20, kind


def test_an_array_that_is_not_there_is_a_key_error(tmp_path):
    with open_arrays(write("torch", tmp_path)) as file, pytest.raises(KeyError, match="absent"):
        file.read("absent")


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_closed_after_use_and_after_a_refusal(tmp_path, kind):
    path = write(kind, tmp_path)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(path.read_bytes()[:-20])
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    values(path)
    refused(damaged, ".")
    assert before == (len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0)


@pytest.mark.parametrize("kind", ["safetensors", "torch", "legacy", "hdf5"])
def test_a_file_that_becomes_shorter_while_open_is_refused(tmp_path, kind):
    path = write(kind, tmp_path, {"x": np.ones(2**18, "float32")})
    with open_arrays(path) as file:
        os.truncate(path, 5000)
        with pytest.raises(WeightsError):
            file.read("x")


# torch: views, wrappers, prefixes


@pytest.mark.parametrize("legacy", [False, True])
def test_views_of_a_shared_storage_come_back_contiguous(tmp_path, legacy):
    base = np.arange(42, dtype="float32")
    of = storage("Float", "7", 42, *([None] if legacy else []))
    views = {
        "all": (tensor(of, (6, 7)), base.reshape(6, 7)),
        "transposed": (tensor(of, (7, 6), (1, 7)), base.reshape(6, 7).T),
        "row": (tensor(of, (7,), offset=14), base[14:21]),
        "steps": (tensor(of, (2, 3), (14, 3), 7), base.reshape(6, 7)[1:5:2, ::3]),
        "repeated": (tensor(of, (3, 7), (0, 1)), np.stack([base[:7]] * 3)),
        "last": (tensor(of, (), offset=41), base[41]),
    }
    writer = torch_legacy if legacy else torch_zip
    path = writer(tmp_path / "a", {k: v for k, (v, _) in views.items()}, {"7": base.tobytes()})
    assert_same(values(path), {name: array for name, (_, array) in views.items()})


def test_a_part_of_a_storage_is_read_from_the_older_format(tmp_path):
    base = np.arange(10, dtype="float32")
    of = storage("Float", "1", 10, ("2", 4, 5))
    path = torch_legacy(tmp_path / "a", {"x": tensor(of, (3,), offset=2)}, {"1": base.tobytes()})
    assert_same(values(path), {"x": base[6:9]})
    of = storage("Float", "1", 10, ("2", 4, 7))
    path = torch_legacy(tmp_path / "a", {"x": tensor(of, (3,))}, {"1": base.tobytes()})
    refused(path, "size of storage '1'")


def test_a_file_of_python_2_is_read(tmp_path):
    base = np.arange(6, dtype="float32")
    of = ("storage", Name("torch FloatStorage"), Python2("94"), Python2("cuda:0"), 6, None)
    of = [Reference((Python2("storage"), *of[1:]))]
    x = Call("torch._utils _rebuild_tensor", (of[0], 0, (2, 3), (3, 1)))
    items = Call("collections OrderedDict", ([[Opcodes(code(Python2("fc.weight"))), x]],), {})
    path = torch_legacy(tmp_path / "a", items, {"94": base.tobytes()}, [Python2("94")])
    assert_same(values(path), {"fc.weight": base.reshape(2, 3)})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_files_of_each_protocol_are_read(tmp_path, protocol):
    path = torch_zip(tmp_path / "a", *state(sample()), protocol=protocol)
    assert_same(values(path), sample())
    path = torch_legacy(tmp_path / "b", *state(sample(), legacy=True), protocol=protocol)
    assert_same(values(path), sample())


def test_what_the_pickler_of_python_writes_is_understood(tmp_path):
    """Its memo, frames, marks and stacked names, around one tensor spelled by hand."""
    plain = {"epoch": 3, "lr": 0.1, "n": [2**40, -5, 2**70, 2**200], "who": ("a", b"b", True)}
    plain |= {"same": plain["n"], "longer": "x" * 300, "tuples": [(), (1,), (1, 2), (1, 2, 3)]}
    made = code(tensor(storage("Float", "0", 2), (2,)))
    for protocol in range(2, 6):
        dumped = pickle.dumps(plain, protocol)[:-1]
        names = pickled({"extra": Opcodes(dumped), "x": Opcodes(made)})
        path = torch_zip(tmp_path / "a", names, {"0": np.ones(2, "float32").tobytes()})
        assert_same(values(path), {"x": np.ones(2, "float32")})


def test_tensors_are_called_by_the_way_to_them(tmp_path):
    made, storages = state({"a": np.zeros(3, "float32"), "b": np.ones(3, "float32")})
    checkpoint = {"epoch": 7, "model": {"x": made["a"]}, "rng": made["a"], "best": None}
    checkpoint["ema"] = {"module": Call("collections defaultdict", (), None), 5: made["b"]}
    checkpoint["both"] = [{"x": made["a"]}, ({"y": made["b"]}, 3)]
    checkpoint["optimizer"] = {"state": {0: {"step": made["a"]}}, "param_groups": [{"lr": 0.1}]}
    path = torch_zip(tmp_path / "a", checkpoint, storages)
    zeros, ones = np.zeros(3, "float32"), np.ones(3, "float32")
    expected = {"rng": zeros, "model.x": zeros, "both.0.x": zeros, "both.1.0.y": ones}
    assert_same(values(path), expected)
    with open_arrays(path) as file:
        assert file.about == "a dict of epoch, model, rng, best, ema, both, optimizer"


def test_what_is_nearest_comes_first_and_what_is_there_twice_once(tmp_path):
    """The names of one dict are those of the first way to it."""
    made, storages = state({"a": np.zeros(3, "float32")})
    dumped = b"}q\x05" + code("x") + code(made["a"]) + b"s"
    value = {"deep": {"er": {"x": made["a"]}}, "one": Opcodes(dumped), "two": Opcodes(b"h\x05")}
    with open_arrays(torch_zip(tmp_path / "a", value, storages)) as file:
        assert list(file.arrays) == ["one.x", "deep.er.x"]


def test_two_tensors_of_one_name_are_neither(tmp_path):
    made, storages = state(sample())
    value = {"a.b": made["count"], "a": {"b": made["conv.bias"], "c": made["none"]}}
    with open_arrays(torch_zip(tmp_path / "a", value, storages)) as file:
        assert list(file.arrays) == ["a.c"]
        assert file.unread == {"a.b": "there are two of that name."}


def module(name, parameters=None, modules=None, **attributes):
    """An object of torch's modules as a pickle has it."""
    order = Name("collections OrderedDict")
    parts = dict(_parameters=parameters or {}, _buffers={}, _modules=modules or {}, hooks=order)
    return Call(name, (), parts | attributes)


def test_the_modules_of_a_whole_model_have_the_names_of_its_state_dict(tmp_path):
    made, storages = state(sample())
    parameters = {"weight": made["conv.weight"], "bias": made["conv.bias"]}
    conv = module("torch.nn.modules.conv Conv2d", parameters, stride=(1, 1))
    conv.state["_buffers"] = {"steps": made["count"], "absent": None}
    net = module("__main__ Net", modules={"conv": conv, "act": Call("__main__ swish", (1,))})
    path = torch_zip(tmp_path / "a", net, storages)
    with open_arrays(path) as file:
        assert set(file.arrays) == {"conv.weight", "conv.bias", "conv.steps"}
        assert file.about == "an object of class __main__.Net"
    wrapped = {"model": module("torch.nn.parallel DataParallel", modules={"module": net})}
    with open_arrays(torch_zip(tmp_path / "b", wrapped, storages)) as file:
        assert set(file.arrays) == {f"model.module.conv.{n}" for n in ("weight", "bias", "steps")}


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_a_score_of_numpy_beside_the_weights_is_passed_over(tmp_path, module):
    made, storages = state(sample())
    dtype = Call("numpy dtype", ("f8", False, True), (3, "<", None, None, None, -1, -1, 0))
    number = Call("_codecs encode", ("abcdefgh", "latin1"))
    score = Call(f"{module} scalar", (dtype, number))
    path = torch_zip(tmp_path / "a", made | {"best": score}, storages)
    assert_same(values(path), sample())


def test_values_beside_tensors_are_left_out(tmp_path):
    made, storages = state(sample())
    path = torch_zip(tmp_path / "a", made | {"version": 2, "who": "me", 5: made["count"]}, storages)
    assert_same(values(path), sample())


def test_parameters_and_dtypes_of_new_versions_are_read(tmp_path):
    data = np.arange(4, dtype="uint16")
    of = Reference(("storage", Name("torch.storage UntypedStorage"), "0", "cpu", 8))
    new = (of, 0, (2, 2), (2, 1), False, Call("collections OrderedDict", ()), Name("torch uint16"))
    x = Call("torch._utils _rebuild_tensor_v3", (*new, None))
    p = Call("torch._utils _rebuild_parameter", (x, True, Call("collections OrderedDict", ())))
    path = torch_zip(tmp_path / "a", {"x": x, "p": p}, {"0": data.tobytes()})
    assert_same(values(path), {"x": data.reshape(2, 2), "p": data.reshape(2, 2)})


class Outer:
    class Inner(enum.Enum):
        ONE = 1


class Thing:
    """Of a class that only this process has."""

    def __init__(self):
        self.values = [1, 2]


class Colour(enum.Enum):
    RED = 1


BYSTANDERS = {
    "set": {1, 2},
    "frozenset": frozenset({"a"}),
    "set of sets": {frozenset({1}): 2, "x": {3}},
    "complex": 1 + 2j,
    "date": datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC),
    "day": datetime.date(2026, 1, 2),
    "time": datetime.timedelta(1, 2, 3),
    "path": pathlib.PurePosixPath("a/b"),
    "windows path": pathlib.PureWindowsPath("a/b"),
    "object": Thing(),
    "class": Thing,
    "namespace": argparse.Namespace(lr=0.1),
    "defaultdict": collections.defaultdict(list, {"a": [1]}),
    "counter": collections.Counter("abc"),
    "deque": collections.deque([1, 2]),
    "ordered": collections.OrderedDict(a=1),
    "partial": functools.partial(Thing),
    "decimal": decimal.Decimal("1.5"),
    "uuid": uuid.UUID(int=5),
    "pattern": re.compile("a.*"),
    "range": range(4),
    "slice": slice(1, 2),
    "bytes": b"abc",
    "bytearray": bytearray(b"abc"),
    "exception": ValueError("bad"),
    "array": np.arange(5),
    "array of objects": np.array([None, "a"], object),
    "number of numpy": np.float64(0.5),
    "generator of numpy": np.random.default_rng(0),
    "dtype": np.dtype("f4"),
    "huge number": 2**3000,
    "keys": {(1, 2): 3, 2**80: 4, None: 5, 1.5: 6, True: 7},
    "random": random.getstate(),
    "logger": logging.getLogger("a"),
    "enum": Colour.RED,
    "simple namespace": types.SimpleNamespace(a=1),
    "class in a class": Outer.Inner.ONE,
    "functions": [min, max, len, operator.lt],
    "machine": platform.uname(),
    "enum of Python": inspect.Parameter.POSITIONAL_ONLY,
    "stream": io.BytesIO(b"abc"),
    "fraction": fractions.Fraction(1, 3),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("kind", BYSTANDERS)
def test_what_lies_beside_the_weights_is_passed_over(tmp_path, kind, protocol):
    dumped = Opcodes(pickle.dumps(BYSTANDERS[kind], protocol)[:-1])
    for legacy in (False, True):
        made, storages = state(sample(), legacy)
        for value in (made | {"beside": dumped}, made | {"beside": [dumped, {"in": dumped}]}):
            if legacy:
                path = torch_legacy(tmp_path / "a", value, storages, protocol=protocol)
            else:
                path = torch_zip(tmp_path / "a", value, storages, protocol=protocol)
            assert_same(values(path), sample())


def test_tensors_that_cannot_be_read_are_named_and_harm_no_others(tmp_path):
    made, storages = state(sample())
    four = storage("Float", "four", 4)
    sparse = Call("torch._utils _rebuild_sparse_tensor", (Name("torch sparse_coo"), (four, 4)))
    old = Reference(("storage", Name("torch Float8Storage"), "f8", "cpu", 4))
    v3 = (storage("Half", "half", 4), 0, (4,), (1,), False, {}, Name("torch complex32"), None)
    beside = {
        "repeated": tensor(four, (5,), (0,)),
        "outside": tensor(four, (9,)),
        "complex": tensor(storage("ComplexFloat", "c", 2), (2,)),
        "absent": tensor(storage("Float", "9", 4), (4,)),
        "short": tensor(storage("Double", "short", 4), (4,)),
        "unknown": tensor(old, (4,)),
        "sparse": Call("torch._utils _rebuild_parameter", (sparse, True, {})),
        "of a dtype": Call("torch._utils _rebuild_tensor_v3", v3),
    }
    storages |= {"four": bytes(16), "c": bytes(16), "short": bytes(16), "f8": bytes(4)}
    path = torch_zip(tmp_path / "a", made | beside, storages)
    assert_same(values(path), sample())
    with open_arrays(path) as file:
        assert set(file.unread) == set(beside)
        assert "Save it after .contiguous()" in file.unread["repeated"]
        assert "torch.ComplexFloatStorage" in file.unread["complex"]
        assert "does not have" in file.unread["absent"]
        assert "_rebuild_sparse_tensor" in file.unread["sparse"]
        assert "torch.complex32" in file.unread["of a dtype"]
        with pytest.raises(KeyError):
            file.read("repeated")


def test_storages_that_are_not_read_are_stepped_over_in_the_older_format(tmp_path):
    made, storages = state({"x": np.arange(4, dtype="float32")}, legacy=True)
    value = {"c": tensor(storage("ComplexFloat", "c", 2, None), (2,))} | made
    path = tmp_path / "a"
    data = torch_legacy(path, value, {"c": bytes(16)} | storages).read_bytes()
    at = data.index(struct.pack("<q", 4) + bytes(16))  # the writer counts floats of 4 bytes
    path.write_bytes(data[:at] + struct.pack("<q", 2) + data[at + 8 :])
    assert_same(values(path), {"x": np.arange(4, dtype="float32")})


def test_dtypes_of_safetensors_that_are_not_read_harm_no_others(tmp_path):
    entries = {"x": entry(), "y": entry(dtype="F8_E4M3", shape=[3], data_offsets=[8, 11])}
    path = raw_safetensors(tmp_path / "a", json.dumps(entries), bytes(11))
    assert_same(values(path), {"x": np.zeros(2, "float32")})
    with open_arrays(path) as file:
        assert "F8_E4M3" in file.unread["y"]
    entries["y"]["data_offsets"] = [8, 12]
    refused(raw_safetensors(path, json.dumps(entries), bytes(11)), "need 12 bytes and 11")


def test_names_of_hdf5_keep_what_they_begin_with(tmp_path):
    path = write("hdf5", tmp_path, {"model/a": np.ones(2), "model/b": np.ones(2)})
    assert set(values(path)) == {"model/a", "model/b"}


# Refusals of any format


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_arrays(tmp_path / "absent.pth")


def test_what_is_no_file_is_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not a file")
    refused(tmp_path, "not a file")
    refused("/dev/zero", "not a file")
    with pytest.raises(WeightsError, match="cannot be opened"):
        open_arrays(f"{tmp_path}/a\0b")
    with pytest.raises(WeightsError, match="cannot be opened"):
        open_arrays(tmp_path / ("a" * 5000))


def test_the_error_holds_path_and_reason():
    error = pickle.loads(pickle.dumps(WeightsError("a.pth", "it is old.")))  # noqa: S301
    assert isinstance(error, ValueError)
    assert (error.path, error.reason) == ("a.pth", "it is old.")
    assert str(error) == "Weights file 'a.pth' cannot be used: it is old."


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_are_refused_when_opened(tmp_path, kind):
    data = write(kind, tmp_path).read_bytes()
    for percent in range(0, 100, 5):
        path = tmp_path / "cut"
        path.write_bytes(data[: len(data) * percent // 100])
        with pytest.raises(WeightsError):
            open_arrays(path)


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_give_arrays_or_a_weights_error(tmp_path, kind):
    data = write(kind, tmp_path).read_bytes()
    rng = np.random.default_rng(1)
    outcomes = []
    begin = time.perf_counter()
    for i in range(400):
        changed = bytearray(data)
        for at in rng.integers(0, len(data) if i % 2 else min(len(data), 700), rng.integers(1, 6)):
            changed[at] = rng.integers(0, 256) if i % 3 else changed[at] ^ (1 << rng.integers(0, 8))
        if i % 10 == 0:
            at = rng.integers(0, len(data))
            changed[at : at + rng.integers(0, 9)] = rng.bytes(rng.integers(0, 9))
        path = tmp_path / "mutated"
        path.write_bytes(changed)
        try:
            outcomes.append(all(type(array) is np.ndarray for array in values(path).values()))
        except WeightsError:
            outcomes.append(False)
    assert 0 < sum(outcomes) < len(outcomes)
    assert time.perf_counter() - begin < 60


@pytest.mark.parametrize("kind", ["torch", "keras"])
def test_a_damaged_byte_of_the_values_is_found_by_its_checksum(tmp_path, kind):
    path = write(kind, tmp_path)
    data = path.read_bytes()
    at = data.index(sample()["conv.weight"].tobytes())
    path.write_bytes(data[: at + 9] + bytes([data[at + 9] ^ 1]) + data[at + 10 :])
    refused(path, "checksum")


def test_torch_files_without_checksums_are_read(tmp_path):
    path = write("torch", tmp_path)
    data = bytearray(path.read_bytes())
    at = 0
    while (at := data.find(b"PK\x01\x02", at + 1)) > 0:
        data[at + 16 : at + 20] = bytes(4)
    path.write_bytes(data)
    assert_same(values(path), sample())


TERA = 2**40


def claims_a_terabyte(kind, path):
    numel = TERA // 4
    if kind == "safetensors":
        entry = dict(dtype="F32", shape=[numel], data_offsets=[0, TERA])
        return raw_safetensors(path, json.dumps({"x": entry}), bytes(65536))
    if kind == "safetensors header":
        return raw_safetensors(path, "{}", bytes(65536), TERA)
    if kind == "torch":
        return torch_zip(path, {"x": tensor(storage("Float", "0", numel), (numel,))}, {"0": b"x"})
    if kind == "torch stride":
        x = tensor(storage("Float", "0", 4), (numel,), (0,))
        return torch_zip(path, {"x": x}, {"0": bytes(16)})
    if kind == "pickle":
        return torch_zip(path, b"\x80\x04\x8e" + struct.pack("<Q", TERA) + b"x.", {})
    if kind == "pickle text":
        return torch_zip(path, b"\x80\x04\x8d" + struct.pack("<Q", TERA) + b"x.", {})
    if kind == "pickle number":
        return torch_zip(path, b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b"x.", {})
    if kind == "legacy":
        x = tensor(storage("Float", "0", numel, None), (numel,))
        return torch_legacy(path, {"x": x}, {"0": bytes(16)})
    options = dict(chunks=(1024,), compression="gzip") if kind != "hdf5 plain" else {}
    with h5py.File(path, "w") as file:
        made = file.create_dataset("x", (numel,), "f4", **options)
        if options:
            made[:1024] = 1
    if kind == "keras":
        data = path.read_bytes()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.weights.h5", data)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        *("safetensors", "safetensors header", "torch", "torch stride", "pickle", "pickle text"),
        *("pickle number", "legacy", "hdf5", "hdf5 plain", "keras"),
    ],
)
def test_small_files_that_claim_a_terabyte_cost_no_memory(tmp_path, kind):
    path = claims_a_terabyte(kind, tmp_path / "a")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    with pytest.raises(WeightsError):
        open_arrays(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50e3


# Refusals of safetensors


def entry(dtype="F32", shape=(2,), data_offsets=(0, 8), **more):
    return dict(dtype=dtype, shape=shape, data_offsets=data_offsets, **more)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"x": entry(dtype="F4")}, "dtype 'F4'; known are F64"),
        ({"x": entry(dtype=["F32"])}, "dtype"),
        ({"x": entry(shape=[-2])}, "numbers from 0 up"),
        ({"x": entry(shape=[2.0])}, "numbers from 0 up"),
        ({"x": entry(shape=[True, 2])}, "numbers from 0 up"),
        ({"x": entry(shape=["2"])}, "numbers from 0 up"),
        ({"x": entry(shape=2)}, "not lists"),
        ({"x": entry(shape=[1] * 8 + [2])}, "at most 8"),
        ({"x": entry(shape=[2**62, 4])}, "larger than any memory"),
        ({"x": entry(shape=[0, 2**62, 4], data_offsets=[0, 0])}, "larger than any memory"),
        ({"x": entry(shape=[3])}, "needs 12 bytes"),
        ({"x": entry(data_offsets=[0, 8, 9])}, "two numbers"),
        ({"x": entry(data_offsets=[0, 8.0])}, "two numbers"),
        ({"x": entry(data_offsets=[-8, 0])}, "two numbers"),
        ({"x": entry(data_offsets=[8, 0])}, "other data_offsets"),
        ({"x": entry(data_offsets={"0": 8})}, "not lists"),
        ({"x": entry(more=1)}, "alone"),
        ({"x": {"dtype": "F32", "shape": [2]}}, "alone"),
        ({"x": [1]}, "alone"),
        ({"x": entry(data_offsets=[4, 12])}, "overlap or leave"),
        ({"x": entry(), "y": entry()}, "overlap or leave"),
        ({"x": entry(), "y": entry(data_offsets=[4, 12])}, "overlap or leave"),
        ({"x": entry(), "y": entry(data_offsets=[12, 20])}, "overlap or leave"),
        ({"x": entry(), "y": entry(data_offsets=[8, 16])}, "need 16 bytes and 8 follow"),
        ({"x": entry(shape=[1], data_offsets=[0, 4])}, "need 4 bytes and 8 follow"),
        ({"x": entry(), "__metadata__": {"a": 1}}, "object of strings"),
        ({"x": entry(), "__metadata__": ["a"]}, "object of strings"),
    ],
)
def test_safetensors_headers_that_lie_are_refused(tmp_path, header, reason):
    refused(raw_safetensors(tmp_path / "a", json.dumps(header), bytes(8)), reason)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ('{"x": %s, "x": %s}' % ((json.dumps(entry()),) * 2), "twice"),
        ('{"x": {"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "twice"),
        ('{"x": 1', "damaged"),
        ('{"x": 1} x', "damaged"),
        (b'{"\xff": 1}', "damaged"),
        ('{"x":' * 10**5, "damaged"),
        ('{"x":' + "[" * 10**6, "damaged"),
        ('{"x":' + "[" * 3 * 10**6, "more arrays than any network"),
        ('{"x": %s}' % ("9" * 10**4), "damaged"),
        ('{"x": NaN}', "alone"),
    ],
)
def test_safetensors_headers_that_are_no_json_are_refused(tmp_path, header, reason):
    refused(raw_safetensors(tmp_path / "a", header, bytes(8)), reason)


def test_a_header_longer_than_the_file_or_the_limit_is_refused(tmp_path):
    refused(raw_safetensors(tmp_path / "a", "{}", length=3), "claims 3 bytes")
    refused(raw_safetensors(tmp_path / "a", "{}", length=2**64 - 1), f"claims {2**64 - 1} bytes")
    refused(raw_safetensors(tmp_path / "a", "{}" + " " * 2**24), "at most 16777216")
    refused(raw_safetensors(tmp_path / "a", "{}", length=0), "damaged")


def test_empty_arrays_a_file_without_arrays_and_padding_are_valid(tmp_path):
    assert values(raw_safetensors(tmp_path / "a", "{}")) == {}
    header = {"x": entry(shape=[0, 3], data_offsets=[0, 0]), "y": entry()}
    path = raw_safetensors(tmp_path / "b", json.dumps(header) + "   ", bytes(8))
    assert_same(values(path), {"x": np.zeros((0, 3), "float32"), "y": np.zeros(2, "float32")})


# Refusals of torch files


def one(**options):
    return {"x": tensor(storage("Float", "0", 4), (4,), **options)}


FOUR = {"0": np.arange(4, dtype="float32").tobytes()}
BOTH = pytest.mark.parametrize("legacy", [False, True])


def torch_file(path, value, legacy=False, storages=FOUR):
    return (torch_legacy if legacy else torch_zip)(path, value, storages)


@BOTH
@pytest.mark.parametrize(
    "name",
    [
        *("posix system", "builtins eval", "builtins exec", "builtins getattr", "os system"),
        *("importlib import_module", "pkgutil resolve_name", "runpy run_path", "torch.hub load"),
        *("numpy load", "torch.jit load", "pickle loads", "_codecs decode", "operator attrgetter"),
        *("torch load", "torch.serialization load", "collections namedtuple", "types CodeType"),
        *("subprocess Popen", "__builtin__ eval", "nt system", "ctypes CDLL", "code interact"),
        *("dill loads", "cloudpickle.cloudpickle _builtin_type", "joblib load", "pip main"),
        *("numpy.testing._private.utils runstring", "webbrowser open", "builtins compile"),
        *("_pickle Unpickler", "functools reduce", "typing get_type_hints", "pandas read_pickle"),
        *("torch.storage _load_from_bytes", "torch.os popen", "torch.subprocess Popen"),
        *("ensurepip.subprocess Popen", "logging.threading Thread", "six.moves.builtins compile"),
        *("numpy.ctypeslib.ctypes CDLL", "numpy.f2py.crackfortran myeval", "io FileIO", "io open"),
        *("torch.package PackageImporter", "zipfile ZipFile", "logging FileHandler", "_socket x"),
        *("torch.utils.collect_env run", "os execv", "mylib.util popen_it"),
    ],
)
def test_a_name_that_could_run_code_is_refused_by_that_name(tmp_path, name, legacy):
    for value in (Call(name, ("x",)), Name(name), Opcodes(b"(K\x01i" + code(Name(name))[1:])):
        path = torch_file(tmp_path / "a", {"x": one()["x"], "y": value}, legacy)
        if isinstance(value, Opcodes):
            refused(path, "opcode INST|call " + name.replace(" ", "."))
        else:
            message = refused(path, f"it asks to call {name.replace(' ', '.')},")
            assert "nothing in the file was run" in message
            assert "model.state_dict()" in message


@pytest.mark.parametrize(
    "arguments",
    [
        (Name("torch.nn Module"), "load"),
        (Name("mine.data Part"), "os.system"),
        ("os", "system"),
        (Call("__main__ Net", ()), "run"),
        (Name("a b"), 3),
        (Name("a b"),),
        (),
    ],
)
def test_what_is_asked_of_a_name_is_checked_like_a_name(tmp_path, arguments):
    reach = Call("builtins getattr", arguments)
    for value in (reach, {"x": one()["x"], "y": reach}):
        refused(torch_zip(tmp_path / "a", value, FOUR), "it asks to call")
    inner = Call("builtins getattr", (Name("mine.data Part"), "Kind"))
    names = [
        Name("a b"),
        Name("my.types Wrapped"),
        Name("plans ExecutionPlan"),
        Name("data.io Loader"),
    ]
    path = torch_zip(tmp_path / "a", {"x": one()["x"], "y": inner, "z": names}, FOUR)
    assert_same(values(path), {"x": np.arange(4, dtype="f4")})


def test_modules_of_before_1_6_with_their_source_are_read(tmp_path):
    kind = Reference(("module", Name("torch.nn.modules.linear Linear"), "linear.py", "class ..."))
    x = tensor(storage("Float", "0", 4, None), (4,))
    made = Opcodes(code(kind) + b")\x81" + code({"_parameters": {"weight": x}}) + b"b")
    path = torch_legacy(tmp_path / "a", {"net": made}, FOUR)
    assert_same(values(path), {"net.weight": np.arange(4, dtype="f4")})


def test_parameters_with_a_state_and_tensors_of_other_classes_are_read(tmp_path):
    x = one()["x"]
    state_too = Call("torch._utils _rebuild_parameter_with_state", (x, True, {}, {"a": 1}))
    plain = (storage("Float", "0", 4), 0, (4,), (1,), False, {})
    own = (Name("torch._utils _rebuild_tensor_v2"), Name("my.types Wrapped"), plain, {})
    other = Call("torch._tensor _rebuild_from_type_v2", own)
    strange = Call("torch._tensor _rebuild_from_type_v2", (Name("my.types make"), 1, (), {}))
    value = {"a": state_too, "b": other, "c": strange}
    four = np.arange(4, dtype="f4")
    assert_same(values(torch_zip(tmp_path / "a", value, FOUR)), {"a": four, "b": four})


def pickles_that_repeat():
    """Pickles of some kilobytes in which one long text stands for many."""
    long = code("k" * 30_000) + b"q\x010"
    yield "names", long + b"](" + b"h\x01h\x01\x93" * 10_000 + b"e"
    kind = Name("x " + "y" * 30_000 + "Storage")
    yield (
        "references",
        code(("storage", kind, "0", "cpu", 4)) + b"q\x020](" + b"h\x02Q" * 9000 + b"e",
    )
    made = code(tensor(storage("Float", "k" * 30_000, 4), (4,))) + b"q\x020"
    yield "places", made + b"}(" + b"".join(code(f"{i}") + b"h\x02" for i in range(9000)) + b"u"
    yield "ways", long + b"}(h\x01" + b"](" + b"}(h\x01}uq\x03" * 9000 + b"e" + b"u"


@pytest.mark.parametrize(("name", "opcodes"), list(pickles_that_repeat()))
def test_long_texts_that_are_repeated_cost_little(tmp_path, name, opcodes):
    path = torch_zip(tmp_path / "a", {"x": one()["x"], "y": Opcodes(opcodes)}, FOUR)
    begin = time.perf_counter()
    tracemalloc.start()
    try_values(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6
    assert time.perf_counter() - begin < 6


@BOTH
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_command_in_a_pickle_is_not_run(tmp_path, legacy, protocol):
    marker = tmp_path / "ran"

    class Command:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    dumped = pickle.dumps(Command(), protocol)
    command = Opcodes(dumped[:-1])
    for value in ({"x": one()["x"], "y": command}, command, {"state_dict": command}):
        refused(torch_file(tmp_path / "a", value, legacy), "it asks to call posix.system")
    for place in range(5 if legacy else 0):  # in each of the five pickles in a row
        parts = [pickled(p) for p in (MAGIC, 1001, {"little_endian": True}, one(), ["0"])]
        (tmp_path / "a").write_bytes(b"".join([*parts[:place], dumped, *parts[place:]]))
        refused(tmp_path / "a", "posix.system" if place else "posix.system|a plain pickle")
    assert not marker.exists()
    pickle.loads(dumped)  # noqa: S301 - the same bytes do run where they are let
    assert marker.exists()


@pytest.mark.parametrize(
    ("opcodes", "reason"),
    [
        (b"(K\x01o", "opcode OBJ"),
        (b"\x82\x01", "opcode EXT1"),
        (b"Pdata/0\n", "opcode PERSID"),
        (b"K\x012", "opcode DUP"),
        (b"I5\n", "opcode INT"),
        (b"K\x01)}\x92", "no function"),
        (b"\x97", "opcode NEXT_BUFFER"),
        (b"\xff", "damaged"),
        (b"X\xff\xff\xff\x7fa", "damaged"),
        (b"X\x02\x00\x00\x00\xff\xff", "damaged"),
        (b"0000", "takes more from the stack"),
        (b"t", "takes more from the stack"),
        (b"\x85\x86\x87\x87", "takes more from the stack"),
        (b"q\x00" + b"0" * 9, "takes more from the stack"),
        (b"1", "takes more from the stack"),
        (b"h\x05", "recalls what it never noted"),
        (b"j\xff\xff\xff\x7f", "recalls what it never noted"),
        (b"N)R", "no function"),
        (code(Name("torch FloatStorage")) + b")R", "no function"),
        (code(Name("torch float32")) + b")\x81", "no function"),
        (code(Name("torch device")) + b"NR", "without a tuple"),
        (code(Name("torch device")) + b"}b", "attributes of a class"),
        (code(Call("torch._utils _rebuild_parameter", ("x",))), "something else than a tensor"),
        (code(Call("torch._utils _rebuild_parameter", ())), "damaged"),
        (code(Call("torch._utils _rebuild_tensor_v2", ("x", 0, (1,), (1,)))), "than a storage"),
        (code(Call("torch._utils _rebuild_tensor_v2", ())), "damaged"),
        (code(Call("torch Size", (3,))), "something else than numbers"),
        (code(Call("collections OrderedDict", (3,))), "something else than pairs"),
        (code(Call("collections OrderedDict", ([(1, 2, 3)],))), "something else than pairs"),
        (code(Reference(("module", "x"))), "no storage"),
        (code(Reference("0")), "no storage"),
        (code(Reference(("storage", "FloatStorage", "0", "cpu", 4))), "no storage"),
        (code(Reference(("storage", Name("torch Size"), "0", "cpu", 4))), "no storage"),
        (code(storage("Float", "0", -4)), "size of storage '0'"),
        (code(storage("Float", "0", True)), "size of storage '0'"),
        (code(storage("Float", "0", 4.0)), "size of storage '0'"),
        (code(storage("Float", "0", 5)), "two sizes"),
        (b"K\x01K\x02\x93", "by no text"),
        (code("posix") + code("system") + b"\x93", "call posix.system"),
        (b"]K\x01K\x02s", "no dict"),
        (b"](K\x01K\x02u", "no dict"),
        (b"}(K\x01u", "no dict"),
        (b"}K\x01a", "no list"),
        (b")(K\x01e", "no list"),
        (b"\x80\x07", "protocol 7"),
        (b"\x80\x01", "protocol 1"),
        (b"L" + b"9" * 10**4 + b"L\n", "damaged"),
    ],
)
def test_pickles_that_do_what_no_state_dict_needs_are_refused(tmp_path, opcodes, reason):
    for legacy in (False, True):
        value = {"x": one()["x"] if not legacy else tensor(storage("Float", "0", 4, None), (4,))}
        extra = {"y": Opcodes(opcodes)}
        refused(torch_file(tmp_path / "a", value | extra, legacy), reason)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (tensor(storage("Float", "0", 4), (5,)), "beyond the end"),
        (tensor(storage("Float", "0", 4), (4,), offset=1), "beyond the end"),
        (tensor(storage("Float", "0", 4), (2, 2), (3, 1)), "beyond the end"),
        (tensor(storage("Float", "0", 4), (0,), offset=2**80), "beyond the end"),
        (tensor(storage("Float", "0", 4), (4,), offset=-1), "numbers from 0 up"),
        (tensor(storage("Float", "0", 4), (4,), (-1,)), "numbers from 0 up"),
        (tensor(storage("Float", "0", 4), (4,), (1.0,)), "numbers from 0 up"),
        (tensor(storage("Float", "0", 4), (4,), (True,)), "numbers from 0 up"),
        (tensor(storage("Float", "0", 4), (4,), (1, 1)), "numbers from 0 up"),
        (tensor(storage("Float", "0", 4), (-4,), (1,)), "numbers from 0 up"),
        (tensor(storage("Float", "0", 4), ("4",), (1,)), "numbers from 0 up"),
        (tensor(storage("Float", "0", 4), (1,) * 9, (1,) * 9), "at most 8"),
        (tensor(storage("Float", "0", 4), (2**31, 2**31), (0, 0)), "larger than any memory"),
        (tensor(storage("Float", "0", 4), (5,), (0,)), r"5 times over. Save it after .contiguous"),
        (tensor(storage("Double", "0", 4), (4,)), "asks for 32 bytes of storage '0'"),
        (tensor(storage("ComplexFloat", "0", 2), (2,)), "torch.ComplexFloatStorage"),
    ],
)
def test_tensors_outside_their_storage_are_refused(tmp_path, made, reason):
    refused(torch_zip(tmp_path / "a", {"x": made}, FOUR), reason)


@pytest.mark.parametrize(
    "value",
    [
        [1],
        3,
        one()["x"],
        {},
        {"state_dict": {}},
        {"a": 3},
        {3: one()["x"]},
        {"x" * 301: one()["x"]},
        Call("__main__ Net", ("x",)),
    ],
)
def test_an_object_without_state_dict_is_refused_with_advice(tmp_path, value):
    message = refused(torch_zip(tmp_path / "a", value, FOUR), "it holds no state dict")
    assert "Save model.state_dict()" in message


def test_structures_that_hold_themselves_do_no_harm(tmp_path):
    itself = b"}q\x00X\x0a\x00\x00\x00state_dicth\x00s"
    refused(torch_zip(tmp_path / "a", Opcodes(itself), FOUR), "no state dict")
    value = {"x": one()["x"], "loop": Opcodes(b"]q\x00h\x00a"), "args": Opcodes(itself)}
    assert_same(values(torch_zip(tmp_path / "a", value, FOUR)), {"x": np.arange(4, dtype="f4")})


@BOTH
def test_a_huge_memo_index_costs_nothing(tmp_path, legacy):
    of = storage("Float", "0", 4, *([None] if legacy else []))
    noted = Opcodes(b"K\x01r\xfe\xff\xff\xff0" + code(tensor(of, (4,))))
    path = torch_file(tmp_path / "a", {"x": noted}, legacy)
    tracemalloc.start()
    found = values(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_same(found, {"x": np.arange(4, dtype="float32")})
    assert peak < 2**20


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        (b"(", "longer than that of any network"),
        (b"]", "longer than that of any network"),
        (b"N\x85" * 2, "longer than that of any network"),
    ],
)
def test_endless_pickles_are_given_up(tmp_path, unit, reason):
    begin = time.perf_counter()
    refused(torch_zip(tmp_path / "a", b"\x80\x02" + unit * (STEP_LIMIT + 1) + b".", {}), reason)
    assert time.perf_counter() - begin < 20


def test_deep_structures_are_refused_or_left_out(tmp_path):
    deep = {"y": Opcodes(b")" + b"\x85" * 500_000), "x": one()["x"]}
    path = torch_zip(tmp_path / "a", deep, FOUR)
    assert_same(values(path), {"x": np.arange(4, dtype="float32")})
    deep["y"] = Opcodes(b"}" + b")" + b"\x85" * 500_000 + b"Ns")
    path = torch_zip(tmp_path / "a", deep, FOUR)
    assert_same(values(path), {"x": np.arange(4, dtype="float32")})
    for depth in (30, 40, 100_000):
        nested = b"}" + b"".join([code("k") + b"}"] * depth)
        nested += code("k") + code(one()["x"]) + b"s" + b"s" * depth
        path = torch_zip(tmp_path / "a", {"y": Opcodes(nested), "x": one()["x"]}, FOUR)
        assert set(values(path)) == {"x"} | ({"y" + ".k" * 31} if depth == 30 else set())


def test_copies_of_a_long_list_are_counted(tmp_path):
    pairs = b"](" + b"K\x01K\x02\x86" * 2000 + b"eq\x010"
    calls = code(Name("collections OrderedDict")) + b"q\x020" + b"h\x02h\x01\x85R0" * 2000
    value = {"x": one()["x"], "y": Opcodes(pairs + calls + b"N")}
    refused(torch_zip(tmp_path / "a", value, FOUR), "longer than that of any network")


def test_a_pickle_over_the_limit_is_refused_unread(tmp_path):
    path = torch_zip(tmp_path / "a", bytes(2**25 + 1), {})
    refused(path, "'archive/data.pkl' in it is larger")


def test_a_second_pickle_behind_the_first_is_refused(tmp_path):
    path = torch_zip(tmp_path / "a", pickled(one()) + pickled(Name("posix system")), FOUR)
    refused(path, "goes on after its end")


def test_archives_that_torch_does_not_write_are_refused(tmp_path):
    path = tmp_path / "a"
    refused(torch_zip(path, one(), {}), "storage '0', which it does not have")
    refused(torch_zip(path, one(), {"0": bytes(12)}), "which it has in 12")
    refused(torch_zip(path, one(), FOUR, byteorder=b"big"), "big-endian")
    refused(torch_zip(path, one(), FOUR, byteorder=b"little" * 9), "larger than 16 bytes")
    with zipfile.ZipFile(torch_zip(path, one(), FOUR), "a") as archive:
        archive.writestr("other/data.pkl", pickled(one()))
    refused(path, "2 members data.pkl")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", "3")
    refused(path, "0 members data.pkl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickled(one()) * 9)
    refused(path, "compressed, which torch never does")
    archive = zipfile.ZipFile(torch_zip(path, one(), FOUR), "a")
    with archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data/0", bytes(16))
    refused(path, "same name")


def test_members_that_overlap_are_refused(tmp_path):
    """Entries of one long member, as in CVE-2024-0450."""
    path = torch_zip(tmp_path / "a", one(), FOUR | {"long": bytes(5000)})
    data = path.read_bytes()
    begin = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    at = data.rindex(b"PK\x01\x02", 0, data.index(b"data/long", begin))
    length = 46 + len("archive/data/long")
    copies = [data[at : at + length].replace(b"long", b"lon%d" % i) for i in range(9)]
    listed = data[begin:end] + b"".join(copies)
    tail = bytearray(data[end:])
    count = struct.unpack_from("<H", tail, 10)[0] + 9
    struct.pack_into("<HHI", tail, 8, count, count, len(listed))
    path.write_bytes(data[:begin] + listed + tail)
    assert len(zipfile.ZipFile(path).namelist()) == count
    refused(path, "longer than the file")


def test_an_archive_of_too_many_members_is_refused(tmp_path):
    path = tmp_path / "a"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(1000):
            archive.writestr(f"{i}" + "x" * 60_000, b"")
    refused(path, "more members than any weights file")


def test_members_that_are_not_where_the_list_says_are_refused(tmp_path):
    path = torch_zip(tmp_path / "a", one(), FOUR)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"data/0"))
    for offset, reason in ((7, "not where the list says"), (2**31, "outside the file|damaged")):
        changed = data.copy()
        struct.pack_into("<I", changed, at + 42, offset)
        path.write_bytes(changed)
        refused(path, reason)
    changed = data.copy()
    changed[at + 8] |= 1
    path.write_bytes(changed)
    refused(path, "encrypted")
    changed = data.copy()
    begin = changed.index(b"archive/data/0") - 30
    changed[begin : begin + 4] = b"none"
    path.write_bytes(changed)
    refused(path, "'archive/data/0' in its zip archive is not where")


def test_files_of_the_older_format_that_lie_are_refused(tmp_path):
    value = {"x": tensor(storage("Float", "0", 4, None), (4,))}
    path = tmp_path / "a"
    assert_same(values(torch_legacy(path, value, FOUR)), {"x": np.arange(4, dtype="f4")})
    refused(torch_legacy(path, value, FOUR, keys=[]), "not that of its tensors")
    refused(torch_legacy(path, value, FOUR, keys=["0", "0"]), "not that of its tensors")
    refused(torch_legacy(path, value, FOUR, keys=["1"]), "not that of its tensors")
    refused(torch_legacy(path, value, FOUR, keys=[0]), "no list of texts")
    refused(torch_legacy(path, value, FOUR, keys={"0": 1}), "no list of texts")
    refused(torch_legacy(path, value, FOUR, system={"little_endian": False}), "big-endian")
    refused(torch_legacy(path, value, FOUR, system=[1]), "older format")
    refused(torch_legacy(path, value, FOUR, itemsize=8), "storage '0' is of 2 elements")
    refused(torch_legacy(path, value, {"0": bytes(8)}), "cut short")
    refused(torch_legacy(path, value, {"0": bytes(24)}, itemsize=6), "8 bytes follow")


# Refusals of HDF5


def hdf5(path, fill, **options):
    with h5py.File(path, "w", **options) as file:
        fill(file)
    return path


def bomb(file):
    """One chunk of 4 KiB that inflates to 64 MiB."""
    made = file.create_dataset("x", (1024,), "f4", chunks=(1024,), compression="gzip")
    made.id.write_direct_chunk((0,), zlib.compress(bytes(2**26), 9))


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("x", layout)


def deep(file):
    for _ in range(70):
        file = file.create_group("g")


def cycle(file):
    file.create_group("g")["up"] = file["/"]


@pytest.mark.parametrize(
    ("fill", "reason"),
    [
        (lambda f: f.update(a=h5py.SoftLink("/b")), "'a' is a link to elsewhere"),
        (lambda f: f.update(a=h5py.ExternalLink("/etc/passwd", "/b")), "'a' is a link"),
        (lambda f: f.create_dataset("x", (4,), "f4", external=[("/etc/passwd", 0, 16)]), "another"),
        (virtual, "another file"),
        (cycle, "'g/up' is no array"),
        (deep, "more groups"),
        (bomb, "inflates to more than a chunk"),
        (lambda f: f.update(x="text"), "'x' is of type object"),
        (lambda f: f.update(x=np.array([b"ab"])), r"'x' is of type \|S2"),
        (lambda f: f.update(x=np.zeros(2, "c8")), "complex64"),
        (lambda f: f.update(x=np.zeros(2, [("a", "f4")])), "not an array of numbers"),
        (lambda f: f.update(x=np.zeros(2, "V4")), "not an array of numbers"),
        (lambda f: f.update(x=f.create_dataset("y", (1,)).ref), "not an array of numbers"),
        (lambda f: f.update(x=h5py.Empty("f4")), "is empty"),
        (lambda f: f.update(x=np.dtype("f4")), "'x' is no array"),
        (lambda f: f.update(x=np.zeros((1,) * 9)), "at most 8"),
        (lambda f: f.create_dataset("x", data=np.ones(9), scaleoffset=2), "other software"),
        (lambda f: f.create_dataset("x", (2**20,), "f8"), "claims 8388608 bytes, of which 0"),
        (
            lambda f: f.create_dataset(
                "x", (1,), maxshape=(None,), chunks=(2**24,), compression="lzf"
            ),
            "claims 4 bytes",
        ),
    ],
)
def test_hdf5_files_with_more_than_numbers_are_refused(tmp_path, fill, reason):
    refused(hdf5(tmp_path / "a", fill), reason)


def compressed_twice(file):
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4,))
    settings.set_deflate(4)
    settings.set_deflate(4)
    made = h5py.h5d.create(
        file.id, b"x", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((4,)), settings
    )
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones(4, "f4"))


def compressed_in_two_ways(file):
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4,))
    settings.set_deflate(4)
    settings.set_filter(h5py.h5z.FILTER_LZF, 0, ())
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((4,)), settings)


@pytest.mark.parametrize("fill", [compressed_twice, compressed_in_two_ways])
def test_arrays_that_are_compressed_more_than_once_are_refused(tmp_path, fill):
    refused(hdf5(tmp_path / "a", fill), "compressed more than once")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "reaches beyond the end|invalid dataset size"),  # HDF5 1.14.6 sees it before us
        (dict(chunks=(50,)), "chunk of an array is outside"),
    ],
)
def test_arrays_outside_the_file_are_refused(tmp_path, options, reason):
    array = np.arange(100, dtype="float32")
    path = hdf5(tmp_path / "a", lambda f: f.create_dataset("x", data=array, **options))
    data = path.read_bytes()
    at = data.index(array[50:].tobytes() if options else array.tobytes())
    size = b"" if options else struct.pack("<Q", array.nbytes)  # which follows the address
    address = struct.pack("<Q", at) + size
    assert data.count(address) == 1
    path.write_bytes(data.replace(address, struct.pack("<Q", len(data) - 8) + size))
    refused(path, reason)


def test_too_many_objects_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("senet.weights.hdf5_files.OBJECT_LIMIT", 20)
    refused(hdf5(tmp_path / "a", lambda f: [f.create_group(str(i)) for i in range(21)]), "groups")
    assert values(hdf5(tmp_path / "b", lambda f: [f.create_group(str(i)) for i in range(20)])) == {}


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(chunks=(7, 9)),
        dict(chunks=(300, 40)),
        dict(chunks=(7, 9), maxshape=(None, None)),
        dict(compression="gzip"),
        dict(compression="gzip", shuffle=True, fletcher32=True),
        dict(compression="lzf", shuffle=True),
    ],
)
def test_compressed_arrays_are_read(tmp_path, options, libver):
    array = np.random.default_rng(0).normal(size=(300, 40)).astype("float32")
    fill = lambda file: file.create_dataset("a/b", data=array, **options)  # noqa: E731
    assert_same(values(hdf5(tmp_path / "a", fill, libver=libver)), {"a/b": array})


def test_arrays_of_the_other_byte_order_are_read(tmp_path):
    path = hdf5(tmp_path / "a", lambda f: f.update(x=np.arange(3, dtype=">f4")))
    assert_same(values(path), {"x": np.arange(3, dtype="float32")})


def test_an_array_under_two_names_is_read_under_both(tmp_path):
    def fill(file):
        file["a"] = np.arange(3)
        file["b"] = file["a"]

    assert set(values(hdf5(tmp_path / "a", fill))) == {"a", "b"}


def keras_file(path, data, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", data)
    return path


def test_a_compressed_keras_file_is_read_within_bounds(tmp_path):
    data = write("hdf5", tmp_path).read_bytes()
    assert_same(values(keras_file(tmp_path / "a", data, zipfile.ZIP_DEFLATED)), sample())
    path = keras_file(tmp_path / "b", data + bytes(2**26), zipfile.ZIP_DEFLATED)
    refused(path, "not believable")
    refused(keras_file(tmp_path / "c", data, zipfile.ZIP_LZMA), "not by deflate")
    refused(keras_file(tmp_path / "d", b"no hdf5"), "damaged")


def test_a_compressed_member_of_another_size_is_refused(tmp_path):
    data = write("hdf5", tmp_path).read_bytes()
    path = keras_file(tmp_path / "a", data, zipfile.ZIP_DEFLATED)
    changed = bytearray(path.read_bytes())
    at = changed.rindex(b"PK\x01\x02")
    struct.pack_into("<I", changed, at + 24, len(data) - 1)
    path.write_bytes(changed)
    refused(path, "not of the size it says")


# The reader itself


def test_the_readers_import_nothing_that_could_run_a_file():
    """Neither pickle nor torch, and none of the loaders that call what a file asks for."""
    folder = os.path.dirname(readers.__file__)
    names = ("arrays", "readers", "pickles", "zip_files", "torch_files", "torch_tensors")
    for name in (*names, "hdf5_files", "safetensors_files"):
        with open(os.path.join(folder, f"{name}.py")) as file:
            text = file.read()
        for word in (
            "import pickle\n",
            "import torch",
            "eval(",
            "exec(",
            "load_model(",
            "np.load(",
        ):
            assert word not in text, (name, word)


def test_opening_and_reading_raises_no_event_of_code_processes_or_network(tmp_path):
    """What the interpreter audits while all kinds are read, hostile ones too."""
    paths = [write(kind, tmp_path) for kind in KINDS]
    bad = {"x": one()["x"], "y": Call("posix system", ("true",))}
    paths += [torch_zip(tmp_path / "z", bad, FOUR), torch_legacy(tmp_path / "l", bad, FOUR)]
    for path in paths:  # once for what is imported late
        try_values(path)
    events = []
    here = threading.get_ident()

    def note(event, args):  # a hook stays for good, and hears other threads
        if recording and threading.get_ident() == here:
            events.append((event, args))

    sys.addaudithook(note)
    recording = True
    for path in paths:
        try_values(path)
    recording = False
    assert any(event == "open" for event, _ in events)
    for event, args in events:
        assert not event.startswith(("exec", "compile", "subprocess", "socket", "os.", "ctypes"))
        assert event not in ("import", "pickle.find_class"), args
        if event == "open":
            assert str(tmp_path) in str(args[0])
            assert args[1] in ("r", "rb", None)
            assert args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) == 0


def try_values(path):
    try:
        return values(path)
    except WeightsError:
        return None


def test_the_writer_of_these_tests_writes_what_pickle_reads():
    value = {"a": [1, -300, 2**70, 0.5, None, True, False], "b": ("x", ()), "c": {}}
    assert pickle.loads(pickled(value)) == value  # noqa: S301
    assert pickle.loads(pickled(MAGIC)) == MAGIC  # noqa: S301
    out = io.StringIO()
    pickletools.dis(pickled(one()), out)
    assert "BINPERSID" in out.getvalue()
