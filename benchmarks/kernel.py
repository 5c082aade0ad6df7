"""What loops of our own would gain over those that XLA makes of a fused tail.

python -m pip install numba
python benchmarks/kernel.py [--batch-size 32] [--out FILE]

The maps of every fused tail of SE-ResNet-50 (224 pixels, bfloat16), forward and backward, by the
loops of `senet/acceleration/fused_tail.py` and by loops of numba, which are one less: the gradient
before the ReLU and its sums come from one. The two run in turn and must agree. numba's are called
from Python, on arrays that stay: within TensorFlow they would have its scheduling and memory.
"""

import argparse
import collections
import json
import os
import pathlib
import statistics

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # or threads of numba would spin beside XLA's

import numba
import numpy as np
import tensorflow as tf

import senet
from senet.acceleration import fused_tail, rebuild_faster
from senet.acceleration.compiled import run
from senet.runs.machine import describe_machine
from senet.timing import in_turn

NETWORK, SIZE = "se_resnet50", 224
compiled = numba.njit(parallel=True, fastmath={"contract", "nsz", "reassoc"})
inlined = numba.njit(inline="always")


@inlined
def read(x):
    """bfloat16 as float32; numba has none, so that it is given as integers."""
    return np.uint32(np.uint32(x) << np.uint32(16)).view(np.float32)


@inlined
def write(x):
    """The nearest bfloat16."""
    bits = np.float32(x).view(np.uint32)
    odd = np.uint32(bits >> np.uint32(16)) & np.uint32(1)
    return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))


@compiled
def add(y, k, sums):
    """Sums over the pixels of `y - k` and of its square."""
    for n in numba.prange(y.shape[0]):
        s1, s2 = sums[n, 0], sums[n, 1]
        s1[:], s2[:] = 0, 0
        for p in range(y.shape[1]):
            for c in range(y.shape[2]):
                v = read(y[n, p, c]) - k[c]
                s1[c] += v
                s2[c] += v * v


@compiled
def merge(y, k, factor, offset, shortcut, z):
    """Maps behind the ReLU."""
    for n in numba.prange(y.shape[0]):
        for p in range(y.shape[1]):
            for c in range(y.shape[2]):
                v = (read(y[n, p, c]) - k[c]) * factor[n, c] + offset[n, c]
                z[n, p, c] = write(max(v + read(shortcut[n, p, c]), np.float32(0)))


@compiled
def of_factors(dz, z, y, k, dr, sums):
    """The gradient before the ReLU, which is that of the shortcut, and its sums."""
    for n in numba.prange(y.shape[0]):
        s1, s2 = sums[n, 0], sums[n, 1]
        s1[:], s2[:] = 0, 0
        for p in range(y.shape[1]):
            for c in range(y.shape[2]):
                kept = dz[n, p, c] if z[n, p, c] else np.uint16(0)
                dr[n, p, c] = kept
                d = read(kept)
                s1[c] += d
                s2[c] += d * (read(y[n, p, c]) - k[c])


@compiled
def of_maps(dr, y, k, factor, ds1, ds2, dy):
    """The gradient of the maps."""
    for n in numba.prange(y.shape[0]):
        for p in range(y.shape[1]):
            for c in range(y.shape[2]):
                v = read(y[n, p, c]) - k[c]
                d = read(dr[n, p, c])
                dy[n, p, c] = write(d * factor[n, c] + ds1[n, c] + v * ds2[n, c] * np.float32(2))


def count_tails():
    """How many tails have maps of a side and channels."""
    model = senet.create(NETWORK, variant="torch", input_shape=(SIZE, SIZE, 3))
    tails = [
        layer for layer in rebuild_faster(model).layers if isinstance(layer, fused_tail.FusedTail)
    ]
    return collections.Counter(tail.output.shape[2:] for tail in tails)


def both_ways(side, channels, batch_size):
    """One tail by XLA and by numba: two functions without arguments, which give all results."""
    rng = np.random.default_rng(0)
    shape = batch_size, side, side, channels
    y, dz, s = (tf.cast(rng.normal(size=shape), "bfloat16") for _ in range(3))
    vectors = [tf.constant(rng.normal(size=(batch_size, channels)), "float32") for _ in range(4)]
    factor, offset, *of_sums = vectors

    @tf.function(autograph=False)
    def by_xla():
        k, parts = run(fused_tail._sums, y)
        z = run(fused_tail._merge, y, k, factor, offset, s)
        dr = run(fused_tail._of_relu, dz, z)
        of_factors = fused_tail._total(run(fused_tail._of_factors, dr, y, k))
        dy = run(fused_tail._of_maps, dr, y, k, factor, *of_sums)
        return k, tf.stack(fused_tail._total(parts), 1), z, dr, tf.stack(of_factors, 1), dy

    def integers(maps):
        return maps.numpy().view(np.uint16).reshape(batch_size, -1, channels)

    maps, behind, shortcut = map(integers, (y, dz, s))
    k, *vectors = (one.numpy() for one in (by_xla()[0], *vectors))
    z, dr, dy = (np.empty_like(maps) for _ in range(3))
    sums, sums_back = (np.empty((batch_size, 2, channels), "float32") for _ in range(2))

    def by_numba():
        scale, shift, *of_sums = vectors
        add(maps, k, sums)
        merge(maps, k, scale, shift, shortcut, z)
        of_factors(behind, z, maps, k, dr, sums_back)
        of_maps(dr, maps, k, scale, *of_sums, dy)
        return sums, z, dr, sums_back, dy

    for ours, theirs in zip(by_numba(), by_xla()[1:], strict=True):
        theirs = theirs.numpy()
        if ours.dtype == np.uint16:
            ours = ours.view(theirs.dtype).astype("float32").reshape(shape)
            theirs = theirs.astype("float32")
        assert abs(ours - theirs).max() <= 1e-2 * abs(theirs).max()  # noqa: S101

    @tf.function(autograph=False)
    def timed():  # maps that a function gives out take memory that is new every time
        return [tf.reshape(one, (-1,))[0] for one in by_xla()]

    return lambda: timed()[0].numpy(), by_numba


def main():
    """Print a row for each kind of tail, and what they come to in a step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--out", type=pathlib.Path, help="file for the JSON")
    options = parser.parse_args()
    rows = []
    print(f"{'tails of ' + NETWORK:<30}{'tails':>6}{'XLA, ms':>10}{'numba, ms':>11}")
    for (side, channels), count in count_tails().items():
        times = in_turn(both_ways(side, channels, options.batch_size))
        xla, own = (1000 * statistics.median(one) for one in times)
        name = f"{side} px, {channels}"
        rows.append(dict(tail=name, count=count, xla=xla, numba=own))
        print(f"{name:<30}{count:>6}{xla:>10.2f}{own:>11.2f}", flush=True)
    total = {what: sum(row["count"] * row[what] for row in rows) for what in ("xla", "numba")}
    print(f"{'in a step':<36}{total['xla']:>10.1f}{total['numba']:>11.1f}")
    found = dict(
        network=NETWORK,
        batch_size=options.batch_size,
        numba=numba.__version__,
        machine=describe_machine(),
        milliseconds=total,
        tails=rows,
    )
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
