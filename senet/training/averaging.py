"""A moving average of a network's variables."""

import keras


class Average:
    """A second model whose variables follow those of the one in training, slowly.

    Every variable counts, running statistics of the norms too. In the first updates the decay is
    smaller, `(1 + n) / (10 + n)` after n of them, so that the start is forgotten.

    Args:
        model: in training; stays as it is.
        decay: share of the average that an update keeps, 0 to 1.

    Example:
        >>> model = senet.create("se_resnet20_cifar")
        >>> average = Average(model, 0.999)
        >>> average.update(updates=0)
        >>> average.model.output_shape
        (None, 1000)

    Reference:
        Polyak and Juditsky, 1992 (averaging); the growing decay is that of TensorFlow's
        ExponentialMovingAverage, as Szegedy et al. use it in arXiv 1512.00567, section 8.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        self.decay = decay
        self.model = keras.models.clone_model(model)
        self.model.set_weights(model.get_weights())
        self._pairs = list(zip(self.model.weights, model.weights, strict=True))

    def update(self, updates: int) -> None:
        """Follow the model after so many updates of it, from 0."""
        keep = min(self.decay, (1 + updates) / (10 + updates))
        for average, variable in self._pairs:
            value = variable.value
            average.assign(value + keep * (average.value - value))
