"""Grouped convolution as a few dense ones, for TensorFlow on a CPU.

TensorFlow has no kernel for its gradient there, so that Keras compiles it by XLA, which takes many
times as long (`benchmarks/twin.py`).

A grouped convolution is a dense one whose kernel is block-diagonal. One dense kernel would cost
`cardinality` times the multiply-adds; one convolution for each group would be too narrow to run
well. Between them lie slices of about 32 channels that hold several whole groups each: the waste
is small and every convolution is wide enough for the machine. The result is exact, and so is the
gradient: the zeros of the block-diagonal kernel are constants.
"""

import keras
import numpy as np
from keras import ops

from senet.acceleration.devices import tensorflow_has_gpu
from senet.acceleration.tied import Tied

SLICE = 32
"""Channels of a slice; `benchmarks/ideas.py` measures 8 to 128."""


class SlicedConv2D(Tied):
    """Stand in for a grouped `Conv2D`; see the module's description.

    Args:
        stock: the grouped convolution, built.
    """

    def __init__(self, stock: keras.layers.Conv2D) -> None:
        super().__init__(stock)
        channels, filters = stock.kernel.shape[2], stock.filters
        most = max(1, min(stock.groups, SLICE // channels))
        per_slice = next(n for n in range(most, 0, -1) if stock.groups % n == 0)
        self.n_slices = stock.groups // per_slice
        self.repeats = per_slice
        of_input = np.arange(per_slice * channels) // channels
        of_filter = np.arange(filters // self.n_slices) // (filters // stock.groups)
        self.mask = (of_input[:, None] == of_filter[None, :]).astype("float32")

    @staticmethod
    def helps(layer: keras.layers.Layer) -> bool:
        """Whether the layer is a grouped convolution, and the backend TensorFlow on a CPU."""
        return (
            type(layer) is keras.layers.Conv2D  # a subclass may compute something else
            and layer.groups > 1
            and layer.data_format == "channels_last"
            and keras.backend.backend() == "tensorflow"
            and not tensorflow_has_gpu()
        )

    def call(self, x):
        """Convolve each slice of the channels densely and put the results side by side."""
        stock = self.stock
        kernel = ops.cast(stock.kernel, self.compute_dtype)
        kernel = ops.tile(kernel, (1, 1, self.repeats, 1))
        kernel = kernel * ops.cast(ops.tile(self.mask, (1, self.n_slices)), self.compute_dtype)
        outputs = [
            ops.conv(
                part,
                weight,
                strides=stock.strides,
                padding=stock.padding,
                data_format=stock.data_format,
                dilation_rate=stock.dilation_rate,
            )
            for part, weight in zip(
                ops.split(x, self.n_slices, axis=-1),
                ops.split(kernel, self.n_slices, axis=-1),
                strict=True,
            )
        ]
        x = ops.concatenate(outputs, axis=-1)
        if stock.use_bias:
            x = x + ops.cast(stock.bias, self.compute_dtype)
        return stock.activation(x)
