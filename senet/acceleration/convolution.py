"""Convolutions whose gradient for the kernel is one matrix product.

That gradient is the patches that the kernel sees, `(N H W, k k C)`, transposed, times the gradient
behind, `(N H W, filters)`. For a 1x1 convolution the patches are the maps themselves. Where such a
one is strided the pixels that it sees are taken first, so that all that follows is dense.
"""

import functools
import math
from typing import Any

import keras

from senet.acceleration.compiled import run
from senet.acceleration.devices import tensorflow_has_gpu
from senet.acceleration.tied import Tied

HALF: dict[int, float] = {1: 14 * 14, 3: 7 * 7}
MOST_PIXELS: dict[str, dict[int, float]] = {
    "float32": {1: math.inf, 3: 7 * 7},
    "bfloat16": HALF,
    "float16": HALF,
}
"""For each type and size of a kernel the largest maps for which the product is used, in pixels; for
larger ones it takes more time, as `benchmarks/ideas.py` measures. Strided 1x1 kernels have none."""


class ProductConv2D(Tied):
    """Stand in for a `Conv2D` with a 1x1 kernel or small maps; see the module."""

    @staticmethod
    def helps(layer: keras.layers.Layer) -> bool:
        """Whether the layer is such a convolution, and the backend TensorFlow on a CPU."""
        if not (
            type(layer) is keras.layers.Conv2D  # a subclass may compute something else
            and keras.backend.backend() == "tensorflow"
            and layer.built
            and layer.groups == 1
            and layer.data_format == "channels_last"
            and tuple(layer.dilation_rate) == (1, 1)
            and len(set(layer.kernel_size)) == 1
            and (layer.padding == "valid" or tuple(layer.kernel_size) == (1, 1))
            and not tensorflow_has_gpu()
        ):
            return False
        height, width = layer.output.shape[1:3]
        if None in (height, width):
            return False
        size, strided = layer.kernel_size[0], tuple(layer.strides) != (1, 1)
        most = MOST_PIXELS.get(layer.compute_dtype, {}).get(size, 0)
        return height * width <= most or (size == 1 and strided)

    def call(self, x):
        """Convolve, as the stock layer does."""
        stock = self.stock
        if None in x.shape[1:]:  # as images of a data set whose sizes TensorFlow does not know
            return stock(x)
        kernel = keras.ops.cast(stock.kernel, self.compute_dtype)
        strides = tuple(stock.strides)
        if stock.kernel_size == (1, 1) and strides != (1, 1):
            x, strides = taken(x, strides), (1, 1)
        x = convolved(x, kernel, strides)
        if stock.use_bias:
            x = x + keras.ops.cast(stock.bias, self.compute_dtype)
        return stock.activation(x)


def convolved(x: Any, kernel: Any, strides: tuple[int, int]) -> Any:
    """A convolution without padding.

    Args:
        x: maps, `(N, H, W, C)`.
        kernel: `(k, k, C, filters)`.
        strides: of the kernel.

    Returns:
        Maps, `(N, (H - k) // strides + 1, (W - k) // strides + 1, filters)`.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def function(x, kernel):
        y = tf.nn.conv2d(x, kernel, strides, "VALID")

        def gradient(dy):
            of_x = tf.nn.conv2d_transpose(dy, kernel, tf.shape(x), strides, "VALID")
            size = kernel.shape[0]
            patches = x if size == 1 else run(_patches(size, strides), x)
            of_kernel = tf.matmul(
                tf.reshape(patches, (-1, patches.shape[-1])),
                tf.reshape(dy, (-1, dy.shape[-1])),
                transpose_a=True,
            )
            return of_x, tf.reshape(of_kernel, kernel.shape)

        return y, gradient

    return function(x, kernel)


def taken(x: Any, strides: tuple[int, int]) -> Any:
    """The pixels of maps that a strided 1x1 kernel sees."""
    import tensorflow as tf

    _, height, width, channels = x.shape
    high, wide = strides
    if height % high or width % wide:
        return x[:, ::high, ::wide]

    @tf.custom_gradient
    def function(x):
        # The first of every few rows and pixels: TensorFlow copies them in pieces, where it goes
        # over the maps number by number for a slice with steps. XLA would do for them as well, but
        # is left to the gradient, so that the network can be exported from any graph.
        parts = tf.reshape(x, (-1, height // high, high, width // wide, wide * channels))
        first = tf.slice(parts, (0, 0, 0, 0, 0), (-1, -1, 1, -1, channels))
        y = tf.reshape(first, (-1, height // high, width // wide, channels))
        return y, lambda dy: run(_spread(strides), dy)

    return function(x)


@functools.cache
def _spread(strides):
    """Puts zeros between pixels."""

    def function(dy):
        _, height, width, channels = dy.shape
        high, wide = strides
        x = keras.ops.reshape(dy, (-1, height, 1, width, 1, channels))
        x = keras.ops.pad(x, [(0, 0), (0, 0), (0, high - 1), (0, 0), (0, wide - 1), (0, 0)])
        return keras.ops.reshape(x, (-1, height * high, width * wide, channels))

    return function


@functools.cache
def _patches(size, strides):
    """Puts what a kernel of a size sees at each of its places side by side."""

    def function(x):
        high, wide = strides
        height, width = (x.shape[1] - size) // high, (x.shape[2] - size) // wide
        return keras.ops.concatenate(
            [
                x[:, i : i + high * height + 1 : high, j : j + wide * width + 1 : wide]
                for i in range(size)
                for j in range(size)
            ],
            axis=-1,
        )

    return function
