"""Weights and images made from names and numbers alone, the same with and without PyTorch."""

import hashlib
import json
import zlib

import numpy as np
from PIL import Image

CLASSES = 16
SIZES = (224, 225, 193)


def values(name, shape):
    """Values for one array under a foreign name: sensible sizes, seeded by the name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        made = rng.uniform(1.5, 2.5, shape)
    elif len(shape) == 1 and name.endswith(".weight"):
        made = rng.uniform(0.6, 1.2, shape)
    elif len(shape) > 1:
        made = rng.standard_normal(shape, dtype="float32") * np.sqrt(2 / np.prod(shape[1:]))
    else:
        made = rng.normal(0, 0.1, shape)
    return np.asarray(made, "float32")


def images(size):
    """Two images of large and small detail, one faint and one strong, `(2, size, size, 3)`."""
    rng = np.random.default_rng(size)
    coarse = rng.normal(size=(2, 8, 8, 3)).repeat(-(-size // 8), 1).repeat(-(-size // 8), 2)
    fine = rng.normal(size=(2, size, size, 3))
    strength = np.reshape((0.2, 4), (2, 1, 1, 1))
    return (strength * (coarse[:, :size, :size] + 0.5 * fine)).astype("float32")


def sample(maps):
    """Sixteen values from all over a feature map `(N, H, W, C)` of each image."""
    flat = np.asarray(maps, "float32").reshape(len(maps), -1)
    return flat[:, np.linspace(0, flat.shape[1] - 1, 16).astype(int)]


def digest(shapes):
    """Of the names and shapes of a file, whatever their order."""
    listed = sorted((name, list(map(int, shape))) for name, shape in shapes.items())
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


PHOTO_SHAPES = ((500, 375), (333, 500), (97, 301), (640, 427), (64, 64), (1777, 401))


def photo(width, height):
    """A picture with edges and gradients, of odd sides."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (3 + c)) * np.cos(y / (5 - c)) + (x // 17 + y // 13) % 2 for c in range(3)]
    return Image.fromarray(((np.stack(waves, -1) + 1) / 3 * 255).astype("uint8"))


def photo_key(way, shape):
    """Name of one picture prepared in one way."""
    return " ".join(map(str, (*way, *shape)))


def some_pixels(tensor):
    """A hundred values from all over a tensor, as float16."""
    flat = np.asarray(tensor, "float32").ravel()
    return flat[np.linspace(0, flat.size - 1, 100).astype(int)].astype("float16")


def fill(model, seed=0):
    """Give the variables of a Keras model values of a sensible size, all different."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name == "moving_variance":
            made = rng.uniform(1.5, 2.5, variable.shape)
        elif variable.name == "gamma":
            made = rng.uniform(0.6, 1.2, variable.shape)
        elif variable.name == "kernel":
            made = rng.normal(0, np.sqrt(2 / np.prod(variable.shape[:-1])), variable.shape)
        else:
            made = rng.normal(0, 0.1, variable.shape)
        variable.assign(made.astype("float32"))
