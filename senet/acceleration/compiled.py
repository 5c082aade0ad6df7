"""Functions of maps that XLA compiles, for TensorFlow."""

import functools
from collections.abc import Callable
from typing import Any


def run(function: Callable, *arrays: Any) -> Any:
    """What a function gives as XLA compiles it, once for arrays of these shapes and types."""
    return _compiled(function, tuple((tuple(x.shape), x.dtype) for x in arrays))(*arrays)


@functools.cache
def _compiled(function: Callable, signature: tuple) -> Callable:
    """A function for one signature; TensorFlow warns where one has to serve many."""
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)
