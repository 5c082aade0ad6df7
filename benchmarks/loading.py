"""How long weights take to load into a built network, and how much memory.

python benchmarks/loading.py [--repeats 9] [--out evidence/loading.json]

The peer reads the same file with the safetensors package and copies its arrays once, which is the
least that a loader can do. Both are run in turn. Memory is the greatest resident size while
SENet-154 loads, above that of the built network (Linux only).
"""

import argparse
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np
from safetensors.numpy import load_file

import senet
from senet.runs.machine import describe_machine
from senet.weights import transfer


def seconds(action):
    """Time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def built(network, folder):
    """A network and its file with timm's names."""
    model = senet.create(network, variant="torch")
    path = folder / f"{network}.safetensors"
    senet.save(model, path, names="timm")
    return model, path


def fill(model, path):
    """Load the file into the network."""
    with transfer.source(path, model.card.network) as source:
        source.fill(model, model.card.spec)


def copied(path):
    """What the peer does."""
    return {name: np.array(array) for name, array in load_file(path).items()}


def resident(field):
    """VmRSS or VmHWM of this process, bytes."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def peak_while(action):
    """Greatest resident size during the action above that before it, bytes."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forget the peak until now
    before = resident("VmRSS")
    action()
    return resident("VmHWM") - before


def main():
    """Print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=pathlib.Path, help="JSON file for the numbers")
    options = parser.parse_args()
    repeats, found = options.repeats, dict(machine=describe_machine())
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model, path = built("se_resnet50", folder)
        ours, theirs = [], []
        for _ in range(repeats):
            theirs.append(seconds(lambda: copied(path)))
            ours.append(seconds(lambda: fill(model, path)))
        for label, times in (("safetensors, read and copied", theirs), ("senet, loaded", ours)):
            spread = f"{min(times):.3f}-{max(times):.3f}"
            print(f"{label:<32}{statistics.median(times):.3f} s ({spread}, {repeats} repeats)")
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"{'ratio':<32}{ratio:.2f}")
        found |= dict(ours=ours, safetensors=theirs, ratio=ratio)
        model, path = built("senet154", folder)
        size = path.stat().st_size
        peak = peak_while(lambda: fill(model, path))
        print(f"{'SENet-154, file':<32}{size / 1e6:.0f} MB")
        print(f"{'peak above the built network':<32}{peak / 1e6:.0f} MB, {peak / size:.2f} of it")
        found |= dict(senet154_file=size, senet154_peak=peak)
    print(json.dumps(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
