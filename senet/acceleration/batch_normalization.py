"""Batch normalisation as one kernel, where Keras makes several passes over the maps.

Stock `BatchNormalization` casts its input to float32, computes the moments in two passes and scales
in others. TensorFlow and PyTorch have one kernel each for all of it, forward and backward, which
reads bfloat16 and keeps its statistics in float32.
"""

import keras
from keras import ops

from senet.acceleration.devices import tensorflow_has_gpu
from senet.acceleration.tied import Tied


class FusedBatchNormalization(Tied):
    """Stand in for a `BatchNormalization` over the channels of images; see the module."""

    @staticmethod
    def helps(layer: keras.layers.Layer) -> bool:
        """Whether the layer normalises the last axis of a map, and the backend has a kernel."""
        return (
            type(layer) is keras.layers.BatchNormalization  # a subclass may compute something else
            and keras.backend.backend() in KERNELS
            and layer.built
            and layer.input_spec.ndim == 4
            and layer.axis in (-1, 3)
            and not layer.synchronized
            and not getattr(layer, "renorm", False)  # older Keras has none
            and not (keras.backend.backend() == "tensorflow" and tensorflow_has_gpu())
        )

    def call(self, x, training=None, mask=None):
        """Normalise by the batch in training, where the running statistics follow it, or by them.

        The running variance follows the variance of the batch as Keras has it, that of the
        population, not the larger one that the kernels give.
        """
        stock = self.stock
        if mask is not None:
            return stock(x, training=training, mask=mask)
        count = stock.moving_mean.shape
        gamma = stock.gamma if stock.scale else ops.ones(count)
        beta = stock.beta if stock.center else ops.zeros(count)
        kernel = KERNELS[keras.backend.backend()]
        if not (training and stock.trainable):
            running = stock.moving_mean, stock.moving_variance
            return kernel(x, gamma, beta, stock.epsilon, *running)[0]
        y, mean, variance = kernel(x, gamma, beta, stock.epsilon)
        self.follow(mean, variance)
        return y

    def follow(self, mean, variance):
        """Move the running statistics towards those of a batch."""
        stock = self.stock
        share = 1 - stock.momentum
        for running, of_batch in (
            (stock.moving_mean, mean),
            (stock.moving_variance, variance),
        ):
            running.assign(running * stock.momentum + of_batch * share)


def _tensorflow(x, gamma, beta, epsilon, mean=None, variance=None):
    import tensorflow as tf

    training = mean is None
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=tf.constant([]) if mean is None else mean,
        variance=tf.constant([]) if variance is None else variance,
        epsilon=epsilon,
        is_training=training,
    )
    if training:
        pixels = tf.cast(tf.size(x) // x.shape[-1], "float32")
        variance *= (pixels - 1) / pixels
    return y, mean, variance


def _torch(x, gamma, beta, epsilon, mean=None, variance=None):
    import torch

    training = mean is None
    if training:
        mean, variance = torch.zeros_like(gamma), torch.zeros_like(gamma)
    y, *_ = torch.native_batch_norm(
        x.permute(0, 3, 1, 2), gamma, beta, mean, variance, training, 1.0, epsilon
    )
    if training:
        pixels = x.numel() // x.shape[-1]
        # of one pixel the kernel says that it is infinite
        variance = variance * ((pixels - 1) / pixels) if pixels > 1 else torch.zeros_like(mean)
    return y.permute(0, 2, 3, 1), mean, variance


KERNELS = {"tensorflow": _tensorflow, "torch": _torch}
"""For each backend with a kernel: maps, scale, offset, epsilon and, in inference, running mean and
variance, to normalised maps, and mean and variance of the batch."""
