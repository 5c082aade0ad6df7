import contextlib
import gc
import os
import pathlib
import signal

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import psutil
import pytest
from PIL import Image

MOST_GARBAGE = 2**30
"""Bytes that a process may grow by before the models that nobody holds any more are collected."""
GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def fresh_keras():
    """Every test starts with the same seed, names, precision and data format."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")


_held = [0]


@pytest.fixture(autouse=True)
def bounded_memory():
    """Collects garbage where much has gathered: after every test it takes longer than most tests.

    Keras models are cycles, which Python finds only when it looks through the whole heap.
    """
    yield
    if resident_memory() - _held[0] > MOST_GARBAGE:
        gc.collect()
        _held[0] = resident_memory()


def resident_memory():
    """Bytes that this process holds in memory."""
    return psutil.Process().memory_info().rss


@contextlib.contextmanager
def default_signals():
    """What is started inside answers to Ctrl-C and SIGTERM.

    A shell lets its background jobs ignore Ctrl-C, and their children inherit that: so would ours
    where the tests themselves run in the background.
    """
    before = {n: signal.signal(n, signal.SIG_DFL) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.fixture
def photos(tmp_path):
    """A folder of 2 classes of 12 small images: reddish circles and bluish squares."""
    return make_photos(tmp_path / "photos", 12)


def make_photos(folder, n, classes=("circle", "square"), seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :48]
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            image = rng.integers(0, 60, (40, 48, 3), dtype="uint8")
            row, column = rng.integers(12, 28, size=2)
            if label == 0:
                inside = (rows - row) ** 2 + (columns - column) ** 2 < 100
            else:
                inside = np.maximum(abs(rows - row), abs(columns - column)) < 9
            image[inside, 2 * label % 3] = 220
            Image.fromarray(image).save(folder / name / f"{i:02d}.png")
    return folder


def randomise(model, seed=0):
    """Give every variable of a model values that leave no term of its equations out."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        value = rng.normal(0, 0.3, variable.shape)
        if variable.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, variable.shape)
        variable.assign(value.astype("float32"))


def outputs(model, images):
    """What a model gives for one batch; to compile it for that, as `predict` does, takes longer."""
    given = model(images, training=False)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, given)


def count_trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)
