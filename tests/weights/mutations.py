"""Weight files with something changed in them, and what becomes of each.

    python -m tests.weights.mutations safetensors 20000

loads so many files and prints a line of counts. A file may be loaded or refused with a
`WeightsError`; anything else, a minute, or much memory is a fault. `make mutations` runs them all.
"""

import collections
import io
import json
import pathlib
import resource
import sys
import tempfile
import time
import warnings
import zipfile

import keras
import numpy as np
from safetensors.numpy import load_file

import senet
from tests.weights import generated, written

KINDS = ("safetensors", "torch", "keras")
NASTY = (
    *(None, True, -1, 0, 1, 2.5, 10**6, 2**31, 2**63, 10**30, 1e300, "", "x", "\ud800", "\x1b[31m"),
    *([], {}, [None], [[1]], {"a": {}}, [10**9] * 4, "a" * 1000, [1] * 1000),
)
"""What takes the place of a value in JSON."""

LONGEST = 20.0
"""Seconds that one file may take beside other work."""

MOST = 400 * 2**20
"""Bytes by which the peak of the process may grow over all files; the backend keeps some."""


def seeds(kind, folder):
    """Small whole files of a kind."""
    narrow = dict(n_blocks=(1, 1), n_filters=(16, 16), ratio=4, input_shape=(32, 32, 3), classes=3)
    model = senet.create("se_resnet18", variant="torch", stem_filters=(8,), **narrow)
    generated.fill(model)
    four = senet.create(
        "se_resnet18",
        variant="torch",
        classes=3,
        n_blocks=(1, 1, 1, 1),
        n_filters=(16, 16, 16, 16),
        stem_filters=(8,),
    )
    generated.fill(four)
    senet.save(four, folder / "timm.safetensors", names="timm")
    if kind == "safetensors":
        senet.save(model, folder / "own.safetensors", class_names=("a", "b", "c"))
        return [folder / "own.safetensors", folder / "timm.safetensors"]
    if kind == "keras":
        senet.save(model, folder / "own.keras", class_names=("a", "b", "c"))
        x = keras.Input((16, 16, 3))
        y = keras.layers.Conv2D(4, 3, activation="relu")(x)
        y = keras.layers.BatchNormalization()(y)
        y = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(y))
        senet.save(keras.Model(x, y), folder / "graph.keras")
        return [folder / "own.keras", folder / "graph.keras"]
    arrays = load_file(folder / "timm.safetensors")
    made, storages = written.state(arrays)
    old, old_storages = written.state(arrays, legacy=True)
    beside = {"epoch": 3, "args": written.Call("argparse Namespace", (), {"lr": 0.1, "x": [1, ()]})}
    wrapped = beside | {"state_dict": {f"model.{name}": tensor for name, tensor in made.items()}}
    return [
        written.torch_zip(folder / "a.pth", made, storages),
        written.torch_zip(folder / "b.pth", wrapped, storages),
        written.torch_legacy(folder / "c.pth", beside | {"ema": old}, old_storages),
    ]


def mutate(path, rng):
    """The bytes of a file, changed: anywhere, or inside of one part that stays whole around it."""
    data = path.read_bytes()
    way = rng.integers(4)
    if way == 0:
        return scramble(data, rng, rng.integers(1, 8))
    if path.suffix == ".safetensors":
        length = int.from_bytes(data[:8], "little")
        head, rest = data[8 : 8 + length], data[8 + length :]
        head = change_part(head, rng, way)
        return len(head).to_bytes(8, "little") + head + rest
    if not data.startswith(b"PK"):
        cut = data.index(b"storage")  # where the pickle of the tensors begins, about
        return data[:cut] + scramble(data[cut : cut + 4000], rng, 3) + data[cut + 4000 :]
    contents = {}
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    small = [name for name in contents if name.endswith((".json", ".pkl", "byteorder", ".h5"))]
    name = small[rng.integers(len(small))]
    contents[name] = change_part(contents[name], rng, way)
    if rng.integers(20) == 0:
        del contents[list(contents)[rng.integers(len(contents))]]
    method = (0, 0, 0, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)[rng.integers(5)]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return out.getvalue()


def change_part(data, rng, way):
    """A part of a file with bytes changed, or with values of its JSON changed."""
    if way == 1:
        return scramble(data, rng, rng.integers(1, 3))
    try:
        values = json.loads(data)
    except ValueError:
        return scramble(data, rng, 1)
    for _ in range(rng.integers(1, 3)):
        change_value(values, rng)
    return json.dumps(values).encode()


def change_value(values, rng):
    """Put something nasty at a place of a JSON value, or take a place away; cards inside too."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not keys:
            return
        key = keys[rng.integers(len(keys))]
        inside = values[key]
        if isinstance(inside, str) and inside.startswith("{") and rng.integers(3):
            card = json.loads(inside)
            change_value(card, rng)
            values[key] = json.dumps(card)
            return
        if isinstance(inside, dict | list) and inside and rng.integers(5):
            values = inside
            continue
        if rng.integers(6):
            values[key] = NASTY[rng.integers(len(NASTY))]
        else:
            del values[key]
        return


def scramble(data, rng, times):
    """Bytes with some set, bits turned, stretches removed, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(times):
        if not changed:
            break
        at = int(rng.integers(len(changed)))
        match rng.integers(8):
            case 0 | 1 | 2:
                changed[at] = rng.integers(256)
            case 3 | 4:
                changed[at] ^= 1 << rng.integers(8)
            case 5:
                del changed[at : at + int(rng.integers(1, 9))]
            case 6:
                changed[at:at] = changed[at : at + int(rng.integers(1, 60))]
            case 7:
                changed[at : at + 8] = rng.bytes(8)
    if rng.integers(25) == 0:
        del changed[int(rng.integers(len(changed) + 1)) :]
    return bytes(changed)


def run(kind, count, seed=0, show=False):
    """Load so many changed files.

    Returns:
        How many were loaded and refused, and the faults: the seed of each and what happened.
    """
    counts: collections.Counter = collections.Counter()
    faults, slowest = [], 0.0
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = pathlib.Path(name)
        whole = seeds(kind, folder)
        for path in whole:
            senet.load(path)
        before = peak_memory()
        numbers = range(seed, seed + count)
        for i in numbers:
            if show and i % 500 == 0:
                print(f"{kind}: {i - seed} of {count}", file=sys.stderr)
            rng = np.random.default_rng(i)
            path = folder / f"changed{whole[i % len(whole)].suffix}"
            path.write_bytes(mutate(whole[i % len(whole)], rng))
            begin = time.perf_counter()
            try:
                senet.load(path)
                counts["loaded"] += 1
            except senet.WeightsError as error:
                counts["refused"] += 1
                if not str(error).isprintable() and "does not hold" not in str(error):
                    faults.append((i, f"not printable: {str(error)!r}"))
            except Exception as error:
                faults.append((i, f"{type(error).__name__}: {str(error)[:200]}"))
            took = time.perf_counter() - begin
            slowest = max(slowest, took)
            if took > LONGEST:
                faults.append((i, f"{took:.1f} s"))
            if i % 50 == 0:
                keras.utils.clear_session(free_memory=True)
        grown = peak_memory() - before
        if grown > MOST:
            faults.append((seed, f"grew by {grown / 2**20:.0f} MB"))
    return dict(kind=kind, **counts, slowest=round(slowest, 2), grown=grown, faults=faults)


def peak_memory():
    """Most bytes that this process held so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), int((*sys.argv, 0)[3]), show=True)))
