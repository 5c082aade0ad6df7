"""How long a named network takes to build, beside the plain Keras layers it consists of.

python benchmarks/building.py [PATTERN] [--repeats 5] [--out evidence/building.json]

The peer is the least that any code could do: the same layers, with the same arguments, called on
the same graph in the order of the network, straight from a list. Both are built in turn.
"""

import argparse
import json
import pathlib
import statistics
import time

import keras

import senet
from senet.runs.machine import describe_machine


def recorded(model):
    """Class, configuration and inputs (by position in the list) of every layer of a model."""
    positions = {id(tensor): i for i, layer in enumerate(model.layers) for tensor in [layer.output]}
    steps = []
    for layer in model.layers[1:]:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        steps.append((type(layer), arguments(layer), [positions[id(x)] for x in inputs]))
    return model.input_shape[1:], steps


def arguments(layer):
    """What the layer was made with; records of objects become the objects, to save the peer it."""
    made = layer.get_config()
    made["dtype"] = keras.dtype_policies.get(made["dtype"])
    for name, value in made.items():
        if name.endswith("_initializer"):
            made[name] = keras.initializers.get(value)
    return made


def replay(shape, steps):
    """Build a recorded model from stock layers."""
    tensors = [keras.Input(shape)]
    for kind, made, positions in steps:
        inputs = [tensors[i] for i in positions]
        tensors.append(kind(**made)(inputs if len(inputs) > 1 else inputs[0]))
    return keras.Model(tensors[0], tensors[-1])


def seconds(build):
    """Time of one call; what the one before left behind is cleared first."""
    keras.backend.clear_session()
    started = time.perf_counter()
    build()
    return time.perf_counter() - started


def main():
    """Print a table: ours, the peer's, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="se*")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, help="JSON file for the numbers")
    options = parser.parse_args()
    print(f"{'network':<24}{'layers':>7}{'ours, s':>20}{'plain, s':>20}{'ratio':>7}")
    found = {}
    for name in senet.list_models(options.pattern):
        shape, steps = recorded(senet.create(name))
        ours, plain = [], []
        for _ in range(options.repeats):
            ours.append(seconds(lambda name=name: senet.create(name)))
            plain.append(seconds(lambda shape=shape, steps=steps: replay(shape, steps)))
        cells = [f"{statistics.median(t):.2f} ({min(t):.2f}-{max(t):.2f})" for t in (ours, plain)]
        ratio = statistics.median(ours) / statistics.median(plain)
        print(f"{name:<24}{len(steps):>7}{cells[0]:>20}{cells[1]:>20}{ratio:>7.2f}", flush=True)
        found[name] = dict(layers=len(steps), ours=ours, plain=plain, ratio=ratio)
    if options.out:
        numbers = dict(machine=describe_machine(), repeats=options.repeats, networks=found)
        options.out.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
