"""The operations of a step: what TensorFlow's profiler says, and what they must do at least."""

import collections
import pathlib
import re
import tempfile
import time

import numpy as np
from keras import layers

from senet.graph import call_sources

NAMED = re.compile(r"(?P<name>[^:\s]+):(?P<type>\w+)")
"""How the profiler calls an operation: its place in the graph, and what it is."""
CALLED = "ExecutorState::ProcessAsync::Start"
"""How it calls one that is a function; its name stands beside."""
COMPILED = re.compile(r"a_inference_(?P<function>\w+?)_\d+__")
"""How XLA calls what it compiled of a function."""
STEPS = 3


def profile(step):
    """Seconds of each operation in a step, and of the step.

    Args:
        step: takes one step.

    Returns:
        `seconds` of a step, and `operations`: name, type and seconds of each in a step.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        started = time.perf_counter()
        for _ in range(STEPS):
            step()
        seconds = (time.perf_counter() - started) / STEPS
        tf.profiler.experimental.stop()
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        found = add_up(read_events(file.read_bytes()))
    operations = [[name, kind, taken / STEPS] for (name, kind), taken in found.items()]
    return dict(seconds=seconds, operations=operations)


def read_events(content):
    """For each thread its events: `(start, end, name, about)`, in picoseconds."""
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace  # no other reader comes with it

    for plane in XSpace.FromString(content).planes:
        titles = {key: one.name for key, one in plane.event_metadata.items()}
        keys = {key: one.name for key, one in plane.stat_metadata.items()}
        for line in plane.lines:
            yield [
                (
                    event.offset_ps,
                    event.offset_ps + event.duration_ps,
                    titles[event.metadata_id],
                    {
                        keys[s.metadata_id]: s.str_value or keys.get(s.ref_value)
                        for s in event.stats
                    },
                )
                for event in line.events
            ]


def add_up(threads):
    """Seconds of every operation, `(name, type)`, without those of others within it on its thread.

    What XLA compiled has the name of its function, and `XLA` for a type.
    """
    total = collections.Counter()
    for events in threads:
        above = []  # operations that go on, the innermost last: end, key, seconds of their own

        def leave(until, above=above):
            while above and above[-1][0] <= until:
                _, key, seconds = above.pop()
                total[key] += seconds

        for start, end, name, about in sorted(events, key=lambda e: (e[0], -e[1])):
            leave(start)
            if compiled := COMPILED.match(about.get("hlo_module") or ""):
                if above:
                    above[-1][1] = compiled["function"], "XLA"
                continue
            match = NAMED.fullmatch(name)
            if not match and name != CALLED:
                continue
            seconds = (end - start) / 1e12
            if above:
                above[-1][2] -= seconds
            key = match.groups() if match else (about["name"], about["kernel_type"])
            above.append([end, key, seconds])
        leave(float("inf"))
    return total


def count_least(model, batch_size, width):
    """What the operations of each kind must do at least in a step of training.

    Maps are read and written once by each kind that needs them; what lies between two convolutions
    keeps nothing for itself.

    Args:
        model: the network.
        batch_size: images in a step.
        width: bytes of a value of a map.

    Returns:
        For each kind `operations`, products and sums, and `bytes`.
    """
    costs = {layer.name: layer.multiply_adds for layer in keras_costs(model)}
    sources = call_sources(model)
    maps = {"written": 0, "normalised": 0, "shortcuts": 0, "pooled": 0}
    convolved, backward, products, of_first, dense = 0, 0, 0, 0, [0, 0]
    weights = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    for layer in model.layers:
        if isinstance(layer, layers.InputLayer):
            continue
        size = int(np.prod(layer.output.shape[1:]))
        if isinstance(layer, layers.Conv2D) and layer.output.shape[1] > 1:
            read, first = int(np.prod(layer.input.shape[1:])), layer.input.shape[-1] == 3
            convolved += read + size
            backward += size + read + (0 if first else read)
            products += costs[layer.name]
            of_first += costs[layer.name] if first else 0
            maps["normalised"] += size
        elif isinstance(layer, layers.Dense | layers.Conv2D):  # those of gates see one pixel
            dense[layer is model.layers[-1]] += costs[layer.name]
        elif isinstance(layer, layers.ReLU | layers.Activation) and size > layer.output.shape[-1]:
            maps["written"] += size
        elif isinstance(layer, layers.Add):
            before = [model.get_layer(given[0]) for given in sources[layer.name, 0]]
            plain = (layers.BatchNormalization, layers.Multiply)
            maps["shortcuts"] += size * sum(not isinstance(one, plain) for one in before)
        elif isinstance(layer, layers.MaxPooling2D):
            maps["pooled"] += int(np.prod(layer.input.shape[1:])) + size
    moved = batch_size * width
    tail = maps["normalised"] + maps["written"] + maps["shortcuts"]
    image = int(np.prod(model.input_shape[1:]))
    return {
        "convolutions forward": dict(
            operations=2 * batch_size * products, bytes=moved * convolved + width * weights
        ),
        "convolutions backward": dict(
            operations=2 * batch_size * (2 * products - of_first),
            bytes=moved * backward + 2 * width * weights,
        ),
        "norm to ReLU forward": dict(operations=0, bytes=moved * tail),
        "norm to ReLU backward": dict(
            operations=0, bytes=moved * (tail + maps["normalised"] + maps["shortcuts"])
        ),
        # A dense layer has as many weights as products: read twice, and their gradient written.
        "dense layers of gates": dict(
            operations=6 * batch_size * dense[0], bytes=3 * width * dense[0]
        ),
        "gradients added": dict(operations=0, bytes=0),  # it could be done where they are made
        "classifier and loss": dict(
            operations=6 * batch_size * dense[1], bytes=3 * width * dense[1]
        ),
        "pooling": dict(operations=0, bytes=2 * moved * maps["pooled"]),
        "optimizer": dict(operations=0, bytes=5 * 4 * weights),  # 3 read, 2 written, float32
        "input": dict(operations=0, bytes=batch_size * image * (4 + width)),
    }


def keras_costs(model):
    """Costs of the layers, as `senet.complexity` counts them."""
    import senet

    return senet.complexity(model).layers
