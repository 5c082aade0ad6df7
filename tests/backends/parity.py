"""The same weights on every backend: logits, and gradients of a training step, side by side.

KERAS_BACKEND=jax python tests/backends/parity.py write jax.npz
python tests/backends/parity.py compare tensorflow.npz jax.npz torch.npz

`compare` prints the greatest difference of each network in units of the greatest value and exits
with 1 if one is above 1e-4. Gradients are taken for eight batches and the closest counts: a ReLU
whose input is within rounding of 0 falls on either side of it, and then the gradient jumps, while a
gradient that is wrong is wrong for every batch.
"""

import itertools
import pathlib
import sys

import numpy as np

WITHIN = 1e-4
BATCHES = 8
NETWORKS = {
    "se_resnet18": dict(network="se_resnet18", n_blocks=(1, 1, 1, 1)),
    "se_resnet50 seed": dict(network="se_resnet50", n_blocks=(1, 2, 1, 1)),
    "se_resnet50 caffe": dict(network="se_resnet50", n_blocks=(1, 2, 1, 1), variant="caffe"),
    "se_resnet50 torch": dict(network="se_resnet50", n_blocks=(1, 2, 1, 1), variant="torch"),
    "se_resnext50_32x4d": dict(network="se_resnext50_32x4d", n_blocks=(1, 2, 1, 1)),
    "senet154": dict(network="senet154", n_blocks=(1, 2, 1, 1), dropout=0.0),
    "se_preresnet164_cifar": dict(network="se_preresnet164_cifar", n_blocks=(2, 2, 2)),
    "se_wrn16_8_cifar": dict(network="se_wrn16_8_cifar"),
    "antialiased, average shortcut": dict(
        network="se_resnext50_32x4d",
        n_blocks=(1, 2, 1, 1),
        antialias=True,
        projection="average",
        stem="deep",
        stem_filters=(32, 32, 64),
        stem_pool="average",
    ),
}


def fill(model):
    """Values of a sensible size for every variable, the same on every backend."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, variable.shape)
        elif variable.name == "kernel":
            fan_in = np.prod(variable.shape[:-1])
            value = rng.normal(0, np.sqrt(2 / fan_in), variable.shape)
        else:
            value = rng.normal(0, 0.1, variable.shape)
        variable.assign(value.astype("float32"))


def write(path):
    """Logits and gradients of every network on this backend."""
    import keras

    import senet

    found = {}
    for name, arguments in NETWORKS.items():
        side = 32 if "cifar" in name else 64
        several = (
            np.random.default_rng(1).normal(size=(BATCHES, 2, side, side, 3)).astype("float32")
        )
        images = several[0]
        options = dict(classes=10, classifier_activation=None)
        model = senet.create(**arguments, **options, input_shape=images.shape[1:])
        fill(model)
        found[f"{name}: logits"] = model.predict_on_batch(images)
        if keras.backend.backend() != "tensorflow":  # which has no channels_first on a CPU
            keras.config.set_image_data_format("channels_first")
            first = senet.create(**arguments, **options, input_shape=(3, side, side))
            keras.config.set_image_data_format("channels_last")
            first.set_weights(model.get_weights())
            turned = first.predict_on_batch(images.transpose(0, 3, 1, 2))
            found[f"{name}: channels_first logits"] = turned
        twin = senet.accelerate(model)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        twin.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
        gradients = []
        for batch in several:
            fill(model)
            before = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
            twin.train_on_batch(batch, np.arange(2))
            steps = [
                (old - keras.ops.convert_to_numpy(v)).ravel()  # at learning rate 1 the gradient
                for v, old in zip(model.trainable_variables, before, strict=True)
            ]
            gradients.append(np.concatenate(steps))
        found[f"{name}: gradients"] = np.stack(gradients)
        print(f"{keras.backend.backend()}: {name}", file=sys.stderr)
    np.savez(path, **found)


def spread(values):
    """Greatest difference between any two, in units of the greatest value."""
    greatest = max(abs(value).max() for value in values)
    return max(abs(a - b).max() / greatest for a, b in itertools.combinations(values, 2))


def compare(paths):
    """Print the differences; whether all are small."""
    results = {pathlib.Path(p).stem: np.load(p) for p in paths}  # read array by array
    worst = 0.0
    for name in NETWORKS:
        for kind in ("logits", "gradients"):
            values = {
                f"{backend}{' channels_first' * ('channels_first' in key)}": found[key]
                for backend, found in results.items()
                for key in found.files
                if key.startswith(f"{name}: ") and key.endswith(kind)
            }
            batches = zip(
                *(v if kind == "gradients" else [v] for v in values.values()), strict=True
            )
            difference = min(map(spread, batches))
            worst = max(worst, difference)
            print(f"{name:<32}{kind:<11}{difference:.1e}  {', '.join(values)}")
    return worst <= WITHIN


if __name__ == "__main__":
    action, *files = sys.argv[1:]
    sys.exit(write(files[0]) if action == "write" else not compare(files))
