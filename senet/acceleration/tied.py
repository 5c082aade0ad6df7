"""A layer that computes with the variables of another."""

from typing import Any

import keras


class Tied(keras.layers.Layer):
    """Stand in for a stock layer in a second graph without leaving a trace in the first.

    Calling the stock layer itself on new tensors would give it a second node, and `layer.output`
    of the user's model would become ambiguous.

    Args:
        stock: the layer, built.
    """

    def __init__(self, stock: keras.layers.Layer) -> None:
        super().__init__(name=stock.name, dtype=stock.dtype_policy, autocast=stock.autocast)
        self.supports_masking = stock.supports_masking
        self.stock = stock
        self.built = True

    def call(self, *args, **kwargs):
        """What the stock layer gives, with its own variables."""
        return self.stock(*args, **kwargs)

    def compute_output_spec(self, *args, **kwargs):
        """What the stock layer gives out; asked of it, so that nothing is traced for it."""
        return self.stock.compute_output_spec(*args, **kwargs)


def stock_of(layer: Any) -> Any:
    """The layer that a `Tied` one stands in for; any other is itself."""
    return layer.stock if isinstance(layer, Tied) else layer
