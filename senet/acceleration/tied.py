"""A layer that computes with the variables of another."""

import keras


class Tied(keras.layers.Layer):
    """Stand in for a stock layer in a second graph without leaving a trace in the first.

    Calling the stock layer itself on new tensors would give it a second node, and `layer.output`
    of the user's model would become ambiguous.

    Args:
        stock: the layer, built.
    """

    def __init__(self, stock: keras.layers.Layer) -> None:
        super().__init__(name=stock.name, dtype=stock.dtype_policy)
        self.stock = stock
        self.built = True

    def call(self, *args, **kwargs):
        """What the stock layer gives, with its own variables."""
        return self.stock(*args, **kwargs)
