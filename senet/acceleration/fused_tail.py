"""The tail of a block with squeeze and excitation, in few passes over the maps.

What ends the residual branch is `z = relu(s + g (gamma (y - mean) / deviation + beta))`, with the
gate `g` and the shortcut `s`, which may be missing. With known statistics it is
`relu(s + G (y - k) + O)`: one factor and one offset for each image and channel, with any constant
`k`. Two facts make that cheap:

The squeeze needs no pass of its own. Sums over the pixels of each image, `S1 = sum(y - k)` and
`S2 = sum((y - k)^2)`, hold mean and variance of the batch, and the mean of the normalised map too,
which is affine in `S1`. From there to `G` and `O` everything has the size `(N, C)` and is left to
ordinary layers and to automatic differentiation.

The way back asks for the gradient before the ReLU, `dr = dz where z > 0`. Its sums, alone and times
`y - k`, are the gradients of `O` and `G`, and then `dy = G dr + dS1 + 2 (y - k) dS2`, with the
gradients of the sums, which ordinary differentiation gives.

That is two passes over the maps forward, and three back: for `dr`, which is the gradient of the
shortcut too, for its sums, and for `dy`. Each is one loop that XLA compiles, which reads and writes
the type of the maps and computes in float32; `k` is the mean of a sample of the pixels, so that
precision is kept where the mean is large.

Where there is no gate next to nothing is gained (`benchmarks/ideas.py`): the kernels of TensorFlow
make more passes, but faster ones, and one of them is normalisation and ReLU together.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from senet.acceleration.batch_normalization import FusedBatchNormalization
from senet.acceleration.compiled import run
from senet.acceleration.tied import stock_of
from senet.graph import Rebuilding

OF_VECTORS = (
    *(layers.Dense, layers.Conv2D, layers.Reshape, layers.Rescaling),
    *(layers.Activation, layers.ReLU),
)
"""What lies between a squeeze and its gate, and sees no more than a pixel."""

ADDENDS = 8
"""Pixels that are added up at once, at most; `benchmarks/ideas.py` measures other numbers.

Where no number up to this divides the pixels of a map, those of a row are.
"""

SAMPLED = 8
"""One pixel of so many, in each direction, has a part in the constant that is subtracted."""


class FusedTail(keras.layers.Layer):
    """Stand in for batch normalisation, squeeze and excitation, an optional addition and a ReLU.

    Args:
        norm: the normalisation's own stand-in.
        squeeze: the global average pooling and the layers from there to the gate.
        drop: of the residual branch of some images, if any.
    """

    def __init__(
        self,
        norm: FusedBatchNormalization,
        squeeze: Sequence[keras.layers.Layer],
        drop: keras.layers.Layer | None = None,
    ) -> None:
        super().__init__(dtype=norm.dtype_policy)
        self.norm = norm
        self.squeeze = list(squeeze)
        self.drop = drop
        self.built = True

    @classmethod
    def ending_in(cls, layer: keras.layers.Layer, graph: Rebuilding, x: Any = None) -> Any:
        """The output of a fused tail where `layer`, called on `x`, is the ReLU that ends one.

        Args:
            layer: that is about to be called.
            graph: how `x` came about.
            x: maps.

        Returns:
            Maps, or `None` where there is no tail that it could stand in for.
        """
        if keras.backend.backend() != "tensorflow" or not _is_relu(layer):
            return None
        ending, branches = [layer], [(x, None)]
        add, read = graph.maker(x, layers.Add)
        if add is not None:
            if not graph.read_once(x) or len(read) != 2:
                return None
            ending, branches = [layer, add], [tuple(read[::-1]), tuple(read)]
        for end, shortcut in branches:
            branch = _branch(end, graph)
            if branch is None or None in branch.maps.shape[1:]:
                continue
            maps = [branch.maps] if shortcut is None else [branch.maps, shortcut]
            kinds = {(one.shape, one.dtype) for one in maps}
            parts = [branch.norm, branch.scale, branch.drop or branch.norm, *ending]
            kinds |= {(branch.maps.shape, part.compute_dtype) for part in parts}
            if len(kinds) == 1:
                return cls(branch.norm, branch.squeeze, branch.drop)(*maps)
        return None

    def compute_output_shape(self, y_shape, shortcut_shape=None):
        """That of the maps."""
        return y_shape

    def call(self, y, shortcut=None, training=None):
        """`relu(shortcut + gate * norm(y))`, in training by the statistics of the batch."""
        stock = self.norm.stock
        if not (training and stock.trainable) or None in y.shape[1:]:
            x = self.norm(y, training=training)
            x = x * ops.cast(self._gate(x), x.dtype)
            if self.drop:
                x = self.drop(x, training=training)
            return ops.relu(x if shortcut is None else shortcut + x)
        return merged(y, shortcut, self._factors)

    def _factors(self, k, s1, s2, pixels):
        """`G` and `O` of the module's description, `(N, C)`; the running statistics follow."""
        stock = self.norm.stock
        shift, square = (ops.mean(s, axis=0) / pixels for s in (s1, s2))
        variance = ops.maximum(square - ops.square(shift), 0)
        self.norm.follow(k + shift, variance)
        scale = ops.rsqrt(variance + stock.epsilon)
        if stock.scale:
            scale = scale * stock.gamma
        offset = -shift * scale
        if stock.center:
            offset = offset + stock.beta
        means = s1 / pixels * scale + offset
        gate = ops.cast(self._gate(means[:, None, None])[:, 0, 0], "float32")
        if self.drop:
            kept = self.drop(ops.ones_like(gate[:, None, None, :1]), training=True)
            gate = gate * ops.cast(kept[:, 0, 0], "float32")
        return gate * scale, gate * offset

    def _gate(self, x):
        """The gate of maps; of their means too, which are maps of one pixel."""
        for layer in self.squeeze:
            x = layer(x)
        return ops.reshape(x, (-1, 1, 1, x.shape[-1]))


class Branch(NamedTuple):
    """A residual branch from its last normalisation to the end of squeeze and excitation."""

    maps: Any
    norm: FusedBatchNormalization
    squeeze: list[keras.layers.Layer]
    scale: keras.layers.Layer
    drop: keras.layers.Layer | None


def _branch(x: Any, graph: Rebuilding) -> Branch | None:
    """What gave `x`, where that is a branch whose every part is read by the next one only."""
    if not graph.read_once(x):
        return None
    drop, read = graph.maker(x, layers.Dropout)
    if drop is not None:
        if not _drops_images(drop) or not graph.read_once(read):
            return None
        x = read
    scale, read = graph.maker(x, layers.Multiply)
    if scale is None or len(read) != 2:
        return None
    for scaled, gate in (read, read[::-1]):
        norm, maps = graph.maker(scaled, FusedBatchNormalization)
        squeeze = norm and _squeeze(scaled, gate, graph)
        if squeeze and graph.readers[norm.name] == 2:
            return Branch(maps, norm, squeeze, scale, drop)
    return None


def _squeeze(scaled: Any, gate: Any, graph: Rebuilding) -> list[keras.layers.Layer] | None:
    """The layers from maps to their gate, where they see the mean of the maps only."""
    if gate.shape[1:] != (1, 1, scaled.shape[-1]):
        return None
    found: list[keras.layers.Layer] = []
    while gate is not scaled:
        layer, read = graph.maker(gate)
        if layer is None or not graph.read_once(gate):
            return None
        found.insert(0, layer)
        gate = read
    if not found:  # maps of one pixel, times themselves
        return None
    pool, *excitation = found
    if type(pool) is not layers.GlobalAveragePooling2D or pool.data_format != "channels_last":
        return None
    return found if all(type(stock_of(layer)) in OF_VECTORS for layer in excitation) else None


def _is_relu(layer: keras.layers.Layer) -> bool:
    if type(layer) is layers.Activation:
        return layer.activation is keras.activations.relu
    return type(layer) is layers.ReLU and (
        layer.max_value is None and not layer.negative_slope and not layer.threshold
    )


def _drops_images(layer: keras.layers.Dropout) -> bool:
    """Whether it drops all of an image or nothing, as stochastic depth does."""
    return layer.noise_shape is not None and tuple(layer.noise_shape)[1:] == (1, 1, 1)


def merged(y: Any, shortcut: Any, factors: Callable[..., tuple[Any, Any]]) -> Any:
    """`relu(shortcut + G (y - k) + O)`, whose factors follow from sums of `y - k`.

    Args:
        y: maps, `(N, H, W, C)`.
        shortcut: maps of the same shape, or `None` for none.
        factors: given `k`, `(C,)`, the sums over the pixels of `y - k` and of its square, `(N, C)`
            each, and the number of pixels, `G` and `O`, `(N, C)` each.

    Returns:
        Maps of the shape and type of `y`.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def sums(y):
        k, parts = run(_sums, y)

        def gradient(dr, _, ds1, ds2):  # `k` is a constant: nothing depends on its value
            return _last(run(_of_maps, dr, y, k, factor, ds1, ds2))

        return (tf.identity(y), k, *_total(parts)), gradient

    @tf.custom_gradient
    def merge(y, factor, offset, *shortcut):
        z = run(_merge, y, k, factor, offset, *shortcut)

        def gradient(dz):
            dr = run(_of_relu, dz, z)
            of_offset, of_factor = _total(run(_of_factors, dr, y, k))
            # What is said here to be the gradient of `y` is `dr`; `sums` makes it that of `y`, so
            # that both its parts are one pass.
            return tuple(map(_last, (dr, of_factor, of_offset, *[dr for _ in shortcut])))

        return z, gradient

    y, k, s1, s2 = sums(y)
    factor, offset = factors(k, s1, s2, y.shape[1] * y.shape[2])
    return merge(y, factor, offset, *([] if shortcut is None else [shortcut]))


def _last(gradient):
    """A gradient that none is taken of: that would be wrong, for factors are constants in it."""
    import tensorflow as tf

    return tf.raw_ops.PreventGradient(
        input=gradient,
        message="an accelerated twin has first derivatives only. Take second ones of the network "
        "that it was made of.",
    )


def _sums(y):
    k = ops.mean(ops.cast(y[:, ::SAMPLED, ::SAMPLED], "float32"), axis=(0, 1, 2))
    v = _float32(y) - k
    return k, _added(v, v * v)


def _merge(y, k, factor, offset, shortcut=None):
    z = (_float32(y) - k) * _per_pixel(factor) + _per_pixel(offset)
    if shortcut is not None:
        z = z + _float32(shortcut)
    return ops.cast(ops.relu(z), y.dtype)


def _of_relu(dz, z):
    return ops.where(z > 0, dz, ops.zeros((), dz.dtype))


def _of_factors(dr, y, k):
    dr = _float32(dr)
    return _added(dr, dr * (_float32(y) - k))


def _of_maps(dr, y, k, factor, ds1, ds2):
    v = _float32(y) - k
    dy = _float32(dr) * _per_pixel(factor) + _per_pixel(ds1) + v * _per_pixel(2 * ds2)
    return ops.cast(dy, y.dtype)


def _added(*maps):
    """Sums of a few pixels each, or of a row, `(N, sums, maps, C)`, faster than one loop over all.

    As parts of one array they come from one loop, which reads what they are made of once; of two
    arrays XLA makes two loops.
    """
    _, height, width, channels = maps[0].shape
    pixels = height * width
    few = next((n for n in range(ADDENDS, 1, -1) if pixels % n == 0), width)
    rows = [ops.reshape(v, (-1, pixels // few, few, channels)) for v in maps]
    return ops.sum(ops.stack(rows, axis=2), axis=3)


def _total(parts):
    """Of sums of a few pixels each those of all, `(N, C)` for each of the maps."""
    import tensorflow as tf

    _, sums, maps, channels = parts.shape
    # by pooling, which takes less time than a sum
    rows = tf.reshape(parts, (-1, sums, 1, maps * channels))
    means = tf.nn.avg_pool2d(rows, (sums, 1), 1, "VALID")
    return tf.unstack(tf.reshape(means * sums, (-1, maps, channels)), axis=1)


def _float32(x):
    return ops.cast(x, "float32")


def _per_pixel(x):
    return x[:, None, None]
