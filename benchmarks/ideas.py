"""Each idea of `senet.acceleration` beside the stock layers it stands in for, and its constants.

python benchmarks/ideas.py [--idea grouped|small|norm|tail] [--batch-size N]
                           [--precision mixed_bfloat16] [--out FILE]

A row is one layer, or the end of one block, at a size that SE-ResNet-50 and SE-ResNeXt-50 have: a
step forward and backward in TensorFlow, stock and with every value of the constant, in turn. What
is printed are medians in milliseconds. The values that the package has are marked with `*`.
"""

import argparse
import contextlib
import functools
import json
import pathlib
import statistics
from unittest import mock

import keras
import tensorflow as tf
from keras import layers

import senet
from senet.acceleration import compiled, convolution, fused_tail, grouped_convolution
from senet.acceleration.batch_normalization import FusedBatchNormalization
from senet.models.blocks import squeeze_excite_block
from senet.runs.machine import describe_machine
from senet.timing import in_turn

STAGES = ((56, 256), (28, 512), (14, 1024), (7, 2048))
"""Side and channels of the maps that blocks give out."""


def model_of(side, channels, build):
    """A model of one input, of the layers that `build` calls on it."""
    inputs = keras.Input((side, side, channels))
    return keras.Model(inputs, build(inputs))


def step_of(model, batch_size):
    """A step forward and backward, compiled, on random maps."""
    x = tf.random.normal((batch_size, *model.input_shape[1:]))
    dy = tf.cast(tf.random.normal((batch_size, *model.output_shape[1:])), model.output.dtype)
    variables = [v.value for v in model.trainable_variables]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        return tape.gradient(y, [x, *variables], output_gradients=dy)

    step()
    return lambda: step()[0].numpy()


def grouped():
    """Grouped 3x3 convolutions of cardinality 32, by the channels of a slice."""
    for side, channels in STAGES:
        width = channels // 2
        model = model_of(side, width, layers.Conv2D(width, 3, padding="same", groups=32))
        yield (
            f"3x3, 32 groups, {side} px, {width}",
            model,
            {
                slice: mock.patch.object(grouped_convolution, "SLICE", slice)
                for slice in (8, 16, 32, 64, 128)
            },
        )


def small():
    """Convolutions as TensorFlow has them, and with the gradient of the kernel as one product."""
    cases = [(1, 1, side, channels, channels // 4) for side, channels in STAGES]
    cases += [(1, 1, side, channels // 4, channels) for side, channels in STAGES]
    cases += [(3, 1, side + 2, channels // 4, channels // 4) for side, channels in STAGES]
    cases += [(1, 2, side, channels, channels // 2) for side, channels in STAGES[:3]]
    for size, strides, side, channels, filters in cases:
        model = model_of(side, channels, layers.Conv2D(filters, size, strides))
        yield (
            f"{size}x{size}/{strides}, {side} px, {channels} to {filters}",
            model,
            {"product": mock.patch.object(convolution, "MOST_PIXELS", EVERY_SIZE)},
        )


def norm():
    """Batch normalisation as one kernel."""
    for side, channels in STAGES:
        model = model_of(side, channels, layers.BatchNormalization())
        yield f"norm, {side} px, {channels}", model, {"kernel": contextlib.nullcontext()}


def tail():
    """From a norm to its ReLU: by kernels, and by loops that add up so many pixels at once."""

    def inside(x):
        return layers.ReLU()(layers.BatchNormalization()(maps_of(x)))

    def plain(x):
        x = maps_of(x)
        return layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(x)]))

    def gated(x):
        x = maps_of(x)
        y = squeeze_excite_block(layers.BatchNormalization()(x), 16, name="se")
        return layers.ReLU()(layers.Add()([x, y]))

    kernels = mock.patch.object(fused_tail.FusedTail, "ending_in", return_value=None)
    loops = mock.patch.object(fused_tail, "_branch", ungated)
    addends = {few: mock.patch.object(fused_tail, "ADDENDS", few) for few in (2, 4, 8, 16, 10**6)}
    for side, channels in STAGES:
        for name, build, width, values in (
            ("inside a block", inside, channels // 4, {"loops": loops}),
            ("end without a gate", plain, channels, {"loops": loops}),
            ("end with a gate", gated, channels, addends),
        ):
            title = f"{name}, {side} px, {width}"
            yield title, model_of(side, width, build), {"kernels": kernels} | values


def maps_of(x):
    """What a model is given, in the precision of the policy, as maps of a network are."""
    return layers.Activation("linear")(x)


def ungated(x, graph):
    """A branch without a gate, so that a tail is fused where there is none."""
    norm, maps = graph.maker(x, FusedBatchNormalization)
    return norm and fused_tail.Branch(maps, norm, [Open()], norm, None)


class Open(keras.layers.Layer):
    """A gate that lets everything through."""

    def call(self, x):
        """Ones."""
        return keras.ops.ones_like(x)


EVERY_SIZE = {kind: {1: 10**6, 3: 10**6} for kind in ("float32", "bfloat16", "float16")}
IDEAS = {"grouped": grouped, "small": small, "norm": norm, "tail": tail}
IMAGES = {"grouped": 2, "small": 16, "norm": 16, "tail": 16}
"""In a batch; the stock grouped convolution takes a second for each."""
CHOSEN = {"grouped": grouped_convolution.SLICE, "tail": fused_tail.ADDENDS}


def measure(model, values, batch_size):
    """Milliseconds of a step: the stock layers first, then the twin with every value."""
    steps = [step_of(model, batch_size)]
    for patch in values.values():
        # what XLA compiled for another value would serve for this one
        fresh = functools.cache(compiled._compiled.__wrapped__)
        with patch, mock.patch.object(compiled, "_compiled", fresh):
            steps.append(step_of(senet.accelerate(model), batch_size))
    return [1000 * statistics.median(times) for times in in_turn(steps)]


def main():
    """Print a table for each idea and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idea", choices=IDEAS, action="append")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--out", type=pathlib.Path, help="file for the JSON")
    options = parser.parse_args()
    keras.config.set_dtype_policy(options.precision)
    found = {}
    for idea in options.idea or IDEAS:
        print(f"\n{idea}: {IDEAS[idea].__doc__}")
        found[idea] = {}
        for name, model, values in IDEAS[idea]():
            times = measure(model, values, options.batch_size or IMAGES[idea])
            named = ["stock", *(f"{v}{'*' * (v == CHOSEN.get(idea))}" for v in values)]
            found[idea][name] = dict(zip(named, times, strict=True))
            cells = [f"{n} {t:.1f}" for n, t in found[idea][name].items()]
            print(f"{name:<34}{'  '.join(cells)}", flush=True)
    summary = {"machine": describe_machine(), "milliseconds": found}
    if options.out:
        options.out.write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
